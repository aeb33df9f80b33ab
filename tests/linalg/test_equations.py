"""Matrix equations against Kronecker systems, values and derivatives, at every kind of A."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from oracles import kronecker_lyapunov, kronecker_stein, random_psd, random_spd

import jaxou as ou
from jaxou.linalg import solve_lyapunov, solve_spectral, solve_stein
from jaxou.linalg.equations import (
    LYAPUNOV,
    heavy_ball,
    solve_spectral_dense,
    stein,
    underdamped,
)

RNG = np.random.default_rng(1)
D = 5
HESSIANS = {
    "random": random_spd(RNG, D),
    "identity": np.eye(D),
    "repeated": np.diag([1.0, 1.0, 2.0, 2.0, 2.0]),
    "near singular": np.diag([1e-7, 0.5, 1.0, 1.0, 3.0]),
}
NOISES = {"full": random_psd(RNG, D, D), "rank one": random_psd(RNG, D, 1)}


@pytest.mark.parametrize("a", HESSIANS)
@pytest.mark.parametrize("c", NOISES)
def test_lyapunov_against_kronecker(a, c):
    a, c = HESSIANS[a], NOISES[c]
    expected = kronecker_lyapunov(a, c)
    np.testing.assert_allclose(
        solve_lyapunov(jnp.array(a), jnp.array(c)),
        expected,
        rtol=1e-6 if a[0, 0] < 1e-5 else 1e-10,
        atol=1e-12 * np.abs(expected).max(),
    )


def test_each_equation_solves_itself():
    """The residual of the defining matrix equation, written out with products."""
    a, c, eta, beta = jnp.array(HESSIANS["random"]), jnp.array(NOISES["full"]), 0.2, 0.8
    s = solve_spectral_dense(stein(eta), a, c)
    np.testing.assert_allclose(a @ s + s @ a - eta * a @ s @ a, c, atol=1e-12)
    m = np.eye(D) - eta * a
    np.testing.assert_allclose(s, kronecker_stein(m, eta * c), rtol=1e-10, atol=1e-13)
    s = solve_spectral_dense(heavy_ball(eta, beta), a, c)
    eye = np.eye(D)
    step = np.block([[eye - eta * a, beta * eye], [-eta * a, beta * eye]])
    noise = eta * np.tile(np.asarray(c), (2, 2))
    np.testing.assert_allclose(s, kronecker_stein(step, noise)[:D, :D], rtol=1e-9, atol=1e-12)
    g = 1 - beta
    s = solve_spectral_dense(underdamped(g, eta), a, c)
    drift = np.block([[np.zeros((D, D)), -eye], [eta * a, g * eye]])
    noise = np.block([[np.zeros((D, 2 * D))], [np.zeros((D, D)), eta * np.asarray(c)]])
    joint = kronecker_lyapunov(drift, noise)
    np.testing.assert_allclose(s, joint[:D, :D], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("a", ["random", "identity", "repeated"])
def test_derivatives_of_every_order_against_kronecker(a):
    a, c = jnp.array(HESSIANS[a]), jnp.array(NOISES["full"])
    eye = jnp.eye(D)

    def by_kronecker(a):
        a = (a + a.T) / 2
        flat = jnp.linalg.solve(jnp.kron(a, eye) + jnp.kron(eye, a), c.reshape(-1))
        return jnp.sum(jnp.sin(flat))

    def ours(a):
        return jnp.sum(jnp.sin(solve_lyapunov(a, c)))

    for derivative in (jax.grad, jax.jacfwd, jax.hessian):
        np.testing.assert_allclose(derivative(ours)(a), derivative(by_kronecker)(a), atol=1e-9)


def test_general_fixed_point_and_its_gradient():
    m = RNG.normal(size=(D, D))
    m = 0.98 * m / np.abs(np.linalg.eigvals(m)).max()
    q = NOISES["rank one"]
    x = solve_stein(jnp.array(m), jnp.array(q))
    expected = scipy.linalg.solve_discrete_lyapunov(m, q)
    np.testing.assert_allclose(x, expected, atol=1e-9 * np.abs(expected).max())

    @jax.jit
    def total(m):
        return jnp.sum(solve_stein(m, jnp.array(q)) ** 2)

    direction = RNG.normal(size=(D, D))
    h = 1e-7
    numeric = (total(jnp.array(m + h * direction)) - total(jnp.array(m - h * direction))) / (2 * h)
    slope = jnp.sum(jax.grad(total)(jnp.array(m)) * direction)
    np.testing.assert_allclose(slope, numeric, rtol=1e-5)


LOW_RANK = ou.LowRankPlusDiagonal(0.7, RNG.normal(size=(7, 2)), [1.0, 0.5])


@pytest.mark.parametrize(
    "noise",
    [
        ou.Isotropic(2.0, 7),
        ou.Diagonal(RNG.uniform(1, 2, 7)),
        ou.LowRankPlusDiagonal(RNG.uniform(1, 2, 7), RNG.normal(size=(7, 3))),
        ou.LowRankPlusDiagonal(0.3, RNG.normal(size=(7, 3))),
    ],
    ids=["isotropic", "diagonal", "low rank + diagonal", "low rank + isotropic"],
)
@pytest.mark.parametrize("equation", [LYAPUNOV, heavy_ball(0.1, 0.9)], ids=["gibbs", "heavy ball"])
def test_low_rank_hessians_give_what_dense_ones_give(noise, equation):
    law = solve_spectral(equation, LOW_RANK, noise)
    assert isinstance(law, ou.LowRankPlusDiagonal) and law.rank <= 2 * 2 + 3
    dense = solve_spectral_dense(equation, LOW_RANK.dense(), noise.dense())
    np.testing.assert_allclose(law.dense(), dense, rtol=1e-10, atol=1e-12)


def test_low_rank_factor_with_repeated_columns():
    factor = np.repeat(RNG.normal(size=(7, 1)), 2, axis=1)
    hessian = ou.LowRankPlusDiagonal(0.5, factor)
    law = solve_spectral(LYAPUNOV, hessian, ou.Diagonal(RNG.uniform(1, 2, 7)))
    a = hessian.dense()
    noise = a @ law.dense() + law.dense() @ a
    np.testing.assert_allclose(noise - np.diag(np.diag(noise)), 0, atol=1e-9)


def test_open_pairs_are_refused_at_large_dimension_with_advice():
    d = 5_000
    hessian, factor = ou.Diagonal(jnp.arange(1.0, d + 1)), jnp.ones((d, 1))
    with pytest.raises(ValueError, match="dense 5000 x 5000 matrix. Structures that stay small"):
        solve_spectral(LYAPUNOV, hessian, ou.LowRankPlusDiagonal(1.0, factor))
