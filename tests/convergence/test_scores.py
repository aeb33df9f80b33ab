"""Normal scores: against scipy's quadrature into both tails, and wrong claims are rejected."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import jaxou as ou
from jaxou.convergence import energy_chi2, mahalanobis_ks, mean_chi2
from jaxou.convergence.scores import normal_scores, score_of_tails

HEAT = 0.1
HEAT2 = 0.2


class Tilted(eqx.Module):
    """A double well; `tilt` is a field, so that a wrong one does not recompile."""

    tilt: jax.Array

    def __call__(self, x):
        return (x[0] ** 2 - 1) ** 2 / 4 + self.tilt * x[0]


class Banana(eqx.Module):
    """Two wells in a bent valley."""

    coupling: jax.Array

    def __call__(self, p):
        x, y = p[0], p[1]
        return (x**2 - 1) ** 2 / 4 + 0.6 * (y - 0.5 * x**2) ** 2 + self.coupling * x * y + 0.1 * x


def well(tilt=0.05, heat=HEAT):
    return ou.Gibbs(Tilted(jnp.asarray(tilt)), heat)


def valley(coupling=0.1):
    return ou.Gibbs(Banana(jnp.asarray(coupling)), HEAT2, 2)


def tilted(x):
    return (x**2 - 1) ** 2 / 4 + 0.05 * x


def banana(x, y):
    return (x**2 - 1) ** 2 / 4 + 0.6 * (y - 0.5 * x**2) ** 2 + 0.1 * x * y + 0.1 * x


@pytest.fixture(scope="module")
def line():
    return well()


@pytest.fixture(scope="module")
def plane():
    return valley()


def quad(function, low, high):
    return integrate.quad(function, low, high, epsabs=0, epsrel=1e-11, limit=400)[0]


def from_tails(lower, upper):
    return stats.norm.ppf(lower) if lower < upper else stats.norm.isf(upper)


def test_one_dimension_against_quadrature_into_both_tails(line):
    density = lambda u: np.exp(-tilted(u) / HEAT)
    total = quad(density, -3.2, 0.0) + quad(density, 0.0, 3.2)
    points = [-2.1, -1.7, -1.0, 0.0, 0.3, 1.5, 2.1]
    tails = [(quad(density, -3.2, x) / total, quad(density, x, 3.2) / total) for x in points]
    z = normal_scores(np.array(points)[:, None], line)[:, 0]
    np.testing.assert_allclose(z, [from_tails(*pair) for pair in tails], atol=1e-9)


def test_two_dimensions_against_quadrature(plane):
    density = lambda v, u: np.exp(-banana(u, v) / HEAT2)
    marginal = lambda u: quad(lambda v: density(v, u), -5.0, 7.0)
    points = [(0.0, 0.0), (-1.2, 1.5), (0.1, -1.0), (1.8, 0.5), (0.3, 2.5)]
    expected = []
    for x, y in points:
        below, above = quad(marginal, -3.0, x), quad(marginal, x, 3.0)
        first = from_tails(below / (below + above), above / (below + above))
        at, column = marginal(x), lambda v, x=x: density(v, x)
        second = from_tails(quad(column, -5.0, y) / at, quad(column, y, 7.0) / at)
        expected.append((first, second))
    np.testing.assert_allclose(normal_scores(np.array(points), plane), expected, atol=1e-8)


def test_deep_tails_do_not_cancel_and_outside_the_table_scores_go_on():
    z = np.array([-150.0, -40.0, -8.0, -0.3, 0.0, 2.0, 38.0])
    found = score_of_tails(jnp.asarray(stats.norm.logcdf(z)), jnp.asarray(stats.norm.logsf(z)))
    np.testing.assert_allclose(found, z, rtol=1e-12, atol=1e-15)
    bowl = ou.Gibbs(lambda x: 0.5 * x @ x, 1.0)
    z = np.linspace(-12.0, 12.0, 49)[:, None]
    # inside the table scores of a normal law are its draws; then a straight line
    np.testing.assert_allclose(normal_scores(z, bowl)[10:-10], z[10:-10], atol=1e-10)
    np.testing.assert_allclose(normal_scores(z, bowl), z, rtol=2e-3, atol=1e-10)


def rejected_from(log_density, box, count, seed):
    """Exact draws by rejection from a uniform law on a box that holds all but 1e-12 of the mass."""
    rng = np.random.default_rng(seed)
    low, high = np.array(box).T
    kept = []
    while sum(map(len, kept)) < count:
        points = rng.uniform(low, high, size=(400_000, len(low)))
        kept.append(points[np.log(rng.uniform(size=len(points))) < log_density(points)])
    return np.concatenate(kept)[:count]


def p_values(scores):
    tests = [
        float(test(jnp.asarray(scores))[1]) for test in (mean_chi2, energy_chi2, mahalanobis_ks)
    ]
    return tests + [stats.kstest(column, "norm").pvalue for column in np.asarray(scores).T]


@pytest.mark.slow
def test_exact_draws_are_normal_and_wrong_claims_are_rejected(line, plane):
    # 20,000 draws see 5 % of temperature: the relative error of a variance is sqrt(2 / n) = 1 %
    draws = rejected_from(lambda p: -tilted(p[:, 0]) / HEAT - 0.55, [(-2.5, 2.5)], 20_000, 1)
    assert min(p_values(normal_scores(draws, line))) > 1e-4
    speeds = HEAT**0.5 * np.random.default_rng(3).normal(size=draws.shape)
    both = normal_scores((draws, speeds), ou.MaxwellBoltzmann(line))
    assert both.shape == (20_000, 2) and min(p_values(both)) > 1e-4
    hot = ou.MaxwellBoltzmann(line, 1.1 * HEAT)
    assert min(p_values(normal_scores((draws, speeds), hot))) < 1e-6
    # a wrong temperature, and a well that is a little too deep
    for wrong in (well(heat=1.05 * HEAT), well(tilt=0.04)):
        assert min(p_values(normal_scores(draws, wrong))) < 1e-6
    least = min(banana(x, y) for x in np.linspace(-2, 2, 201) for y in np.linspace(-1, 2, 151))
    draws = rejected_from(
        lambda p: -(banana(p[:, 0], p[:, 1]) - least + 0.002) / HEAT2,
        [(-2.7, 2.6), (-2.8, 4.2)],
        20_000,
        2,
    )
    scores = normal_scores(draws, plane)
    assert min(p_values(scores)) > 1e-4
    assert abs(np.corrcoef(np.asarray(scores).T)[0, 1]) < 4.5 / np.sqrt(20_000)
    # without the coupling of x and y: both wells are as deep, the valley is bent the same
    assert min(p_values(normal_scores(draws, valley(coupling=0.0)))) < 1e-6
    # float32, far from the law: finite, and the same whatever is computed beside it
    cloud = 3 * np.random.default_rng(0).normal(size=(20_000, 2)).astype(np.float32)
    scores = np.asarray(normal_scores(cloud, plane))
    assert np.isfinite(scores).all() and np.abs(scores).max() > 9
    np.testing.assert_allclose(scores, normal_scores(cloud[::-1], plane)[::-1], atol=1e-12)


@pytest.mark.slow
def test_underdamped_particles_have_maxwell_boltzmann_scores():
    stage = ou.PotentialStage(
        Tilted(jnp.asarray(0.0)),
        dimension=1,
        noise=ou.Temperature(0.25),
        learning_rate=0.05,
        steps=600,
    )
    chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 1.0))
    run = ou.simulate(chain, particles=40_000, key=jax.random.key(3), method=ou.BAOAB(friction=1.0))
    pair = run.final, run.velocity
    claim = ou.MaxwellBoltzmann(stage.gibbs())
    scores = normal_scores(pair, claim)
    assert scores.shape == (40_000, 2) and min(p_values(scores)) > 1e-4
    hot = ou.MaxwellBoltzmann(ou.Gibbs(stage.potential, 0.25), 0.25 * 1.1)
    assert min(p_values(normal_scores(pair, hot))) < 1e-6


def test_gaussian_laws_are_whitened():
    law = ou.Gaussian([1.0, -1.0], [[2.0, 0.6], [0.6, 0.5]])
    draws = law.sample(jax.random.key(0), 4_000)
    assert min(p_values(normal_scores(draws, law))) > 1e-4
    wrong = ou.Gaussian([1.0, -1.0], [[2.0, 0.3], [0.3, 0.5]])
    assert min(p_values(normal_scores(draws, wrong))) < 1e-6


def test_refusals_say_what_to_do(line, plane):
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        normal_scores(np.zeros((3, 1)), plane)
    with pytest.raises(ValueError, match="diverged run"):
        normal_scores([[np.nan]], line)
    with pytest.raises(ValueError, match="one and two dimensions"):
        normal_scores(np.zeros((3, 3)), ou.Gibbs(lambda x: x @ x, 1.0, 3))
    with pytest.raises(ValueError, match=r"pair \(x, v\)"):
        normal_scores(np.zeros((3, 1)), ou.MaxwellBoltzmann(line))
    with pytest.raises(TypeError, match="Gibbs, Gaussian or MaxwellBoltzmann"):
        normal_scores(np.zeros((3, 1)), ou.AffineGaussianKernel(0.5, [0.0], 1.0))
