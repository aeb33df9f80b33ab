"""Gaussian laws: KL and W2 against scipy and finite differences; singular and structured laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import gaussian_kl, gaussian_w2, random_psd, random_spd, symmetric_difference

import jaxou as ou

RNG = np.random.default_rng(3)
D = 4
S1, S0 = random_spd(RNG, D), random_spd(RNG, D)
M1, M0 = RNG.normal(size=D), RNG.normal(size=D)
LAW1, LAW0 = ou.Gaussian(M1, S1), ou.Gaussian(M0, S0)


def structured(d=D):
    return {
        "isotropic": ou.Isotropic(0.8, d),
        "diagonal": ou.Diagonal(np.random.default_rng(4).uniform(0.5, 2, d)),
        "low rank": ou.LowRankPlusDiagonal(
            np.random.default_rng(5).uniform(0.5, 2, d),
            np.random.default_rng(6).normal(size=(d, 2)),
            [1.0, -0.05],
        ),
        "dense": ou.Dense(random_spd(np.random.default_rng(7), d)),
    }


def test_kl_and_w2_against_scipy():
    np.testing.assert_allclose(LAW1.kl(LAW0), gaussian_kl(M1, S1, M0, S0), rtol=1e-10)
    np.testing.assert_allclose(LAW1.w2(LAW0), gaussian_w2(M1, S1, M0, S0), rtol=1e-8)
    frozen = scipy.stats.multivariate_normal(M1, S1)
    np.testing.assert_allclose(LAW1.log_prob(jnp.array(M0)), frozen.logpdf(M0), rtol=1e-10)
    np.testing.assert_allclose(LAW1.entropy(), frozen.entropy(), rtol=1e-10)


@pytest.mark.parametrize("first", structured())
@pytest.mark.parametrize("second", structured())
def test_every_pair_of_structures_agrees_with_dense(first, second):
    a, b = ou.Gaussian(M1, structured()[first]), ou.Gaussian(M0, structured()[second])
    expected = gaussian_kl(M1, np.asarray(a.covariance), M0, np.asarray(b.covariance))
    terms = a.kl_terms(b)
    np.testing.assert_allclose(terms.value, expected, rtol=1e-9)
    total = terms.trace + terms.logdet + terms.dimension + terms.shift
    np.testing.assert_allclose(total, 2 * terms.value, rtol=1e-9)


@pytest.mark.parametrize("kind", structured())
def test_structured_laws_have_the_density_of_dense_ones(kind):
    law = ou.Gaussian(M1, structured()[kind])
    frozen = scipy.stats.multivariate_normal(M1, np.asarray(law.covariance))
    np.testing.assert_allclose(law.log_prob(jnp.array(M0)), frozen.logpdf(M0), rtol=1e-9)
    np.testing.assert_allclose(law.entropy(), frozen.entropy(), rtol=1e-9)


@pytest.mark.parametrize("kind", structured())
def test_samples_have_the_law(kind, key):
    """Whitened draws: n |mean|^2 is chi2(d), and the scatter's trace chi2(n d)."""
    n = 20_000
    law = ou.Gaussian(M1, structured()[kind])
    z = np.linalg.solve(
        np.linalg.cholesky(np.asarray(law.covariance)), (np.asarray(law.sample(key, (n,))) - M1).T
    )
    # 4 structures x 2 statistics, two-sided, one chance in 10^5 for all of them
    level = 1e-5 / 16
    for statistic, freedom in ((n * np.sum(z.mean(axis=1) ** 2), D), (np.sum(z**2), n * D)):
        assert level < scipy.stats.chi2.sf(statistic, freedom) < 1 - level
    # the wrong twin: draws 5 % too wide are rejected by the second statistic
    assert scipy.stats.chi2.sf(np.sum((1.05 * z) ** 2), n * D) < level


