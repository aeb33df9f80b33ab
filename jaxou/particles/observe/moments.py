"""Mean and covariance at every save point."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .base import AbstractObserver, definite, leaf_sum, merge_means

COVARIANCE_LIMIT = 2**24
"""Entries of all covariances of a run (saves x d x d) up to which they are kept by default."""

UNROLLED = 4
"""Up to this dimension the products of a covariance are summed one by one, without a matmul."""


class MomentRecord(eqx.Module):
    """Mean and covariance of the particles at each of K save points, with their errors.

    `covariance` divides by particles - 1. `standard_error_mean` (K, d) is the standard deviation
    of each mean; `standard_error_covariance` (K, d, d) is the Gaussian one,
    sqrt((S_ij^2 + S_ii S_jj) / (particles - 1)).
    """

    mean: Float[Array, "saves d"]
    variance: Float[Array, "saves d"]
    full: Float[Array, "saves d d"] | None
    count: int = eqx.field(static=True)

    @property
    def covariance(self) -> Float[Array, "saves d d"]:
        if self.full is None:
            raise ValueError(
                "this run kept variances only, because its covariances are large or were not asked "
                "for: pass observe=ou.Moments(covariance=True), or use run.moments.variance"
            )
        return self.full

    @property
    def standard_error_mean(self) -> Float[Array, "saves d"]:
        return (self.variance / self.count) ** 0.5

    @property
    def standard_error_covariance(self) -> Float[Array, "saves d d"]:
        square = self.variance[:, :, None] * self.variance[:, None, :]
        return ((self.covariance**2 + square) / max(self.count - 1, 1)) ** 0.5


class Moments(AbstractObserver):
    """Keep mean and covariance at every save point.

    `covariance=False` keeps variances only, memory O(saves x d); None decides by size.

    >>> import jax, jaxou as ou
    >>> stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=4,
    ...                  steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 0.0))
    >>> run = ou.simulate(chain, particles=500, key=jax.random.key(0), save=5, observe=Moments())
    >>> run.moments.mean.shape, run.moments.covariance.shape, float(run.moments.mean[0, 0])
    ((6, 1), (6, 1, 1), 0.0)
    """

    covariance: bool | None = eqx.field(static=True, default=None)

    @property
    def name(self) -> str:
        return "moments"

    def look(self, position, centre, live, stage):
        record = self.look_leaves(position[:, None, :], centre, live[None, :], stage)
        return jax.tree.map(lambda x: x[0], record)

    def look_leaves(self, position, centre, live, stage):
        weight = live.astype(position.dtype)[None]
        count = leaf_sum(weight)[0]
        share = definite(1 / jnp.maximum(count, jnp.ones_like(count)))
        mean = definite(leaf_sum(position * weight) * share[None])
        centred = (position - mean[:, :, None]) * weight
        return count, mean.T, _scatter(centred, bool(self.covariance))

    def merge(self, left, right):
        return merge_means(left, right)

    def finish(self, total, context):
        """(mean, variance, covariance or None) of the deviations; `simulate` adds the centres."""
        count, mean, scatter = total
        spread = scatter / max(context.count - 1, 1)
        full = spread.ndim == 3
        variance = spread.diagonal(axis1=1, axis2=2) if full else spread
        return mean, variance, spread if full else None


def _scatter(centred: Float[Array, "d leaves rows"], covariance: bool) -> Any:
    d = centred.shape[0]
    if not covariance:
        return leaf_sum(centred**2).T
    if d > UNROLLED:
        # one leaf at a time: the shape of the product, and so its bits, never change
        square = lambda leaf: jnp.matmul(leaf, leaf.T, precision=lax.Precision.HIGHEST)
        return lax.map(square, jnp.moveaxis(centred, 1, 0))
    rows = [leaf_sum(centred[i][None] * centred) for i in range(d)]
    return jnp.moveaxis(jnp.stack(rows), 2, 0)
