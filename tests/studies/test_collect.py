"""Tables, their files, their figures."""

import csv
import dataclasses
import math
import sys

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from matplotlib.figure import Figure as Canvas  # noqa: E402
from study_cases import small  # noqa: E402

from jaxou import plots  # noqa: E402
from jaxou.studies import ready, write_tables  # noqa: E402
from jaxou.studies.cells import Folder, Record  # noqa: E402
from jaxou.studies.collect import table_of  # noqa: E402
from jaxou.studies.drawing import averaged, draw, guess, plot  # noqa: E402


def filled(tmp_path, study, value, skip=()):
    """The table of a study whose cells hold `value(cell)`, without running anything."""
    folder = Folder.create(tmp_path, study)
    for cell in study.cells():
        if cell.index not in skip:
            values = dict.fromkeys(study.quantities, float(value(cell)))
            folder.write(cell, Record(values))
    return table_of(folder, study)


def product(cell):
    return cell.varied["finetune.batch_size"] * cell.varied["problem.shift"] + cell.replicate


@pytest.fixture
def table(tmp_path):
    return filled(tmp_path, small(replicates=2), product)


def test_numbers_survive_the_file_with_every_digit(tmp_path):
    awkward = [0.1 + 0.2, 5e-324, -0.0, math.inf, -math.inf, math.nan, 1e300, 3.0]
    study = small()
    found = filled(tmp_path, study, lambda cell: awkward[cell.index % len(awkward)])
    for row in range(len(awkward)):
        assert repr(found.columns["kl"][row]) == repr(awkward[row])
    rows = list(csv.DictReader(found.to_csv().splitlines()))
    assert [repr(float(r["kl"])) for r in rows[:8]] == [repr(x) for x in awkward]


def test_columns_are_axes_replicate_quantities_status_error(table):
    study = table.study
    assert list(table.columns) == [*study.axes, "replicate", *study.quantities, "status", "error"]
    assert len(table) == 300 and table.column("replicate").tolist()[:3] == [0, 1, 0]
    with pytest.raises(KeyError, match="did you mean status"):
        table.column("statuss")


def test_what_is_missing_is_empty_and_says_so(tmp_path):
    found = filled(tmp_path, small(), product, skip=(4,))
    assert found.missing == [4] and found.columns["status"][4] == "not computed"
    assert found.to_csv().splitlines()[5].endswith(",0,,,,not computed,")
    assert np.isnan(found.column("kl")[4])


def test_parquet_holds_the_same_table(table, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    paths = write_tables(tmp_path, table)
    assert [p.name for p in paths] == ["table.csv", "table.parquet"]
    there = parquet.read_table(paths[1]).to_pydict()
    assert there == {name: list(column) for name, column in table.columns.items()}


def test_without_pyarrow_there_is_csv(table, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert [p.name for p in write_tables(tmp_path, table)] == ["table.csv"]
    with pytest.raises(ImportError, match=r"jaxou\[labelled\]"):
        table.to_parquet(tmp_path / "x.parquet")


def test_a_grid_has_its_axes_as_dimensions(table):
    pytest.importorskip("xarray")
    found = table.to_xarray()
    assert dict(found.sizes) == {
        "finetune.learning_rate": 25, "problem.shift": 3, "finetune.batch_size": 2, "replicate": 2
    }  # fmt: skip
    one = found["kl"].sel({"problem.shift": 0.2, "finetune.batch_size": 8.0, "replicate": 1})
    np.testing.assert_array_equal(one, 0.2 * 8.0 + 1)
    assert "nats" in found["kl"].attrs["description"]


def test_other_designs_have_one_dimension(tmp_path):
    pytest.importorskip("xarray")
    axes = {"problem.shift": {"from": 0.0, "to": 1.0}, "finetune.batch_size": [1, 8]}
    study = small(design={"kind": "sobol", "cells": 8, "axes": axes}, replicates=2)
    found = filled(tmp_path, study, product).to_xarray()
    assert dict(found.sizes) == {"cell": 8, "replicate": 2}
    np.testing.assert_array_equal(
        found["kl"][:, 0], found["problem.shift"] * found["finetune.batch_size"]
    )


# ---- figures


def test_means_are_over_everything_that_is_not_named(table):
    x, by, mean, error = averaged(table, "kl", "problem.shift", "finetune.batch_size")
    assert x.tolist() == [0.0, 0.2, 1.0] and by.tolist() == [1.0, 8.0]
    np.testing.assert_allclose(mean, np.outer(by, x) + 0.5)
    np.testing.assert_allclose(error, 0.5 / np.sqrt(49))  # 50 values of spread 1/2


def test_lines_maps_and_clouds_show_the_table(table, ax):
    (one, *_) = guess(table)
    lines = dataclasses.replace(one, x="problem.shift", by="finetune.batch_size")
    plot(table, lines, ax)
    assert [line.get_label() for line in ax.lines] == [
        "finetune.batch_size = 1", "finetune.batch_size = 8"
    ]  # fmt: skip
    np.testing.assert_allclose(ax.lines[1].get_ydata(), 8 * np.array([0.0, 0.2, 1.0]) + 0.5)
    assert len(ax.collections) == 2  # bands

    canvas = Canvas()
    plot(table, dataclasses.replace(lines, kind="map"), canvas.add_subplot())
    mesh = canvas.axes[0].collections[0]
    np.testing.assert_allclose(
        np.asarray(mesh.get_array()).reshape(2, 3), np.outer([1, 8], [0, 0.2, 1]) + 0.5
    )
    canvas = Canvas()
    plot(table, dataclasses.replace(lines, kind="scatter"), canvas.add_subplot())
    points = canvas.axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 1], table.column(lines.quantity))


def test_map_cells_meet_half_way_on_a_log_axis(ax):
    plots.study_map([1.0, 10.0, 100.0], ["a", "b"], np.eye(2, 3), x_scale="log", ax=ax)
    corners = ax.collections[0].get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], 10 ** np.array([-0.5, 0.5, 1.5, 2.5]))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]


def test_drawing_writes_png_files_with_equal_bytes(table, tmp_path):
    first, again = draw(table, tmp_path / "a"), draw(table, tmp_path / "b")
    assert len(first) == len(table.study.quantities)
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes()[:4] == b"\x89PNG" and one.read_bytes() == other.read_bytes()


# ---- ready studies


@pytest.mark.parametrize("name", ready.names())
def test_ready_studies_are_valid_and_say_how_to_read_them(name):
    study = ready.load(name)
    assert study.name == name and study.figures and 30 <= len(study.cells()) <= 5000
    assert len(study.reading.split()) > 50 and "READING" not in study.reading
    kind = study.kind
    for cell in study.cells()[:: max(1, len(study.cells()) // 50)]:
        kind.check(cell.config)


def test_there_is_one_for_every_question():
    assert set(ready.names()) == {
        "dimension", "domain_shift", "duration", "learning_rate_batch", "momentum", "target_size"
    }  # fmt: skip
