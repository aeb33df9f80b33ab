"""The fixed point of a covariance under a matrix with no symmetry: X = M X M^T + Q.

Symmetric M go through `spectral` with the coefficients `FIXED_POINT`; this is for momentum and
for products of kernels.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

MAX_SQUARINGS = 64


def solve_stein(matrix: Float[Array, "d d"], rhs: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """X with X - M X M^T = rhs, for a spectral radius below 1 (NaN or inf otherwise).

    Smith's squared iteration, X <- X + M X M^T, M <- M^2: about log2(40 / (1 - radius)) squarings.
    Differentiable to any order.

    >>> solve_stein(jnp.array([[0.5]]), jnp.array([[3.0]])).tolist()
    [[4.0]]
    """
    frozen = lax.stop_gradient(matrix)
    return lax.custom_linear_solve(
        lambda x: x - matrix @ x @ matrix.T,
        rhs,
        solve=lambda apply, b: _refined(frozen, apply, b),
        transpose_solve=lambda apply, b: _refined(frozen.T, apply, b),
    )


def _refined(matrix, apply, rhs):
    first = _smith(matrix, rhs)
    return first + _smith(matrix, rhs - apply(first))


def _smith(matrix, rhs):
    def body(state):
        x, m, count = state
        return x + m @ x @ m.T, m @ m, count + 1

    def unfinished(state):
        _, m, count = state
        return (count < MAX_SQUARINGS) & (jnp.max(jnp.abs(m)) > 1e-18)

    x, _, _ = lax.while_loop(unfinished, body, (rhs, matrix, 0))
    return x
