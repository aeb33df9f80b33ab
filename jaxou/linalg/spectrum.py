"""Extreme eigenvalues: what decides whether a steady law exists. Values only, no derivative."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .algebra import densified
from .factor import eigh
from .lift import block_problem, reduced
from .matrices import AbstractMatrix, Diagonal, Isotropic, LowRankPlusDiagonal


@eqx.filter_jit
def extreme_eigenvalues(matrix: AbstractMatrix) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(smallest, largest) eigenvalue of a symmetric structured matrix.

    >>> low, high = extreme_eigenvalues(Diagonal([3.0, 1.0, 2.0]))
    >>> float(low), float(high)
    (1.0, 3.0)
    """
    if isinstance(matrix, Isotropic):
        return (lax.stop_gradient(matrix.value),) * 2
    values = lax.stop_gradient(_eigenvalues(matrix))
    return jnp.min(values), jnp.max(values)


def _eigenvalues(matrix):
    if isinstance(matrix, Diagonal):
        return matrix.values
    if isinstance(matrix, LowRankPlusDiagonal) and isinstance(matrix.base, Isotropic):
        shift, _, core = reduced(matrix)
        small = block_problem(shift, core)
        r = core.shape[0]
        # a0 itself is an eigenvalue only while the factor leaves directions out
        small = small if matrix.dimension > r else small[:r, :r]
        return eigh(lax.stop_gradient(small))[0]
    return eigh(lax.stop_gradient(densified(matrix, "the spectrum").dense()))[0]
