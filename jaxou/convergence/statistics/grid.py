"""Counts on a fixed grid: distribution functions of any number of draws, exact and mergeable."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from .base import Live


def counts_on_grid(scores: Any, live: Live, reach: float, per_unit: int) -> Int32[Array, "m bins"]:
    """How many live entries of each row of `scores` (m, rows) fall in each of the bins of width
    1 / per_unit between -reach and reach; what lies outside counts in the last bin of its side.

    >>> live = jnp.array([True, True, False])
    >>> counts_on_grid(jnp.array([[-9.0, 0.25, 0.75]]), live, 1.0, 2).tolist()
    [[1, 0, 1, 0]]
    """
    bins = round(2 * reach * per_unit)
    where = jnp.floor((scores + reach) * per_unit)
    index = jnp.clip(where, 0, bins - 1).astype(jnp.int32)
    index = jnp.where(live[None, :], index, jnp.int32(bins))
    rows = jnp.arange(scores.shape[0], dtype=jnp.int32)[:, None]
    empty = jnp.zeros((scores.shape[0], bins), jnp.int32)
    return empty.at[rows, index].add(jnp.int32(1), mode="drop")


def edges_of(reach: float, per_unit: int) -> Float[Array, " edges"]:
    """The bins' edges, ascending."""
    return jnp.linspace(-reach, reach, round(2 * reach * per_unit) + 1)


def below_edges(counts: Any, n: Any) -> Float[Array, "m edges"]:
    """The draws' distribution function at the edges: exact but for the outermost bins."""
    inside = jnp.cumsum(counts, axis=1).astype(jnp.result_type(float)) / n
    return jnp.concatenate([jnp.zeros_like(inside[:, :1]), inside], axis=1)
