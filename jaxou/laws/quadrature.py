"""Integrals of a density that is known up to a constant, on a grid that finds its own window."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float

DEPTH = 50.0
"""The window reaches down to exp(-DEPTH) of the largest density."""

REACH = 16.0
"""The first search reaches sinh(REACH), four million, to both sides."""

ZOOMS = 5


class Table(eqx.Module):
    """A density on a tensor grid: `axes` (d of them) and the log of each node's probability.

    `log_mass` is the log of the integral of the density. `error` is the relative difference to that
    of every second node, and `confined` tells whether the density ends within reach.
    """

    axes: tuple[Float[Array, " points"], ...]
    log_weights: Float[Array, "..."]
    log_mass: Float[Array, ""]
    error: Float[Array, ""]
    confined: Bool[Array, ""]

    @property
    def nodes(self) -> Float[Array, "nodes d"]:
        return grid_nodes(self.axes)

    @property
    def weights(self) -> Float[Array, " nodes"]:
        return jnp.exp(self.log_weights).reshape(-1)


def grid_nodes(axes: tuple) -> Float[Array, "nodes d"]:
    """All points of a tensor grid, one per row, the last axis fastest.

    >>> grid_nodes((jnp.array([0.0, 1.0]), jnp.array([5.0]))).tolist()
    [[0.0, 5.0], [1.0, 5.0]]
    """
    mesh = jnp.meshgrid(*axes, indexing="ij")
    return jnp.stack([m.reshape(-1) for m in mesh], axis=1)


def tabulate(log_density: Callable, centre: Float[Array, " d"], points: int) -> Table:
    """The density exp(log_density(x)) on `points` nodes per axis.

    A grid in sinh(u) around `centre` finds where the density is, and some zooms make the window
    tight. The trapezoidal rule on the last grid is exponentially accurate, because the density
    and its derivatives vanish at the ends. Derivatives go through the density, not the window.
    Cost: (ZOOMS + 2) points^d values.
    """
    shape = (points,) * centre.shape[0]

    def values_on(axes):
        values = jax.vmap(log_density)(grid_nodes(axes)).reshape(shape)
        # far away a potential may overflow to inf - inf
        return jnp.where(jnp.isnan(values), -jnp.inf, values)

    def ends(axes):
        values = lax.stop_gradient(values_on(axes))
        kept = values >= values.max() - DEPTH
        windows, touches = [], jnp.asarray(False)
        for k, axis in enumerate(axes):
            mask = kept.any(axis=tuple(j for j in range(len(axes)) if j != k))
            first, last = jnp.argmax(mask), points - 1 - jnp.argmax(mask[::-1])
            ends = axis[jnp.maximum(first - 1, 0)], axis[jnp.minimum(last + 1, points - 1)]
            windows.append(jnp.linspace(*ends, points))
            touches = touches | mask[0] | mask[-1]
        return tuple(windows), touches

    far = jnp.sinh(jnp.linspace(-REACH, REACH, points, dtype=centre.dtype))
    axes, touches = ends(tuple(c + far for c in lax.stop_gradient(centre)))
    axes = lax.fori_loop(0, ZOOMS, lambda _, axes: ends(axes)[0], axes)
    values = values_on(axes)
    cell = sum(jnp.log(axis[1] - axis[0]) for axis in axes)
    total = logsumexp(values)
    sparse = logsumexp(values[(slice(None, None, 2),) * len(shape)]) + len(shape) * jnp.log(2.0)
    error = jnp.abs(jnp.expm1(lax.stop_gradient(sparse - total)))
    return Table(axes, values - total, total + cell, error, ~touches & jnp.isfinite(total))


def cumulative(
    axis: Float[Array, " points"], density: Float[Array, " points"], slope: Float[Array, " points"]
) -> Float[Array, " points"]:
    """The distribution function at equally spaced nodes, of fourth order, from density and slope.

    Corrected trapezoids (Euler and Maclaurin), made to end at 1.
    """
    h = axis[1] - axis[0]
    parts = h * (density[1:] + density[:-1]) / 2 - h**2 * (slope[1:] - slope[:-1]) / 12
    rising = jnp.concatenate([jnp.zeros_like(parts[:1]), jnp.cumsum(parts)])
    return rising / rising[-1]


def hermite(
    x: Float[Array, " n"],
    axis: Float[Array, " points"],
    values: Float[Array, " points"],
    slopes: Float[Array, " points"],
) -> Float[Array, " n"]:
    """The piecewise cubic through values and slopes at equally spaced nodes; constant outside."""
    h = axis[1] - axis[0]
    x = jnp.clip(x, axis[0], axis[-1])
    cell = jnp.clip(jnp.floor((x - axis[0]) / h).astype(jnp.int32), 0, axis.shape[0] - 2)
    t = (x - axis[cell]) / h
    left, right = values[cell], values[cell + 1]
    down, up = h * slopes[cell], h * slopes[cell + 1]
    rest = down * (1 - t) - up * t + (right - left) * (2 * t - 1)
    return (1 - t) * left + t * right + t * (1 - t) * rest
