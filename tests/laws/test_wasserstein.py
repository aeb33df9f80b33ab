"""W2 between laws of low rank over isotropic ones, where dense matrices are out of reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.laws import wasserstein as w


@pytest.mark.slow
def test_w2_in_the_span_of_both_factors_is_w2():
    """The structured route beside the dense one, values and slopes."""
    rng = np.random.default_rng(3)

    def law(scale, factor):
        return ou.LowRankPlusDiagonal(scale, factor, jnp.asarray([1.5, 0.3]))

    one, two = (jnp.asarray(rng.normal(size=(7, 2))) for _ in range(2))

    def structured(scale, factor):
        return w._flat_bures_squared(law(scale, factor), law(0.8, two), 7)

    def dense(scale, factor):
        return w._bures_squared(law(scale, factor).dense(), law(0.8, two).dense())

    at = (jnp.asarray(0.5), one)
    assert abs(structured(*at) - dense(*at)) < 1e-10
    for a, b in zip(jax.grad(structured, (0, 1))(*at), jax.grad(dense, (0, 1))(*at), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    # and large: no d x d matrix is formed
    big = jnp.asarray(rng.normal(size=(200_000, 2)))
    near = ou.Gaussian(jnp.zeros(200_000), ou.LowRankPlusDiagonal(1.0, big))
    assert float(near.w2(near)) < 1e-3
    far = ou.Gaussian(jnp.zeros(200_000), ou.Isotropic(4.0))
    assert abs(float(far.w2(ou.Gaussian(jnp.zeros(200_000), 1.0))) - 200_000**0.5) < 1e-6