def test_gradients_of_kl_and_w2_against_finite_differences():

    def law(mean, s):
        return ou.Gaussian(mean, ou.Dense(s, check=False))

    functions = {
        "kl, posterior": (lambda s: law(M1, s).kl(LAW0), S1),
        "kl, reference": (lambda s: LAW1.kl(law(M0, s)), S0),
        "w2": (lambda s: law(M1, s).w2(LAW0), S1),
    }
    for function, point in functions.values():
        function = jax.jit(function)
        gradient = jax.grad(function)(jnp.array(point))
        numeric = symmetric_difference(function, point)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-9)


def test_second_derivatives_are_finite_and_right_where_eigenvalues_repeat():
    def kl(s):
        return ou.Gaussian(M1, ou.Dense(s, check=False)).kl(ou.Gaussian(M0, 1.0))

    hessian = jax.jit(jax.hessian(kl))(jnp.eye(D))
    # d^2 (-log det S / 2) = tr(S^-1 dS S^-1 dS) / 2 along symmetric changes
    e = random_spd(RNG, D)
    np.testing.assert_allclose(
        np.einsum("ijkl,ij,kl", hessian, e, e), np.trace(e @ e) / 2, rtol=1e-9
    )


def test_nearly_equal_laws_keep_their_digits():
    """KL = sum x^2 / 4 at leading order, far below the rounding of its separate terms."""
    x = 1e-9
    near = ou.Gaussian(M0, S0 * (1 + x))
    np.testing.assert_allclose(near.kl(LAW0), D * x**2 / 4, rtol=1e-3, atol=0)
    assert LAW0.kl(LAW0) == 0.0 and LAW0.w2(LAW0) < 1e-12
    slope = jax.grad(lambda m: ou.Gaussian(m, S0).w2(LAW0))(jnp.array(M0))
    assert jnp.isfinite(slope).all()


def test_singular_laws_on_their_range():
    factor = RNG.normal(size=(D, 2))
    small1, small0 = random_spd(RNG, 2), random_spd(RNG, 2)
    shift = factor @ np.array([0.3, -0.2])
    law1 = ou.Gaussian(shift, factor @ small1 @ factor.T)
    law0 = ou.Gaussian(np.zeros(D), factor @ small0 @ factor.T)
    expected = gaussian_kl([0.3, -0.2], small1, [0.0, 0.0], small0)  # affine invariance
    np.testing.assert_allclose(law1.kl(law0), expected, rtol=1e-8)
    outside = ou.Gaussian(shift + np.linalg.svd(factor)[0][:, -1], law1.covariance)
    assert outside.kl(law0) == jnp.inf
    thinner = ou.Gaussian(np.zeros(D), np.outer(factor[:, 0], factor[:, 0]))
    assert thinner.kl(law0) == jnp.inf and law0.kl(thinner) == jnp.inf
    draws = law1.sample(jax.random.key(1), (50,))
    assert np.linalg.matrix_rank(np.asarray(draws) - shift, tol=1e-9) == 2
    assert jnp.isfinite(law1.log_prob(draws[0])) and law1.log_prob(jnp.array(M0)) == -jnp.inf
    assert law1.entropy() == -jnp.inf


def test_points_are_laws():
    point, other = ou.Gaussian([1.0, 2.0], 0.0), ou.Gaussian([1.0, 2.5], 0.0)
    assert point.kl(point) == 0.0 and point.kl(other) == jnp.inf
    assert point.w2(other) == 0.5
    np.testing.assert_array_equal(point.sample(jax.random.key(0), (3,)), [[1.0, 2.0]] * 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_kl_is_non_negative_and_affine_invariant(seed, scale1, scale0):
    rng = np.random.default_rng(seed)
    s1, s0 = scale1 * random_psd(rng, D, D + 2), scale0 * random_psd(rng, D, D + 2)
    m1, m0 = rng.normal(size=D), rng.normal(size=D)
    value = ou.Gaussian(m1, s1).kl(ou.Gaussian(m0, s0))
    assert value >= 0
    t = np.eye(D) + 0.3 * rng.normal(size=(D, D))
    moved = ou.Gaussian(t @ m1, t @ s1 @ t.T).kl(ou.Gaussian(t @ m0, t @ s0 @ t.T))
    np.testing.assert_allclose(moved, value, rtol=1e-6, atol=1e-9)
