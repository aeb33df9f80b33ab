"""The inner machine: one tile of particles through the whole chain, and many tiles per call.

A tile is a power of two of particles, as columns (d, rows), measured from the centre of the stage
they are in. Every operation on a tile is elementwise in particles, or a product whose shape depends
on the dimension alone, or a sum over fixed leaves: so a result does not depend on the tile's size,
on how many tiles a call processes, or on which device or thread has them.
"""

from functools import cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Float

from .methods import AbstractMethod
from .methods.barrier import made_once
from .methods.columns import times
from .observe import LEAF
from .random import Stream, threefry2x32


class StagePlan(eqx.Module):
    """One stage as the machine sees it; `entry` leads from the centre before to this one."""

    plan: Any
    entry: Float[Array, "... d"]
    momentum: Float[Array, "..."]
    centre: Float[Array, "... d"]
    saves: int = eqx.field(static=True)
    has_momentum: bool = eqx.field(static=True)


class ChainPlan(eqx.Module):
    """A chain of stages: `start` and `root` draw the initial deviations from the first centre.

    With hyper-parameters per particle (`each`) arrays have the particles as a leading axis.
    """

    start: Float[Array, "... d"]
    root: Any
    stages: tuple[StagePlan, ...]


class Machine(eqx.Module):
    """All that a call needs besides which tiles to run."""

    chain: ChainPlan
    noises: tuple[Stream, ...]
    method: AbstractMethod
    observers: tuple
    keep: "Keep" = eqx.field(static=True)


class Keep(NamedTuple):
    """What is static about a run: what a tile returns besides the observers' records."""

    ends: bool
    velocity: bool
    paths: bool
    each: bool
    stretch: tuple[int, int] | None


