"""Null laws against scipy, statistics against simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxou.convergence import (
    energy_chi2,
    kolmogorov_tail,
    mahalanobis_ks,
    mean_chi2,
    null_moments,
    plug_in_kl,
)
from jaxou.convergence.null_laws import (
    chi2_quantile,
    chi2_tail,
    noncentral_chi2_below,
    noncentrality_limit,
)


@pytest.mark.parametrize("degrees", [1.0, 10.0, 1999.0, 2001.0, 2.1e5])
@pytest.mark.parametrize("tail", [0.5, 0.01, 1e-6])
def test_chi2(degrees, tail):
    x = jnp.asarray(stats.chi2.isf(tail, degrees))
    assert float(chi2_tail(x, jnp.asarray(degrees))) == pytest.approx(tail, rel=5e-3)
    assert float(chi2_quantile(jnp.asarray(tail), jnp.asarray(degrees))) == pytest.approx(
        float(x), rel=1e-4
    )


@pytest.mark.parametrize("degrees", [10.0, 100.0, 2e4])
@pytest.mark.parametrize("shift", [0.5, 50.0, 1000.0])
def test_noncentral_chi2(degrees, shift):
    x = jnp.asarray(stats.ncx2.ppf(0.2, degrees, shift))
    k, c = jnp.asarray(degrees), jnp.asarray(shift)
    assert float(noncentral_chi2_below(x, k, c)) == pytest.approx(0.2, abs=2e-3)
    limit = float(noncentrality_limit(x, k, jnp.asarray(0.2)))
    assert stats.ncx2.cdf(float(x), degrees, limit) == pytest.approx(0.2, abs=2e-3)


def test_a_small_statistic_has_limit_zero():
    limit = noncentrality_limit(jnp.asarray(1.0), jnp.asarray(50.0), jnp.asarray(0.01))
    assert float(limit) == 0.0


@pytest.mark.parametrize("x", [0.3, 0.9, 1.1, 2.0, 3.0])
def test_kolmogorov(x):
    expected = stats.kstwobign.sf(x)
    assert float(kolmogorov_tail(jnp.asarray(x))) == pytest.approx(expected, rel=1e-10)


def test_null_mean_and_variance_of_the_plug_in_kl_by_simulation():
    # V22: 4,000 replicas of n = 60 draws in d = 5; both moments within 4.5 standard errors
    rng = np.random.default_rng(1)
    n, d, replicas = 60, 5, 4_000
    z = rng.normal(size=(replicas, n, d))
    mean = z.mean(1)
    centred = z - mean[:, None]
    s = np.einsum("rni,rnj->rij", centred, centred) / n
    kl = (np.trace(s, axis1=1, axis2=2) - d - np.linalg.slogdet(s)[1] + (mean**2).sum(1)) / 2
    expected, deviation = (float(x) for x in null_moments(n, d))
    assert abs(kl.mean() - expected) < 4.5 * kl.std() / np.sqrt(replicas)
    fourth = ((kl - kl.mean()) ** 4).mean()
    error = np.sqrt((fourth - kl.var() ** 2) / replicas)
    assert abs(kl.var() - deviation**2) < 4.5 * error
    # the naive expectation k / (2 n) without the finite-sample correction is seen to be wrong
    assert abs(kl.mean() - d * (d + 3) / (4 * n)) > 4.5 * kl.std() / np.sqrt(replicas)
    found = plug_in_kl(jnp.asarray(z[0]))
    assert float(found.plug_in) == pytest.approx(kl[0], rel=1e-12)
    exact = -(special.digamma((n - np.arange(1, d + 1)) / 2).sum() + d * np.log(2 / n)) / 2
    assert float(found.null_mean) == pytest.approx(exact, rel=1e-12)


def test_estimate_is_unbiased_and_its_limit_covers_away_from_the_null():
    rng = np.random.default_rng(2)
    n, d, replicas = 200, 3, 300
    scale, shift = np.array([1.3, 0.8, 1.0]), np.array([0.3, 0.0, -0.2])
    truth = (scale**2 - 1 - np.log(scale**2) + shift**2).sum() / 2

    @jax.jit
    def numbers(draws):
        kl = plug_in_kl(draws)
        return kl.estimate, kl.deviation, kl.upper_limit(jnp.asarray(0.05))

    found = np.array(
        [numbers(jnp.asarray(shift + scale * rng.normal(size=(n, d)))) for _ in range(replicas)]
    )
    estimates, deviations, limits = found.T
    spread = estimates.std()
    assert abs(estimates.mean() - truth) < 4.5 * spread / np.sqrt(replicas)
    assert deviations.mean() == pytest.approx(spread, rel=0.2)
    # nominal 95 % of 300: fewer than 270 has probability 2e-4
    assert (limits > truth).sum() >= 270


def test_p_values_are_uniform_under_the_null_and_small_under_wrong_twins():
    rng = np.random.default_rng(3)
    replicas, n, d = 400, 150, 4
    tests = {"mean": mean_chi2, "energy": energy_chi2, "shape": mahalanobis_ks}
    tests["kl"] = lambda z: (None, plug_in_kl(z).p_value)
    every = jax.jit(lambda z: {name: test(z)[1] for name, test in tests.items()})
    p = [every(jnp.asarray(rng.normal(size=(n, d)))) for _ in range(replicas)]
    for name in tests:
        values = np.array([float(x[name]) for x in p])
        assert stats.kstest(values, "uniform").pvalue > 1e-4, name
    twins = {
        "mean": rng.normal(size=(n, d)) + 0.5,
        "energy": 1.3 * rng.normal(size=(n, d)),
        "shape": rng.standard_t(2, size=(n, d)),
        "kl": rng.normal(size=(n, d)) @ np.linalg.cholesky(0.5 * np.eye(d) + 0.5).T,
    }
    for name, draws in twins.items():
        assert float(every(jnp.asarray(draws))[name]) < 1e-6, name


def test_too_few_draws_for_a_covariance_is_refused():
    with pytest.raises(ValueError, match="more draws than dimensions"):
        plug_in_kl(jnp.ones((3, 3)))
