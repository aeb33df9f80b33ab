"""A multiple of the identity."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._check import as_count, as_float, require_finite
from ..._typing import ScalarLike
from .base import AbstractMatrix


class Isotropic(AbstractMatrix):
    """a I. Storage O(1); the dimension is learned from the stage or law it becomes part of.

    >>> Isotropic(2.0, dimension=2).dense().tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """

    value: Float[Array, ""]
    size: int | None = eqx.field(static=True)

    def __init__(self, value: ScalarLike, dimension: int | None = None, *, check: bool = True):
        self.value = as_float(value, "Isotropic(a): a")
        self.size = None if dimension is None else as_count(dimension, "dimension")
        if self.value.ndim != 0:
            raise ValueError(
                f"Isotropic(a) takes one number, got shape {self.value.shape}; "
                "use Diagonal(v) for a vector"
            )
        if check:
            require_finite(self.value, "Isotropic(a): a")

    @property
    def dimension(self) -> int | None:
        return self.size

    def _known(self) -> int:
        if self.size is None:
            raise ValueError("Isotropic(a) has no dimension yet: give Isotropic(a, dimension=d)")
        return self.size

    def dense(self) -> Float[Array, "d d"]:
        return self.value * jnp.eye(self._known(), dtype=self.value.dtype)

    def diagonal_part(self) -> Float[Array, " d"]:
        return jnp.full(self._known(), self.value)

    def matmat(self, columns: Float[Array, "d k"]) -> Float[Array, "d k"]:
        return self.value * columns

    def trace(self) -> Float[Array, ""]:
        return self._known() * self.value

    def scale(self, factor: Float[Array, ""]) -> "Isotropic":
        return Isotropic(factor * self.value, self.size, check=False)
