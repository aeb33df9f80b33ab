"""Derivatives through particles: against differences on the same noise, and against exact laws."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from particle_cases import LIMIT

import jaxou as ou

STEPS = 21
HESSIAN = jnp.asarray([[2.0, 0.6], [0.6, 1.0]])
NUMBERS = {
    "learning_rate": jnp.asarray(0.1),
    "batch_size": jnp.asarray(8.0),
    "hessian": HESSIAN,
}
DIRECTIONS = {
    "learning_rate": jnp.asarray(0.1),
    "batch_size": jnp.asarray(8.0),
    "hessian": jnp.asarray([[0.5, -0.2], [-0.2, 0.3]]),
}


def chain_of(numbers):
    # the Hessian and the noise do not commute
    stage = ou.Stage(
        **numbers, noise=[[1.0, -0.4], [-0.4, 0.5]], minimum=[1.0, -1.0], steps=STEPS
    )
    return ou.Chain([stage], initial=ou.Gaussian([1.5, -1.0], 0.02))


def energies(numbers, key, particles, method=None):
    """Each particle's energy at the end, on a fixed loss."""
    method = ou.EulerMaruyama() if method is None else method
    run = ou.simulate(
        chain_of(numbers), particles=particles, key=key, method=method, dtype=jnp.float64
    )
    gap = run.final - jnp.asarray([[1.0, -1.0]])
    return jnp.sum((gap @ HESSIAN) * gap, axis=1) / 2


def mean_energy_of_law(numbers, method):
    chain = chain_of(numbers)
    law = method.kernel(chain.stages[0])(chain.initial)
    gap = law.mean - jnp.asarray([1.0, -1.0])
    return (jnp.trace(HESSIAN @ law.covariance) + gap @ HESSIAN @ gap) / 2


def along(name):
    """A direction that moves one argument only."""
    zero = jax.tree.map(jnp.zeros_like, DIRECTIONS)
    return zero | {name: DIRECTIONS[name]}


def check_against_differences_and_the_law(method, key, particles):
    everyone = lambda numbers: energies(numbers, key, particles, method)
    tangents = jax.jit(lambda v: jax.jvp(everyone, (NUMBERS,), (v,))[1])
    value = jax.jit(lambda numbers: jnp.mean(everyone(numbers)))
    reverse = jax.jit(jax.grad(value))(NUMBERS)
    exact = jax.grad(lambda numbers: mean_energy_of_law(numbers, method))(NUMBERS)
    for name, step in DIRECTIONS.items():
        each = np.asarray(tangents(along(name)))
        h = 1e-5
        moved = [
            value(jax.tree.map(lambda x, v, s=s: x + s * h * v, NUMBERS, along(name)))
            for s in (1, -1)
        ]
        difference = float(moved[0] - moved[1]) / (2 * h)
        assert each.mean() == pytest.approx(difference, rel=1e-5)
        assert float(jnp.sum(reverse[name] * step)) == pytest.approx(each.mean(), rel=1e-9)
        # the mean of the pathwise derivatives is the derivative of the law's mean energy
        truth, error = float(jnp.sum(exact[name] * step)), each.std() / np.sqrt(particles)
        assert abs(each.mean() - truth) < LIMIT * error
        # twin: a derivative that is 10 % off
        assert abs(1.1 * each.mean() - truth) > LIMIT * error


def test_euler_forwards_and_backwards(key):
    check_against_differences_and_the_law(ou.EulerMaruyama(), key, 8_000)


@pytest.mark.slow
@pytest.mark.parametrize("method", [ou.Heun(substeps=2), ou.BAOAB(1.5, substeps=2)])
def test_heun_and_baoab_forwards_and_backwards(method, key):
    if isinstance(method, ou.BAOAB):
        with pytest.raises(AssertionError):  # its kernel moves (x, v), so the law is not a position's
            check_against_differences_and_the_law(method, key, 200)
    else:
        check_against_differences_and_the_law(method, key, 8_000)


class Well(eqx.Module):
    """A tilted double well with a width of its own."""

    tilt: jax.Array
    width: jax.Array

    def __call__(self, x):
        return jnp.sum((x**2 - self.width) ** 2) / 4 + self.tilt * x[0]


@pytest.mark.parametrize(
    "method",
    [
        ou.EulerMaruyama(),
        pytest.param(ou.Heun(), marks=pytest.mark.slow),
        pytest.param(ou.BAOAB(1.0), marks=pytest.mark.slow),
        ou.BAOAB(1.0, substeps=2),
    ],
)
def test_parameters_of_a_potential_backwards(method, key):
    def mean(well, rate=jnp.asarray(0.05)):
        stage = ou.PotentialStage(
            well, dimension=2, noise=ou.Temperature(0.2), learning_rate=rate, steps=40
        )
        chain = ou.Chain([stage], initial=ou.Gaussian([0.5, -0.5], 0.0))
        run = ou.simulate(chain, particles=500, key=key, method=method, dtype=jnp.float64, save=3)
        return run.moments.mean[-1, 0] + run.moments.covariance[2, 0, 0]

    well = Well(jnp.asarray(0.1), jnp.asarray(1.0))
    value = jax.jit(mean)
    slope, by_rate = jax.jit(jax.grad(mean, argnums=(0, 1)))(well, jnp.asarray(0.05))
    h = 1e-5
    for name in ("tilt", "width"):
        at = lambda x, name=name: eqx.tree_at(lambda w: getattr(w, name), well, x)
        ends = [value(at(getattr(well, name) + s * h)) for s in (1, -1)]
        difference = float(ends[0] - ends[1]) / (2 * h)
        assert float(getattr(slope, name)) == pytest.approx(difference, rel=1e-5)
    ends = [value(well, jnp.asarray(0.05 + s * 1e-6)) for s in (1, -1)]
    assert float(by_rate) == pytest.approx(float(ends[0] - ends[1]) / 2e-6, rel=1e-5)


def test_traced_steps_have_forward_derivatives_only(key):
    def mean(rate, steps):
        numbers = NUMBERS | {"learning_rate": rate}
        stage = chain_of(numbers).stages[0].replace(steps=steps)
        chain = ou.Chain([stage], initial=ou.Gaussian([1.5, -1.0], 0.02))
        run = ou.simulate(
            chain, particles=100, key=key, method=ou.EulerMaruyama(), dtype=jnp.float64
        )
        return run.moments.mean[-1].sum()

    rate, steps = jnp.asarray(0.1), jnp.asarray(float(STEPS))
    forward = jax.jit(lambda r, n: jax.jvp(lambda x: mean(x, n), (r,), (jnp.ones(()),))[1])
    known = jax.grad(lambda r: mean(r, STEPS))(rate)
    assert float(forward(rate, steps)) == pytest.approx(float(known), rel=1e-9)
    with pytest.raises(ValueError, match="[Rr]everse"):
        jax.jit(jax.grad(mean))(rate, steps)
