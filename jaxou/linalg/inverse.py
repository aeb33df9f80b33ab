"""Linear systems with structured symmetric matrices, and traces of their products."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .algebra import densified, entries, is_elementwise
from .factor import solve
from .matrices import AbstractMatrix, LowRankPlusDiagonal


def solve_matrix(matrix: AbstractMatrix, rhs: Float[Array, " d"]) -> Float[Array, " d"]:
    """x with matrix x = rhs, by division, by Woodbury's formula or by LU; no zero base or pivot.

    >>> from jaxou.linalg import Diagonal
    >>> solve_matrix(Diagonal([2.0, 4.0]), jnp.array([2.0, 2.0])).tolist()
    [1.0, 0.5]
    """
    if is_elementwise(matrix):
        return rhs / jnp.broadcast_to(entries(matrix), rhs.shape)
    if isinstance(matrix, LowRankPlusDiagonal):
        base = jnp.broadcast_to(entries(matrix.base), rhs.shape)
        scaled = matrix.factor / base[:, None]
        eye = jnp.eye(matrix.rank, dtype=rhs.dtype)
        inner = solve(eye + matrix.core @ (matrix.factor.T @ scaled), matrix.core)
        return rhs / base - scaled @ (inner @ (scaled.T @ rhs))
    return solve(densified(matrix, "this linear system").dense(), rhs[:, None])[:, 0]


def trace_product(left: AbstractMatrix, right: AbstractMatrix) -> Float[Array, ""]:
    """tr(left right) without forming the product; O(d r) for structures, O(d^2) dense.

    >>> from jaxou.linalg import Diagonal
    >>> trace_product(Diagonal([2.0, 4.0]), Diagonal([1.0, 0.5])).item()
    4.0
    """
    if is_elementwise(left):
        return jnp.sum(jnp.broadcast_to(entries(left), (left.dimension,)) * right.diagonal_part())
    if is_elementwise(right):
        return trace_product(right, left)
    if isinstance(left, LowRankPlusDiagonal):
        low_rank = jnp.sum(left.core * (left.factor.T @ right.matmat(left.factor)))
        return trace_product(left.base, right) + low_rank
    if isinstance(right, LowRankPlusDiagonal):
        return trace_product(right, left)
    return jnp.sum(left.dense() * right.dense().T)
