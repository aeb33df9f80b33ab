"""Particles against laws that do not come from the same formulas, each with a wrong twin.

Chi-square thresholds leave one false alarm in 10^5; single numbers are compared within 4.5 standard
errors. Both for a fixed key.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from particle_cases import LIMIT
from scipy import stats

import jaxou as ou
from jaxou.convergence import own_laws

SLOW = pytest.mark.slow
RARE = 1e-5
HEAT = 0.3
STEP = 0.1


def chain_of(stage, start=0.0, spread=0.0):
    mean = jnp.broadcast_to(jnp.asarray(start), (stage.dimension,))
    return ou.Chain([stage], initial=ou.Gaussian(mean, spread))


# --- the Gibbs law of a double well ------------------------------------------------------------


def slope(x):
    return x**3 - x + 0.1


WELL = ou.PotentialStage(
    lambda x: (x[0] ** 2 - 1) ** 2 / 4 + 0.1 * x[0],
    dimension=1,
    noise=ou.Temperature(HEAT),
    learning_rate=STEP,
    steps=400,
)


def chi_square(positions, edges, probabilities) -> float:
    counts = np.histogram(positions, edges)[0]
    expected = len(positions) * probabilities
    return float(np.sum((counts - expected) ** 2 / expected))


def euler_steady(edges, h):
    """Bin probabilities of the Euler chain's steady law, from its Gaussian transitions."""
    x = np.linspace(-3, 3, 601)
    move = stats.norm.pdf(x[None, :], (x - h * slope(x))[:, None], np.sqrt(2 * HEAT * h))
    move /= move.sum(axis=1, keepdims=True)
    law = np.linalg.matrix_power(move, 4096)[300]
    onward = stats.norm.cdf(edges[None, :], (x - h * slope(x))[:, None], np.sqrt(2 * HEAT * h))
    return np.diff(law @ onward)


@SLOW
def test_a_double_well_has_its_gibbs_law_and_euler_its_own(key):
    n, bins = 100_000, 24
    gibbs = WELL.gibbs()
    inner = np.asarray(gibbs.quantile(jnp.linspace(0.0, 1.0, bins + 1)[1:-1]))
    edges = np.concatenate([[-np.inf], inner, [np.inf]])
    even = np.full(bins, 1 / bins)
    limit = stats.chi2.isf(RARE, bins - 1)
    run = lambda method: np.asarray(
        ou.simulate(chain_of(WELL, 0.0, 1.0), particles=n, key=key, method=method).final[:, 0]
    )
    # a bias of relative size h^2 everywhere, of which BAOAB has a fraction, adds n h^4 = 0.6 to
    # chi-square, whose standard deviation is 6.8
    positions = run(ou.BAOAB(1.0, step=STEP / 2))
    assert chi_square(positions, edges, even) < limit
    warmer = ou.Gibbs(WELL.potential, 1.05 * HEAT)
    between = jnp.concatenate([jnp.zeros(1), warmer.cdf(inner), jnp.ones(1)])
    assert chi_square(positions, edges, np.diff(np.asarray(between))) > limit
    # Euler's own steady law; its step bias shows against the Gibbs law
    positions = run(ou.EulerMaruyama())
    assert chi_square(positions, edges, euler_steady(edges, STEP)) < limit
    assert chi_square(positions, edges, even) > limit


# --- underdamped dynamics: positions and velocities --------------------------------------------

QUADRATIC = ou.Stage(
    hessian=[[2.0, 0.6], [0.6, 1.0]],
    noise=ou.Temperature(HEAT),
    minimum=[1.0, -1.0],
    learning_rate=0.4,
    batch_size=8,
    steps=80,
)


def worst_of(draws, covariance) -> float:
    """The largest deviation of second moments from a centred law, in standard errors."""
    n, variance = len(draws), np.diag(covariance)
    error = np.sqrt((covariance**2 + np.outer(variance, variance)) / n)
    return float(np.abs((draws.T @ draws / n - covariance) / error).max())


def test_baoab_has_no_bias_in_position_on_a_quadratic_loss_and_a_known_one_in_velocity():
    steady = np.asarray(ou.BAOAB(1.3).one_step(QUADRATIC).fixed_point().covariance)
    a = np.asarray(QUADRATIC.hessian.dense())
    np.testing.assert_allclose(steady[:2, :2], HEAT * np.linalg.inv(a), rtol=1e-12)
    np.testing.assert_allclose(steady[:2, 2:], 0, atol=1e-14)
    np.testing.assert_allclose(steady[2:, 2:], HEAT * (np.eye(2) - 0.4**2 / 4 * a), rtol=1e-12)


@SLOW
def test_positions_and_velocities_of_baoab(key):
    chain = chain_of(QUADRATIC, jnp.asarray([1.0, -1.0]))
    run = ou.simulate(chain, particles=40_000, key=key, method=ou.BAOAB(1.3))
    draws = np.hstack([np.asarray(run.deviations[-1]), np.asarray(run.velocity)])
    heat = ou.MaxwellBoltzmann(QUADRATIC.gibbs(), HEAT).joint()
    truth = np.array(heat.covariance)
    truth[2:, 2:] -= HEAT * 0.4**2 / 4 * np.asarray(QUADRATIC.hessian.dense())
    assert worst_of(draws, truth) < LIMIT
    # twins: velocities without their bias, and positions that carry Euler's
    assert worst_of(draws, np.asarray(heat.covariance)) > LIMIT
    euler = ou.simulate(chain, particles=40_000, key=key, method=ou.EulerMaruyama())
    assert worst_of(np.asarray(euler.deviations[-1]), truth[:2, :2]) > LIMIT