def run_tile(machine: Machine, first: Array, left: Array, rows: int) -> dict:
    """Particles first, ..., first + rows - 1, of which the first `left` are wanted.

    Returns `floats` and `counts` (the observers' records, save points first), `ends`
    (stages, rows, d), `velocity` (rows, d) and `paths` (saves, rows, d), as far as they are kept.
    """
    keep, chain, act = machine.keep, machine.chain, _actions(machine)
    if keep.each:
        start = first.astype(jnp.int32)
        chain = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, start, rows), chain)
    particles = first + jnp.arange(rows, dtype=jnp.uint32)
    live = jnp.arange(rows, dtype=jnp.int32) < left

    def observe(position, centre, index):
        d = position.shape[0]
        leaves = (position.reshape(d, rows // LEAF, LEAF), live.reshape(rows // LEAF, LEAF))
        floats = tuple(
            o.look_leaves(leaves[0], centre, leaves[1], index)
            for o in machine.observers
            if not o.exact
        )
        counts = tuple(o.look(position, centre, live, index) for o in machine.observers if o.exact)
        kept = {"paths": position.T} if keep.paths else {}
        return {"floats": floats, "counts": counts} | kept

    draw = machine.noises[0].at(particles, jnp.zeros((), jnp.int32))
    position = made_once(left > 0, lambda: act.start(chain, draw))
    velocity = jnp.zeros_like(position)
    centre = _shared(chain.stages[0].centre, keep)
    saved, ends = [jax.tree.map(lambda x: x[None], observe(position, centre, 0))], []
    for index, (stage, noise) in enumerate(zip(chain.stages, machine.noises[1:], strict=True)):
        centre = _shared(stage.centre, keep)
        position = position + _columns(stage.entry, keep)
        velocity = velocity * _columns(stage.momentum, keep) if stage.has_momentum else None
        state = act.enter(stage.plan, position, velocity)

        position_size = position.shape[0]

        def go(state, save, stage=stage, noise=noise, size=position_size):
            state = act.advance(stage.plan, state, noise, particles, save)
            return state, act.leave(stage.plan, state, size)[0]

        def move(state, save, go=go, centre=centre, index=index):
            state, position = made_once(left > 0, lambda: go(state, save))
            return state, observe(position, centre, index)

        state, record = lax.scan(move, state, jnp.arange(1, stage.saves + 1, dtype=jnp.int32))
        saved.append(record)
        position, velocity = act.leave(stage.plan, state, position_size)
        velocity = jnp.zeros_like(position) if velocity is None else velocity
        ends.append(position.T)
    out = jax.tree.map(lambda *parts: jnp.concatenate(parts), *saved)
    out |= {"ends": jnp.stack(ends)} if keep.ends else {}
    return out | ({"velocity": velocity.T} if keep.velocity else {})


class _Actions(NamedTuple):
    start: Any
    enter: Any
    leave: Any
    advance: Any


def _actions(machine: Machine) -> _Actions:
    """The method's moves on columns, or one by one where every particle has its own plan."""
    method, stretch = machine.method, machine.keep.stretch

    def start(chain, draw):
        return chain.start[:, None] + times(chain.root, draw)

    def advance(plan, state, noise, particles, save):
        return method.advance(plan, state, noise, particles, save, stretch)

    if not machine.keep.each:
        return _Actions(start, method.enter, method.leave, advance)

    def alone(function):
        # one particle is a column by itself; what it returns loses that axis again
        def one(plan, *columns):
            wide = jax.tree.map(lambda x: x[..., None], columns)
            return jax.tree.map(lambda x: x[..., 0], function(plan, *wide))

        return lambda plan, *columns: jax.vmap(
            one, in_axes=(0, *(-1,) * len(columns)), out_axes=-1
        )(plan, *columns)

    return _Actions(
        alone(start),
        alone(method.enter),
        lambda plan, state, size: alone(lambda p, s: method.leave(p, s, size))(plan, state),
        lambda plan, state, noise, particles, save: alone(
            lambda p, s, i: advance(p, s, noise, i, save)
        )(plan, state, particles),
    )


def _columns(values, keep: Keep):
    if keep.each:
        return values.T if values.ndim > 1 else values[None, :]
    return values[:, None] if values.ndim > 0 else values


def _shared(centre, keep: Keep):
    # with a plan per particle all have one centre
    return centre[0] if keep.each else centre


def run_tiles(
    machine: Machine, high: Array, firsts: Array, lefts: Array, todo: Array, rows: int
) -> dict:
    """Up to len(firsts) tiles; `todo` (1,) of them are computed, the rest stay zero.

    The number of tiles is data, so the compiled loop is the same for every chunk. `high` is the
    high word of the particles' numbers.
    """
    machine = eqx.tree_at(
        lambda m: m.noises, machine, tuple(_raised(n, high) for n in machine.noises)
    )
    shapes = jax.eval_shape(lambda: run_tile(machine, firsts[0], lefts[0], rows))
    counts = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes.pop("counts"))
    stacked = jax.tree.map(lambda s: jnp.zeros((firsts.shape[0], *s.shape), s.dtype), shapes)

    def body(index, carry):
        stacked, counts = carry
        result = run_tile(machine, firsts[index], lefts[index], rows)
        counts = jax.tree.map(jnp.add, counts, result.pop("counts"))
        put = lambda buffer, x: lax.dynamic_update_index_in_dim(buffer, x, index, 0)
        return jax.tree.map(put, stacked, result), counts

    stacked, counts = lax.fori_loop(0, todo[0], body, (stacked, counts))
    return stacked | {"counts": jax.tree.map(lambda x: x[None], counts)}


def _raised(noise: Stream, high: Array) -> Stream:
    """The stream of particles beyond 2^32: keys of their own, the old ones below."""
    zero = jnp.zeros((), jnp.uint32)
    keys = threefry2x32((noise.keys[:, 0], noise.keys[:, 1]), (high[None], zero[None]))
    other = jnp.stack([jnp.broadcast_to(k, noise.keys.shape[:1]) for k in keys], axis=1)
    return eqx.tree_at(lambda n: n.keys, noise, jnp.where(high == zero, noise.keys, other))


def map_tiles(machine: Machine, count: int, rows: int) -> dict:
    """All tiles one after the other, for use under `jit` and `grad`: reverse mode goes through."""
    tiles = -(-count // rows)
    firsts = jnp.arange(tiles, dtype=jnp.uint32) * jnp.uint32(rows)
    lefts = jnp.int32(count) - jnp.arange(tiles, dtype=jnp.int32) * jnp.int32(rows)
    if tiles == 1:
        one = run_tile(machine, firsts[0], lefts[0], rows)
        return jax.tree.map(lambda x: x[None], one)
    return lax.map(lambda tile: run_tile(machine, *tile, rows), (firsts, lefts))


class Frozen:
    """The part of a tree that is not arrays, as one hashable thing, and how to put it together."""

    def __init__(self, tree: Any):
        leaves, self.structure = jax.tree.flatten(tree)
        self.rest = tuple(None if eqx.is_array(leaf) else leaf for leaf in leaves)
        self.arrays = [leaf for leaf in leaves if eqx.is_array(leaf)]

    def key(self):
        return self.structure, self.rest


def thaw(key: tuple, arrays: list) -> Any:
    """The tree again, from `Frozen.key()` and its arrays."""
    structure, rest = key
    arrays = iter(arrays)
    return structure.unflatten([next(arrays) if leaf is None else leaf for leaf in rest])


@cache
def compiled(mesh: Mesh | None, backend: str):
    """The jitted `run_tiles` on one device, or with tiles spread over a mesh."""

    def call(key, rows, arrays, high, firsts, lefts, todo):
        run = lambda *a: run_tiles(thaw(key, a[0]), *a[1:], rows)
        if mesh is not None:
            spread = Spec("particles")
            run = jax.shard_map(
                run,
                mesh=mesh,
                in_specs=(Spec(), Spec(), spread, spread, spread),
                out_specs=spread,
                check_vma=False,
            )
        with jax.default_matmul_precision("highest"):
            return run(arrays, high, firsts, lefts, todo)

    # wide vectors pay for integer work on every CPU that has them
    options = {"xla_cpu_prefer_vector_width": 512} if backend == "cpu" else None
    return jax.jit(call, static_argnums=(0, 1), compiler_options=options)
