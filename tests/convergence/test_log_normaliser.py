"""The constant of a Gibbs law in three dimensions: exact cases, quadrature, and what goes wrong."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.convergence.log_normaliser import log_normaliser

HEAT = 0.2
TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]


class Landscape(eqx.Module):
    """Wells, a bowl and a coupling in turned coordinates; fields, so that all share one program."""

    wells: jax.Array
    bowl: jax.Array
    coupling: jax.Array
    turn: jax.Array
    shift: jax.Array

    def __call__(self, x):
        y = self.turn @ (x - self.shift)
        wells = self.wells * jnp.sum((y**2 - 1) ** 2) / 4
        return wells + y @ self.bowl @ y / 2 + self.coupling * y[0] ** 2 * (y[1] - 0.5) ** 2


def law(wells=0.0, bowl=None, coupling=0.0, turn=None, shift=0.0, heat=HEAT):
    parts = (
        jnp.asarray(wells),
        jnp.zeros((3, 3)) if bowl is None else jnp.asarray(bowl),
        jnp.asarray(coupling),
        jnp.eye(3) if turn is None else jnp.asarray(turn),
        jnp.full(3, shift),
    )
    return ou.Gibbs(Landscape(*parts), heat, 3)


def z_score(found, exact):
    return abs(float(found.value) - exact) / float(found.standard_error)


def grid_sum(own):
    """log Z by the trapezoidal rule on 141^3 points, in numpy."""
    axis = np.linspace(-4.2, 4.2, 141)
    y = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    p = own.potential
    value = float(p.wells) * np.sum((y**2 - 1) ** 2, axis=1) / 4
    value += np.einsum("ni,ij,nj->n", y, np.asarray(p.bowl), y) / 2
    value += float(p.coupling) * y[:, 0] ** 2 * (y[:, 1] - 0.5) ** 2
    return np.log(np.sum(np.exp(-value / HEAT)) * (axis[1] - axis[0]) ** 3)


@pytest.mark.slow
def test_exact_gaussian_and_its_divergence_from_the_reference():
    bowl = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, 0.2], [0.0, 0.2, 3.0]])
    # five standard deviations away from where the search begins
    found = log_normaliser(
        law(bowl=bowl, shift=2.0), key=jax.random.key(1), particles=4096, replicas=16
    )
    exact = 1.5 * np.log(2 * np.pi * HEAT) - np.linalg.slogdet(bowl)[1] / 2
    assert z_score(found, exact) < 4.5 and float(found.standard_error) < 0.02
    own = ou.Gaussian(jnp.full(3, 2.0), HEAT * np.linalg.inv(bowl))
    gap = float(found.kl_to_reference - own.kl(found.reference))
    assert abs(gap) < 4.5 * float(found.kl_error) + 1e-3
    mean, error = found.expect(lambda x: x)
    assert (np.abs(mean - 2.0) < 4.5 * np.asarray(error)).all()


@pytest.mark.slow
def test_a_product_of_double_wells_and_a_wrong_temperature():
    found = log_normaliser(law(wells=1.0), key=jax.random.key(2), particles=4096, replicas=16)
    line = ou.Gibbs(lambda x: (x[0] ** 2 - 1) ** 2 / 4, HEAT)
    assert z_score(found, 3 * float(line.log_normaliser)) < 4.5
    assert float(found.standard_error) < 0.03 and abs(float(found.disagreement)) < 4.5
    gap = abs(float(found.value - found.thermodynamic))
    assert gap < 4.5 * float(found.standard_error + found.thermodynamic_error)
    hot = 3 * float(ou.Gibbs(line.potential, 1.1 * HEAT).log_normaliser)
    assert z_score(found, hot) > 4.5
    square, error = found.expect(lambda x: x**2)
    assert (np.abs(square - line.expect(lambda x: x[0] ** 2)) < 4.5 * np.asarray(error)).all()


@pytest.mark.slow
def test_a_turned_potential_that_does_not_separate():
    own = law(wells=0.5, bowl=np.diag([0.1, 0.3, 0.2]), coupling=1.0, turn=TURN)
    found = log_normaliser(own, key=jax.random.key(3), particles=4096, replicas=16)
    assert z_score(found, grid_sum(own)) < 4.5
    # without the coupling: another number
    assert z_score(found, grid_sum(law(wells=0.5, bowl=np.diag([0.1, 0.3, 0.2])))) > 4.5


def test_a_ladder_of_one_rung_is_seen_to_be_too_coarse():
    wide = ou.Gaussian(jnp.zeros(3), 4.0)
    found = log_normaliser(
        law(wells=1.0),
        key=jax.random.key(4),
        particles=4096,
        replicas=16,
        ladder=[0.0, 1.0],
        reference=wide,
    )
    assert abs(float(found.disagreement)) > 8
    assert found.ladder.tolist() == [0.0, 1.0] and found.effective.shape == (1,)


def test_refusals_say_what_to_do():
    good = law(wells=1.0)
    with pytest.raises(ValueError, match="give at least 512"):
        log_normaliser(good, key=jax.random.key(0), particles=100)
    with pytest.raises(ValueError, match="replicas=2 must be"):
        log_normaliser(good, key=jax.random.key(0), replicas=2)
    with pytest.raises(ValueError, match="particles='many' must be a whole number"):
        log_normaliser(good, key=jax.random.key(0), particles="many")
    with pytest.raises(TypeError, match="write jax.random.key"):
        log_normaliser(good, key=0)
    with pytest.raises(TypeError, match="reference must be a Gaussian law, got float"):
        log_normaliser(good, key=jax.random.key(0), reference=3.0)
    with pytest.raises(ValueError, match="U does not rise"):
        log_normaliser(law(wells=0.0), key=jax.random.key(0))
    with pytest.raises(ValueError, match="increase from rung to rung"):
        log_normaliser(good, key=jax.random.key(0), ladder=[0.0, 0.5, 0.5, 1.0])
    with pytest.raises(ValueError, match="positive definite"):
        log_normaliser(good, key=jax.random.key(0), reference=ou.Gaussian(jnp.zeros(3), 0.0))
