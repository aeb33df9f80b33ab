"""The Gaussian chain as control variate: unbiased, and how much variance it removes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.convergence.control_variate import control_variate, quadratic

TURN = np.linalg.qr(np.random.default_rng(1).normal(size=(2, 2)))[0]


class Quartic(eqx.Module):
    size: jax.Array
    centre: jax.Array

    def __call__(self, x):
        y = x - self.centre
        return y[0] ** 2 / 2 + self.size * y[0] ** 4 / 4


def chain(size, steps=60):
    stage = ou.PotentialStage(
        Quartic(jnp.asarray(size), jnp.asarray([0.7])),
        dimension=1,
        noise=4.0,
        learning_rate=0.1,
        batch_size=2,
        steps=steps,
        centre=[0.5],
    )
    return ou.Chain([stage], initial=ou.Gaussian([2.0], 0.1))


def both(x):
    return jnp.stack([x[0], x[0] ** 2])


def removed(size):
    return control_variate(chain(size), both, particles=4_000, key=jax.random.key(1))


@pytest.mark.slow
def test_variance_removed_falls_with_the_quartic_part():
    # seven eighths of the mean and of the square even where the quartic part is strong
    sizes = (0.01, 0.03, 0.1, 0.3)
    shares = np.array([removed(size).variance_removed for size in sizes])
    assert (np.diff(shares, axis=0) < 0).all()
    assert (shares[0] > 0.999).all() and (shares[1] > 0.99).all()
    assert (shares[2] > 0.95).all() and (shares[3] > 0.75).all()


@pytest.mark.slow
def test_a_quadratic_loss_leaves_nothing():
    # float32 particles: what is left is their rounding
    found = removed(0.0)
    law = quadratic(chain(0.0)).law(step=60)
    exact = [float(law.mean[0]), float(law.covariance[0, 0] + law.mean[0] ** 2)]
    assert (found.variance_removed > 1 - 1e-8).all()
    np.testing.assert_allclose(found.estimate, exact, atol=1e-5)
    assert (np.abs(found.plain - np.array(exact)) < 4.5 * np.asarray(found.plain_error)).all()


@pytest.mark.slow
def test_estimates_are_unbiased_and_errors_are_right():
    # the law of the chain by deterministic transition of a density on a grid
    size, centre, h, steps = 0.3, 0.7, 0.1, 12
    x = np.linspace(-4.0, 5.0, 1801)
    cell, spread = x[1] - x[0], np.sqrt(h * h * 4.0 / 2.0)
    moved = x - h * ((x - centre) + size * (x - centre) ** 3)
    density = np.exp(-((x - 2.0) ** 2) / 0.2) / np.sqrt(0.2 * np.pi)
    kernel = np.exp(-((x[:, None] - moved[None, :]) ** 2) / (2 * spread**2))
    kernel /= np.sqrt(2 * np.pi) * spread
    for _ in range(steps):
        density = kernel @ density * cell
    exact = np.array([np.sum(density * x), np.sum(density * x**2)]) * cell
    scores = []
    for seed in range(24):
        found = control_variate(chain(size, steps), both, particles=1_000, key=jax.random.key(seed))
        scores.append((np.asarray(found.estimate) - exact) / np.asarray(found.standard_error))
    scores = np.array(scores)
    # 24 independent scores: their mean and mean square have errors 1 / sqrt(24), sqrt(2 / 24)
    assert (np.abs(scores.mean(axis=0)) < 4 / np.sqrt(24)).all(), scores.mean(axis=0)
    assert (np.abs((scores**2).mean(axis=0) - 1) < 4 * np.sqrt(2 / 24)).all()
    # the control's mean taken from the wrong law, that of the SDE, is a bias and shows
    wrong = quadratic(chain(size, steps)).law(time=h * steps)
    right = quadratic(chain(size, steps)).law(step=steps)
    assert abs(float(wrong.mean[0] - right.mean[0])) > 4 * float(found.standard_error[0])


@pytest.mark.slow
def test_two_dimensions_turned_with_a_function_that_no_quadrature_knows():
    matrix = TURN @ np.diag([2.0, 0.5]) @ TURN.T

    def potential(x):
        return x @ jnp.asarray(matrix) @ x / 2 + 0.05 * jnp.sum(x**4)

    stage = ou.PotentialStage(
        potential, dimension=2, noise=[1.0, 2.0], learning_rate=0.1, batch_size=4, steps=80
    )
    process = ou.Chain([stage], initial=ou.Gaussian([1.0, 0.0], 0.2))
    smooth = control_variate(process, lambda x: x @ x, particles=4_000, key=jax.random.key(2))
    assert smooth.controls == 2 + 3 + 1 and float(smooth.variance_removed) > 0.98
    step = control_variate(
        process, lambda x: (x[0] < 0.0) * 1.0, particles=4_000, key=jax.random.key(2)
    )
    # a jump has no certain quadrature: the moments alone
    assert step.controls == 2 + 3 and 0.3 < float(step.variance_removed) < 0.95
    gap = abs(float(step.estimate - step.plain))
    assert gap < 4.5 * float(step.plain_error)


def test_refusals_say_what_to_do():
    with pytest.raises(ValueError, match="same stages, steps"):
        control_variate(
            chain(0.1),
            both,
            particles=1_000,
            key=jax.random.key(0),
            approximation=quadratic(chain(0.1, steps=50)),
        )
    with pytest.raises(TypeError, match="chain of ou.Stage"):
        control_variate(
            chain(0.1), both, particles=1_000, key=jax.random.key(0), approximation=chain(0.1)
        )
    with pytest.raises(TypeError, match="Wrap the stage"):
        control_variate(chain(0.1).stages[0], both, particles=1_000, key=jax.random.key(0))
    with pytest.raises(ValueError, match="particles='a' must be a whole number"):
        control_variate(chain(0.1), both, particles="a", key=jax.random.key(0))
    with pytest.raises(ValueError, match="too few for 3 controls"):
        control_variate(chain(0.1), both, particles=50, key=jax.random.key(0))
