"""Gibbs and Maxwell-Boltzmann laws against adaptive quadrature, Gaussian laws and identities."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import jaxou as ou

HEAT = 0.1


class Tilted(eqx.Module):
    """A double well with a tilt."""

    tilt: jax.Array

    def __call__(self, x):
        return (x[0] ** 2 - 1) ** 2 / 4 + self.tilt * x[0]


WELL = Tilted(jnp.asarray(0.05))


@pytest.fixture(scope="module")
def law():
    return ou.Gibbs(WELL, HEAT)


def quadrature(function, heat=HEAT, upper=5.0):
    """Integral of function(x) exp(-U / T) from -5, by adaptive quadrature."""
    density = lambda x: function(x) * np.exp(-((x * x - 1) ** 2 / 4 + 0.05 * x) / heat)
    return integrate.quad(density, -5, upper, epsabs=1e-14, epsrel=1e-13, limit=500)[0]


@pytest.mark.slow
def test_one_dimension_against_adaptive_quadrature(law):
    mass = quadrature(lambda x: 1.0)
    assert float(law.log_normaliser) == pytest.approx(np.log(mass), abs=1e-12)
    moments = [quadrature(lambda x, k=k: x**k) / mass for k in (1, 2, 3)]
    np.testing.assert_allclose([law.moment(k)[0] for k in (1, 2, 3)], moments, rtol=1e-10)
    np.testing.assert_allclose(law.mean, moments[:1], rtol=1e-10)
    np.testing.assert_allclose(law.variance, moments[1] - moments[0] ** 2, rtol=1e-10)
    points = jnp.asarray([-1.3, -0.4, 0.2, 1.1])
    below = [quadrature(lambda x: 1.0, upper=float(p)) / mass for p in points]
    np.testing.assert_allclose(law.cdf(points), below, rtol=1e-10)
    np.testing.assert_allclose(law.quantile(law.cdf(points)), points, rtol=1e-10)
    np.testing.assert_allclose(
        law.log_prob(points[:, None]), law.log_density(points[:, None]) - np.log(mass), rtol=1e-10
    )
    assert law.quantile(jnp.full((2, 3), 0.5)).shape == (2, 3)
    # twin: one percent more heat is another law
    warmer = quadrature(lambda x: x * x, 1.01 * HEAT) / quadrature(lambda x: 1.0, 1.01 * HEAT)
    assert abs(float(law.moment(2)[0]) / warmer - 1) > 1e-3


@pytest.mark.slow
def test_derivatives_in_the_temperature_and_the_potential(law):
    # d E[f] / dT = Cov(f, U) / T^2 and d E[f] / d tilt = -Cov(f, x) / T
    def answers(heat, tilt):
        law = ou.Gibbs(Tilted(tilt), heat)
        return jnp.stack([law.mean[0], law.entropy(), law.quantile(0.3), law.cdf(0.1)])

    heat, tilt = jnp.asarray(HEAT), jnp.asarray(0.05)
    by_heat, by_tilt = jax.jit(jax.jacfwd(answers, argnums=(0, 1)))(heat, tilt)
    assert float(jax.grad(lambda t: ou.Gibbs(WELL, t).mean[0])(heat)) == pytest.approx(
        float(by_heat[0]), rel=1e-12
    )
    energy = lambda x: WELL(x)
    cross = law.expect(lambda x: x[0] * energy(x)) - law.mean[0] * law.expect(energy)
    assert float(by_heat[0]) == pytest.approx(float(cross) / HEAT**2, rel=1e-9)
    assert float(by_tilt[0]) == pytest.approx(-float(law.variance[0]) / HEAT, rel=1e-9)
    heat_capacity = law.expect(lambda x: energy(x) ** 2) - law.expect(energy) ** 2
    assert float(by_heat[1]) == pytest.approx(float(heat_capacity) / HEAT**3, rel=1e-9)
    # the inverse function's derivative: dq/dT = -(dF/dT)(q) / p(q)
    differences = [float(ou.Gibbs(WELL, HEAT + h).quantile(0.3)) for h in (1e-5, -1e-5)]
    slope = (differences[0] - differences[1]) / 2e-5
    assert float(by_heat[2]) == pytest.approx(slope, rel=1e-6)
    below = law.expect(lambda x: energy(x) * (x[0] <= 0.1))
    cross = below - law.cdf(0.1) * law.expect(energy)
    assert float(by_heat[3]) == pytest.approx(float(cross) / HEAT**2, rel=1e-2)


@pytest.mark.slow
def test_quadratic_potentials_are_gaussian_in_two_dimensions(key):
    a, point = jnp.asarray([[2.0, 0.6], [0.6, 1.0]]), jnp.asarray([1.0, -0.5])
    bowl = lambda x: (x - point) @ a @ (x - point) / 2
    plane = ou.Gibbs(bowl, 0.3, 2, centre=point, points=129)
    gaussian = ou.Gaussian(point, 0.3 * jnp.linalg.inv(a))
    np.testing.assert_allclose(plane.mean, gaussian.mean, rtol=1e-11)
    np.testing.assert_allclose(plane.covariance, gaussian.covariance, rtol=1e-11)
    where = gaussian.sample(key, (3, 2))
    np.testing.assert_allclose(plane.log_prob(where), gaussian.log_prob(where), rtol=1e-11)
    assert float(plane.entropy()) == pytest.approx(float(gaussian.entropy()), rel=1e-11)


def test_a_narrow_law_far_away_and_its_draws(key):
    # a thousand from where the search starts
    line = ou.Gibbs(lambda x: 1e6 * (x[0] - 1000.25) ** 2 / 2, 0.04)
    normal = stats.norm(1000.25, 2e-4)
    np.testing.assert_allclose(line.quantile([0.01, 0.5]), normal.ppf([0.01, 0.5]), rtol=1e-14)
    draws = np.asarray(line.sample(key, 4000))
    assert draws.shape == (4000, 1)
    assert stats.kstest(draws[:, 0], normal.cdf).pvalue > 1e-5
    assert stats.kstest(draws[:, 0] + 4e-5, normal.cdf).pvalue < 1e-5


def test_maxwell_boltzmann_is_the_product_of_both(law, key):
    position = ou.Gaussian([1.0, 0.0], [[0.2, 0.05], [0.05, 0.1]])
    both = ou.MaxwellBoltzmann(position, 0.3)
    x, v = both.sample(key, 5)
    joint = both.joint()
    np.testing.assert_allclose(
        both.log_prob(x, v), joint.log_prob(jnp.concatenate([x, v], axis=1)), rtol=1e-12
    )
    np.testing.assert_array_equal(joint.covariance[2:, 2:], 0.3 * np.eye(2))
    hot = ou.MaxwellBoltzmann(law)
    assert float(hot.temperature) == HEAT
    gap = hot.log_prob([[0.3]], [[0.4]]) - law.log_prob([[0.3]])
    assert float(gap[0]) == pytest.approx(stats.norm(0, HEAT**0.5).logpdf(0.4), rel=1e-12)
    difference = hot.log_prob([0.3], [0.4]) - hot.log_prob([0.1], [0.0])
    constant = hot.log_density([0.3], [0.4]) - hot.log_density([0.1], [0.0])
    assert float(difference) == pytest.approx(float(constant), rel=1e-12)
    with pytest.raises(ValueError, match="not Gaussian either"):
        hot.joint()
    with pytest.raises(ValueError, match="does not say its temperature"):
        ou.MaxwellBoltzmann(position)
    with pytest.raises(TypeError, match="Gibbs or Gaussian"):
        ou.MaxwellBoltzmann("gaussian", 1.0)


def test_a_stage_s_gibbs_law_where_its_noise_is_isotropic():
    def stage(noise, dimension=1, potential=WELL):
        return ou.PotentialStage(
            potential, dimension=dimension, noise=noise, learning_rate=0.02, batch_size=4, steps=9
        )

    # N = (learning_rate / batch_size) C = 2 T
    for noise in (ou.Temperature(HEAT), 40.0, [40.0], [[40.0]], ou.Diffusion([HEAT])):
        assert float(stage(noise).gibbs().temperature) == pytest.approx(HEAT, rel=1e-14)
    assert float(stage(40.0).gibbs().mean[0]) == pytest.approx(
        quadrature(lambda x: x) / quadrature(lambda x: 1.0), rel=1e-10
    )
    with pytest.raises(ValueError, match="not isotropic"):
        stage([1.0, 2.0], 2, lambda x: x @ x).gibbs()
    with pytest.raises(ValueError, match="not isotropic"):
        stage(lambda x: x, 1).gibbs()


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="U must rise"):
        ou.Gibbs(lambda x: jnp.sin(x[0]), 1.0)
    assert np.isnan(jax.jit(lambda t: ou.Gibbs(lambda x: x[0], t).mean[0])(1.0))
    high = ou.Gibbs(lambda x: x @ x, 1.0, 3)
    assert high.log_density(jnp.ones((2, 3))).tolist() == [-3.0, -3.0]
    with pytest.raises(ValueError, match="use log_density"):
        high.log_prob(jnp.ones(3))
    with pytest.raises(ValueError, match="need one dimension"):
        high.cdf(0.0)
    with pytest.raises(ValueError, match="end it with jnp.sum"):
        ou.Gibbs(lambda x: x**2, 1.0)
    with pytest.raises(ValueError, match="temperature=0 must be positive"):
        ou.Gibbs(WELL, 0.0)
    with pytest.raises(ValueError, match=r"pass points=\d+"):
        ou.Gibbs(lambda x: 1e6 * (x[0] - x[1]) ** 2 + x @ x, 1.0, 2, points=65)
    with pytest.raises(ValueError, match="odd whole number"):
        ou.Gibbs(WELL, 1.0, points=100)
    with pytest.raises(ValueError, match="p in"):
        ou.Gibbs(WELL, 1.0, points=65).quantile(1.5)
    with pytest.raises(ValueError, match="shape"):
        high.log_density(jnp.ones(2))
