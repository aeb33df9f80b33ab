"""Square roots R of a prior's covariance shape.

Parameters are centre + R z, and the prior is N(0, tau^2 I) in z. A product costs O(d^2) with a
dense root, O(d) with a diagonal and O(d k) with a low-rank one.
"""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._typing import Matrix, Vector

Rows = Float[Array, "rows d"]


class AbstractRoot(eqx.Module):
    """An invertible linear map from the prior's coordinates to parameters."""

    @abstractmethod
    def apply(self, rows: Rows) -> Rows:
        """R z for every row z."""

    @abstractmethod
    def solve(self, rows: Rows) -> Rows:
        """R^-1 x for every row x."""

    @abstractmethod
    def dense(self) -> Matrix:
        """R as a matrix (d, d)."""


class DenseRoot(AbstractRoot):
    """R = `matrix` (d, d), with its inverse beside it."""

    matrix: Matrix
    inverse: Matrix

    def apply(self, rows: Rows) -> Rows:
        return rows @ self.matrix.T

    def solve(self, rows: Rows) -> Rows:
        return rows @ self.inverse.T

    def dense(self) -> Matrix:
        return self.matrix

    def rotated(self, vectors: Matrix) -> "DenseRoot":
        """R V for an orthogonal V: the same covariance in other coordinates."""
        return DenseRoot(self.matrix @ vectors, vectors.T @ self.inverse)


class DiagonalRoot(AbstractRoot):
    """R = diag(`values`), values > 0 (d,)."""

    values: Vector

    def apply(self, rows: Rows) -> Rows:
        return rows * self.values[None, :]

    def solve(self, rows: Rows) -> Rows:
        return rows / self.values[None, :]

    def dense(self) -> Matrix:
        return jnp.diag(self.values)


class LowRankRoot(AbstractRoot):
    """R = scale (I + U diag(gains) U'), U orthonormal (d, k), gains > -1.

    >>> root = LowRankRoot(jnp.asarray(2.0), jnp.array([[1.0], [0.0]]), jnp.array([-0.5]))
    >>> root.dense().tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """

    scale: Float[Array, ""]
    vectors: Float[Array, "d k"]
    gains: Float[Array, " k"]

    def apply(self, rows: Rows) -> Rows:
        return self.scale * (rows + self._along(rows, self.gains))

    def solve(self, rows: Rows) -> Rows:
        return (rows - self._along(rows, self.gains / (1.0 + self.gains))) / self.scale

    def _along(self, rows: Rows, gains: Float[Array, " k"]) -> Rows:
        return ((rows @ self.vectors) * gains[None, :]) @ self.vectors.T

    def dense(self) -> Matrix:
        eye = jnp.eye(self.vectors.shape[0], dtype=self.vectors.dtype)
        return self.apply(eye)
