"""A diagonal plus a symmetric matrix of low rank, for millions of parameters."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._check import as_float, require_finite
from .base import AbstractMatrix, require_symmetric
from .diagonal import Diagonal
from .isotropic import Isotropic


class LowRankPlusDiagonal(AbstractMatrix):
    """E + U W U^T: diagonal E (a number or a vector (d,)), factor U (d, r), weights W.

    `weights` is None (W = I), a vector (r,) (W = diag(weights)) or a symmetric core (r, r); it may
    be indefinite. Give a number as `diagonal` where E is a multiple of the identity: only then
    is the matrix a Hessian whose laws keep their structure. Storage O(d r).

    >>> M = LowRankPlusDiagonal(1.0, [[1.0], [2.0]], [3.0])
    >>> M.dense().tolist()
    [[4.0, 6.0], [6.0, 13.0]]
    """

    base: Isotropic | Diagonal
    factor: Float[Array, "d r"]
    weights: Float[Array, "..."] | None

    def __init__(self, diagonal, factor, weights=None, *, check: bool = True):
        name = "LowRankPlusDiagonal"
        self.factor = as_float(factor, f"{name}: factor")
        if self.factor.ndim != 2:
            raise ValueError(
                f"{name}: factor must have shape (d, r), got {self.factor.shape}; "
                "a single direction is a column, shape (d, 1)"
            )
        d, r = self.factor.shape
        if isinstance(diagonal, Isotropic | Diagonal):
            base = diagonal
        else:
            values = as_float(diagonal, f"{name}: diagonal")
            base = (
                Isotropic(values, d, check=check)
                if values.ndim == 0
                else Diagonal(values, check=check)
            )
        self.base = Isotropic(base.value, d, check=False) if isinstance(base, Isotropic) else base
        if self.base.dimension != d:
            raise ValueError(
                f"{name}: diagonal has {self.base.dimension} entries but factor has {d} rows"
            )
        self.weights = None if weights is None else as_float(weights, f"{name}: weights")
        if self.weights is not None:
            if self.weights.shape not in ((r,), (r, r)):
                raise ValueError(
                    f"{name}: weights must have shape ({r},) or ({r}, {r}) for a factor of "
                    f"{r} columns, got {self.weights.shape}"
                )
        if check:
            require_finite(self.factor, f"{name}: factor")
            if self.weights is not None:
                require_finite(self.weights, f"{name}: weights")
                if self.weights.ndim == 2:
                    require_symmetric(self.weights, f"{name}: weights")

    @property
    def dimension(self) -> int:
        return self.factor.shape[0]

    @property
    def rank(self) -> int:
        """Number of columns of the factor."""
        return self.factor.shape[1]

    @property
    def core(self) -> Float[Array, "r r"]:
        """W as a matrix."""
        if self.weights is None:
            return jnp.eye(self.rank, dtype=self.factor.dtype)
        if self.weights.ndim == 1:
            return jnp.diag(self.weights)
        return (self.weights + self.weights.T) / 2

    def dense(self) -> Float[Array, "d d"]:
        return self.base.dense() + self.factor @ self.core @ self.factor.T

    def diagonal_part(self) -> Float[Array, " d"]:
        return self.base.diagonal_part() + jnp.sum((self.factor @ self.core) * self.factor, axis=1)

    def trace(self) -> Float[Array, ""]:
        return self.base.trace() + jnp.sum(self.core * (self.factor.T @ self.factor))

    def matmat(self, columns: Float[Array, "d k"]) -> Float[Array, "d k"]:
        return self.base.matmat(columns) + self.factor @ (self.core @ (self.factor.T @ columns))

    def scale(self, factor: Float[Array, ""]) -> "LowRankPlusDiagonal":
        return LowRankPlusDiagonal(
            self.base.scale(factor), self.factor, factor * self.core, check=False
        )
