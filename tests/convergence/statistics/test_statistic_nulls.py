"""Null laws: exact means, scaling in n, right draws pass and wrong twins do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxou.convergence.statistics import (
    MMD,
    BuresW2,
    Covariance,
    EnergyDistance,
    LagAntisymmetry,
    LagCovariance,
    MardiaKurtosis,
    MardiaSkewness,
    MeanChi2,
    SlicedW1,
    SteinDiscrepancy,
    TotalVariance,
    evaluate,
    joint_null,
    min_p,
    power,
    standard,
)
from jaxou.convergence.statistics.bartlett import moment_values
from jaxou.convergence.statistics.family import smallest_p_law
from jaxou.convergence.statistics.nulls import Simulated
from jaxou.convergence.statistics.simulated import _replicates
from jaxou.convergence.statistics.spectral import eigenvalue_sum

N, R, SEEDS = 200, 4, 300
STANDARD = standard()
SIGMAS = 4.5


def within(sample, mean):
    """The sample's mean is `mean` up to 4.5 standard errors (p = 7e-6 each)."""
    return abs(np.mean(sample) - mean) < SIGMAS * np.std(sample) / np.sqrt(len(sample))


@pytest.fixture(scope="module")
def joint():
    return joint_null(STANDARD, N, R)


@pytest.fixture(scope="module")
def fresh():
    """Values on draws that no null law has seen."""
    keys = jax.random.split(jax.random.key(77), SEEDS)
    return np.asarray(_replicates(STANDARD, N, R, False, keys))


@pytest.mark.slow
def test_null_means_are_those_of_the_theory(joint):
    column = {type(s): np.asarray(joint.values)[:, k] for k, s in enumerate(joint.statistics)}
    for kind in (MMD, EnergyDistance, SteinDiscrepancy):
        assert within(column[kind], 0.0), kind
    assert within(column[Covariance], R * (R + 1) / 2)
    assert within(column[MardiaKurtosis], R * (R + 2) * (N - 1) / (N + 1))
    skewness = R * (R + 2) * ((N + 1) * (R + 1) - 6) / ((N + 1) * (N + 3))
    assert within(column[MardiaSkewness], skewness)
    # the limit is seen to be wrong at this n
    assert not within(column[MardiaKurtosis], R * (R + 2))
    # sqrt(n) W1 of one direction: sqrt(2 / pi) 1.614744, less a correction of order 1 / n
    assert np.sqrt(N) * np.mean(column[SlicedW1]) == pytest.approx(1.288379, rel=0.02)
    # W2 to leading order: r (r + 5) / (4 n)
    assert np.mean(column[BuresW2]) == pytest.approx(R * (R + 5) / (4 * N), rel=0.03)


def test_diagonals_have_the_null_means_of_the_v_statistics():
    z = np.random.default_rng(3).normal(size=(40_000, 5))
    squares, r = jnp.asarray((z**2).sum(1)), 5
    k = (r / (r + 2)) ** (r / 2)
    assert within(MMD().diagonal(squares, r), 1 - k)
    between = 2 * special.gamma((r + 1) / 2) / special.gamma(r / 2)
    assert within(EnergyDistance().diagonal(squares, r), between)
    assert within(SteinDiscrepancy().diagonal(squares, r), r**0.5 + r**-0.5)


def test_moments_of_large_covariances_against_bartlett():
    r, n = 30, 90
    seen = np.stack([moment_values(s, n, r, 400) for s in (Covariance(), BuresW2())], axis=1)
    nu = n - 1
    assert within(seen[:, 0], r * (r + 1) / 2)
    variance = r * (r + 1) + r * (2 * r**2 + 5 * r + 5) / nu
    # a variance from 400 nearly normal numbers is right to 7 %
    assert seen[:, 0].var() == pytest.approx(variance, rel=SIGMAS * 0.07)
    mean, _ = eigenvalue_sum(lambda x: (np.sqrt(x * nu / n) - 1) ** 2, r, float(nu))
    assert within(seen[:, 1], mean + r / n)
    # to leading order in 1 / n only, the mean would be far off here
    assert not within(seen[:, 1], r * (r + 5) / (4 * n))


@pytest.mark.slow
def test_pivots_are_free_of_n():
    statistics = (SlicedW1(), EnergyDistance(), MMD(), SteinDiscrepancy())
    pivots = {}
    for n in (60, 240):
        found = np.asarray(joint_null(statistics, n, 3, replicates=500).values)
        pivots[n] = [v * s.pivot(n, 3)[1] for s, v in zip(statistics, found.T, strict=True)]
        raw = found.T
    for s, a, b, c in zip(statistics, pivots[60], pivots[240], raw, strict=True):
        assert stats.ks_2samp(a, b).pvalue > 1e-4, s.name
        assert stats.ks_2samp(a, c).pvalue < 1e-4, s.name  # without the pivot the laws differ


