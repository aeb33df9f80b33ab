"""Particles on the exact lines of relaxation: bias, errors, fitted rates, and wrong twins."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from problems import KL, close
from relaxation_cases import TIMES, A, C, chain

import jaxou as ou
from jaxou.convergence.relaxation import relaxation
from jaxou.convergence.relaxation.fit import fit_slope
from jaxou.convergence.relaxation.sampling import (
    energy_expected,
    kl_expected,
    kl_measured,
    quantile,
    symmetric_root,
    w2_expected,
    w2_squared,
)


def gaussian_moments(rng, mean, covariance, n, replicates):
    """Means and covariances (over 1/n) of samples: an exact draw of both, by Bartlett."""
    d, root = len(mean), np.linalg.cholesky(covariance)
    means = mean + rng.normal(size=(replicates, d)) @ root.T / np.sqrt(n)
    factor = np.tril(rng.normal(size=(replicates, d, d)), -1)
    index = np.arange(d)
    factor[:, index, index] = np.sqrt(rng.chisquare(n - 1 - index, size=(replicates, d)))
    factor = root @ factor
    return means, factor @ factor.transpose(0, 2, 1) / n


@pytest.mark.parametrize("far", [0.0, 0.05, 1.0])
def test_bias_and_error_of_measured_distances(far):
    # at rest (the floor), near it, and far: mean and standard deviation of 2,000 samples
    rng, n, replicates = np.random.default_rng(7), 300, 2_000
    rest = oracles.random_spd(rng, 3)
    root, hessian = symmetric_root(rest), oracles.random_spd(rng, 3)
    white = np.linalg.inv(np.linalg.cholesky(rest))
    mean, covariance = far * np.array([1.0, -0.5, 0.2]), rest + far * oracles.random_psd(rng, 3, 2)
    expected = (
        kl_expected(white @ mean, white @ covariance @ white.T, n),
        w2_expected(mean, covariance, root, n),
        energy_expected(mean, covariance, hessian, n),
    )
    assert expected[0].exact == pytest.approx(
        oracles.gaussian_kl(mean, covariance, np.zeros(3), rest), abs=1e-12
    )
    w2 = oracles.gaussian_w2(mean, covariance, np.zeros(3), rest) if far else 0.0
    assert expected[1].exact == pytest.approx(w2**2, abs=1e-12, rel=1e-7)
    samples = gaussian_moments(rng, mean, covariance, n, replicates)
    seen = np.array(
        [
            (
                kl_measured(white @ m, white @ s @ white.T),
                w2_squared(m, s, root),
                (np.sum(hessian * s) + m @ hessian @ m) / 2,
            )
            for m, s in zip(*samples, strict=True)
        ]
    )
    for values, e in zip(seen.T, expected, strict=True):
        assert abs(values.mean() - e.mean) < 4.5 * values.std() / np.sqrt(replicates) + 0.02 * abs(
            e.mean - e.exact
        )
        # a standard deviation of a chi-square-like number: kurtosis up to 12 / 2, and O(1/n)
        assert abs(values.std() / e.deviation - 1) < 4.5 * np.sqrt(8 / (4 * replicates)) + 3 / n
        above = np.mean(values > quantile(e, 0.95))
        assert abs(above - 0.05) < 4.5 * np.sqrt(0.05 * 0.95 / replicates) + 0.005


def test_the_fitted_slope_knows_its_error():
    # 300 clouds of 200 particles of one dimension, moved exactly: z has mean 0 and variance 1
    rng, n, replicates, a = np.random.default_rng(3), 200, 300, 0.5
    times = np.linspace(0, 4, 33)
    e = np.exp(-a * times[1])
    mean, variance = 4 * np.exp(-a * times), 1 + 1.5 * np.exp(-2 * a * times)
    exact = [
        kl_expected(np.array([m]), np.array([[v]]), n) for m, v in zip(mean, variance, strict=True)
    ]
    kl, error = np.array([x.exact for x in exact]), np.array([x.deviation for x in exact])
    bias = np.array([x.mean for x in exact]) - kl
    floor = quantile(kl_expected(np.zeros(1), np.eye(1), n), 0.95)
    z, slopes = [], []
    for _ in range(replicates):
        x = mean[0] + np.sqrt(variance[0]) * rng.normal(size=n)
        measured = []
        for k in range(len(times)):
            if k:
                x = e * x + np.sqrt(1 - e**2) * rng.normal(size=n)
            measured.append(kl_measured(np.array([x.mean()]), np.array([[x.var()]])))
        fit = fit_slope(
            times, np.array(measured) - bias, kl, error, floor, np.eye(1), mean[:, None],
            variance[:, None, None], np.full((32, 1, 1), e), n,
        )  # fmt: skip
        z.append(fit.z)
        slopes.append(fit.slope)
    assert abs(np.mean(z)) < 4.5 / np.sqrt(replicates)
    assert abs(np.var(z) - 1) < 4.5 * np.sqrt(2 / replicates)
    # an error that forgets that particles are the same at all times is rejected
    window = fit.points
    weights, late = (kl / error)[-window:] ** 2, times[-window:]
    centred = late - np.sum(weights * late) / weights.sum()
    naive = 1 / np.sqrt(np.sum(weights * centred**2))
    assert abs(np.var(slopes) / naive**2 - 1) > 2 * 4.5 * np.sqrt(2 / replicates)


@pytest.fixture(scope="module")
def run():
    return ou.simulate(
        chain(), particles=10_000, key=jax.random.key(2), save=20, observe=ou.Paths(10_000)
    )


@pytest.mark.slow
def test_particles_are_on_their_line(run):
    report = relaxation(chain(), run=run, times=TIMES)
    points = report[0].points
    assert report.decision == "on the line" and points.rank == 2
    assert points.p_values.shape == (4, 21) and points.steps.tolist() == list(range(0, 41, 2))
    far = points.kl.exact > 3 * points.kl.floor  # a z-score near the floor is not normal
    assert far.sum() > 5 and np.abs(points.kl.z[far]).max() < 4.5
    assert np.abs(points.energy.z).max() < 4.5
    laws = [chain().law(step=n) for n in (0, 10)]
    rest = chain().stages[0].stationary()
    close(points.kl.exact[np.array([0, 5])], [float(law.kl(rest)) for law in laws], **KL)
    close(points.w2.exact[np.array([0, 5])] ** 0.5, [float(law.w2(rest)) for law in laws], **KL)
    assert points.kl.floor_mean == pytest.approx(5 / (2 * 10_000), rel=1e-3)
    assert abs(points.fit.z) < 4.5 and points.fit.points >= 3
    assert "fitted late slope" in str(report)


def test_wrong_twins_leave_the_line(run):
    _, u = np.linalg.eigh(A)
    commuting = u @ np.diag(np.diag(u.T @ C @ u)) @ u.T
    for twin in (dict(batch_size=4 / 1.06), dict(noise=commuting), dict(learning_rate=0.21)):
        assert relaxation(chain(**twin), run=run, times=TIMES).decision == "off the line", twin


def test_refusals(run):
    with pytest.raises(TypeError, match="where it starts"):
        relaxation(chain().stages[0])
    with pytest.raises(ValueError, match="tolerance=0"):
        relaxation(chain(), tolerance=0)
    with pytest.raises(ValueError, match="times=0 must be a whole number"):
        relaxation(chain(), times=0)
    assert len(relaxation(chain(), times=np.int64(4))[0].chain.line.steps) == 5
    lost = eqx.tree_at(lambda r: r.moments.variance, run, run.moments.variance * jnp.nan)
    with pytest.raises(ValueError, match="the process diverged"):
        relaxation(chain(), run=lost)
    with pytest.raises(ValueError, match="flow times >= 0"):
        relaxation(chain(), times=[-1.0])
    with pytest.raises(ValueError, match="pass the process that was run"):
        relaxation(ou.Chain(chain().stages * 2, initial=chain().initial), run=run)
    bowl = ou.PotentialStage(
        lambda x: jnp.sum(x**4), dimension=2, noise=1.0, learning_rate=0.1, steps=5
    )
    with pytest.raises(ValueError, match="no closed form"):
        relaxation(ou.Chain([bowl], initial=chain().initial))


@pytest.mark.slow
@pytest.mark.parametrize("method", [ou.Exact(), ou.EulerMaruyama(substeps=3), ou.Heun()])
def test_every_method_is_on_its_own_line(method):
    run = ou.simulate(chain(), particles=20_000, key=jax.random.key(4), save=20, method=method)
    points = relaxation(chain(), run=run, times=TIMES)[0].points
    assert points.p_values.min() * points.p_values.size > 0.01
    law = method.kernel(chain().stages[0])(chain().initial)
    close(points.kl.exact[-1], law.kl(method.steady_law(chain().stages[0])), **KL)
