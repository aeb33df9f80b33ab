"""Sums of first and second moments, and the statistics that depend on nothing else.

Statistics of one family compute the same sums; inside one compiled program XLA keeps one copy.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._typing import Scalar
from ...linalg import eigh
from .base import AbstractSum, masked


class Moments(eqx.Module):
    """sum z (r,) and sum z z^T (r, r); several such sums have a leading axis."""

    total: Float[Array, "*sets r"]
    outer: Float[Array, "*sets r r"]

    def mean(self, n: Scalar) -> Float[Array, " r"]:
        return self.total / n

    def covariance(self, n: Scalar) -> Float[Array, "r r"]:
        """Over 1 / n, about the draws' own mean."""
        mean = self.total / n
        return self.outer / n - mean[:, None] * mean[None, :]


def moments_of(block: Any, live: Any) -> Moments:
    """The sums over the live rows of one block. Cost O(rows r^2)."""
    x = masked(block, live)
    product = jnp.matmul(x.T, x, precision=jax.lax.Precision.HIGHEST)
    return Moments(jnp.sum(x, axis=0), product)


class AbstractMoments(AbstractSum):
    """A statistic of the mean and the covariance alone; its law can be simulated for any n from
    Bartlett's decomposition, at a cost that does not depend on n (`bartlett.py`)."""

    about_moments: ClassVar[bool] = True

    def reduce(self, block, live):
        return moments_of(block, live)


def own_root(moments: Moments, n: Scalar) -> tuple[Float[Array, " r"], Float[Array, "r r"]]:
    """(mean m, W) such that rows (z - m) W have mean zero and covariance I over 1 / n.

    W is the symmetric inverse root of the covariance. Cost O(r^3); needs n > r.
    """
    values, vectors = eigh(moments.covariance(n))
    # with n > r draws the covariance is regular with probability one; else NaN, no wrong number
    scale = jnp.where(values > 0, 1 / jnp.sqrt(jnp.where(values > 0, values, 1.0)), jnp.nan)
    return moments.mean(n), (vectors * scale[None, :]) @ vectors.T


def standardise(block: Any, mean: Any, root: Any) -> Any:
    """The rows (z - mean) root in the block's own precision."""
    centred = block - mean.astype(block.dtype)[None, :]
    return jnp.matmul(centred, root.astype(block.dtype), precision=jax.lax.Precision.HIGHEST)
