"""Designs: exact grids, stratified samples, and one line for whatever is wrong."""

import itertools

import numpy as np
import pytest

from jaxou.config import ConfigError
from jaxou.studies import Study
from jaxou.studies.design import unit_cube

AXES = {
    "finetune.learning_rate": {"from": 1e-3, "to": 0.1, "points": 3, "scale": "log"},
    "finetune.batch_size": [1, 8],
}


def study(**changes):
    table = dict(name="s", experiment="theory", quantities=["kl"], design={"axes": AXES}, seed=0)
    return Study.make(**(table | changes))


def test_a_grid_is_the_product_of_its_axes_in_their_order():
    found = [tuple(cell.varied.values()) for cell in study().cells()]
    assert found == list(itertools.product((1e-3, 1e-2, 1e-1), (1.0, 8.0)))


def test_axes_keep_their_order_through_toml():
    axes = {"problem.shift": {"from": 0.0, "to": 1.0, "points": 2}, "problem.tilt": [0, 5]}
    for order in (axes, dict(reversed(axes.items()))):
        made = study(design={"axes": order})
        assert made.axes == tuple(order) == tuple(made.cells()[0].varied)
        again = Study.from_text(made.to_toml())
        assert again == made and again.identity() == made.identity()


def test_whole_fields_get_whole_numbers_and_lists_keep_theirs():
    axes = {
        "finetune.steps": {"from": 1, "to": 1000, "points": 4, "scale": "log"},
        "law": ["gibbs", "finite"],
    }
    cells = study(design={"axes": axes}).cells()
    assert [c.varied["finetune.steps"] for c in cells[::2]] == [1, 10, 100, 1000]
    assert [c.config.law for c in cells[:2]] == ["gibbs", "finite"]
    assert all(type(c.config.finetune.steps) is int for c in cells)


def test_quick_starts_from_smaller_defaults():
    axes = {"finetune.learning_rate": [0.1, 0.2]}
    table = dict(experiment="run", quantities=["shift"], design={"axes": axes})
    quick, full = (study(**table, base=base).cells()[0].config for base in ({"quick": True}, {}))
    assert quick.particles < full.particles and quick.finetune.learning_rate == 0.1


def test_rounded_numbers_are_taken_once():
    axes = {"finetune.steps": {"from": 1, "to": 20, "points": 9, "scale": "log"}}
    cells = study(design={"axes": axes}).cells()
    assert [c.varied["finetune.steps"] for c in cells] == [1, 2, 3, 4, 7, 9, 14, 20]


def test_fields_can_move_together():
    axes = {"rate": {"fields": ["pretrain.learning_rate", "finetune.learning_rate"],
                     "values": [0.1, 0.2]}}  # fmt: skip
    cells = study(design={"axes": axes}).cells()
    rates = [(c.config.pretrain.learning_rate, c.config.finetune.learning_rate) for c in cells]
    assert rates == [(0.1, 0.1), (0.2, 0.2)]
    assert cells[0].varied == {"rate": 0.1}


@pytest.mark.parametrize("cells", [7, 16])
def test_a_latin_hypercube_has_one_point_in_every_slice(cells):
    cube = unit_cube("latin_hypercube", cells, 3, seed=1)
    for axis in cube.T:
        assert sorted((axis * cells).astype(int)) == list(range(cells))
    # the wrong twin: independent points do not
    wrong = unit_cube("random", cells, 3, seed=1)
    assert any(sorted((axis * cells).astype(int)) != list(range(cells)) for axis in wrong.T)


def test_a_sobol_sequence_fills_every_elementary_interval():
    # a (0, m, 2)-net: in two dimensions each box of area 2^-m has exactly one of 2^m points
    m = 4
    cube = unit_cube("sobol", 2**m, 2, seed=3)
    for k in range(m + 1):
        boxes = (cube * [2**k, 2 ** (m - k)]).astype(int)
        assert len(np.unique(boxes, axis=0)) == 2**m
    wrong = unit_cube("latin_hypercube", 2**m, 2, seed=3)
    assert any(
        len(np.unique((wrong * [2**k, 2 ** (m - k)]).astype(int), axis=0)) < 2**m
        for k in range(m + 1)
    )


