"""SGD on least squares: its exact moments against all minibatches written out, and their edges."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.transfer.least_squares import least_squares_moments

RNG = np.random.default_rng(11)
X = RNG.normal(size=(4, 2)) * [1.0, 0.5]
Y = X @ [1.0, -2.0] + 0.3 * RNG.normal(size=4)
ANCHOR = np.array([0.5, 0.0])
SETTINGS = dict(learning_rate=0.3, batch_size=2, weight_decay=0.1, anchor=ANCHOR)


def every_path(steps, momentum, replacement):
    """Moments over all sequences of minibatches, one by one, in plain numpy."""
    choose = itertools.product if replacement else itertools.permutations
    batches = list(choose(range(4), repeat=2) if replacement else choose(range(4), 2))
    states = [(np.array([0.2, 0.1]), np.zeros(2))]
    for _ in range(steps):
        after = []
        for theta, buffer in states:
            for batch in batches:
                rows = list(batch)
                g = X[rows].T @ (X[rows] @ theta - Y[rows]) / 2 + 0.1 * (theta - ANCHOR)
                new = momentum * buffer + g
                after.append((theta - 0.3 * new, new))
        states = after
    points = np.array([theta for theta, _ in states])
    return points.mean(0), np.cov(points.T, bias=True)


@pytest.mark.parametrize("momentum", [0.0, 0.6])
@pytest.mark.parametrize("replacement", [True, False])
def test_moments_are_those_of_all_minibatches(momentum, replacement):
    found = least_squares_moments(X, Y, **SETTINGS, momentum=momentum, replacement=replacement)
    moments = found.law(ou.Gaussian([0.2, 0.1], 0.0), 3)
    mean, covariance = every_path(3, momentum, replacement)
    np.testing.assert_allclose(moments.mean, mean, atol=1e-14)
    np.testing.assert_allclose(moments.covariance, covariance, atol=1e-14)
    # wrong twin: noise as it is at the optimum, which is the Gaussian model's
    chain = ou.Chain([found.stage(3)], initial=ou.Gaussian([0.2, 0.1], 0.0))
    model = chain.law(step=3)
    np.testing.assert_allclose(model.mean, mean, atol=1e-14)
    assert np.abs(model.covariance - covariance).max() > 0.1 * np.abs(covariance).max()


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_the_steady_law_is_where_long_runs_end(momentum):
    found = least_squares_moments(X, Y, **SETTINGS, momentum=momentum)
    steady = found.steady()
    start = ou.Gaussian([5.0, -3.0], jnp.eye(2))
    late = found.law(start, 2000)
    np.testing.assert_allclose(late.mean, found.optimum, atol=1e-12)
    np.testing.assert_allclose(late.covariance, steady.covariance, rtol=1e-10, atol=1e-14)
    # one step from it changes nothing
    again = found.law(ou.Gaussian(steady.mean, steady.covariance), 1)
    if momentum == 0:
        np.testing.assert_allclose(again.covariance, steady.covariance, rtol=1e-12, atol=1e-14)


def test_small_learning_rates_give_the_model():
    """The relative error of the quadratic model falls in proportion to the learning rate."""
    errors = []
    for rate in (1e-2, 1e-3):
        found = least_squares_moments(X, Y, **{**SETTINGS, "learning_rate": rate})
        exact, model = found.steady().covariance, found.stage(10).stationary().covariance
        errors.append(float(jnp.linalg.norm(exact - model) / jnp.linalg.norm(exact)))
    assert 8 < errors[0] / errors[1] < 12


def test_covariances_explode_before_means_do():
    found = least_squares_moments(X, Y, learning_rate=0.1, batch_size=1, weight_decay=0.01)
    limit = 2 / float(np.linalg.eigvalsh(found.hessian + 0.01 * np.eye(2))[-1])
    rates = np.linspace(0.05, 0.999, 40) * limit
    stable = []
    for rate in rates:
        here = least_squares_moments(X, Y, learning_rate=rate, batch_size=1, weight_decay=0.01)
        try:
            here.steady()
        except ValueError as error:
            assert "no steady covariance" in str(error)
            stable.append(False)
        else:
            stable.append(True)
    assert stable[0] and not stable[-1]
    # once unstable, always unstable; and the recursion itself says the same just inside and out
    switch = stable.index(False)
    assert not any(stable[switch:])
    for rate, grows in ((rates[switch - 1], False), (rates[switch], True)):
        here = least_squares_moments(X, Y, learning_rate=rate, batch_size=1, weight_decay=0.01)
        early, late = (here.law(ou.Gaussian([0.0, 0.0], 1.0), n).covariance for n in (4000, 8000))
        assert bool(jnp.trace(late) > 1.5 * jnp.trace(early)) is grows


@pytest.mark.slow
def test_it_is_traced_once_for_all_numbers():
    count = 0

    @jax.jit
    def trace_of(rate, batch, steps):
        nonlocal count
        count += 1
        found = least_squares_moments(X, Y, learning_rate=rate, batch_size=batch, weight_decay=0.1)
        law = found.law(ou.Gaussian([0.0, 0.0], 1.0), steps)
        return jnp.trace(law.covariance), jnp.trace(found.steady().covariance)

    values = [trace_of(r, b, n) for r, b, n in ((0.1, 2.0, 50), (0.2, 4.0, 60))]
    assert count == 1 and all(np.isfinite(v).all() for v in values)
    slope = jax.jacfwd(lambda r: trace_of(r, 2.0, 50)[1])(0.1)
    numeric = (trace_of(0.1 + 1e-5, 2.0, 50)[1] - trace_of(0.1 - 1e-5, 2.0, 50)[1]) / 2e-5
    np.testing.assert_allclose(slope, numeric, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(learning_rate=0.0), "learning_rate=0 must be positive"),
        (dict(batch_size=0), "batch_size=0"),
        (dict(batch_size=9, replacement=False), "exceeds the 4 examples"),
        (dict(momentum=1.0), "momentum=1"),
        (dict(x=np.ones((4, 2)), weight_decay=0.0), "X'X is singular"),
        (dict(y=np.ones(3)), "shapes"),
        (dict(y=np.array([0.0, np.nan, 1.0, 1.0])), "y holds nan at index 1"),
        (dict(anchor=np.ones(3)), r"anchor must have shape \(2,\), got \(3,\)"),
    ],
)
def test_it_refuses(change, message):
    settings = {"x": X, "y": Y, **SETTINGS, **change}
    with pytest.raises(ValueError, match=message):
        least_squares_moments(settings.pop("x"), settings.pop("y"), **settings)
