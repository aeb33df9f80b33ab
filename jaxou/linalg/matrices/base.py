"""What every structured matrix can do. The structure is the type, fixed at construction."""

import abc

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ..._check import is_concrete, show

DENSE_LIMIT = 5_000
"""Largest dimension at which a pair of structures that does not close is made dense."""


class AbstractMatrix(eqx.Module):
    """A square matrix whose structure is its type. Batch it with `vmap`: no method reads `ndim`."""

    @property
    @abc.abstractmethod
    def dimension(self) -> int | None:
        """Number of rows; None for an `Isotropic` that has not been told."""

    @abc.abstractmethod
    def dense(self) -> Float[Array, "d d"]:
        """The matrix as an array; memory O(d^2)."""

    @abc.abstractmethod
    def diagonal_part(self) -> Float[Array, " d"]:
        """The diagonal."""

    @abc.abstractmethod
    def matmat(self, columns: Float[Array, "d k"]) -> Float[Array, "d k"]:
        """The product with k columns."""

    @abc.abstractmethod
    def scale(self, factor: Float[Array, ""]) -> "AbstractMatrix":
        """The matrix times a number, of the same structure."""

    def matvec(self, vector: Float[Array, " d"]) -> Float[Array, " d"]:
        """The product with one vector."""
        return self.matmat(vector[:, None])[:, 0]

    def trace(self) -> Float[Array, ""]:
        """The sum of the eigenvalues."""
        return self.diagonal_part().sum()

    def __add__(self, other: "AbstractMatrix") -> "AbstractMatrix":
        from ..algebra import add  # the table of pairs needs every member of the family

        return add(self, other) if isinstance(other, AbstractMatrix) else NotImplemented


def require_symmetric(array: Float[Array, "d d"], name: str) -> None:
    """Refuse a matrix that differs from its transpose by more than rounding, saying where."""
    if not is_concrete(array):
        return
    values = np.asarray(array)
    gap = np.abs(values - values.T)
    scale = np.abs(values).max(initial=0.0)
    if gap.max(initial=0.0) > 1e3 * np.finfo(values.dtype).eps * max(scale, 1e-300):
        i, j = np.unravel_index(np.argmax(gap), gap.shape)
        raise ValueError(
            f"{name} is not symmetric: entry ({i}, {j}) is {show(values[i, j])} but ({j}, {i}) is "
            f"{show(values[j, i])}; pass (M + M.T) / 2 if the difference is noise"
        )
