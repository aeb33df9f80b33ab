"""Sums of kernels over all pairs of rows, in square tiles of the Gram matrix.

The tiles' inner products are shared by all kernels of a call, and each pair is visited once.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..._typing import Scalar

TILE = 512
SEED = 7


class PairSums(eqx.Module):
    """Sums over i != j of h and h^2, the sum of h(z_i, z_i), and that of the squared row means."""

    cross: Scalar
    square: Scalar
    diagonal: Scalar
    rows: Scalar


def strata(n: int, m: int) -> np.ndarray:
    """m row numbers below n, ascending: one at a fixed random place of each of m equal strata.

    >>> rows = strata(1_000, 10)
    >>> bool(np.all(rows // 100 == np.arange(10)))
    True
    """
    if m >= n:
        return np.arange(n)
    words = np.asarray(jax.random.bits(jax.random.key(SEED), (m,), jnp.uint32), np.float64)
    return np.minimum(((np.arange(m) + words / 2.0**32) * (n / m)).astype(np.int64), n - 1)


def pair_sums(statistics: tuple, rows: Any) -> tuple[PairSums, ...]:
    """The sums of every statistic over all pairs of rows (m, r). Cost O(m^2 r), and less for those
    that know a shorter way (`direct`).

    >>> from .mmd import MMD
    >>> sums = pair_sums((MMD(),), jnp.zeros((3, 2)))[0]
    >>> bool(jnp.isclose(sums.diagonal / 3, sums.cross / 6))  # all pairs are alike
    True
    """
    short = [s.direct(rows) for s in statistics]
    long = tuple(s for s, found in zip(statistics, short, strict=True) if found is None)
    rest = iter(_over_tiles(long, rows) if long else ())
    return tuple(next(rest) if found is None else found for found in short)


def _over_tiles(statistics, rows):
    m, r = rows.shape
    tile = min(TILE, -(-m // 8) * 8)
    count = -(-m // tile)
    padded = jnp.concatenate([rows, jnp.zeros((count * tile - m, r), rows.dtype)])
    squares = jnp.sum(padded**2, axis=1)
    centres = [s.centre(squares, r).astype(rows.dtype) for s in statistics]
    live = (jnp.arange(count * tile) < m).astype(rows.dtype)
    wide = jnp.result_type(float)

    def of_tile(a, b):
        x, y = (lax.dynamic_slice_in_dim(padded, i * tile, tile) for i in (a, b))
        dot = jnp.matmul(x, y.T, precision=lax.Precision.HIGHEST)

        def part(v, i):
            return lax.dynamic_slice_in_dim(v, i * tile, tile)

        left, right = part(squares, a)[:, None], part(squares, b)[None, :]
        weight = part(live, a)[:, None] * part(live, b)[None, :]
        same = jnp.eye(tile, dtype=rows.dtype) * (a == b).astype(rows.dtype)
        weight = weight * (1 - same)
        found = []
        for statistic, centre in zip(statistics, centres, strict=True):
            h = statistic.kernel(dot, left, right, r) - part(centre, a)[:, None]
            h = weight * (h - part(centre, b)[None, :])
            found.append((jnp.sum(h, axis=1), jnp.sum(h, axis=0), jnp.sum(h * h)))
        return found

    def step(number, carry):
        a, b = first[number], second[number]
        twice = (a != b).astype(wide)
        new = []
        for (totals, square), (down, across, h2) in zip(carry, of_tile(a, b), strict=True):
            totals = _added(totals, down.astype(wide), a * tile)
            totals = _added(totals, twice * across.astype(wide), b * tile)
            new.append((totals, square + (1 + twice) * h2.astype(wide)))
        return new

    upper = np.triu_indices(count)
    first, second = (jnp.asarray(x, jnp.int32) for x in upper)
    start = [(jnp.zeros(count * tile, wide), jnp.zeros((), wide)) for _ in statistics]
    if count == 1:
        totals = step(0, start)
    else:
        totals = lax.fori_loop(0, len(upper[0]), step, start)
    found = []
    for statistic, (total, square) in zip(statistics, totals, strict=True):
        diagonal = jnp.sum((live * statistic.diagonal(squares, r).astype(rows.dtype)).astype(wide))
        mean_square = jnp.sum((total / (m - 1)) ** 2)
        found.append(PairSums(jnp.sum(total), square, diagonal, mean_square))
    return tuple(found)


def _added(total, part, start):
    old = lax.dynamic_slice_in_dim(total, start, part.shape[0])
    return lax.dynamic_update_slice_in_dim(total, old + part, start, axis=0)
