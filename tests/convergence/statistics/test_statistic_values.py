"""Values of statistics against loops in numpy, scipy and automatic differentiation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import special, stats

from jaxou.convergence.plug_in_kl import plug_in_kl
from jaxou.convergence.statistics import (
    MMD,
    BuresW2,
    Covariance,
    EnergyDistance,
    Equipartition,
    MahalanobisKS,
    MardiaKurtosis,
    MardiaSkewness,
    MeanChi2,
    MomentsKL,
    SlicedW1,
    SteinDiscrepancy,
    TotalVariance,
    evaluate,
    pair_sums,
    values,
)
from jaxou.convergence.statistics.energy_distance import mean_distance
from jaxou.convergence.statistics.values import pair_values

N, R = 23, 3


@pytest.fixture(scope="module")
def z():
    return 0.2 + 1.1 * np.random.default_rng(5).normal(size=(N, R))


def one_piece(statistics, z):
    return eqx.filter_jit(lambda draws: values(statistics, draws))(jnp.asarray(z))


def streamed_values(statistics, z, block):
    return [test.statistic for test in evaluate(statistics, z, block=block, joint=False).tests]


def off_diagonal_mean(h, z):
    n = len(z)
    return sum(h(z[i], z[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))


def mmd_loop(z):
    h2 = float(R)

    def cross(x):
        return (h2 / (h2 + 1)) ** (R / 2) * np.exp(-(x @ x) / (2 * (h2 + 1)))

    def h(x, y):
        k = np.exp(-((x - y) @ (x - y)) / (2 * h2))
        return k - cross(x) - cross(y) + (h2 / (h2 + 2)) ** (R / 2)

    return off_diagonal_mean(h, z)


def energy_loop(z):
    factor = np.sqrt(2) * special.gamma((R + 1) / 2) / special.gamma(R / 2)

    def h(x, y):
        to_target = [factor * special.hyp1f1(-0.5, R / 2, -(v @ v) / 2) for v in (x, y)]
        among = 2 * special.gamma((R + 1) / 2) / special.gamma(R / 2)
        return sum(to_target) - np.linalg.norm(x - y) - among

    return off_diagonal_mean(h, z)


def stein_loop(z):
    """Stein's kernel from its definition, by automatic differentiation."""

    def k(x, y):
        return 1 / jnp.sqrt(R + jnp.sum((x - y) ** 2))

    @jax.jit
    def h(x, y):
        gx, gy = jax.grad(k)(x, y), jax.grad(k, 1)(x, y)
        mixed = jnp.trace(jax.jacfwd(jax.grad(k), 1)(x, y))
        return x @ y * k(x, y) - x @ gy - y @ gx + mixed

    x = jnp.asarray(z)
    every = np.array(jax.vmap(lambda a: jax.vmap(lambda b: h(a, b))(x))(x))
    return (every.sum() - np.trace(every)) / (N * (N - 1))


@pytest.mark.parametrize("tile", [8, 512], ids=["four tiles", "one tile"])
def test_pair_statistics_are_the_double_loops(z, tile, monkeypatch):
    monkeypatch.setattr(pair_sums, "TILE", tile)
    found = pair_values((MMD(), EnergyDistance(), SteinDiscrepancy()), jnp.asarray(z), False)
    for (value, error), loop in zip(found, (mmd_loop, energy_loop, stein_loop), strict=True):
        assert float(value) == pytest.approx(loop(z), rel=1e-7)
        assert float(error) > 0


def test_mean_distance_against_kummers_function():
    for r in (1, 2, 7, 60):
        s = np.array([0.0, 1e-3, 1.0, r, 30.0 + r])
        factor = np.sqrt(2) * np.exp(special.gammaln((r + 1) / 2) - special.gammaln(r / 2))
        expected = factor * special.hyp1f1(-0.5, r / 2, -s / 2)
        np.testing.assert_allclose(mean_distance(jnp.asarray(s), r), expected, rtol=1e-8)


def own_whitened(z):
    centred = z - z.mean(0)
    return np.linalg.solve(np.linalg.cholesky(centred.T @ centred / len(z)), centred.T).T


@pytest.mark.parametrize("direct", [True, False], ids=["tensor", "pairs"])
def test_mardia(z, direct, monkeypatch):
    if not direct:
        monkeypatch.setattr("jaxou.convergence.statistics.mardia.TENSOR", 0)
    y = own_whitened(z)
    (skewness, kurtosis), _ = one_piece((MardiaSkewness(), MardiaKurtosis()), z)
    loop = sum((a @ b) ** 3 for a in y for b in y) / N**2
    assert float(skewness) == pytest.approx(loop, rel=1e-10)
    assert float(kurtosis) == pytest.approx(np.mean((y**2).sum(1) ** 2), rel=1e-10)