@SLOW
@pytest.mark.parametrize("method", [ou.BAOAB(1.3), ou.Heun()], ids=["baoab", "heun"])
def test_verdicts_on_runs_of_order_two(method, key):
    early = chain_of(QUADRATIC.replace(steps=5), jnp.asarray([2.0, 0.0]), 0.1)
    run = ou.simulate(early, particles=20_000, key=key, method=method)
    assert all(s.decision == "consistent" for s in ou.verdict(run, early).stages)
    twin = chain_of(early.stages[0].replace(noise=ou.Temperature(1.04 * HEAT)), [2.0, 0.0], 0.1)
    assert ou.verdict(run, twin).stages[0].decision == "rejected"
    # each has a law of its own, which is not the SDE's
    own = np.asarray(own_laws(method, early)[0].covariance)
    draws = np.asarray(run.final)
    draws = draws - draws.mean(axis=0)
    assert worst_of(draws, own) < LIMIT
    assert worst_of(draws, np.asarray(early.law(time=2.0).covariance)) > LIMIT


# --- noise that depends on the state -----------------------------------------------------------


def deviation(draws, truth) -> float:
    """Like `worst_of`, with the standard errors of the draws, which are not Gaussian."""
    products = draws[:, :, None] * draws[:, None, :]
    error = products.std(axis=0) / np.sqrt(len(draws))
    return float(np.abs((products.mean(axis=0) - truth) / error).max())


def noisy(h, noise_of, ratio, particles, key):
    """Particles after 60 steps of dx = -H x ds + ratio^1/2 B(x) dW from the origin, H diagonal."""
    stage = ou.PotentialStage(
        lambda x: jnp.sum(h * x**2) / 2,
        dimension=len(h),
        noise=noise_of,
        learning_rate=4 * STEP,
        batch_size=4 * STEP / ratio,
        steps=15,
    )
    method = ou.EulerMaruyama(substeps=4)
    run = ou.simulate(chain_of(stage), particles=particles, key=key, method=method)
    return np.asarray(run.final)


def recursion(h, covariance_of, ratio):
    """E[x x^T] of the Euler chain after 60 steps, where E[B B^T] is a function of E[x x^T]."""
    v, shrink = np.zeros((len(h), len(h))), np.diag(1 - STEP * np.asarray(h))
    for _ in range(60):
        v = shrink @ v @ shrink + STEP * ratio * covariance_of(v)
    return v


@pytest.mark.slow
def test_multiplicative_noise_in_one_dimension(key):
    # dx = -a x ds + (eps (c0 + c2 x^2))^1/2 dW in the sense of Ito
    h, c0, c2, ratio = jnp.asarray([1.0]), 1.0, 4.0, 0.05
    draws = noisy(h, lambda x: jnp.sqrt(c0 + c2 * x**2), ratio, 100_000, key)
    law = recursion(h, lambda v: c0 + c2 * v, ratio)
    assert deviation(draws, law) < LIMIT
    # its continuous limit is the variance eps c0 / (2 a - eps c2), up to the step bias
    limit = ratio * c0 / (2 * float(h[0]) - ratio * c2)
    assert float(law[0, 0]) == pytest.approx(limit, rel=1.1 * STEP / (2 - ratio * c2))
    # twins: constant noise, and noise in the sense of Stratonovich
    assert deviation(draws, recursion(h, lambda v: c0 + 0 * v, ratio)) > LIMIT
    assert deviation(draws, recursion(h, lambda v: c0 + 2 * c2 * v, ratio)) > LIMIT


@SLOW
def test_least_squares_noise_in_two_dimensions(key):
    # C(x) = H x x^T H + (x^T H x) H + label^2 H: Gaussian inputs, and labels with noise
    h, label, ratio = jnp.asarray([1.0, 3.0]), 0.7, 0.2
    full = np.diag(np.asarray(h))

    def root(x):
        strength = jnp.sqrt(x @ (h * x) + label**2)
        return jnp.concatenate([(h * x)[:, None], strength * jnp.diag(jnp.sqrt(h))], axis=1)

    draws = noisy(h, root, ratio, 100_000, key)
    noise = lambda v: full @ v @ full + (np.trace(full @ v) + label**2) * full
    law = recursion(h, noise, ratio)
    assert deviation(draws, law) < LIMIT
    # the steady law of continuous time: g = sum_j eps h_j / (2 - eps h_j), T = label^2 g / (1 - g)
    rates = ratio * np.asarray(h)
    g = float(np.sum(rates / (2 - rates)))
    heat = label**2 * g / (1 - g)
    fine = np.diag(ratio * (label**2 + heat) / (2 - rates))
    flow = -full @ fine - fine @ full + ratio * noise(fine)
    np.testing.assert_allclose(flow, 0, atol=1e-14)
    # twins: the noise at the minimum only, and without the term H x x^T H
    assert deviation(draws, recursion(h, lambda v: label**2 * full, ratio)) > LIMIT
    less = lambda v: (np.trace(full @ v) + label**2) * full
    assert deviation(draws, recursion(h, less, ratio)) > LIMIT
