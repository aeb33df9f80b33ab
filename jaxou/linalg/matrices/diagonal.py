"""A diagonal matrix."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._check import as_float, require_finite
from .base import AbstractMatrix


class Diagonal(AbstractMatrix):
    """diag(v) of a vector v (d,). Storage O(d).

    >>> Diagonal([1.0, 2.0]).trace().item()
    3.0
    """

    values: Float[Array, " d"]

    def __init__(self, values, *, check: bool = True):
        self.values = as_float(values, "Diagonal(v): v")
        if self.values.ndim != 1:
            raise ValueError(f"Diagonal(v) takes a vector, got shape {self.values.shape}")
        if check:
            require_finite(self.values, "Diagonal(v): v")

    @property
    def dimension(self) -> int:
        return self.values.shape[0]

    def dense(self) -> Float[Array, "d d"]:
        return jnp.diag(self.values)

    def diagonal_part(self) -> Float[Array, " d"]:
        return self.values

    def matmat(self, columns: Float[Array, "d k"]) -> Float[Array, "d k"]:
        return self.values[:, None] * columns

    def scale(self, factor: Float[Array, ""]) -> "Diagonal":
        return Diagonal(factor * self.values, check=False)
