"""A square root of low rank plus diagonal, to draw with: d normals in, no d x d matrix."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .factor import eigh
from .lift import reduced
from .matrices import Isotropic, LowRankPlusDiagonal


class LowRankRoot(eqx.Module):
    """R = diag(scale) (unit I + basis diag(gain) basis^T), basis (d, r); R R^T is the matrix."""

    scale: Float[Array, " d"]
    unit: Float[Array, ""]
    basis: Float[Array, "d r"]
    gain: Float[Array, " r"]

    def matmat(self, columns: Float[Array, "d k"]) -> Float[Array, "d k"]:
        """R times k columns, in full precision on every device."""
        inner = jnp.matmul(self.basis.T, columns, precision=lax.Precision.HIGHEST)
        outer = jnp.matmul(self.basis, self.gain[:, None] * inner, precision=lax.Precision.HIGHEST)
        return self.scale[:, None] * (self.unit * columns + outer)


def low_rank_root(matrix: LowRankPlusDiagonal) -> LowRankRoot:
    """A root of E + U W U^T; W may be indefinite. A value only; cost O(d r^2).

    E may be zero if it is a multiple of the identity; a zero in a diagonal E gives NaN.

    >>> root = low_rank_root(LowRankPlusDiagonal(0.0, [[3.0], [4.0]]))
    >>> R = root.matmat(jnp.eye(2))
    >>> (R @ R.T).round(6).tolist()
    [[9.0, 12.0], [12.0, 16.0]]
    """
    ones = jnp.ones(matrix.dimension, matrix.factor.dtype)
    if isinstance(matrix.base, Isotropic):
        # (e I + Q B Q^T)^1/2 = e^1/2 I + Q ((e + B)^1/2 - e^1/2) Q^T
        scale, flat = ones, matrix
    else:
        # E^1/2 (I + V W V^T) E^1/2 with V = E^-1/2 U
        scale = jnp.sqrt(matrix.base.values)
        flat = LowRankPlusDiagonal(1.0, matrix.factor / scale[:, None], matrix.core, check=False)
    e, basis, core = reduced(flat)
    values, vectors = eigh(lax.stop_gradient(core))
    unit = jnp.sqrt(e)
    gain = jnp.sqrt(jnp.maximum(e + values, 0.0)) - unit
    return LowRankRoot(scale, unit, basis @ vectors, gain)
