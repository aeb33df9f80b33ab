"""Products of a structured matrix with columns of particles, and square roots to draw with."""

import equinox as eqx
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
    eigh,
    sqrtm,
)
from ...linalg.lift import reduced

UNROLLED = 8
"""Largest dimension at which a product of matrix and columns is written out."""


class LowRankRoot(eqx.Module):
    """diag(scale) (I + basis diag(gain) basis^T): a root of a low-rank-plus-diagonal matrix."""

    scale: Float[Array, " d"]
    basis: Float[Array, "d r"]
    gain: Float[Array, " r"]

    def matmat(self, columns: Float[Array, "d rows"]) -> Float[Array, "d rows"]:
        inner = jnp.matmul(self.basis.T, columns, precision=lax.Precision.HIGHEST)
        inner = self.gain[:, None] * inner
        outer = jnp.matmul(self.basis, inner, precision=lax.Precision.HIGHEST)
        return self.scale[:, None] * (columns + outer)


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
    if isinstance(covariance, LowRankPlusDiagonal):
        return _low_rank_root(covariance)
    return Dense(sqrtm(covariance.dense()), check=False)


def _low_rank_root(covariance: LowRankPlusDiagonal) -> AbstractMatrix | LowRankRoot:
    # E + U W U^T = E^1/2 (I + V W V^T) E^1/2 with V = E^-1/2 U; W may be indefinite
    variances = covariance.base.diagonal_part()
    variances = jnp.broadcast_to(variances, (covariance.dimension,))
    scale = jnp.sqrt(variances)
    unit = LowRankPlusDiagonal(
        1.0, covariance.factor / scale[:, None], covariance.core, check=False
    )
    _, basis, core = reduced(unit)
    values, vectors = eigh(lax.stop_gradient(core))
    return LowRankRoot(scale, basis @ vectors, jnp.sqrt(jnp.maximum(1 + values, 0.0)) - 1)
