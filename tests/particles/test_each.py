"""Hyper-parameters per particle: every particle is the one that a chain of its own would have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou

PARTICLES = 5_000
START, CURVATURE, NOISE = 2.0, 1.5, 0.7


def build(value):
    """A chain with the learning rate, batch size and steps of one particle."""
    stage = ou.Stage(hessian=CURVATURE, noise=NOISE, minimum=0.5, **value)
    return ou.Chain([stage], initial=ou.Gaussian([START], 0.0))


def values(count=PARTICLES):
    rng = np.random.default_rng(3)
    return {
        "learning_rate": jnp.asarray(rng.uniform(0.01, 0.5, count)),
        "batch_size": jnp.asarray(rng.integers(1, 33, count).astype(float)),
        "steps": jnp.asarray(rng.integers(5, 40, count).astype(float)),
    }


def stepped(key, each):
    """The stepped chain in numpy, with the same normals."""
    eta, b, n = (np.asarray(each[k]) for k in ("learning_rate", "batch_size", "steps"))
    rows = jnp.arange(len(eta), dtype=jnp.uint32)
    z = np.asarray(ou.addressed_normals(key, particles=rows, steps=jnp.arange(int(n.max()))))
    y = np.full(len(eta), START - 0.5)
    for k, normals in enumerate(z[:, 0].astype(float)):
        moved = y - eta * CURVATURE * y + eta * np.sqrt(NOISE / b) * normals
        y = np.where(k < n, moved, y)
    return y + 0.5


def jumped(key, each):
    """One jump over all steps: y m^n + (Q (1 - m^2n) / (1 - m^2))^(1/2) z, in numpy."""
    eta, b, n = (np.asarray(each[k]) for k in ("learning_rate", "batch_size", "steps"))
    rows = jnp.arange(len(eta), dtype=jnp.uint32)
    z = np.asarray(ou.addressed_normals(key, particles=rows, jumps=jnp.array([1])))[0, 0]
    m = 1 - eta * CURVATURE
    variance = eta**2 * NOISE / b * (1 - m ** (2 * n)) / (1 - m**2)
    return (START - 0.5) * m**n + np.sqrt(variance) * z + 0.5


METHODS = {"EulerMaruyama": (ou.EulerMaruyama(), stepped), "SGD": (ou.SGD(), jumped)}


@pytest.mark.parametrize("name", [pytest.param("EulerMaruyama", marks=pytest.mark.slow), "SGD"])
def test_five_thousand_rates_are_five_thousand_chains(name, key):
    method, oracle = METHODS[name]
    each = values()
    run = ou.simulate(build, each=each, particles=PARTICLES, key=key, method=method)
    ours, theirs = np.asarray(run.final[:, 0], float), oracle(key, each)
    assert run.times.shape == (PARTICLES, 2)
    np.testing.assert_allclose(run.steps[:, -1], each["steps"])
    # float32: about forty roundings of numbers of order one
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    wrong = oracle(key, each | {"batch_size": each["batch_size"] * 1.01})
    assert np.abs(wrong - theirs).max() > 1e-3
    # and their law: each divided by its own standard deviation
    eta, b, n = (np.asarray(each[k]) for k in ("learning_rate", "batch_size", "steps"))
    m = 1 - eta * CURVATURE
    scale = np.sqrt(eta**2 * NOISE / b * (1 - m ** (2 * n)) / (1 - m**2))
    unit = (ours - 0.5 - 1.5 * m**n) / scale
    assert abs(unit.mean()) < 4.5 / np.sqrt(PARTICLES)
    assert abs(unit.var() - 1) < 4.5 * np.sqrt(2 / PARTICLES)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_single_chains_and_chunks(name, key):
    method, _ = METHODS[name]
    each = values()
    run = lambda **kw: ou.simulate(
        build, each=each, particles=PARTICLES, key=key, method=method, **kw
    )
    whole = run()
    for memory in (2**16, 50_001):
        cut = run(memory=memory)
        for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(cut), strict=True):
            np.testing.assert_array_equal(a, b)
    for particle in (0, 1, 17, 1_023, 1_024, 4_999):
        process = build({k: v[particle] for k, v in each.items()})
        alone = ou.simulate(process, particles=particle + 1, key=key, method=method)
        np.testing.assert_allclose(whole.final[particle], alone.final[particle], atol=2e-6)


@pytest.mark.slow
def test_a_million_rates(key):
    count = 1_000_000
    each = values(count)
    run = ou.simulate(build, each=each, particles=count, key=key, method=ou.EulerMaruyama())
    np.testing.assert_allclose(run.final[:, 0], stepped(key, each), atol=1e-5)
