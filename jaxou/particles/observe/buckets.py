"""Counting numbers of any size in buckets of fixed relative width, exactly and mergeably.

A bucket is the leading half of a float32's bits: sign, exponent and 7 bits of the fraction. The
edges are the powers of two times 1, 1 + 2^-7, 1 + 2 x 2^-7, ..., so no range has to be given, and
histograms merge by adding integers. The idea is that of Masson, Rim and Lee 2019, "DDSketch",
doi:10.14778/3352063.3352135, with the bits in the place of a logarithm. Sizes go from 2^-64 to
2^64; what is smaller counts as zero, what is larger as infinite.

Measured on a CPU core: 3 to 6 ns per number for the scatter alone, inside a compiled loop, where
sorting costs 400 ns and comparing with 64 edges 23 ns.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int32

from .base import LEAF

HALF = 1 + 2**14
"""Buckets of one sign: [0, 2^-64), and 2^7 in each of 128 octaves."""

FINITE = 2 * HALF
"""Buckets of both signs."""

_BELOW = (127 - 64) * 2**7 - 1
"""The leading bits of a float32 just below 2^-64."""

EXPONENTS = 256
"""Values of a float32's exponent field."""

CARRY = 2**15
"""Numbers whose 16-bit remainders can be added in an int32."""


def _edges() -> np.ndarray:
    leading = np.arange(_BELOW + 1, _BELOW + HALF + 1, dtype=np.uint32)
    positive = (leading << np.uint32(16)).view(np.float32).astype(np.float64)
    return np.concatenate([-positive[::-1], [0.0], positive])


EDGES = _edges()
"""Edges of the buckets, ascending, (FINITE + 1,); bucket i is [EDGES[i], EDGES[i + 1])."""


def bucket(values: Float[Array, "*shape"]) -> Int32[Array, "*shape"]:
    """The number of each value's bucket: 1 .. FINITE, 0 below them, FINITE + 1 above.

    NaN counts as above. float64 values are rounded to float32 first.

    >>> int(bucket(jnp.asarray(1.0))) - int(bucket(jnp.asarray(0.999)))
    1
    >>> i = int(bucket(jnp.asarray(3.14)))
    >>> float(EDGES[i - 1]), float(EDGES[i])
    (3.125, 3.140625)
    """
    wide = jnp.where(jnp.isnan(values), jnp.inf, values).astype(jnp.float32)
    bits = lax.bitcast_convert_type(wide, jnp.int32)
    magnitude = ((bits & jnp.int32(0x7FFFFFFF)) >> 16) - jnp.int32(_BELOW)
    magnitude = jnp.clip(magnitude, jnp.int32(0), jnp.int32(HALF))
    return jnp.where(bits < 0, HALF - magnitude, HALF + 1 + magnitude)


def by_leaves(function: Callable, position: Float[Array, "d rows"]) -> Float[Array, " rows"]:
    """function(columns (d, LEAF)) -> (LEAF,) on one leaf of particles after the other.

    Products and sums over coordinates then have one shape, and so the same bits, in every program.
    """
    d, rows = position.shape
    if rows % LEAF != 0:
        return function(position)
    leaves = jnp.moveaxis(position.reshape(d, rows // LEAF, LEAF), 1, 0)
    return lax.map(function, leaves).reshape(rows)


def count(
    index: Int32[Array, "m rows"], live: Bool[Array, " rows"], size: int
) -> Int32[Array, "m size"]:
    """How often each of 0 .. size - 1 occurs among the live columns of every row of `index`.

    >>> index = jnp.array([[0, 2, 2, 1]], jnp.int32)
    >>> count(index, jnp.array([True, True, True, False]), 3).tolist()
    [[1, 0, 2]]
    """
    inside = jnp.where(live[None, :], index, jnp.int32(size))
    series = jnp.arange(index.shape[0], dtype=jnp.int32)[:, None]
    empty = jnp.zeros((index.shape[0], size), jnp.int32)
    return empty.at[series, inside].add(jnp.int32(1), mode="drop")


def remainders(
    values: Float[Array, " rows"], live: Bool[Array, " rows"]
) -> Int32[Array, "3 exponents"]:
    """What the buckets forget of numbers in [2^-64, 2^64), added up: three digits per exponent.

    A number is its bucket's lower edge plus a 16-bit remainder times 2^(exponent - 150). The sum
    of remainders is kept to base 2^8, so that adding records never overflows below 2^31 particles.
    """
    bits = lax.bitcast_convert_type(values.astype(jnp.float32), jnp.int32)
    kept = live & (values >= 2.0**-64) & (values < 2.0**64)
    exponent = jnp.where(kept, (bits >> 23) & jnp.int32(255), jnp.int32(EXPONENTS))
    rest = bits & jnp.int32(0xFFFF)
    total = jnp.zeros((3, EXPONENTS), jnp.int32)
    for start in range(0, values.shape[0], CARRY):
        part = slice(start, start + CARRY)
        added = jnp.zeros(EXPONENTS, jnp.int32).at[exponent[part]].add(rest[part], mode="drop")
        digits = (added & jnp.int32(255), (added >> 8) & jnp.int32(255), added >> 16)
        total = total + jnp.stack(digits)
    return total


def exact_sum(
    counts: Int[Array, "saves half"] | np.ndarray, digits: Int[Array, "saves 3 e"] | np.ndarray
) -> Array | np.ndarray:
    """The sum of non-negative float32 numbers that were counted: exact but for its rounding.

    `counts` are those of the upper half of the buckets. Returns (saves,). Numbers below 2^-64
    count as zero, those from 2^64 on are left out.

    >>> x = jnp.asarray([0.1, 7.3, 1e-3], jnp.float32)
    >>> live = jnp.ones(3, bool)
    >>> counts = np.asarray(count(bucket(x)[None], live, FINITE + 2))[:, 1:-1]
    >>> total = exact_sum(counts[:, HALF:], np.asarray(remainders(x, live))[None])
    >>> bool(total[0] == np.asarray(x, np.float64).sum())
    True
    """
    lower = EDGES[HALF:-1]
    units = 2.0 ** (np.maximum(np.arange(EXPONENTS), 1) - 150)
    weights = np.array([1.0, 2.0**8, 2.0**16])[:, None] * units
    if isinstance(counts, np.ndarray):
        rest = np.sum(digits * weights, axis=(1, 2))
        return counts @ lower + rest
    dtype = jnp.result_type(float)
    rest = jnp.sum(digits.astype(dtype) * jnp.asarray(weights, dtype)[None], axis=(1, 2))
    return counts.astype(dtype) @ jnp.asarray(lower, dtype) + rest
