"""Dense matrices: symmetric ones, which users give, and general ones, which kernels need."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._check import as_float, require_finite
from .base import AbstractMatrix, require_symmetric


class Dense(AbstractMatrix):
    """A symmetric matrix given by all its entries (d, d). Storage O(d^2).

    The two triangles are averaged, so gradients are symmetric: df = tr(gradient dM).

    >>> Dense([[2.0, 1.0], [1.0, 3.0]]).matvec(jnp.array([1.0, 0.0])).tolist()
    [2.0, 1.0]
    """

    values: Float[Array, "d d"]

    def __init__(self, values, *, check: bool = True):
        values = as_float(values, "Dense(M): M")
        if values.ndim != 2 or values.shape[0] != values.shape[1]:
            raise ValueError(f"Dense(M) takes a square matrix, got shape {values.shape}")
        if check:
            require_finite(values, "Dense(M): M")
            require_symmetric(values, "Dense(M): M")
        self.values = (values + values.T) / 2

    @property
    def dimension(self) -> int:
        return self.values.shape[0]

    def dense(self) -> Float[Array, "d d"]:
        return self.values

    def diagonal_part(self) -> Float[Array, " d"]:
        return jnp.diagonal(self.values)

    def matmat(self, columns: Float[Array, "d k"]) -> Float[Array, "d k"]:
        return self.values @ columns

    def scale(self, factor: Float[Array, ""]) -> "Dense":
        return Dense(factor * self.values, check=False)


class General(AbstractMatrix):
    """A square matrix with no symmetry: the step matrix of momentum, or a product of kernels.

    >>> General([[0.0, 1.0], [0.0, 0.0]]).dense().tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """

    values: Float[Array, "d d"]

    def __init__(self, values, *, check: bool = True):
        self.values = as_float(values, "General(M): M")
        if self.values.ndim != 2 or self.values.shape[0] != self.values.shape[1]:
            raise ValueError(f"General(M) takes a square matrix, got shape {self.values.shape}")
        if check:
            require_finite(self.values, "General(M): M")

    @property
    def dimension(self) -> int:
        return self.values.shape[0]

    def dense(self) -> Float[Array, "d d"]:
        return self.values

    def diagonal_part(self) -> Float[Array, " d"]:
        return jnp.diagonal(self.values)

    def matmat(self, columns: Float[Array, "d k"]) -> Float[Array, "d k"]:
        return self.values @ columns

    def scale(self, factor: Float[Array, ""]) -> "General":
        return General(factor * self.values, check=False)
