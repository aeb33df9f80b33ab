"""The temperature integral against quadrature: free energies and divergences on a tilted well."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.laws.thermodynamic import ladder_integral, ladder_kl

BETA = 6.0


def risk(x):
    return ((x[0] ** 2 - 1) ** 2 + 0.3 * x[0]) / 4


def on_the_path(level):
    """The law ~ exp(-level BETA r) N(0, 1) and mean and variance of V = -BETA r under it."""
    law = ou.Gibbs(lambda x: level * BETA * risk(x) + x @ x / 2, 1.0, points=1025)
    mean = law.expect(lambda x: -BETA * risk(x))
    return law, mean, law.expect(lambda x: (BETA * risk(x)) ** 2) - mean**2


@pytest.fixture(scope="module")
def rungs():
    points = jnp.linspace(0.0, 1.0, 33) ** 2
    means, variances = jax.vmap(lambda level: on_the_path(level)[1:])(points)
    return points, means, variances


def test_free_energy_and_divergence_against_quadrature(rungs):
    x = np.linspace(-8.0, 8.0, 20_001)
    prior = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    posterior = prior * np.exp(-BETA * ((x**2 - 1) ** 2 + 0.3 * x) / 4)
    mass = np.sum(posterior) * (x[1] - x[0])
    posterior /= mass
    inside = posterior > 0
    kl = np.sum(posterior[inside] * np.log(posterior[inside] / prior[inside])) * (x[1] - x[0])
    assert float(ladder_integral(*rungs)) == pytest.approx(np.log(mass), abs=1e-4)
    assert float(ladder_kl(*rungs)) == pytest.approx(kl, abs=1e-4)
    # plain trapezoids, without the slopes, are far further off
    points, means, variances = rungs
    errors = [float(ladder_integral(points, means, s * variances)) - np.log(mass) for s in (0, 1)]
    assert abs(errors[0]) > 20 * abs(errors[1])
    # the other sign of the shift term is no divergence
    assert abs(float(-means[-1] - ladder_integral(*rungs)) - kl) > 0.5


def test_fourth_order_and_batches():
    means = lambda p: jnp.exp(2 * p)
    errors = []
    for count in (5, 9, 17):
        points = jnp.linspace(0.0, 1.0, count)
        value = ladder_integral(points, means(points), 2 * means(points))
        errors.append(abs(float(value) - (np.exp(2) - 1) / 2))
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(16, rel=0.1)
    both = jnp.stack([means(points), 2 * means(points)])
    values = ladder_integral(points, both, 2 * both)
    assert values.shape == (2,) and float(values[1]) == pytest.approx(2 * float(values[0]))
