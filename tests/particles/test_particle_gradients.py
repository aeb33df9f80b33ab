"""Derivatives through particles: against differences on the same noise, and against exact laws."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from particle_cases import LIMIT

import jaxou as ou
from jaxou.convergence import own_laws

SLOW = pytest.mark.slow
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


def chain_of(numbers, steps):
    # the Hessian and the noise do not commute
    stage = ou.Stage(**numbers, noise=[[1.0, -0.4], [-0.4, 0.5]], minimum=[1.0, -1.0], steps=steps)
    return ou.Chain([stage], initial=ou.Gaussian([1.5, -1.0], 0.02))


def energies(numbers, key, particles, method, steps):
    """Each particle's energy at the end, on a fixed loss."""
    chain = chain_of(numbers, steps)
    run = ou.simulate(chain, particles=particles, key=key, method=method, dtype=jnp.float64)
    gap = run.final - jnp.asarray([[1.0, -1.0]])
    return jnp.sum((gap @ HESSIAN) * gap, axis=1) / 2


def mean_energy_of_law(numbers, method, steps):
    law = own_laws(method, chain_of(numbers, steps))[0]
    gap = law.mean - jnp.asarray([1.0, -1.0])
    return (jnp.trace(HESSIAN @ law.covariance) + gap @ HESSIAN @ gap) / 2


def along(name):
    """A direction that moves one argument only."""
    zero = jax.tree.map(jnp.zeros_like, DIRECTIONS)
    return zero | {name: DIRECTIONS[name]}


def check_forwards(method, key, particles, steps):
    """Pathwise derivatives of all numbers, after comparing them with differences and the law."""
    everyone = lambda numbers: energies(numbers, key, particles, method, steps)
    both = jax.jit(lambda numbers, v: jax.jvp(everyone, (numbers,), (v,)))
    law = jax.jit(
        lambda v: jax.jvp(lambda x: mean_energy_of_law(x, method, steps), (NUMBERS,), (v,))
    )
    found = {}
    for name in DIRECTIONS:
        direction = along(name)
        each = np.asarray(both(NUMBERS, direction)[1])
        h = 1e-5
        ends = []
        for sign in (h, -h):
            moved = {k: NUMBERS[k] + sign * direction[k] for k in NUMBERS}
            ends.append(np.asarray(both(moved, direction)[0]))
        # the same key gives the same noise at both ends
        difference = (ends[0] - ends[1]).mean() / (2 * h)
        assert each.mean() == pytest.approx(difference, rel=1e-5)
        # the mean of the pathwise derivatives is the derivative of the law's mean energy
        truth, error = float(law(direction)[1]), each.std() / np.sqrt(particles)
        assert abs(each.mean() - truth) < LIMIT * error
        # twin: a lost factor 2
        assert abs(each.mean() / 2 - truth) > LIMIT * error
        found[name] = each.mean()
    return found


@SLOW
def test_euler_forwards(key):
    # seven steps are too few for whole loop bodies, which compile slowly: those are tested below
    check_forwards(ou.EulerMaruyama(), key, 8_000, 7)


@SLOW
@pytest.mark.parametrize(
    "method", [ou.EulerMaruyama(), ou.Heun(substeps=2), ou.BAOAB(1.5, substeps=2)]
)
def test_forwards_and_backwards(method, key):
    forward = check_forwards(method, key, 8_000, 21)
    mean = lambda numbers: energies(numbers, key, 8_000, method, 21).mean()
    reverse = jax.jit(jax.grad(mean))(NUMBERS)
    for name, step in DIRECTIONS.items():
        assert float(jnp.sum(reverse[name] * step)) == pytest.approx(forward[name], rel=1e-9)


class Well(eqx.Module):
    """A tilted double well with a width of its own."""

    tilt: jax.Array
    width: jax.Array

    def __call__(self, x):
        return jnp.sum((x**2 - self.width) ** 2) / 4 + self.tilt * x[0]


@pytest.mark.parametrize(
    "method,steps",
    [
        pytest.param(ou.EulerMaruyama(), 7, marks=SLOW),
        pytest.param(ou.EulerMaruyama(), 40, marks=SLOW),
        pytest.param(ou.Heun(), 40, marks=SLOW),
        pytest.param(ou.BAOAB(1.0, substeps=2), 40, marks=SLOW),
    ],
)
def test_parameters_of_a_potential_backwards(method, steps, key):
    def mean(well, rate):
        stage = ou.PotentialStage(
            well, dimension=2, noise=ou.Temperature(0.2), learning_rate=rate, steps=steps
        )
        chain = ou.Chain([stage], initial=ou.Gaussian([0.5, -0.5], 0.0))
        run = ou.simulate(chain, particles=500, key=key, method=method, dtype=jnp.float64, save=3)
        return run.moments.mean[-1, 0] + run.moments.covariance[2, 0, 0]

    at = (Well(jnp.asarray(0.1), jnp.asarray(1.0)), jnp.asarray(0.05))
    both = jax.jit(jax.value_and_grad(mean, argnums=(0, 1)))
    slope = jax.tree.leaves(both(*at)[1])
    leaves, structure = jax.tree.flatten(at)
    for k, h in enumerate((1e-5, 1e-5, 1e-6)):
        moved = [leaves[:k] + [leaves[k] + s * h] + leaves[k + 1 :] for s in (1, -1)]
        ends = [float(both(*structure.unflatten(m))[0]) for m in moved]
        assert float(slope[k]) == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5)


@SLOW
def test_traced_steps_have_forward_derivatives_only(key):
    def mean(rate, steps):
        numbers = NUMBERS | {"learning_rate": rate}
        stage = chain_of(numbers, 7).stages[0].replace(steps=steps)
        chain = ou.Chain([stage], initial=ou.Gaussian([1.5, -1.0], 0.02))
        run = ou.simulate(
            chain, particles=100, key=key, method=ou.EulerMaruyama(), dtype=jnp.float64
        )
        return run.moments.mean[-1].sum()

    rate, steps = jnp.asarray(0.1), jnp.asarray(7.0)
    forward = jax.jit(lambda r, n: jax.jvp(lambda x: mean(x, n), (r,), (jnp.ones(()),))[1])
    known = jax.grad(lambda r: mean(r, 7))(rate)
    assert float(forward(rate, steps)) == pytest.approx(float(known), rel=1e-9)
    with pytest.raises(ValueError, match="[Rr]everse"):
        jax.jit(jax.grad(mean))(rate, steps)
