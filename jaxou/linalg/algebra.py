"""Sums, products and congruences of structured matrices, and the door through which they enter."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag

from .._check import as_float, is_concrete
from .._typing import MatrixLike
from .matrices import (
    DENSE_LIMIT,
    AbstractMatrix,
    Dense,
    Diagonal,
    General,
    Isotropic,
    LowRankPlusDiagonal,
)


def as_matrix(value: MatrixLike, name: str) -> AbstractMatrix:
    """A 0-d, 1-d or 2-d array as `Isotropic`, `Diagonal` or `Dense`; structures pass through.

    >>> type(as_matrix([1.0, 2.0], "hessian")).__name__
    'Diagonal'
    """
    if isinstance(value, AbstractMatrix):
        return value
    array = as_float(value, name)
    if array.ndim > 2:
        raise ValueError(
            f"{name} must be a number, a vector or a square matrix, got shape {array.shape}; "
            "batch with jax.vmap"
        )
    try:
        return (Isotropic, Diagonal, Dense)[array.ndim](array)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def with_dimension(matrix: AbstractMatrix, dimension: int, name: str) -> AbstractMatrix:
    """The matrix, told its dimension if it is isotropic; refused if it has another one."""
    if isinstance(matrix, Isotropic):
        if matrix.dimension in (None, dimension):
            return Isotropic(matrix.value, dimension, check=False)
    if matrix.dimension != dimension:
        raise ValueError(
            f"{name} has dimension {matrix.dimension} but the other arguments have {dimension}"
        )
    return matrix


def densified(matrix: AbstractMatrix, why: str) -> AbstractMatrix:
    """The matrix as `Dense`, or a refusal with advice at `DENSE_LIMIT` dimensions and above."""
    if isinstance(matrix, Dense | General):
        return matrix
    if matrix.dimension >= DENSE_LIMIT:
        raise ValueError(
            f"{why} would need a dense {matrix.dimension} x {matrix.dimension} matrix. Structures "
            "that stay small: an isotropic or diagonal Hessian with isotropic or diagonal noise, "
            "or LowRankPlusDiagonal(a0, U, beta) with one number a0 (or equal numbers known at "
            "construction) as Hessian, with isotropic, diagonal or low-rank-plus-diagonal noise"
        )
    return Dense(matrix.dense(), check=False)


def is_elementwise(*matrices: Any) -> bool:
    """Whether all are isotropic or diagonal, so that they commute entry by entry. Roots of
    covariances are no matrices of this package and count as not."""
    return all(isinstance(m, Isotropic | Diagonal) for m in matrices)


def is_structured(*matrices: Any) -> bool:
    """Whether all are isotropic, diagonal or low rank plus diagonal: none holds d x d numbers."""
    return all(isinstance(m, Isotropic | Diagonal | LowRankPlusDiagonal) for m in matrices)


def as_low_rank(matrix: AbstractMatrix) -> LowRankPlusDiagonal:
    """A structured matrix as low rank plus diagonal, with no columns where there were none."""
    if isinstance(matrix, LowRankPlusDiagonal):
        return matrix
    empty = jnp.zeros((matrix.dimension, 0), dtype=jnp.result_type(float))
    return LowRankPlusDiagonal(matrix, empty, check=False)


def divisible(matrix: AbstractMatrix, why: str) -> AbstractMatrix:
    """The matrix, dense if it has low rank over known zeros: its formulas divide by the base."""
    if isinstance(matrix, LowRankPlusDiagonal) and is_concrete(matrix.base):
        if not np.all(np.asarray(entries(matrix.base))):
            return densified(matrix, why)
    return matrix


def like(entries, *matrices: AbstractMatrix) -> AbstractMatrix:
    """Diagonal entries as `Isotropic` if all `matrices` are, else as `Diagonal`."""
    if all(isinstance(m, Isotropic) for m in matrices):
        return Isotropic(entries, matrices[0].dimension, check=False)
    return Diagonal(jnp.broadcast_to(entries, (matrices[0].dimension,)), check=False)


def entries(matrix: AbstractMatrix, *others: AbstractMatrix):
    """Diagonal entries that combine with those of `others`: a number if all are isotropic."""
    if all(isinstance(m, Isotropic) for m in (matrix, *others)):
        return matrix.value
    return matrix.diagonal_part()


def add(left: AbstractMatrix, right: AbstractMatrix) -> AbstractMatrix:
    """left + right in the smallest structure that holds it."""
    if is_elementwise(left, right):
        return like(entries(left, right) + entries(right, left), left, right)
    if isinstance(left, General) or isinstance(right, General):
        return General(left.dense() + right.dense(), check=False)
    if isinstance(left, Dense) or isinstance(right, Dense):
        return Dense(left.dense() + right.dense(), check=False)
    if isinstance(left, LowRankPlusDiagonal) and isinstance(right, LowRankPlusDiagonal):
        factor = jnp.concatenate([left.factor, right.factor], axis=1)
        core = block_diag(left.core, right.core)
        return LowRankPlusDiagonal(add(left.base, right.base), factor, core, check=False)
    low_rank, other = (left, right) if isinstance(left, LowRankPlusDiagonal) else (right, left)
    base = add(low_rank.base, other)
    return LowRankPlusDiagonal(base, low_rank.factor, low_rank.weights, check=False)


def product(left: AbstractMatrix, right: AbstractMatrix) -> AbstractMatrix:
    """left @ right; a product of matrices that do not commute is `General`."""
    if isinstance(left, Isotropic):
        return right.scale(left.value)
    if isinstance(right, Isotropic):
        return left.scale(right.value)
    if is_elementwise(left, right):
        return Diagonal(left.values * right.values, check=False)
    why = "this product"
    return General(densified(left, why).dense() @ densified(right, why).dense(), check=False)


def congruence(outer: AbstractMatrix, inner: AbstractMatrix) -> AbstractMatrix:
    """outer inner outer^T, the covariance of outer x when inner is that of x."""
    if isinstance(outer, Isotropic):
        return inner.scale(outer.value**2)
    if is_elementwise(outer, inner):
        return Diagonal(outer.values**2 * inner.diagonal_part(), check=False)
    if isinstance(outer, Diagonal) and isinstance(inner, LowRankPlusDiagonal):
        return LowRankPlusDiagonal(
            congruence(outer, inner.base), outer.matmat(inner.factor), inner.weights, check=False
        )
    if _is_shifted_low_rank(outer) and not isinstance(inner, Dense | General):
        return _low_rank_congruence(outer, inner)
    matrix = densified(outer, "this congruence").dense()
    return Dense(matrix @ densified(inner, "this congruence").dense() @ matrix.T, check=False)


def _is_shifted_low_rank(matrix: AbstractMatrix) -> bool:
    return isinstance(matrix, LowRankPlusDiagonal) and isinstance(matrix.base, Isotropic)


def _low_rank_congruence(outer: LowRankPlusDiagonal, inner: AbstractMatrix) -> AbstractMatrix:
    # (e I + U K U^T) (E + F W F^T) (e I + U K U^T): the diagonal e^2 E, and the columns
    # [U, E U, e F + U K U^T F].
    shift, factor, core = outer.base.value, outer.factor, outer.core
    base = inner.base if isinstance(inner, LowRankPlusDiagonal) else inner
    image = base.matmat(factor)
    gram = factor.T @ image
    zero = jnp.zeros_like(core)
    blocks = jnp.block([[core @ gram @ core, shift * core], [shift * core, zero]])
    columns = [factor, image]
    if isinstance(inner, LowRankPlusDiagonal):
        columns.append(outer.matmat(inner.factor))
        blocks = block_diag(blocks, inner.core)
    return LowRankPlusDiagonal(
        base.scale(shift**2), jnp.concatenate(columns, axis=1), blocks, check=False
    )
