"""The same bits for any chunk, more particles or more saves; and no new compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from particle_cases import two_stages

import jaxou as ou
from jaxou.particles import engine


def wide_chain(dimension, steps=20, learning_rate=0.1):
    """A chain with dense, non-commuting matrices in a given dimension."""
    rng = np.random.default_rng(dimension)
    b, g = rng.normal(size=(2, dimension, dimension)) / np.sqrt(dimension)
    stage = ou.Stage(
        hessian=np.eye(dimension) + b @ b.T / 4,
        noise=g @ g.T + 0.1 * np.eye(dimension),
        minimum=rng.normal(size=dimension),
        learning_rate=learning_rate,
        batch_size=4,
        steps=steps,
    )
    return ou.Chain([stage], initial=ou.Gaussian(np.zeros(dimension), 1.0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [ou.SGD(), pytest.param(ou.EulerMaruyama(), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "dimension,particles,memory",
    [pytest.param(64, 3500, 600_000, marks=pytest.mark.slow), (1, 30_000, 70_000)],
)
def test_bits_do_not_depend_on_memory_or_on_later_particles(
    method, dimension, particles, memory, key
):
    chain = wide_chain(dimension)
    run = lambda **kw: ou.simulate(chain, key=key, method=method, **kw)
    full = run(particles=particles)
    chunked = run(particles=particles, memory=memory)
    np.testing.assert_array_equal(full.final, chunked.final)
    np.testing.assert_array_equal(full.moments.covariance, chunked.moments.covariance)
    np.testing.assert_array_equal(full.moments.mean, chunked.moments.mean)
    fewer = run(particles=particles // 3)
    np.testing.assert_array_equal(full.final[: particles // 3], fewer.final)
    watched = run(particles=particles, observe=(ou.Moments(covariance=False), ou.Paths(5)))
    np.testing.assert_array_equal(full.final, watched.final)
    np.testing.assert_array_equal(watched.paths[-1], watched.final[:5])
    with pytest.raises(ValueError, match="kept variances only"):
        watched.moments.covariance  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("dimension", [1, 3])
def test_stepping_does_not_depend_on_when_it_is_observed(dimension, key):
    chain = wide_chain(dimension, steps=21)
    final, each = (
        ou.simulate(chain, particles=200, key=key, method=ou.EulerMaruyama(), save=k)
        for k in (1, 21)
    )
    np.testing.assert_array_equal(final.final, each.final)
    third = ou.simulate(chain, particles=200, key=key, method=ou.EulerMaruyama(), save=3)
    np.testing.assert_array_equal(each.moments.mean[7], third.moments.mean[1])


@pytest.mark.parametrize(
    "method", [pytest.param(ou.SGD(), marks=pytest.mark.slow), ou.Exact(), ou.EulerMaruyama()]
)
def test_new_numbers_do_not_recompile(method, key, monkeypatch):
    traces = []
    original = engine.run_tile
    monkeypatch.setattr(engine, "run_tile", lambda *a: (traces.append(1), original(*a))[1])
    run = lambda chain, n, k: ou.simulate(chain, particles=n, key=k, method=method, save=2)
    run(wide_chain(5), 300, key)
    seen = len(traces)
    assert seen > 0
    for steps, rate in ((25, 0.05), (400, 0.02)):
        run(wide_chain(5, steps, rate), 450, jax.random.key(steps))
    assert len(traces) == seen


@pytest.mark.slow
def test_moments_are_those_of_the_particles(process, key):
    run = ou.simulate(process, particles=9_000, key=key, dtype=jnp.float64, observe=ou.Paths(9_000))
    for row in range(3):
        cloud = np.asarray(run.paths[row])
        np.testing.assert_allclose(run.moments.mean[row], cloud.mean(0), rtol=1e-12)
        np.testing.assert_allclose(run.moments.covariance[row], np.cov(cloud.T), rtol=1e-10)
    np.testing.assert_array_equal(run.paths[1], run.stage_ends[0])
    np.testing.assert_allclose(
        run.moments.standard_error_mean[2], cloud.std(0, ddof=1) / np.sqrt(9_000), rtol=1e-10
    )


@pytest.mark.slow
def test_under_jit_and_grad_the_same_particles(key):
    def mean_end(rate, particles=500):
        process = two_stages().with_finetune(learning_rate=rate)
        run = ou.simulate(process, particles=particles, key=key, dtype=jnp.float64)
        return run.moments.mean[-1].sum()

    rate = jnp.asarray(0.05)
    eager = ou.simulate(two_stages(), particles=500, key=key, dtype=jnp.float64)
    assert float(jax.jit(mean_end)(rate)) == pytest.approx(
        float(eager.moments.mean[-1].sum()), rel=1e-12
    )
    slope = (mean_end(0.05 + 1e-5) - mean_end(0.05 - 1e-5)) / 2e-5
    assert float(jax.grad(mean_end)(rate)) == pytest.approx(float(slope), rel=1e-5)
    assert float(jax.jvp(mean_end, (rate,), (1.0 + 0 * rate,))[1]) == pytest.approx(
        float(slope), rel=1e-5
    )


@pytest.mark.slow
def test_a_narrow_law_far_from_zero_keeps_its_digits(key):
    stage = ou.Stage(
        hessian=1.0, noise=1e-8, minimum=1000.0, learning_rate=0.1, batch_size=1, steps=100
    )
    chain = ou.Chain([stage], initial=ou.Gaussian([1000.0], 0.0))
    run = ou.simulate(chain, particles=20_000, key=key, method=ou.EulerMaruyama())
    ratio = float(run.moments.covariance[-1, 0, 0] / chain.law(step=100).covariance[0, 0])
    assert abs(ratio - 1) < 4.5 * np.sqrt(2 / 20_000)
