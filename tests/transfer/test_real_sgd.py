"""Real SGD as a method of `simulate`: a plain loop, exact moments, minibatches, and the verdict."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.convergence.statistics import Covariance, MeanChi2
from jaxou.transfer.least_squares import least_squares_moments
from jaxou.transfer.minibatches import shuffled, with_replacement
from jaxou.transfer.real_sgd import RealSGD

RNG = np.random.default_rng(3)
X = RNG.normal(size=(24, 3)) * [1.0, 0.7, 0.5]
Y = X @ [1.0, -1.0, 0.5] + 0.5 * RNG.normal(size=24)
KEY = jnp.array([3, 4], jnp.uint32)


def loss(model, example):
    x, y = example
    return 0.5 * (model @ x - y) ** 2


def chain_of(found, steps=25, initial=0.0, **changes):
    stage = found.stage(steps, **changes)
    return ou.Chain([stage], initial=ou.Gaussian(jnp.zeros(3), initial))


def worst(run, moments):
    """Largest deviation from exact moments, in standard errors (fourth moments as of a normal)."""
    n, covariance = run.particles, np.asarray(moments.covariance)
    variance = np.diag(covariance)
    mean = (run.moments.mean[-1] - moments.mean) / np.sqrt(variance / n)
    error = np.sqrt((covariance**2 + np.outer(variance, variance)) / n)
    return max(np.abs(mean).max(), np.abs((run.moments.covariance[-1] - covariance) / error).max())


@pytest.mark.slow
@pytest.mark.parametrize("replacement", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_runs_have_the_exact_moments_of_least_squares(key, replacement):
    """Tails are heavier than a normal's, by less than the factor 1.5 that is allowed for."""
    found = least_squares_moments(
        X, Y, learning_rate=0.3, batch_size=3, weight_decay=0.1, replacement=replacement
    )
    method = RealSGD(jnp.zeros(3), loss, (X, Y), replacement=replacement, reshuffle="step")
    run = ou.simulate(chain_of(found), particles=4096, key=key, method=method)
    start = ou.Gaussian(jnp.zeros(3), 0.0)
    assert worst(run, found.law(start, 25)) < 4.5 * 1.5
    # wrong twin: noise frozen at the optimum
    assert worst(run, chain_of(found).law(step=25)) > 4.5 * 1.5


def test_one_run_is_the_plain_loop(key):
    """Momentum, decay to an anchor, schedules and two data sets, for one example per data set."""
    anchor, beta = np.array([0.2, 0.0, -0.1]), 0.5
    rates = np.linspace(0.3, 0.1, 7)
    shared = dict(hessian=jnp.eye(3), noise=1.0, minimum=0.0, weight_decay=0.2, steps=7)
    stages = [
        ou.Stage(**shared, learning_rate=rates, batch_size=3, momentum=beta),
        ou.Stage(**shared, learning_rate=0.2, batch_size=np.array([1, 2, 3, 4, 5, 6, 7])),
    ]
    chain = ou.Chain(stages, initial=ou.Gaussian(jnp.ones(3), 0.0))
    data = [(X[:1], Y[:1]), (X[1:2], Y[1:2])]
    method = RealSGD(jnp.zeros(3), loss, data, anchor=anchor)
    run = ou.simulate(
        chain, particles=3, key=key, method=method, save=7, observe=ou.Paths(3), dtype=jnp.float64
    )
    theta, expected = np.ones(3), [np.ones(3)]
    for x, y, momentum, eta in ((X[0], Y[0], beta, rates), (X[1], Y[1], 0.0, [0.2] * 7)):
        buffer = np.zeros(3)
        for k in range(7):
            buffer = momentum * buffer + x * (x @ theta - y) + 0.2 * (theta - anchor)
            theta = theta - eta[k] * buffer
            expected.append(theta)
    for k in range(3):
        np.testing.assert_allclose(run.paths[:, k], expected, atol=1e-13)


