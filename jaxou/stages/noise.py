"""The two other ways to say how strong the noise is. A bare matrix means C, one example's."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import as_number, refuse_unless, show_value
from .._typing import MatrixLike, ScalarLike
from ..laws.gaussian import require_positive
from ..linalg.algebra import as_matrix
from ..linalg.matrices import AbstractMatrix, Isotropic


class Diffusion(eqx.Module):
    """The diffusion matrix D in flow time: the noise has covariance 2 D per unit of flow time.

    With C the covariance of one example's gradient and eps = learning_rate / batch_size,
    D = (eps / 2) C. A stage given D does not change its noise when eps changes.

    >>> Diffusion(0.5).rate().value.item()
    1.0
    """

    matrix: AbstractMatrix

    def __init__(self, matrix: MatrixLike):
        self.matrix = as_matrix(matrix, "Diffusion(D): D")
        require_positive(self.matrix, "Diffusion(D): D")

    def rate(self) -> AbstractMatrix:
        """2 D, covariance per unit of flow time."""
        return self.matrix.scale(jnp.asarray(2.0, jnp.result_type(float)))


class Temperature(eqx.Module):
    """Isotropic noise of temperature T: the steady law is the loss's Gibbs law, exp(-L / T).

    The gradient's noise has covariance 2 T I per unit of flow time. A preconditioner P acts on it
    as on any gradient noise, which breaks the Gibbs form; `langevin_temperature` keeps it.

    >>> Temperature(0.25).rate().value.item()
    0.5
    """

    value: Float[Array, ""]

    def __init__(self, value: ScalarLike):
        self.value = as_number(value, "Temperature(T): T")
        refuse_unless(self.value >= 0, f"Temperature(T={show_value(self.value)}): T must be >= 0")

    def rate(self) -> AbstractMatrix:
        """2 T I, covariance per unit of flow time."""
        return Isotropic(2 * self.value, check=False)
