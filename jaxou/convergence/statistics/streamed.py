"""Sums over blocks of rows, merged pairwise in the order of the blocks."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .moments import standardise


@eqx.filter_jit
def _reduce(statistics, block, live, own):
    if own is not None:
        block = standardise(block, *own)
    return [statistic.reduce(block, live) for statistic in statistics]


def streamed(statistics: Any, z: Any, block: int, own: Any = None) -> list:
    """Records of sums over all rows of z (n, r), in double precision whatever that of z.

    One compiled program sees blocks of `block` rows, the last one padded; records of blocks are
    added in a binary tree, so the rounding grows like the logarithm of their number. `own`, a pair
    (mean, root), whitens the rows on their way.
    """
    n, r = z.shape
    rows = min(block, 1 << max(n - 1, 255).bit_length())
    stack = []  # (number of blocks, record): sizes fall, as in a binary counter
    for start in range(0, n, rows):
        piece = np.asarray(z[start : start + rows])
        live = np.arange(rows) < len(piece)
        if len(piece) < rows:
            piece = np.concatenate([piece, np.zeros((rows - len(piece), r), piece.dtype)])
        records = _reduce(tuple(statistics), jnp.asarray(piece), jnp.asarray(live), own)
        new = (1, jax.tree.map(_wide, records))
        while stack and stack[-1][0] == new[0]:
            size, old = stack.pop()
            new = (2 * size, jax.tree.map(np.add, old, new[1]))
        stack.append(new)
    total = stack.pop()[1]
    while stack:
        total = jax.tree.map(np.add, stack.pop()[1], total)
    return total


def _wide(leaf):
    leaf = np.asarray(leaf)
    return leaf.astype(np.int64 if leaf.dtype.kind in "iu" else np.float64)