@pytest.mark.slow
def test_an_epoch_shows_every_example_once(key):
    """Gradients that do not depend on the parameters: an epoch's sum has no noise."""
    linear = lambda model, example: model @ example
    data = jnp.asarray(X)
    stage = ou.Stage(
        hessian=1.0, noise=1.0, minimum=jnp.zeros(3), learning_rate=0.1, batch_size=4, steps=15
    )
    chain = ou.Chain([stage], initial=ou.Gaussian(jnp.zeros(3), 0.0))
    method = RealSGD(jnp.zeros(3), linear, data, replacement=False)
    run = ou.simulate(
        chain, particles=64, key=key, method=method, save=15, observe=ou.Paths(64),
        dtype=jnp.float64,
    )  # fmt: skip
    for epoch in (1, 2):
        expected = -0.1 * epoch * X.sum(axis=0) / 4
        np.testing.assert_allclose(run.paths[6 * epoch], np.tile(expected, (64, 1)), atol=1e-13)
    assert float(run.paths[9].std(axis=0).min()) > 1e-3  # and differ inside one


def test_minibatches_are_uniform_and_independent():
    replicas = jnp.arange(2000, dtype=jnp.uint32)
    drawn = jax.jit(with_replacement, static_argnums=(4, 5))
    rows = np.asarray(drawn(KEY, replicas, jnp.int32(5), jnp.int32(8), 8, 24))
    assert rows.shape == (8, 2000) and rows.min() == 0 and rows.max() == 23
    counts = np.array([np.bincount(r, minlength=24) for r in rows])
    chi2 = ((counts - 2000 / 24) ** 2 / (2000 / 24)).sum()
    assert abs(chi2 - 8 * 23) < 4.5 * np.sqrt(2 * 8 * 23)
    # slots, steps and widths: the same address gives the same example, another another one
    one = [np.asarray(drawn(KEY, replicas, jnp.int32(5), jnp.int32(k), 1, 24))[0] for k in (8, 9)]
    np.testing.assert_array_equal(one, rows[:2])
    for other in (rows[1], np.asarray(drawn(KEY, replicas, jnp.int32(6), jnp.int32(8), 8, 24))[0]):
        agree = (other == rows[0]).mean()
        assert abs(agree - 1 / 24) < 4.5 * np.sqrt(1 / 24 / 2000)


def test_large_data_sets_are_reached_to_their_last_example():
    """floor(word n / 2^32) against Python's integers, beyond 16 and near 31 bits."""
    replicas = jnp.arange(500, dtype=jnp.uint32)
    drawn = lambda n: np.asarray(with_replacement(KEY, replicas, jnp.int32(0), jnp.int32(0), 2, n))
    words = drawn(2**16).astype(np.int64)  # their first 16 bits
    for n in (70_001, 2**31 - 1):
        found = drawn(n).astype(np.int64)
        low, high = words * n // 2**16, ((words + 1) * n - 1) // 2**16
        assert ((found >= low) & (found <= high)).all()


def test_shuffles_are_permutations_without_a_preference():
    order = np.asarray(
        jax.jit(shuffled, static_argnums=3)(
            KEY, jnp.arange(3000, dtype=jnp.uint32), jnp.int32(2), 6
        )
    )
    assert (np.sort(order, axis=0) == np.arange(6)[:, None]).all()
    places = np.array([(order == k).mean(axis=1) for k in range(6)])
    assert np.abs(places - 1 / 6).max() < 4.5 * np.sqrt(5 / 36 / 3000)
    ordered = (order[0] < order[1]).mean()
    assert abs(ordered - 0.5) < 4.5 * 0.5 / np.sqrt(3000)


