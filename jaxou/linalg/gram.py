"""Inner products of tall factors, in one pass over their rows.

At a million rows a scaled copy of a factor costs more than all arithmetic on it (fresh memory is
the slowest thing there is), so the products are accumulated over blocks of rows that stay in
cache, and the backward pass walks the same blocks again instead of keeping them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

BLOCK = 2_000
"""Rows per block: a few factors of 64 columns fit in a core's cache."""

SMALL = 20_000
"""Below this many rows one block is faster than a loop."""


def sum_over_rows(function: Callable, *arrays):
    """function(rows of arrays) summed over blocks of rows; `function` must be additive in rows.

    `arrays` share their first axis. Cost and memory are those of one block plus the inputs.

    >>> u = jnp.ones((50_000, 2))
    >>> sum_over_rows(lambda rows: rows.T @ rows, u).tolist()
    [[50000.0, 50000.0], [50000.0, 50000.0]]
    """
    rows = arrays[0].shape[0]
    if rows < SMALL:
        return function(*arrays)
    blocks = rows // BLOCK
    body_rows = blocks * BLOCK

    @jax.checkpoint
    def body(total, block):
        return jax.tree.map(jnp.add, total, function(*block)), None

    stacked = tuple(x[:body_rows].reshape(blocks, BLOCK, *x.shape[1:]) for x in arrays)
    rest = function(*(x[body_rows:] for x in arrays))
    total, _ = lax.scan(body, rest, stacked)
    return total
