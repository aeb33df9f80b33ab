"""Matrix equations that are diagonal in the eigenbasis of a symmetric A.

Every steady law of the theory is the solution Sigma of

    sum_pq c_pq A^p Sigma A^q = R,      c symmetric, p, q in {0, 1, 2},

so in the eigenbasis of A, Sigma_ij = R_ij / symbol(a_i, a_j) with symbol(x, y) = sum c_pq x^p y^q.
One solver therefore serves them all, and differentiates through `lax.custom_linear_solve`: the
derivative of the solution is the solution of the same equation with another right-hand side.
No eigenvector is differentiated, so repeated eigenvalues are as good as any others.

| equation | symbol | law |
|---|---|---|
| Lyapunov | x + y | the SDE's |
| Stein | x + y - eta x y | SGD's own (the discrete chain's) |
| fixed point | 1 - x y | of a kernel with symmetric matrix |
| heavy ball | (1-b)(x+y) - (1+b^2)/(1-b^2) eta x y + b/(1-b^2) eta (x^2+y^2) | SGD with momentum |
| underdamped | g (x+y) + eta (x-y)^2 / (2 g) | the SDE with momentum |
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .factor import eigh

Coefficients = dict[tuple[int, int], Float[Array, ""] | float]
"""{(p, q): c_pq} for p <= q; c_qp = c_pq is understood."""

LYAPUNOV: Coefficients = {(0, 1): 1.0}
FIXED_POINT: Coefficients = {(0, 0): 1.0, (1, 1): -1.0}


def stein(learning_rate) -> Coefficients:
    """A S + S A - eta A S A, the steady law of SGD with learning rate eta."""
    return {(0, 1): 1.0, (1, 1): -learning_rate}


def heavy_ball(learning_rate, momentum) -> Coefficients:
    """The position's steady covariance under SGD with momentum (Liu, Ziyin and Ueda 2021)."""
    eta, beta = learning_rate, momentum
    spread = 1 - beta**2
    return {
        (0, 1): 1 - beta,
        (1, 1): -(1 + beta**2) / spread * eta,
        (0, 2): beta / spread * eta,
    }


def underdamped(friction, learning_rate) -> Coefficients:
    """g (A S + S A) + eta [A, [A, S]] / (2 g): the position under friction g per step."""
    return {
        (0, 1): friction,
        (1, 1): -learning_rate / friction,
        (0, 2): learning_rate / (2 * friction),
    }


def symbol(coefficients: Coefficients, x, y):
    """sum c_pq x^p y^q, the divisor of the (x, y) entry."""
    total = 0.0
    for (p, q), c in coefficients.items():
        term = x**p * y**q
        total = total + c * (term if p == q else term + x**q * y**p)
    return total


def _apply(coefficients, matrix, unknown):
    powers = {0: lambda x: x, 1: lambda x: matrix @ x, 2: lambda x: matrix @ (matrix @ x)}
    total = jnp.zeros_like(unknown)
    for (p, q), c in coefficients.items():
        term = powers[q](powers[p](unknown).T).T  # A^p X A^q for symmetric A
        if p != q:
            term = term + powers[p](powers[q](unknown).T).T
        total = total + c * term
    return total


def solve_spectral_dense(
    coefficients: Coefficients, matrix: Float[Array, "d d"], rhs: Float[Array, "d d"]
) -> Float[Array, "d d"]:
    """The solution for arrays; entries whose divisor is exactly zero are set to zero.

    Cost: one eigendecomposition and four products, the same again for each derivative.

    >>> A, C = jnp.diag(jnp.array([1.0, 3.0])), jnp.array([[2.0, 1.0], [1.0, 6.0]])
    >>> solve_spectral_dense(LYAPUNOV, A, C).tolist()
    [[1.0, 0.25], [0.25, 1.0]]
    """
    matrix = (matrix + matrix.T) / 2  # derivatives are those along symmetric changes
    values, vectors = eigh(lax.stop_gradient(matrix))
    frozen = {
        key: lax.stop_gradient(jnp.asarray(c, matrix.dtype)) for key, c in coefficients.items()
    }
    divisor = symbol(frozen, values[:, None], values[None, :])
    singular = divisor == 0
    reciprocal = jnp.where(singular, 0.0, 1 / jnp.where(singular, 1.0, divisor))

    def solve(_, b):
        return vectors @ ((vectors.T @ b @ vectors) * reciprocal) @ vectors.T

    return lax.custom_linear_solve(
        lambda x: _apply(coefficients, matrix, x), rhs, solve=solve, symmetric=True
    )


def solve_lyapunov(matrix: Float[Array, "d d"], rhs: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Sigma with A Sigma + Sigma A = rhs for symmetric A; differentiable to any order.

    Where a_i + a_j = 0 there is no solution, or no single one: that entry is set to zero. A
    covariance only if A is positive definite. Cost O(d^3).

    >>> solve_lyapunov(jnp.eye(2), 2 * jnp.eye(2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return solve_spectral_dense(LYAPUNOV, matrix, rhs)