@pytest.mark.slow
@pytest.mark.parametrize("replacement", [True, False])
def test_bits_do_not_depend_on_memory_threads_company_or_saves(key, replacement):
    found = least_squares_moments(X, Y, learning_rate=0.2, batch_size=5, weight_decay=0.1)
    chain = chain_of(found, steps=20)
    method = RealSGD(jnp.zeros(3), loss, (X, Y), replacement=replacement, chunk=256)
    call = lambda n=5000, **kw: np.asarray(
        ou.simulate(chain, particles=n, key=key, method=method, **kw).final
    )
    whole = call()
    assert len(np.unique(whole[:, 0])) > 4900
    np.testing.assert_array_equal(call(memory=2**16), whole)
    np.testing.assert_array_equal(call(threads=1), whole)
    np.testing.assert_array_equal(call(700), whole[:700])
    np.testing.assert_array_equal(call(save=20), whole)


@pytest.mark.slow
def test_a_verdict_tells_the_learning_rate_at_which_the_model_fails(key):
    """Small steps stay where the noise is that of the optimum; large ones go where it is more."""
    for rate, decision in ((0.005, "consistent"), (0.5, "rejected")):
        found = least_squares_moments(X, Y, learning_rate=rate, batch_size=8, weight_decay=0.1)
        start = found.stage(25).stationary()
        chain = ou.Chain([found.stage(25)], initial=start)
        run = ou.simulate(chain, particles=4096, key=key, method=RealSGD(X[0], loss, (X, Y)))
        found = ou.verdict(run, chain, statistics=(MeanChi2(), Covariance()))
        assert found.stages[0].decision == decision
        assert any("quadratic model" in note for note in found.stages[0].notes)


@pytest.mark.slow
def test_every_run_may_have_a_learning_rate_of_its_own(key):
    rates = jnp.array([0.1, 0.2, 0.3])
    stage = lambda rate: ou.Stage(
        hessian=1.0, noise=1.0, minimum=jnp.zeros(3), learning_rate=rate, batch_size=1, steps=6
    )
    build = lambda rate: ou.Chain([stage(rate)], initial=ou.Gaussian(jnp.ones(3), 0.0))
    method = RealSGD(jnp.zeros(3), loss, (X[:1], Y[:1]))
    run = ou.simulate(build, particles=3, key=key, method=method, each=rates, dtype=jnp.float64)
    for k in range(3):
        theta = np.ones(3)
        for _ in range(6):
            theta = theta - rates[k] * X[0] * (X[0] @ theta - Y[0])
        np.testing.assert_allclose(run.final[k], theta, atol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "change", "message"),
    [
        (dict(chunk=3), {}, "chunk=3 must be a power of two"),
        (dict(reshuffle="never"), {}, "reshuffle='never'"),
        (dict(model=jnp.zeros(2)), {}, "the model has 2 trainable parameters and the stage 3"),
        (dict(replacement=False), dict(batch_size=25), "exceeds the 24 examples"),
        (dict(), dict(population=24), "population= describes batches without"),
        (dict(), dict(langevin_temperature=0.1), "langevin_temperature=0"),
        (dict(data=[(X, Y)] * 3), {}, "list of 3 data sets for 1 stages"),
        (dict(replacement=False), dict(batch_size=np.ones(25)), "constant batch_size"),
    ],
)
def test_it_refuses(key, arguments, change, message):
    found = least_squares_moments(X, Y, learning_rate=0.1, batch_size=2, weight_decay=0.1)
    arguments = {"model": jnp.zeros(3), "data": (X, Y), **arguments}
    with pytest.raises(ValueError, match=message):
        method = RealSGD(arguments.pop("model"), loss, arguments.pop("data"), **arguments)
        ou.simulate(chain_of(found, **change), particles=10, key=key, method=method)


def test_it_refuses_a_potential(key):
    stage = ou.PotentialStage(
        lambda x: jnp.sum(x**4), dimension=3, noise=ou.Temperature(0.1), learning_rate=0.01, steps=5
    )
    chain = ou.Chain([stage], initial=ou.Gaussian(jnp.zeros(3), 1.0))
    with pytest.raises(ValueError, match="RealSGD reads learning_rate"):
        ou.simulate(chain, particles=4, key=key, method=RealSGD(jnp.zeros(3), loss, (X, Y)))
