"""Predicted power against exact laws and against real runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxou as ou
from jaxou.convergence import particles_to_notice, predict_power
from jaxou.convergence.statistics import Covariance, MeanChi2, MomentsKL, TotalVariance


@pytest.mark.slow
def test_one_statistic_has_its_exact_power():
    n, ratio = 300, 1.2
    claimed, truth = ou.Gaussian([1.0], 2.0), ou.Gaussian([1.0], 2.0 * ratio)
    found = predict_power(claimed, truth, n, statistics=(TotalVariance(),), replicates=2_000)
    low, high = stats.chi2.ppf([0.005, 0.995], n)
    exact = stats.chi2.sf(high / ratio, n) + stats.chi2.cdf(low / ratio, n)
    # the level of the simulated joint law of one statistic is itself known from 2,000 replicates
    assert found.power == pytest.approx(exact, abs=4.5 * found.standard_error + 0.03)
    shifted = ou.Gaussian([1.3], 2.0)
    found = predict_power(claimed, shifted, n, statistics=(MeanChi2(),), replicates=2_000)
    exact = stats.ncx2.sf(stats.chi2.isf(0.01, 1), 1, n * 0.09 / 2)
    assert found.power == pytest.approx(exact, abs=4.5 * found.standard_error + 0.03)


@pytest.mark.slow
def test_the_number_of_particles_is_where_real_verdicts_notice():
    a, c = np.array([[2.0, 0.6], [0.6, 1.0]]), np.array([[1.0, -0.4], [-0.4, 0.5]])
    stage = ou.Stage(
        hessian=a, noise=c, minimum=[1.0, -1.0], learning_rate=0.1, batch_size=8, steps=60
    )
    start = ou.Gaussian([0.0, 0.0], 0.1)
    right = ou.Chain([stage], initial=start)
    wrong = ou.Chain([stage.replace(batch_size=8 / 1.2)], initial=start)
    fast = (MeanChi2(), TotalVariance())
    law = lambda chain: chain.law(stage=0, step=60)
    found = particles_to_notice(law(wrong), law(right), statistics=fast)
    assert found.power == pytest.approx(0.8, abs=0.1) and found.best == "total variance"
    runs = [ou.simulate(right, particles=found.particles, key=jax.random.key(s)) for s in range(60)]
    seen = sum(ou.verdict(r, wrong, statistics=fast).decision == "rejected" for r in runs)
    assert stats.binomtest(seen, 60, found.power).pvalue > 1e-4
    false = sum(ou.verdict(r, right, statistics=fast).decision == "rejected" for r in runs)
    assert stats.binom.sf(false - 1, 60, 0.01) > 1e-4


def test_refusals():
    law = ou.Gaussian(jnp.zeros(2), 1.0)
    with pytest.raises(ValueError, match="equal"):
        particles_to_notice(law, law)
    with pytest.raises(ValueError, match="dimensions 2 and 3"):
        predict_power(law, ou.Gaussian(jnp.zeros(3), 1.0), 100)
    with pytest.raises(TypeError, match="Gaussian law"):
        predict_power(law, 3.0, 100)
    with pytest.raises(TypeError, match="claimed must be a Gaussian law, got float"):
        predict_power(3.0, law, 100)
    with pytest.raises(TypeError, match="truth must be a Gaussian law"):
        particles_to_notice(law, lambda key, n: jnp.zeros((n, 2)))
    with pytest.raises(ValueError, match="one point"):
        predict_power(ou.Gaussian(jnp.zeros(2), 0.0), law, 100)
    for wrong, message in (
        (dict(level=5), "level=5 must lie in"),
        (dict(replicates=0), "replicates=0 must be a whole number"),
        (dict(statistics=()), "holds no statistic"),
        (dict(statistics="mean"), "such as .MeanChi2"),
        (dict(key=0), "write jax.random.key"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            predict_power(law, law, 100, **wrong)
    with pytest.raises(ValueError, match="power=2 must lie in"):
        particles_to_notice(law, ou.Gaussian(jnp.ones(2), 1.0), power=2)
    with pytest.raises(ValueError, match="no statistic exists for 2 particles in 2 directions"):
        predict_power(law, law, 2, statistics=(Covariance(), MomentsKL()))
