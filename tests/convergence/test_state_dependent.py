"""Noise that depends on the state: the steady law is not the Gibbs law of the loss, and it shows.

In one dimension dx = -U'(x) ds + sigma(x) dW (Ito) has the steady density

    p(x) ~ exp(-2 int U' / sigma^2) / sigma^2(x),

which is the Gibbs law at temperature one of W = log sigma^2 + 2 int U' / sigma^2.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import jaxou as ou
from jaxou.convergence import energy_chi2, mean_chi2
from jaxou.convergence.scores import normal_scores

LOW, SLOPE = 0.3, 0.3
"""sigma^2 = LOW + SLOPE x^2."""


def loss(x):
    return (x**2 - 1) ** 2 / 4


def effective(x):
    """log sigma^2 + 2 int (x^3 - x) / (LOW + SLOPE x^2) dx, in closed form."""
    square = LOW + SLOPE * x**2
    integral = x**2 / (2 * SLOPE) - (1 + LOW / SLOPE) * jnp.log(square) / (2 * SLOPE)
    return jnp.log(square) + 2 * integral


def smallest_p(scores):
    tests = [float(test(scores)[1]) for test in (mean_chi2, energy_chi2)]
    return min(*tests, stats.kstest(np.asarray(scores)[:, 0], "norm").pvalue)


@pytest.fixture(scope="module")
def draws():
    stage = ou.PotentialStage(
        lambda x: jnp.sum(loss(x)),
        dimension=1,
        # one example's gradient noise B(x); sigma^2 = learning_rate / batch_size B^2
        noise=lambda x: jnp.sqrt((LOW + SLOPE * x**2) * 100.0),
        learning_rate=0.01,
        steps=2_000,
    )
    chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 1.0))
    run = ou.simulate(
        chain,
        particles=20_000,
        key=jax.random.key(11),
        method=ou.EulerMaruyama(substeps=4),
    )
    return run.final


def test_the_effective_potential_is_right():
    def density(x):
        drift = integrate.quad(lambda u: -(u**3 - u) / (LOW + SLOPE * u**2), 0.0, x)[0]
        return np.exp(2 * drift) / (LOW + SLOPE * x**2)

    total = integrate.quad(density, -4.0, 4.0, epsrel=1e-9)[0]
    law = ou.Gibbs(lambda x: effective(x[0]), 1.0)
    for x in (-1.3, 0.0, 0.4, 2.0):
        assert float(law.log_prob([x])) == pytest.approx(np.log(density(x) / total), abs=1e-7)


@pytest.mark.slow
def test_particles_have_their_own_law_and_not_the_gibbs_law_of_the_loss(draws):
    true = ou.Gibbs(lambda x: effective(x[0]), 1.0)
    assert smallest_p(normal_scores(draws, true)) > 1e-4
    # the best case for the Gibbs claim: the temperature that has the particles' mean loss
    temperatures = jnp.linspace(0.1, 0.6, 101)
    own = lambda x: jnp.sum(loss(x))
    losses = jax.vmap(lambda t: ou.Gibbs(own, t, points=513).expect(own))(temperatures)
    mean_loss = jnp.mean(loss(draws.astype(float)))
    best = float(temperatures[jnp.argmin(jnp.abs(losses - mean_loss))])
    assert 0.1 < best < 0.6
    claim = ou.Gibbs(own, best)
    assert smallest_p(normal_scores(draws, claim)) < 1e-10
    # nor the Stratonovich reading, which loses half of the logarithm
    middle = lambda x: effective(x) - jnp.log(LOW + SLOPE * x**2) / 2
    assert smallest_p(normal_scores(draws, ou.Gibbs(lambda x: middle(x[0]), 1.0))) < 1e-10
