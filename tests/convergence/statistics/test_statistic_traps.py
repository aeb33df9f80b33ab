"""Naive ways to test convergence, each shown to fail where the package's way does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal, stats

from jaxou.convergence.statistics import (
    BuresW2,
    MahalanobisKS,
    MardiaKurtosis,
    MardiaSkewness,
    MeanChi2,
    effective_size,
    evaluate,
    values,
)
from jaxou.convergence.statistics.effective_size import linear_factor, quadratic_factor


def test_the_nominal_laws_of_mardia_reject_true_claims():
    n, r, seeds = 200, 50, 60
    keys = jax.random.split(jax.random.key(1), seeds)
    tests = (MardiaSkewness(), MardiaKurtosis())
    run = jax.jit(
        lambda ks: jax.lax.map(
            lambda k: values(tests, jax.random.normal(k, (n, r), jnp.float32))[0], ks
        )
    )
    skewness, kurtosis = np.asarray(run(keys)).T
    means = (
        r * (r + 2) * ((n + 1) * (r + 1) - 6) / ((n + 1) * (n + 3)),
        r * (r + 2) * (n - 1) / (n + 1),
    )
    variance = 8 * r * (r + 2) * (n - 3) * (n - r - 1) * (n - r + 1)
    variance /= (n + 1) ** 2 * (n + 3) * (n + 5)
    for seen, mean in zip((skewness, kurtosis), means, strict=True):
        assert abs(seen.mean() - mean) < 4.5 * seen.std() / np.sqrt(seeds)
    # 59 degrees of freedom: both tails at 1e-4
    assert 0.42 < kurtosis.var(ddof=1) / variance < 1.85
    z = (kurtosis - r * (r + 2)) / np.sqrt(8 * r * (r + 2) / n)
    # nominal 5 %; the theory says 80 %
    assert (np.abs(z) > 1.96).mean() > 0.6
    exact = (kurtosis - means[1]) / np.sqrt(variance)
    assert (np.abs(exact) > 1.96).mean() < 0.2


@pytest.mark.slow
def test_fitted_moments_make_the_naive_distance_blind():
    rng = np.random.default_rng(8)
    naive, ours = [], []
    for _ in range(60):
        z = rng.normal(size=(150, 4))
        found = evaluate((MahalanobisKS(),), z, fitted=True, joint=False).tests[0]
        ours.append(found.p_value)
        naive.append(float(MahalanobisKS().null(150, 4).p_value(found.statistic)))
    assert (np.array(naive) < 0.05).sum() == 0
    assert stats.kstest(naive, "uniform").pvalue < 1e-4
    assert stats.kstest(ours, "uniform").pvalue > 1e-4
    heavy = rng.standard_t(3, size=(150, 4)) * 7 - 2  # any mean and scale: only the shape counts
    found = evaluate((MahalanobisKS(), MeanChi2()), heavy, fitted=True, joint=False)
    assert found["shape (Mahalanobis)"].p_value < 1e-3
    assert found["mean"].p_value is None and "own moments" in found["mean"].reason


def autoregression(rho, n, rng):
    noise = rng.normal(size=n + 500) * np.sqrt(1 - rho**2)
    return signal.lfilter([1.0], [1.0, -rho], noise)[500:]


def test_one_trajectory_is_not_n_draws():
    rho, n, rng = 0.9, 1_000, np.random.default_rng(9)
    naive, thinned = [], []
    for _ in range(60):
        series = autoregression(rho, 30 * n, rng)
        naive.append(stats.kstest(series[:n], "norm").pvalue)
        step = 30
        thinned.append(stats.kstest(series[::step], "norm").pvalue)
    # nominal 5 % : more than half of the true claims are rejected (theory: 55 %)
    assert (np.array(naive) < 0.05).mean() > 0.35
    assert (np.array(thinned) < 0.05).mean() < 0.2


@pytest.mark.slow
def test_effective_size_of_an_autoregression():
    rho, n = 0.9, 200_000
    series = autoregression(rho, n, np.random.default_rng(10))
    found = effective_size(jnp.asarray(series)[:, None])
    linear, quadratic = (float(f(rho)) * n for f in (linear_factor, quadratic_factor))
    assert abs(float(found.linear[0]) / linear - 1) < 0.15
    assert abs(float(found.quadratic[0]) / quadratic - 1) < 0.15
    assert 55 <= float(found.thinning[0]) <= 60 + 10
    alone = effective_size(jnp.asarray(np.random.default_rng(1).normal(size=(5_000, 2))))
    assert bool(jnp.all(alone.linear > 4_000)) and bool(jnp.all(alone.linear <= 5_000))


@pytest.mark.slow
def test_a_fixed_tolerance_on_w2_rejects_every_true_claim_in_high_dimension():
    rng, n, tolerance = np.random.default_rng(12), 2_000, 0.2
    for r, fails in ((2, False), (20, True)):
        z = rng.normal(size=(n, r))
        found = evaluate((BuresW2(),), z, joint=False).tests[0]
        assert (np.sqrt(found.statistic) > tolerance) == fails
        assert found.p_value > 1e-3
