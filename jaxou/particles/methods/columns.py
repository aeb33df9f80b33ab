"""Products of a structured matrix with columns of particles, and square roots to draw with."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ...linalg import (
    AbstractMatrix,
    Dense,
    Diagonal,
    General,
    Isotropic,
    LowRankPlusDiagonal,
    sqrtm,
)
from ...linalg.algebra import divisible
from ...linalg.low_rank_root import LowRankRoot, low_rank_root

UNROLLED = 8
"""Largest dimension at which a product of matrix and columns is written out."""


def times(
    matrix: AbstractMatrix | LowRankRoot, columns: Float[Array, "d rows"]
) -> Float[Array, "d rows"]:
    """matrix @ columns; dense products in full precision on every device."""
    if not isinstance(matrix, Dense | General):
        return matrix.matmat(columns)
    return product(matrix.values, columns)


def product(values: Float[Array, "d d"], columns: Float[Array, "d rows"]) -> Array:
    """values @ columns in full precision; small ones fuse with what comes before and after."""
    if values.shape[0] <= UNROLLED:
        return _unrolled(values, columns)
    return jnp.matmul(values, columns, precision=lax.Precision.HIGHEST)


def _unrolled(values: Float[Array, "d d"], columns: Float[Array, "d rows"]) -> Array:
    # a small product written out fuses with noise and update, and is faster than a matmul
    total = values[:, 0, None] * columns[0][None]
    for j in range(1, values.shape[0]):
        total = total + values[:, j, None] * columns[j][None]
    return total


def square_root(covariance: AbstractMatrix) -> AbstractMatrix | LowRankRoot:
    """R with R R^T = covariance, for singular covariances too; differentiable.

    Elementwise for isotropic and diagonal ones, else the symmetric root, O(d^3).

    >>> square_root(Diagonal([4.0, 0.0])).values.tolist()
    [2.0, 0.0]
    """
    if isinstance(covariance, Isotropic | Diagonal):
        variances = covariance.diagonal_part()
        positive = variances > 0
        roots = jnp.where(positive, jnp.sqrt(jnp.where(positive, variances, 1.0)), 0.0)
        return Diagonal(roots, check=False)
    if not isinstance(getattr(covariance, "base", None), Isotropic):
        covariance = divisible(covariance, "the root of low rank over zeros")
    if isinstance(covariance, LowRankPlusDiagonal):
        return low_rank_root(covariance)
    return Dense(sqrtm(covariance.dense()), check=False)
