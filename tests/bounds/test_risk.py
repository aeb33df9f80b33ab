"""The saturated risk against simulation, in every structure, at the edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.bounds import SaturatedRisk

A = jnp.asarray([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.7]])
MINIMUM = jnp.asarray([0.1, -0.3, 0.2])


@pytest.mark.parametrize("rank", [1, 3])
def test_against_simulation(key, rank):
    root = jax.random.normal(jax.random.fold_in(key, 1), (3, rank)) * 0.6
    law = ou.Gaussian([0.5, 0.0, -0.2], root @ root.T)
    risk = SaturatedRisk(A, MINIMUM, floor=0.2, scale=1.5)
    draws = 200_000
    x = law.sample(key, (draws,)) - MINIMUM[None, :]
    losses = 1 - jnp.exp(-(0.2 + 0.5 * jnp.sum((x @ A) * x, axis=1)) / 1.5)
    error = 5 * losses.std() / np.sqrt(draws)  # five standard errors: fails once in 2 million
    assert abs(losses.mean() - risk(law)) < error
    # the wrong twin, without the factor 1/2 of the loss, is noticed
    twin = SaturatedRisk(2 * A, MINIMUM, floor=0.2, scale=1.5)
    assert abs(losses.mean() - twin(law)) > error


def test_structures_agree_with_dense(key):
    d = 6
    k1, k2, k3 = jax.random.split(key, 3)
    low_rank = ou.LowRankPlusDiagonal(0.3, jax.random.normal(k1, (d, 2)), [1.0, 0.5])
    other = ou.LowRankPlusDiagonal(jnp.linspace(0.1, 0.6, d), 0.3 * jax.random.normal(k2, (d, 3)))
    diagonal = ou.Diagonal(jnp.linspace(0.2, 1.0, d))
    mean = jax.random.normal(k3, (d,))
    for hessian, covariance in [
        (low_rank, other),
        (low_rank, diagonal),
        (diagonal, other),
        (diagonal, ou.Isotropic(0.0, d)),
    ]:
        structured = SaturatedRisk(hessian, 0.1 * mean, floor=0.1)
        dense = SaturatedRisk(hessian.dense(), 0.1 * mean, floor=0.1)
        value = structured(ou.Gaussian(mean, covariance))
        np.testing.assert_allclose(value, dense(ou.Gaussian(mean, covariance.dense())), rtol=1e-11)


def test_a_million_parameters(key):
    d = 10**6
    factor = jax.random.normal(key, (d, 2)) / jnp.sqrt(d)
    risk = SaturatedRisk(ou.LowRankPlusDiagonal(1e-6, factor), jnp.zeros(d))
    law = ou.Gaussian(jnp.zeros(d), ou.LowRankPlusDiagonal(0.1, factor))
    assert 0 < risk(law) < 1


def test_edges():
    risk = SaturatedRisk(A, MINIMUM)
    assert risk(ou.Gaussian(MINIMUM, 0.0)) == 0.0
    assert 0.999 < risk(ou.Gaussian(MINIMUM + 100.0, 1.0)) <= 1.0
    tiny = risk(ou.Gaussian(MINIMUM, 1e-9))
    np.testing.assert_allclose(tiny, 0.5e-9 * jnp.trace(A), rtol=1e-5)


def test_gradient_with_a_singular_law_and_hessian():
    hessian, covariance = jnp.diag(jnp.asarray([1.0, 0.0])), jnp.diag(jnp.asarray([0.0, 2.0]))

    def value(mean, covariance):
        return SaturatedRisk(hessian, [0.0, 0.0])(ou.Gaussian(mean, covariance))

    along_mean, along_covariance = jax.grad(value, (0, 1))(jnp.asarray([0.5, 1.0]), covariance)
    # law and loss move on different axes: 1 - exp(-x^2/2) at x = 0.5
    keep = np.exp(-0.125)
    np.testing.assert_allclose(along_mean, [0.5 * keep, 0.0], rtol=1e-12)
    np.testing.assert_allclose(
        np.diagonal(along_covariance), [keep * (1 - 0.25) / 2, 0.0], rtol=1e-10
    )


def test_refusals():
    with pytest.raises(ValueError, match="floor=-1"):
        SaturatedRisk(A, MINIMUM, floor=-1.0)
    with pytest.raises(ValueError, match="scale=0"):
        SaturatedRisk(A, MINIMUM, scale=0.0)
    with pytest.raises(ValueError, match="negative"):
        SaturatedRisk(-A, MINIMUM)
    with pytest.raises(ValueError, match="dimension"):
        SaturatedRisk(A, MINIMUM)(ou.Gaussian([0.0], 1.0))
