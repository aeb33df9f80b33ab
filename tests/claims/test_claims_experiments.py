"""The experiments behind the claims: exact numbers where there are some, wrong twins elsewhere."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import stats

from jaxou import Gaussian, bounds
from jaxou.claims import ClaimsConfig, bowls, distances, regression
from jaxou.claims import convergence as convergence_
from jaxou.claims import dominance as dominance_
from jaxou.claims.ranks import spearman


def draws(law, n, seed=0):
    generator = np.random.default_rng(seed)
    root = np.linalg.cholesky(np.asarray(law.covariance))
    return np.asarray(law.mean) + generator.normal(size=(n, root.shape[0])) @ root.T


LAW = Gaussian(np.array([1.0, -1.0]), np.array([[1.0, 0.3], [0.3, 0.5]]))


def test_particles_of_the_law_are_within_and_of_a_wider_one_beyond():
    points = draws(LAW, 20_000)
    right = distances.particles_kl(points, LAW, 1e-3)
    assert right.lower == 0 and right.upper < 0.02
    wide = np.asarray(LAW.mean) + 1.3 * (points - np.asarray(LAW.mean))
    exact = float(Gaussian(LAW.mean, 1.69 * LAW.covariance).kl(LAW))
    found = distances.particles_kl(wide, LAW, 1e-3)
    assert 0.02 < found.lower < exact < found.upper


def test_shape_is_seen_though_the_moments_agree():
    # a mixture of a narrow and a wide law with the law's own covariance
    points, mean = draws(LAW, 20_000), np.asarray(LAW.mean)
    scale = np.where(np.arange(20_000) % 2 == 0, np.sqrt(0.2), np.sqrt(1.8))
    mixed = mean + scale[:, None] * (points - mean)
    sample = distances.sample_of(mixed)
    moments = distances.moments_kl(sample.mean, sample.covariance, 20_000, LAW, 1e-3)
    assert moments.upper < 0.02 < distances.particles_kl(mixed, LAW, 1e-3).lower


def test_binned_kl_covers_the_truth():
    share = np.linspace(0.7, 1.3, distances.BINS)
    share /= share.sum()
    truth = float(np.sum(share * np.log(share * distances.BINS)))
    generator = np.random.default_rng(1)
    found = [distances.binned_kl(generator.multinomial(5000, share), 0.05) for _ in range(200)]
    low = sum(one.lower > truth for one in found)
    high = sum(one.upper < truth for one in found)
    # binomial(200, 0.05): mean 10, four standard deviations 12
    assert low <= 22 and high <= 22
    np.testing.assert_allclose(np.mean([one.estimate for one in found]), truth, rtol=0.1)


def test_noncentrality_limits_are_scipys():
    lower, upper = distances._limits(80.0, 20.0, 0.01)
    np.testing.assert_allclose(stats.ncx2.sf(80.0, 20.0, lower), 0.01, rtol=0.05)
    np.testing.assert_allclose(stats.ncx2.cdf(80.0, 20.0, upper), 0.01, rtol=0.05)


@pytest.mark.slow
def test_sgds_steady_law_leaves_the_margin_where_its_kl_says():
    rate = convergence_.largest_rate(0.02)
    np.testing.assert_allclose(convergence_.steady_kl(rate), 0.02, rtol=1e-2)


@pytest.mark.slow
def test_equal_bins_of_a_double_well(key):
    from jaxou.claims.wells import double_well

    law = double_well(0.15).gibbs()
    counts = bowls.bins_of(law, law.sample(key, (20_000,)), 16)
    assert stats.chisquare(counts).pvalue > 1e-4
    shifted = bowls.bins_of(law, law.sample(key, (20_000,)) + 0.1, 16)
    assert stats.chisquare(shifted).pvalue < 1e-12


def test_boundary_of_dominance_is_where_the_gaps_are_equal(monkeypatch):
    monkeypatch.setattr(dominance_, "TAUS", (0.3, 3.0))
    monkeypatch.setattr(dominance_, "EPSILONS", (1e-3, 1e-1))
    found = dominance_.cells_of((3,), 1, 0)
    assert found.axes.shape == (12, 5)
    kls = found.source_kl, found.target_kl
    gap = lambda kl, n: np.asarray(bounds.mcallester_he(0.0, kl, n, 0.025))
    n = found.change * dominance_.N_TARGET
    good = n > 1
    np.testing.assert_allclose(
        gap(kls[0][good], n[good]), gap(kls[1], dominance_.N_TARGET)[good], rtol=1e-9
    )
    assert found.dominated()[:, -1].all()


# ---- regression


@pytest.fixture(scope="module")
def pairs():
    return regression.random_pairs(40, 0)


def test_noise_of_the_domain_is_its_gradients_covariance(pairs):
    one = jax.tree.map(lambda x: x[0], pairs.target)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400_000, regression.DIMENSION)) @ one.root.T
    np.testing.assert_allclose(one.root @ one.root.T, one.hessian, atol=1e-12)
    noise = one.sigma * np.sqrt(1 + one.excess * (x @ one.direction) ** 2)
    gradient = x * (noise * generator.normal(size=len(x)))[:, None]
    error = np.abs(gradient.T @ gradient / len(x) - one.noise).max() / np.abs(one.noise).max()
    assert error < 0.05


def test_root_and_solve_without_factorisations(pairs):
    matrix = pairs.covariance[0]
    root = np.asarray(regression._root(matrix))
    np.testing.assert_allclose(root @ root, matrix, rtol=1e-9, atol=1e-14)
    found = np.asarray(regression._solve(pairs.target.hessian[0], np.arange(8.0)))
    np.testing.assert_allclose(found, np.linalg.solve(pairs.target.hessian[0], np.arange(8.0)))


@pytest.mark.slow
def test_measured_gaps_are_what_theory_expects_and_chance_is_not(pairs):
    seen = regression.measure(pairs, 6, 0, steps=(20, 300))
    assert seen["gap"].shape == (2, 40) and (seen["excess"] > 0).all()
    # linear theory: tr(A^-1 C) / N once fine-tuning has reached its end, to first order in 1 / N
    large = seen["n"][1] > 100
    ratio = seen["gap"][1][large].sum() / seen["tr(A^-1 C) / N"][1][large].sum()
    spread = np.sqrt((seen["gap_error"][1][large] ** 2).sum())
    spread /= seen["tr(A^-1 C) / N"][1][large].sum()
    assert abs(ratio - 1) < 4 * spread + 0.15
    # early, few of it has been fitted
    assert seen["gap"][0].sum() < seen["gap"][1].sum()
    truth = spearman(seen["tr(A^-1 C) / N"][1], seen["gap"][1])
    shuffled = np.random.default_rng(0).permutation(seen["gap"][1])
    assert truth.lower > 0.3
    assert abs(spearman(seen["tr(A^-1 C) / N"][1], shuffled).value) < truth.lower


def test_discrepancy_is_the_kl_of_the_chains_laws(pairs):
    """Without noise and with the source's law as start, zero steps have no discrepancy."""
    mean = np.broadcast_to(
        (pairs.mean - pairs.target.minimum)[None, :, None], (1, 40, 1, regression.DIMENSION)
    )
    covariance = np.broadcast_to(pairs.covariance[None, :, None], (*mean.shape, 8))
    zeros = np.zeros((1, 40, 2))
    seen = dict(mean=mean, covariance=covariance, gap=zeros, excess=zeros, risk=zeros, train=zeros)
    np.testing.assert_allclose(regression._with_laws(pairs, seen)["discrepancy"], 0, atol=1e-9)
    moved = regression._with_laws(pairs, seen | {"mean": mean + 0.1, "covariance": 2 * covariance})
    law = Gaussian(mean[0, 3, 0] + 0.1, 2 * covariance[0, 3, 0])
    expected = 2 * law.kl(Gaussian(mean[0, 3, 0], covariance[0, 3, 0]))
    np.testing.assert_allclose(moved["discrepancy"][0, 3], float(expected), rtol=1e-9)


def test_the_shift_alone_can_differ():
    alone = regression.random_pairs(30, 0, only_shift=True)
    assert np.ptp(alone.size) == 0 and np.ptp(alone.covariance, axis=0).max() == 0
    assert np.ptp(np.linalg.norm(alone.mean - alone.target.minimum, axis=1)) > 0.5


def test_settings_are_checked():
    from jaxou.config import ConfigError

    assert ClaimsConfig.defaults(quick=True).validate().chosen()[0] == "convergence"
    with pytest.raises(ConfigError, match="pairs = 3"):
        dataclasses.replace(ClaimsConfig(), pairs=3).validate()
