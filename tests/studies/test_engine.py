"""Cells do not depend on their company, and a failure stays where it happened."""

import errno
import json
import os

import numpy as np
import pytest
from study_cases import small

from jaxou.config import ConfigError
from jaxou.studies import StudyError, collect, run
from jaxou.studies.cells import Folder
from jaxou.studies.kinds.theory import program


def test_a_second_run_finds_everything_there(reference, tmp_path):
    study, table = reference
    seen = []
    run(study, tmp_path, progress=lambda done, failed: seen.append((done, failed)))
    assert seen[-1] == (150, 0) and [d for d, _ in seen] == sorted(d for d, _ in seen)
    summary = run(study, tmp_path)
    assert (summary.before, summary.computed) == (150, 0)
    assert collect(tmp_path).to_csv() == table
    assert not [p for p in (tmp_path / "cells").iterdir() if p.suffix != ".json"]


@pytest.mark.parametrize("shards", [2, 7])
def test_any_cut_of_a_study_gives_the_same_table(reference, tmp_path, shards):
    study, table = reference
    for k in np.random.default_rng(shards).permutation(shards):
        run(study, tmp_path, shard=(int(k), shards))
    assert collect(tmp_path).to_csv() == table


def test_the_same_cells_in_another_design_have_the_same_bytes(reference, tmp_path):
    study, _ = reference
    axes = dict(reversed([(a.name, a.as_toml()) for a in study.design.axes]))
    axes["problem.shift"] = {"values": [1.0, 0.0]}
    other = small(name="other", design={"axes": axes})
    run(other, tmp_path)
    first = {cell.id: cell for cell in study.cells()}
    here = Folder(tmp_path)
    rows = {line for line in collect(tmp_path).to_csv().splitlines()[1:]}
    assert len(rows) == 100 and {c.id for c in other.cells()} <= set(first)
    assert here.present() == {c.id for c in other.cells()}
    table = dict(zip(first, reference[1].splitlines()[1:], strict=True))
    for cell in other.cells():
        values = here.read(cell, other.quantities).values
        assert table[cell.id].split(",")[4:7] == [str(values[q]) for q in study.quantities]


def test_one_program_serves_a_study(reference, tmp_path):
    study, _ = reference
    program._program.cache_clear()
    run(study, tmp_path)
    info = program._program.cache_info()
    assert info.misses == 1 and info.hits == 2
    shape = program.Shape(*study.kind.shape(study.cells()[0].config))
    assert program._program(shape, study.quantities, 1)._cache_size() == 1


def test_a_cell_that_raises_is_recorded_and_the_others_go_on(reference, tmp_path, monkeypatch):
    study, table = reference
    real, guilty = program.evaluate, study.cells()[70]

    def evaluate(configs, *rest):
        if guilty.config in configs:
            raise FloatingPointError("a bad\nday")
        return real(configs, *rest)

    monkeypatch.setattr(program, "evaluate", evaluate)
    summary = run(study, tmp_path)
    assert summary.failed == 1 and summary.computed == 150
    found = collect(tmp_path)
    assert found.failed == [70]
    assert found.columns["error"][70] == "FloatingPointError: a bad day"
    lines, right = found.to_csv().splitlines(), table.splitlines()
    assert [k for k in range(151) if lines[k] != right[k]] == [71]

    monkeypatch.undo()
    assert run(study, tmp_path).computed == 0  # a failure is a result
    assert run(study, tmp_path, retry_failed=True).computed == 1
    assert collect(tmp_path).to_csv() == table


def test_settings_that_contradict_each_other_fail_alone(tmp_path):
    axes = {"finetune.noise_rank": [2, 9]}
    run(small(design={"axes": axes}), tmp_path)
    table = collect(tmp_path)
    assert (
        table.failed == [1]
        and "must not exceed problem.dimension = 3" in (table.columns["error"][1])
    )
    assert np.isfinite(table.column("kl")[0]) and np.isnan(table.column("kl")[1])


def test_status_says_why_a_number_is_not_there(reference):
    study, table = reference
    last = table.splitlines()[-1].split(",")
    assert last[4:7] == ["nan", "nan", "nan"] and "unstable" in last[7]


def test_damaged_files_are_named_and_computed_again(reference, tmp_path):
    study, table = reference
    run(study, tmp_path)
    files = [Folder(tmp_path).file(study.cells()[k].id) for k in (3, 40, 80, 81)]
    files[0].write_text(files[0].read_text()[:200])  # truncated
    files[1].write_bytes(b"\x00" * 300)
    os.replace(files[2], files[3])  # one cell under the name of another
    content = json.loads(files[3].read_text())
    assert content["cell"] == study.cells()[80].id
    found = collect(tmp_path)
    assert len(found.damaged) == 3 and len(found.missing) == 4
    summary = run(study, tmp_path)
    assert summary.computed == 4
    assert set(summary.repaired) == {files[k].name for k in (0, 1, 3)}
    assert files[0].name in str(summary)
    assert collect(tmp_path).to_csv() == table


def test_a_folder_belongs_to_one_study(reference, tmp_path):
    study, _ = reference
    run(study, tmp_path, shard=(0, 150))
    with pytest.raises(ConfigError, match="holds another study"):
        run(small(seed=1), tmp_path)
    run(small(reading="Other words."), tmp_path, shard=(0, 150))
    with pytest.raises(ConfigError, match="holds no study"):
        collect(tmp_path / "cells")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_disk_that_refuses_stops_the_study_and_loses_nothing(
    reference, tmp_path, monkeypatch, code
):
    study, table = reference
    run(study, tmp_path, shard=(0, 3))
    real = os.fsync
    writes = []

    def fsync(descriptor):
        writes.append(descriptor)
        if len(writes) > 20:
            raise OSError(code, os.strerror(code))
        return real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StudyError) as caught:
        run(study, tmp_path)
    monkeypatch.undo()
    words = str(caught.value)
    assert os.strerror(code) in words and "70 of 150 cells are saved" in words
    assert "resume" in words and "\n" not in words
    assert len(Folder(tmp_path).present()) == 70
    assert not list(tmp_path.rglob("*.tmp"))
    assert run(study, tmp_path).computed == 80
    assert collect(tmp_path).to_csv() == table


def test_a_folder_that_cannot_be_made_is_one_sentence(reference, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="file/below: Not a directory"):
        run(reference[0], tmp_path / "file" / "below")


def test_an_interrupt_writes_what_is_done(reference, tmp_path, monkeypatch):
    study, table = reference
    real, calls = program.evaluate, []

    def evaluate(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(program, "evaluate", evaluate)
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path)
    monkeypatch.undo()
    assert len(collect(tmp_path).missing) == 150 - 64
    assert run(study, tmp_path).computed == 150 - 64
    assert collect(tmp_path).to_csv() == table


def test_wrong_arguments_are_advice(reference, tmp_path):
    study, _ = reference
    for options, words in (
        (dict(shard=(2, 2)), "0 <= i < n"),
        (dict(devices=0), "1 or more"),
        (dict(devices=99), "this machine has 1 "),
        (dict(executor="proceses=2"), "did you mean processes?"),
        (dict(executor="processes=x"), "needs a number"),
        (dict(executor=3), "concurrent.futures.Executor"),
    ):
        with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
            run(study, tmp_path, **options)
