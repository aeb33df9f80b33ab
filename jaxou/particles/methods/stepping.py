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

WIDE = 2**12
"""Columns of one matrix product above which more make it no faster."""

CACHED = 2**14
"""Pairs of normals (coordinates x pairs x particles) that are made and multiplied at once: they and
their products stay in a core's cache."""

NARROW = 2**7
"""Fewest columns of a matrix product."""

Stretch = tuple[int, int]
"""The fewest and the most moves between two save points, where they are known before tracing."""


def walk(
    step: Callable[[Any, Array, Array], Any],
    state: Any,
    noise: Stream,
    particles: UInt32[Array, " rows"],
    first: Int[Array, ""],
    last: Int[Array, ""],
    *,
    fused: bool,
    kick: Callable[[Array], Array] | None = None,
    stretch: Stretch | None = None,
) -> Any:
    """The state after steps first, ..., last - 1; both numbers may be traced.

    `fused=True` is for updates in which every coordinate needs its own normal alone: eight steps
    with their noise become one pass over the state. Otherwise a pair's normals are made one
    iteration ahead and carried, because XLA would repeat the cipher for every use of them.
    `kick`, if given, is applied to the normals of several steps at once, and the step gets what it
    returns. `stretch` bounds last - first and makes loops that can be differentiated backwards
    too; their memory is about 2 sqrt(moves / 8) states.
    """

    if stretch is None and not fused:
        return _carried(step, kick, state, noise, particles, first, last)
    kick = (lambda normals: normals) if kick is None else kick

    def pair(index, state):
        for half, normals in enumerate(noise.pair(particles, index)):
            state = _within(step, state, kick(normals), 2 * index + half, first, last)
        return state

    def body(start, state):
        for k in range(UNROLL):
            for half, normals in enumerate(noise.pair(particles, start + k)):
                state = step(state, kick(normals), 2 * (start + k) + half)
        return state

    if stretch is not None:
        return _bounded(pair, body, state, first, stretch)
    return _unbounded(pair, body, state, first, last)


def _within(step, state, normals, tick, first, last):
    inside = (tick >= first) & (tick < last)
    moved = step(state, normals, tick)
    return jax.tree.map(lambda new, old: jnp.where(inside, new, old), moved, state)


def _unbounded(pair, body, state, first, last):
    full = (first + 1) // 2
    bodies = jnp.maximum(last // 2 - full, 0) // UNROLL
    tail = full + bodies * UNROLL
    if isinstance(state, tuple):
        # position and velocity travel as one complex number: with two arrays XLA would run the
        # cipher twice, once for each
        pair, body, state = _packed(pair), _packed(body), lax.complex(*state)

    def phase(number, state):
        # 0: the odd step at the start, then all bodies; 1: what is left. One copy of each loop
        end = number == 1
        start = jnp.where(end, tail, first // 2)
        state = lax.fori_loop(start, jnp.where(end, (last + 1) // 2, full), pair, state)
        whole = lambda index, state: body(full + index * UNROLL, state)
        return lax.fori_loop(jnp.where(end, bodies, 0), bodies, whole, state)

    state = lax.fori_loop(0, 2, phase, state)
    return (jnp.real(state), jnp.imag(state)) if jnp.iscomplexobj(state) else state


def _packed(body):
    return lambda index, both: lax.complex(*body(index, (jnp.real(both), jnp.imag(both))))


def _carried(step, kick, state, noise, particles, first, last):
    block = _columns_at_once(noise, particles)
    if block < particles.shape[0]:
        # a wide state is moved block by block, each through all steps
        walk_one = lambda part: _carried(step, kick, part[0], noise, part[1], first, last)
        split = lambda x: jnp.moveaxis(x.reshape(*x.shape[:-1], -1, block), -2, 0)
        moved = lax.map(walk_one, jax.tree.map(split, (state, particles)))
        return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -2).reshape(*x.shape[1:-1], -1), moved)
    width = _pairs_at_once(kick, noise, particles)

    def make(start, pairs):
        index = start + jnp.arange(pairs, dtype=jnp.int32)
        return noise.packed(particles, index)

    def kicks(packed):
        # all normals of a body in one matrix product, (coordinates, pairs x rows)
        halves = (jnp.real(packed), jnp.imag(packed))
        if kick is None:
            return halves
        moved = (kick(half.reshape(half.shape[0], -1)) for half in halves)
        return tuple(m.reshape(m.shape[0], *packed.shape[1:]) for m in moved)

    def pair(index, carry):
        state, packed = carry
        for half, moved in enumerate(kicks(packed)):
            state = _within(step, state, moved[:, 0], 2 * index + half, first, last)
        return state, make(index + 1, 1)

    def body(index, carry):
        state, packed = carry
        even, odd = kicks(packed)
        start = full + index * width
        for k in range(width):
            for half, moved in enumerate((even, odd)):
                state = step(state, moved[:, k], 2 * (start + k) + half)
        return state, make(start + width, width)

    full = (first + 1) // 2
    bodies = jnp.maximum(last // 2 - full, 0) // width
    tail = full + bodies * width

    def phase(number, state):
        end = number == 1
        start, stop = jnp.where(end, tail, first // 2), jnp.where(end, (last + 1) // 2, full)
        state, _ = lax.fori_loop(start, stop, pair, (state, make(start, 1)))
        trips = jnp.where(end, 0, bodies)
        return lax.fori_loop(0, trips, body, (state, make(full, width)))[0]

    return lax.fori_loop(0, 2, phase, state)


def _columns_at_once(noise, particles) -> int:
    # a power of two, as the number of particles is
    fit = max(CACHED // noise.coordinates, NARROW)
    return min(particles.shape[0], 2 ** (fit.bit_length() - 1))


def _pairs_at_once(kick, noise, particles) -> int:
    # narrow products are slower than wide ones, as long as all stays in the cache
    rows = particles.shape[0]
    return 1 if kick is None else max(1, min(WIDE, CACHED // noise.coordinates) // rows)


def _bounded(pair, body, state, first, stretch: Stretch):
    shortest, longest = stretch
    start = first // 2 + 1
    # so many pairs after the first are whole in every stretch, wherever it starts
    bodies = max(0, shortest // 2 - 1) // UNROLL
    rest = longest // 2 - bodies * UNROLL
    segment = max(1, round(bodies**0.5))
    whole = bodies // segment * segment

    def bodies_from(state, starts):
        return lax.scan(lambda state, at: (body(at, state), None), state, starts)

    def pairs_from(state, indices):
        return lax.scan(lambda state, at: (pair(at, state), None), state, indices)

    # two levels: states are kept between segments, and inside one while it is differentiated
    state = pair(first // 2, state)
    starts = start + UNROLL * jnp.arange(bodies, dtype=jnp.int32)
    if whole:
        segments = starts[:whole].reshape(-1, segment)
        state, _ = lax.scan(jax.checkpoint(bodies_from), state, segments)
    if bodies > whole:
        state, _ = jax.checkpoint(bodies_from)(state, starts[whole:])
    left = start + bodies * UNROLL + jnp.arange(rest, dtype=jnp.int32)
    return jax.checkpoint(pairs_from)(state, left)[0] if rest else state
