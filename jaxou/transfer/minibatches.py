"""Which examples are in a minibatch, as a pure function of the key, the replica and the step.

    words(slot pair, replica, step) = Threefry(key of the slot pair, counter (replica, step))

so that minibatches do not depend on which other replicas run, nor on where a run was interrupted.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, UInt32

from ..particles.random import threefry2x32

Key = UInt32[Array, "2"]
Rows = UInt32[Array, " rows"]

_SLOTS, _PLACES = 2, 3
"""First counter words of the keys of batch slots and of an epoch's places: two families."""


def with_replacement(
    key: Key, replicas: Rows, step: Int[Array, ""], first: Array, width: int, count: int
) -> Int[Array, "width rows"]:
    """Examples 0, ..., count - 1 in batch slots first, ..., first + width - 1, independent.

    `width` is 1 or even, `first` a multiple of it. A word w chooses floor(w count / 2^32): no
    probability is off by more than count / 2^32 of itself.
    """
    pairs = first.astype(jnp.uint32) // jnp.uint32(2) + jnp.arange(
        max(1, width // 2), dtype=jnp.uint32
    )
    even, odd = _words(key, _SLOTS, pairs, replicas, step)
    if width == 1:
        words = jnp.where(first % 2 == 0, even, odd)
    else:
        words = jnp.stack([even, odd], axis=1).reshape(width, replicas.shape[0])
    return _scaled(words, count).astype(jnp.int32)


def shuffled(
    key: Key, replicas: Rows, epoch: Int[Array, ""], count: int
) -> Int[Array, "count rows"]:
    """A permutation of the examples 0, ..., count - 1 for each replica in one epoch.

    The order of `count` random numbers of 64 bits: uniform among all permutations.
    """
    places = jnp.arange(count, dtype=jnp.uint32)
    high, low = _words(key, _PLACES, places, replicas, epoch)
    index = jnp.broadcast_to(jnp.arange(count, dtype=jnp.int32)[:, None], high.shape)
    return lax.sort((high, low, index), dimension=0, num_keys=2)[2]


def _words(key: Key, family: int, numbers: Array, replicas: Rows, time: Array):
    """Both words of a block, each (numbers, replicas)."""
    counter = (jnp.full_like(numbers, family), numbers)
    keys = threefry2x32((key[:1], key[1:]), counter)
    shape = (numbers.shape[0], replicas.shape[0])
    clock = jnp.broadcast_to(time.astype(jnp.uint32)[None, None], shape)
    block = (jnp.broadcast_to(replicas[None], shape), clock)
    return threefry2x32((keys[0][:, None], keys[1][:, None]), block)


def _scaled(word: UInt32[Array, "..."], count: int) -> UInt32[Array, "..."]:
    """floor(word count / 2^32), by halves: 64-bit integers need x64."""
    half, low = jnp.uint32(16), jnp.uint32(0xFFFF)
    high_c, low_c = jnp.uint32(count >> 16), jnp.uint32(count & 0xFFFF)
    high_w, low_w = word >> half, word & low
    carry = high_w * low_c + ((low_w * low_c) >> half)
    rest = low_w * high_c + (carry & low)
    return high_w * high_c + (carry >> half) + (rest >> half)
