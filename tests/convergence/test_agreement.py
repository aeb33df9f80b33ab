"""Where a model of training holds, direction by direction."""

import jax
import numpy as np
import pytest

import jaxou as ou

PARTICLES = 4000


@pytest.fixture(scope="module")
def stage():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    hessian = basis @ np.diag([2.0, 1.0, 0.7, 0.4, 0.3, 0.2]) @ basis.T
    factor = rng.normal(size=(6, 6)) / 2
    return ou.Stage(
        hessian=(hessian + hessian.T) / 2, noise=factor @ factor.T, minimum=rng.normal(size=6),
        learning_rate=0.05, batch_size=4, steps=400,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(stage):
    chain = ou.Chain([stage], initial=ou.Gaussian(stage.minimum, 0.0))
    return ou.simulate(chain, particles=PARTICLES, key=jax.random.key(1))


def model(stage, **changes):
    return ou.Chain([stage.replace(**changes)], initial=ou.Gaussian(stage.minimum, 0.0))


def directions(stage):
    return np.linalg.eigh(np.asarray(stage.hessian.dense()))[1][:, -3:]


def test_a_span_sees_what_numpy_sees(run, stage):
    chain, span = model(stage), directions(stage)
    found = ou.agreement(run, chain, directions=span)
    ends = np.asarray(run.ends[-1], float) @ span
    law = span.T @ np.asarray(chain.law(stage=0, step=400).covariance) @ span
    values, turn = np.linalg.eigh(law)
    seen = (ends @ turn[:, ::-1]).var(axis=0, ddof=1)
    np.testing.assert_allclose(found.spread**2, values[::-1], rtol=1e-5)
    np.testing.assert_allclose(found.ratio, seen / values[::-1], rtol=1e-4)
    np.testing.assert_allclose(found.trace, seen.sum() / values.sum(), rtol=1e-4)
    # their directions are in the space of the parameters, and their curvature is the bowl's
    assert found.directions.shape == (6, 3)
    bowl = np.asarray(stage.hessian.dense())
    curved = [d @ bowl @ d for d in found.directions.T]
    np.testing.assert_allclose(found.curvature, curved, rtol=1e-6)
    np.testing.assert_allclose(span @ (span.T @ found.directions), found.directions, atol=1e-6)


def test_the_right_model_holds_and_a_wrong_twin_fails(run, stage):
    right = ou.agreement(run, model(stage), directions=directions(stage), tolerance=0.2)
    assert right.holds.all() and not right.fails.any()
    # 64 % of the noise: variances 1.56 times the model's
    wrong = model(stage, noise=0.64 * np.asarray(stage.noise.dense()))
    assert ou.agreement(run, wrong, directions=directions(stage), tolerance=0.2).fails.all()


def test_a_process_that_was_not_run_is_refused(run, stage):
    small = ou.Stage(
        hessian=1.0, noise=1.0, minimum=np.zeros(2), learning_rate=0.05, batch_size=4, steps=400
    )
    other = ou.Chain([small], initial=ou.Gaussian(np.zeros(2), 0.0))
    with pytest.raises(ValueError, match="1 stages in dimension 6, the process 1 in dimension 2"):
        ou.agreement(run, other)
    with pytest.raises(TypeError, match="Wrap the stage"):
        ou.agreement(run, stage)
    with pytest.raises(TypeError, match="takes the run of ou.simulate, got float"):
        ou.agreement(3.0, model(stage))
    with pytest.raises(ValueError, match="the model itself diverges"):
        ou.agreement(run, model(stage, learning_rate=20.0))
    for wrong in (dict(tolerance=0.0), dict(confidence=99)):
        with pytest.raises(ValueError, match="must (be positive|lie in)"):
            ou.agreement(run, model(stage), **wrong)


def test_a_model_that_does_not_move_has_words_and_no_nan(run, stage):
    found = ou.agreement(run, model(stage, noise=0.0))
    assert len(found.ratio) == 0 and "moves in no direction" in str(found)
    assert "nan" not in str(found) and np.isinf([found.trace, found.frobenius, found.floor]).any()


@pytest.mark.parametrize(
    "given, message",
    [
        (np.ones((6, 2)), "not orthonormal"),
        (np.ones(6), "must hold 1 to 6 directions"),
        (np.eye(5)[:, :2], "must hold 1 to 6 directions"),
        (np.full((6, 1), np.nan), "directions"),
    ],
)
def test_directions_are_refused_with_advice(run, stage, given, message):
    with pytest.raises(ValueError, match=message):
        ou.agreement(run, model(stage), directions=given)


def test_laws_too_large_for_a_matrix():
    """6,000 dimensions, low rank: nothing dense is made along a few directions."""
    d = 6_000
    span = np.linalg.qr(np.random.default_rng(0).normal(size=(d, 3)))[0]
    wide = ou.Stage(
        hessian=ou.LowRankPlusDiagonal(0.1, span, np.array([1.0, 0.5, 0.2])),
        noise=ou.LowRankPlusDiagonal(0.01, span, np.array([1.0, 2.0, 0.5])),
        minimum=0.0, learning_rate=0.1, batch_size=4, steps=100,
    )  # fmt: skip
    chain = ou.Chain([wide], initial=ou.Gaussian(np.zeros(d), 0.0))
    run = ou.simulate(chain, particles=400, key=jax.random.key(0))
    found = ou.agreement(run, chain, directions=span, tolerance=0.5)
    assert found.holds.all() and found.directions.shape == (d, 3)
