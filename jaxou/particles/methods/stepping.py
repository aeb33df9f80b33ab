"""The loop over steps: noise that is made where it is used, few passes, any trip count.

A step is a function (state, normals, tick) -> state. Noise comes in pairs of steps, because a block
of the cipher has two words, and belongs to the absolute step: where a stretch starts or ends inside
a pair, the other half is computed and dropped.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, UInt32

from ..random import Stream

UNROLL = 4
"""Pairs of steps per loop body where noise and update are one loop over particles."""


def walk(
    step: Callable[[Any, Array, Array], Any],
    state: Any,
    noise: Stream,
    particles: UInt32[Array, " rows"],
    first: Int[Array, ""],
    last: Int[Array, ""],
    *,
    fused: bool,
    longest: int | None = None,
) -> Any:
    """The state after steps first, ..., last - 1; both numbers may be traced.

    `fused=True` is for updates in which every coordinate needs its own normal alone: eight steps
    with their noise become one pass over the state. Otherwise a pair's normals are made one
    iteration ahead and carried, because XLA would repeat the cipher for every use of them.
    `longest`, a static bound on last - first, makes a loop that can be differentiated backwards;
    its memory is about 2 sqrt(longest / 2) states.
    """
    pair = _masked_pair(step, noise, particles, first, last)
    if longest is not None:
        return _checkpointed(pair, state, first // 2, longest // 2 + 1)
    if not fused:
        return _carried(step, state, noise, particles, first, last)
    full, rest = (first + 1) // 2, last // 2
    bodies = jnp.maximum(rest - full, 0) // UNROLL

    def body(index, state):
        start = full + index * UNROLL
        for k in range(UNROLL):
            for half, normals in enumerate(noise.pair(particles, start + k)):
                state = step(state, normals, 2 * (start + k) + half)
        return state

    tail = full + bodies * UNROLL

    def phase(number, state):
        # 0: the odd step at the start, then all bodies; 1: what is left. One copy of each loop
        end = number == 1
        start = jnp.where(end, tail, first // 2)
        state = lax.fori_loop(start, jnp.where(end, (last + 1) // 2, full), pair, state)
        return lax.fori_loop(jnp.where(end, bodies, 0), bodies, body, state)

    if not isinstance(state, tuple):
        return lax.fori_loop(0, 2, phase, state)
    # position and velocity travel as one complex number: with two arrays XLA would run the cipher
    # twice, once for each
    pair, body = _packed(pair), _packed(body)
    both = lax.fori_loop(0, 2, phase, lax.complex(*state))
    return jnp.real(both), jnp.imag(both)


def _packed(body):
    def packed(index, both):
        return lax.complex(*body(index, (jnp.real(both), jnp.imag(both))))

    return packed


def _masked_pair(step, noise, particles, first, last):
    def pair(index, state):
        for half, normals in enumerate(noise.pair(particles, index)):
            state = _within(step, state, normals, 2 * index + half, first, last)
        return state

    return pair


def _within(step, state, normals, tick, first, last):
    inside = (tick >= first) & (tick < last)
    moved = step(state, normals, tick)
    return jax.tree.map(lambda new, old: jnp.where(inside, new, old), moved, state)


def _carried(step, state, noise, particles, first, last):
    def make(index):
        return noise.packed(particles, index[None])[:, 0]

    def body(index, carry):
        state, packed = carry
        for half, normals in enumerate((jnp.real(packed), jnp.imag(packed))):
            state = _within(step, state, normals, 2 * index + half, first, last)
        return state, make(index + 1)

    start = first // 2
    return lax.fori_loop(start, (last + 1) // 2, body, (state, make(start)))[0]


def _checkpointed(pair, state, start, pairs):
    # two levels: keep the states between segments, and within one while it is differentiated
    segment = max(1, round(pairs**0.5))
    outer = -(-pairs // segment)

    def inner(state, index):
        return pair(index, state), None

    @jax.checkpoint
    def middle(state, index):
        return lax.scan(inner, state, index)[0], None

    index = start + jnp.arange(outer * segment, dtype=jnp.int32).reshape(outer, segment)
    return lax.scan(middle, state, index)[0]