def test_statistics_of_moments(z):
    scale = np.array([2.0, 0.5, 1.0])
    wanted = (
        MeanChi2(),
        TotalVariance(),
        Covariance(),
        MomentsKL(),
        BuresW2(),
        BuresW2(scale),
        Equipartition(),
    )
    found, errors = one_piece(wanted, z)
    assert bool(jnp.all(errors > 0))
    m, s = z.mean(0), np.cov(z.T)
    kl = plug_in_kl(jnp.asarray(z))
    root = np.diag(np.sqrt(scale))
    fitted = root @ s @ root * (N - 1) / N
    p = [2 * stats.norm.sf(np.abs(np.sqrt(N) * m))]
    chi2 = stats.chi2(N - 1)
    p += [2 * np.minimum(chi2.sf((N - 1) * np.diag(s)), chi2.cdf((N - 1) * np.diag(s)))]
    expected = [
        N * m @ m,
        (z**2).sum(),
        (N - 1) / 2 * ((s - np.eye(R)) ** 2).sum(),
        float(kl.estimate),
        oracles.gaussian_w2(m, s * (N - 1) / N, np.zeros(R), np.eye(R)) ** 2,
        oracles.gaussian_w2(root @ m, fitted, np.zeros(R), np.diag(scale)) ** 2,
        stats.norm.isf(np.min(p) / 2),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_distances_of_distribution_functions(z):
    statistic = SlicedW1()
    found, _ = one_piece((MahalanobisKS(), statistic), z)
    exact = stats.kstest((z**2).sum(1), stats.chi2(R).cdf).statistic
    assert exact - 1.1e-4 <= float(found[0]) <= exact + 1e-9
    x = np.linspace(-9, 9, 200_001)
    each = []
    for axis in np.asarray(statistic.axes(R)).T:
        below = np.searchsorted(np.sort(z @ axis), x, side="right") / N
        each.append(np.trapezoid(np.abs(below - stats.norm.cdf(x)), x))
    # half a cell per jump of 1 / N, with both signs
    assert float(found[1]) == pytest.approx(np.mean(each), abs=1 / 64 / 4)
    np.testing.assert_allclose(np.linalg.norm(statistic.axes(R), axis=0), 1.0)


@pytest.mark.slow
def test_streams_agree_with_one_piece_whatever_the_block():
    draws = np.random.default_rng(6).normal(size=(1_100, 2)).astype(np.float32)
    statistics = (Covariance(), MahalanobisKS(), SlicedW1(), MardiaKurtosis(), MMD())
    whole, _ = one_piece(statistics, draws)
    runs = [evaluate(statistics, draws, block=b, joint=False) for b in (512, 100)]
    for run in runs:
        seen = [test.statistic for test in run.tests]
        # single precision; MMD is a small difference of numbers near 1
        np.testing.assert_allclose(seen, whole, rtol=1e-4, atol=1e-6)
    # counts are integers: the same bits
    for name in ("shape (Mahalanobis)", "projections (sliced W1)"):
        assert runs[0][name].statistic == runs[1][name].statistic
    moments = (MeanChi2(), TotalVariance(), Covariance(), MardiaKurtosis())
    doubles = [streamed_values(moments, draws.astype(float), b) for b in (512, 100)]
    np.testing.assert_allclose(*doubles, rtol=1e-12)


def test_bad_draws_are_refused_with_advice():
    statistics = (MeanChi2(), MomentsKL())
    with pytest.raises(ValueError, match="NaN or infinity"):
        evaluate(statistics, np.array([[1.0], [np.nan]]))
    with pytest.raises(ValueError, match="shape"):
        evaluate(statistics, np.ones(5))
    with pytest.raises(ValueError, match="at least two"):
        evaluate(statistics, np.ones((1, 2)))
    with pytest.raises(ValueError, match="whole number of rows"):
        evaluate(statistics, np.ones((5, 2)), block=0)
    with pytest.raises(ValueError, match="positive"):
        BuresW2([1.0, 0.0])
    few = evaluate(statistics, np.eye(3), joint=False)
    assert few["all moments (KL)"].p_value is None
    assert "needs at least 4 draws" in few["all moments (KL)"].reason