@pytest.mark.slow
def test_p_values_are_uniform_under_the_claim(joint, fresh):
    p = {}
    for k, s in enumerate(STANDARD):
        law = s.null(N, R, joint=joint)
        p[s] = np.asarray(jax.lax.map(law.p_value, jnp.asarray(fresh[:, k])))
        replicates = law.replicates.shape[0] if isinstance(law, Simulated) else np.inf
        size = 1 / (1 / SEEDS + 1 / replicates)
        distance = stats.kstest(p[s], "uniform").statistic
        # 14 tests at 1e-4
        assert stats.kstwobign.sf(np.sqrt(size) * distance) > 1e-4, s.name
        tail = float(law.quantile(0.2))
        assert float(law.p_value(tail)) == pytest.approx(0.2 if s.sides == "upper" else 0.4, 2e-2)
    each = np.array([p[s] for s in joint.statistics]).T
    family = np.array([min_p(row, joint).p_value for row in each])
    # binomial(300, 0.1): outside this with probability below 1e-4
    assert 11 <= (family < 0.1).sum() <= 52
    assert all(f <= len(row) * row.min() + 1e-12 for f, row in zip(family, each, strict=True))


def twin(name, rng):
    z = rng.normal(size=(N, R))
    if name == "shifted":
        return z + 0.25
    if name == "scales a quarter too wide":
        return z * 1.25
    if name == "one direction":
        return z * np.array([1.7, 1, 1, 1])[None, :]
    if name == "heavy tails":
        return rng.standard_t(3, size=(N, R)) / np.sqrt(3)
    return np.where(z > 0, 1.0, -1.0) * np.abs(rng.exponential(size=(N, R)))  # Laplace


CATCHES = {
    "shifted": "mean|all moments (KL)|equipartition|MMD|energy distance|Stein discrepancy"
    "|projections (sliced W1)|W2 of the moments",
    "scales a quarter too wide": "total variance|covariance|shape (Mahalanobis)",
    "one direction": "extreme eigenvalues|covariance|equipartition",
    "heavy tails": "kurtosis (Mardia)|skewness (Mardia)|shape (Mahalanobis)",
}


@pytest.mark.parametrize("name", CATCHES)
def test_wrong_twins_are_rejected(name, joint):
    draws = twin(name, np.random.default_rng(11))
    found = evaluate(STANDARD, draws, joint=joint)
    for statistic in CATCHES[name].split("|"):
        assert found[statistic].p_value < 1e-3, (statistic, found[statistic])
    assert found.family.p_value < 1e-4


def test_a_small_smallest_p_value_falls_back_on_bonferroni(joint):
    p = [1e-9] + [0.5] * (len(joint.statistics) - 1)
    family = min_p(p, joint)
    assert family.p_value == pytest.approx(14e-9) and "Bonferroni" in family.how
    lowest = smallest_p_law(joint)
    at = float(np.quantile(lowest, 0.05))
    found = min_p([at] + [0.9] * 13, joint)
    # the statistics depend on each other: the joint law is sharper than Bonferroni
    assert found.p_value == pytest.approx(0.05, abs=0.01) and found.p_value < 0.8 * 14 * at
    assert min_p([at] + [None] * 13, joint).p_value == pytest.approx(at, rel=0.2)


@pytest.mark.parametrize("degrees", [1, 2, 30])
def test_the_continued_tail_errs_on_the_safe_side(degrees):
    sample = np.random.default_rng(degrees).chisquare(degrees, 2_000)
    law = Simulated(sample, 0.0, 1.0, "chi2")
    for p in (1e-4, 1e-6, 1e-9):
        seen = float(law.p_value(stats.chi2.isf(p, degrees)))
        assert p < seen < 30 * p**0.75


def pairs_of(regression, n, rng):
    m = np.asarray(regression)
    root = np.linalg.cholesky(np.eye(len(m)) - m @ m.T)
    start = rng.normal(size=(n, len(m)))
    return np.hstack([start, start @ m.T + rng.normal(size=start.shape) @ root.T])


def test_lag_covariances():
    right = np.array([[0.6, 0.3], [-0.3, 0.5]])
    tests = (LagCovariance(right), LagAntisymmetry(right))
    rng = np.random.default_rng(2)
    p = [
        [t.p_value for t in evaluate(tests, pairs_of(right, 100, rng), joint=False).tests]
        for _ in range(60)
    ]
    for column in np.array(p).T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    reversible = (right + right.T) / 2
    found = evaluate(tests, pairs_of(reversible, 400, rng), joint=False)
    assert all(test.p_value < 1e-6 for test in found.tests)
    # the antisymmetric part is blind to a symmetric error, the value is not
    faster = pairs_of(right + 0.25 * np.eye(2), 400, rng)
    found = evaluate(tests, faster, joint=False)
    assert found["lag covariance"].p_value < 1e-6 < 1e-3 < found["lag antisymmetry"].p_value
    with pytest.raises(ValueError, match="singular value"):
        LagCovariance(np.eye(2))


@pytest.mark.slow
def test_smallest_deviations_are_seen_with_the_stated_power():
    level, wanted, n, r = 0.01, 0.8, 60, 10
    shift = float(MeanChi2().smallest(n, r, level, wanted).value)
    excess = float(TotalVariance().smallest(n, r, level, wanted).value)
    samplers = {
        MeanChi2(): lambda k: jax.random.normal(k, (n, r)) + shift / r**0.5,
        TotalVariance(): lambda k: jax.random.normal(k, (n, r)) * (1 + excess) ** 0.5,
    }
    for statistic, sampler in samplers.items():
        found = power((statistic,), sampler, n, r, level=level, key=jax.random.key(4))
        # 200 replicates: standard error 0.028
        assert abs(float(found.rejected[0]) - wanted) < SIGMAS * 0.028
