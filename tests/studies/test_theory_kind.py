"""Cells of `theory` against the public functions, and against gradient descent by hand."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxou.config import ConfigError, overlay
from jaxou.studies.kinds import find_kind
from jaxou.studies.kinds.theory import problem
from jaxou.studies.kinds.theory.general import evaluate_one
from jaxou.studies.kinds.theory.laws import bowl_of

KIND = find_kind("theory")
ALL = tuple(KIND.quantities)
BENT = {
    "problem": {"dimension": 5, "tilt": 25.0, "seed": 3},
    "pretrain": {"noise_rank": 3, "weight_decay": 0.01, "alignment": 0.3},
    "finetune": {"steps": 31, "noise_condition": 4.0},
}


def config(**changes):
    made = overlay(KIND.config(), BENT)
    return overlay(made, changes)


CASES = [
    ("finite", 0.0, 0.8),
    pytest.param("gibbs", 0.6, 0.0, marks=pytest.mark.slow),
    pytest.param("stationary", 0.5, 0.9, marks=pytest.mark.slow),
    pytest.param("finite", 0.9, 0.0, marks=pytest.mark.slow),
    pytest.param("finite", 0.0, 0.0, marks=pytest.mark.slow),
    pytest.param("stationary", 0.0, 0.0, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("law, first, second", CASES)
def test_every_quantity_is_that_of_the_public_functions(law, first, second):
    made = config(law=law, pretrain={"momentum": first}, finetune={"momentum": second})
    fast, exact = KIND.evaluate([made], ALL)[0], evaluate_one(made, ALL)
    assert fast.status == exact.status == ""
    for name in ALL:
        # the discrepancy's parts cancel: absolute errors are of the size of one nat's last digits
        np.testing.assert_allclose(fast.values[name], exact.values[name], rtol=1e-9, atol=1e-12)
    wrong = dataclasses.replace(made, problem=dataclasses.replace(made.problem, tilt=26.0))
    assert abs(evaluate_one(wrong, ("kl",)).values["kl"] / fast.values["kl"] - 1) > 1e-5


def test_singular_laws_take_the_general_route():
    # without noise every law shrinks to a point: KL to a law of another width is infinite
    made = config(
        pretrain={"noise": 0.0, "steps": 100_000, "weight_decay": 0.0}, finetune={"momentum": 0.8}
    )
    found = KIND.evaluate([made], ALL)[0]
    assert found.values["kl"] == np.inf and found.values["target_bound"] == np.inf
    assert np.isfinite(found.values["excess_loss"])


def test_rows_that_need_more_examples_say_so():
    made = config(bound={"n_target": 4.0}, finetune={"batch_size": 2.0, "momentum": 0.8})
    found = KIND.evaluate([made], ALL)[0]
    assert np.isnan(found.values["target_bound.harel_simplified"])
    assert np.isfinite(found.values["target_bound.seeger"])
    assert "no value for target_bound.harel_simplified" in found.status


def descend(process, tilt, steps):
    """Gradient descent from the mean of the source law on the bowl tilted by `tilt`."""
    stage = process.finetune
    hessian, decay = np.asarray(stage.hessian.dense()), float(stage.weight_decay)
    point, buffer = np.asarray(process.law("pretrain", step=process.pretrain.steps).mean), 0.0
    for _ in range(steps):
        slope = hessian @ (point - np.asarray(stage.minimum)) + tilt + decay * point
        buffer = float(stage.momentum) * buffer + slope
        point = point - float(stage.learning_rate) * buffer
    return point


def test_the_expected_gap_is_that_of_tilted_bowls():
    # examples tilt the bowl by g ~ (0, C / n): true minus empirical loss is -g (mean - minimum).
    # It is quadratic in g, so the mean over g = +- the columns of a root of C / n is exact.
    made = config(finetune={"momentum": 0.8, "weight_decay": 0.02})
    process = problem.process_of(made)
    covariance = np.asarray(process.finetune.noise.dense()) / made.bound.n_target
    root = np.linalg.cholesky(covariance)
    total = 0.0
    for sign in (1.0, -1.0):
        for column in sign * root.T:
            mean = descend(process, column, made.finetune.steps)
            total += -column @ (mean - np.asarray(process.finetune.minimum)) / 2
    found = KIND.evaluate([made], ALL)[0].values["expected_gap"]
    np.testing.assert_allclose(found, total, rtol=1e-9)
    wrong = np.trace(np.linalg.solve(process.finetune.hessian.dense(), covariance))
    assert abs(wrong / total - 1) > 0.01  # stopping early and decay both matter here


def test_bases_are_orthogonal_and_depend_on_the_seed_alone():
    one, other = problem.orthogonal(1, 0, 7), problem.orthogonal(2, 0, 7)
    np.testing.assert_allclose(one @ one.T, np.eye(7), atol=1e-14)
    assert (one == problem.orthogonal(1, 0, 7)).all() and abs(one - other).max() > 0.1


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_turns_are_rotations_by_the_angle(dimension):
    turn = problem.turned_pairs(np.eye(dimension), np.deg2rad(30.0))
    np.testing.assert_allclose(turn @ turn.T, np.eye(dimension), atol=1e-15)
    back = problem.turned_pairs(turn, -np.deg2rad(30.0))
    np.testing.assert_allclose(back, np.eye(dimension), atol=1e-15)
    if dimension > 1:
        np.testing.assert_allclose(
            turn[[0, dimension // 2], 0], [np.cos(np.pi / 6), np.sin(np.pi / 6)]
        )


def test_noise_has_its_rank_mean_and_condition():
    weights = problem.noise_weights(3, 8.0, 6)
    assert (weights > 0).sum() == 3 and weights.mean() == pytest.approx(1.0)
    assert weights[0] / weights[2] == pytest.approx(8.0)
    assert (problem.noise_weights(0, 8.0, 6) > 0).all()


def test_contradictions_are_refused():
    with pytest.raises(ConfigError, match="must not exceed problem.dimension = 5"):
        KIND.check(config(finetune={"noise_rank": 6}))
    with pytest.raises(ConfigError, match="must not exceed bound.n_target"):
        KIND.check(config(bound={"n_target": 10.0}))
    assert KIND.check(config()) == config()


def test_a_bowl_knows_where_decay_pulls_it():
    process = problem.process_of(config(problem={"tilt": 0.0}))
    stage = process.pretrain
    values = jax.numpy.diag(stage.hessian.dense())
    bowl = bowl_of(stage, values, stage.noise.dense(), stage.minimum)
    np.testing.assert_allclose(bowl.target, stage.effective_minimum, rtol=1e-12)