def test_a_design_depends_on_its_seed_alone():
    make = lambda seed: study(
        design={"kind": "sobol", "cells": 5, "seed": seed, "axes": AXES}
    ).cells()
    assert [c.id for c in make(1)] == [c.id for c in make(1)]
    assert {c.id for c in make(1)}.isdisjoint({c.id for c in make(2)})


def test_replicates_run_each_point_with_other_seeds():
    cells = study(replicates=3, seed=5).cells()
    assert len(cells) == 18
    assert [c.config.problem.seed for c in cells[:4]] == [5, 6, 7, 5]
    assert [c.replicate for c in cells[:4]] == [0, 1, 2, 0]
    assert len({c.id for c in cells}) == 18


def test_identity_is_of_what_decides_the_table():
    assert study(name="other", reading="Look.").identity() == study().identity()
    for change in (dict(seed=1), dict(quantities=["risk"]), dict(base={"law": "gibbs"})):
        assert study(**change).identity() != study().identity()


def test_dotted_and_nested_settings_are_the_same():
    one = study(base={"pretrain.steps": 7, "problem": {"tau": 2.0}})
    two = study(base={"pretrain": {"steps": 7}, "problem.tau": 2.0})
    assert [c.id for c in one.cells()] == [c.id for c in two.cells()]
    assert one.cells()[0].config.problem.tau == 2.0


WRONG = [
    (dict(experiment="theary"), "did you mean theory?"),
    (dict(quantities=["kll"]), "did you mean kl"),
    (dict(quantities=[]), "must be a list"),
    (dict(quantities=["kl", "kl"]), "twice"),
    (dict(name="a/b"), "name"),
    (dict(base={"pretrain": {"lerning_rate": 1.0}}), "did you mean pretrain.learning_rate?"),
    (dict(base={"pretrain": {"steps": 1.5}}), "it must be an integer"),
    (dict(base={"problem": {"seed": 3}}), "write seed = ... of the study"),
    (dict(sed=3), "did you mean seed?"),
    (dict(base={"finetune": {"batch_size": 8}}), "base.finetune.batch_size: the axis finetune"),
    (dict(design={"seed": 1, "axes": AXES}), "a grid draws nothing"),
    (dict(design={"axes": {"problem.tau": {"values": [1.0], "from": 0.5}}}), "from beside values"),
    (dict(replicates=0), "1 or more"),
    (dict(design={"axes": {}}), "name what varies"),
    (dict(design={"axes": {"finetune.stepz": [1]}}), "did you mean finetune.steps?"),
    (dict(design={"axes": {"finetune.steps": [1, -1]}}), "finetune.steps = -1"),
    (dict(design={"axes": {"finetune.steps": [1, 1]}}), "every value once"),
    (dict(design={"axes": {"finetune.steps": []}}), "one or more values"),
    (dict(design={"axes": {"problem.tau": {"from": 1.0, "to": 2.0}}}), "points = N"),
    (dict(design={"axes": {"problem.tau": {"from": 0.0, "to": 2.0, "points": 2}}}), "positive"),
    (dict(design={"axes": {"problem.tau": {"from": 2.0, "to": 1.0, "points": 2}}}), "below"),
    (dict(design={"axes": {"problem.tau": {"from": -1, "to": 1, "scale": "log"}}}), "above zero"),
    (dict(design={"axes": {"problem.tau": {"frm": 1}}}), "did you mean design.axes.problem.tau"),
    (dict(design={"axes": {"law": {"from": 1, "to": 2}}}), "give a list"),
    (dict(design={"kind": "sobl", "axes": AXES}), "sobol"),
    (dict(design={"kind": "sobol", "axes": AXES}), "a number of cells"),
    (dict(design={"cells": 3, "axes": AXES}), "a grid has as many cells"),
    (dict(design={"axes": {"problem.seed": [1, 2]}}, replicates=2), "replicates = 1"),
    (dict(figures=[{"quantity": "kl", "x": "nothing"}]), "figures[0].x"),
    (dict(figures=[{"quantity": "kl", "x": "finetune.batch_size", "kind": "map"}]), "second axis"),
]  # fmt: skip


@pytest.mark.parametrize("changes, words", WRONG, ids=[words for _, words in WRONG])
def test_what_is_wrong_is_said_in_one_line(changes, words):
    with pytest.raises(ConfigError) as caught:
        study(**changes)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        Study.from_toml(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = \n")
    with pytest.raises(ConfigError, match="broken.toml is not valid TOML"):
        Study.from_toml(broken)
