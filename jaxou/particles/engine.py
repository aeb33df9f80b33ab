"""The inner machine: one block of particles through the whole chain, and many blocks per call.

A block has a fixed number of particles, so that every run compiles the same shapes: a result does
not depend on how many blocks one call processes, and a last block is padded. Inside a block
particles are columns (d, rows), measured from the centre of the stage they are in.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .columns import times
from .method import AbstractMethod
from .noise import Stream


class StagePlan(eqx.Module):
    """One stage as the machine sees it."""

    plan: Any
    noise: Stream
    entry: Float[Array, " d"]
    momentum: Float[Array, ""]
    saves: int = eqx.field(static=True)
    has_momentum: bool = eqx.field(static=True)


class ChainPlan(eqx.Module):
    """A chain of stages: `start` and `root` draw the initial deviations from the first centre."""

    start: Float[Array, " d"]
    root: Any
    noise: Stream
    stages: tuple[StagePlan, ...]
    method: AbstractMethod


class Keep(eqx.Module):
    """What a block returns at every save."""

    covariance: bool = eqx.field(static=True)
    paths: bool = eqx.field(static=True)


def rows_per_block(dimension: int) -> int:
    """Particles per block: a power of two that depends on the state's dimension alone.

    >>> rows_per_block(1), rows_per_block(650)
    (8192, 1024)
    """
    fitting = max(1, 65536 // dimension)
    return max(1024, min(8192, 2 ** (fitting.bit_length() - 1)))


def run_block(chain: ChainPlan, block: Array, count: Array, rows: int, keep: Keep) -> dict:
    """One block: `ends` (stages, rows, d), `mean`, `scatter` and `paths` over all saves."""
    particles = block.astype(jnp.uint32) * jnp.uint32(rows) + jnp.arange(rows, dtype=jnp.uint32)
    dtype = chain.start.dtype
    weights = (particles < count.astype(jnp.uint32)).astype(dtype)[None, :]
    dimension = chain.start.shape[0]

    def observe(position):
        mean = jnp.sum(position * weights, axis=1) / jnp.sum(weights)
        centred = (position - mean[:, None]) * weights
        if keep.covariance:
            scatter = jnp.matmul(centred, centred.T, precision=lax.Precision.HIGHEST)
        else:
            scatter = jnp.sum(centred**2, axis=1)
        return {"mean": mean, "scatter": scatter} | ({"paths": position} if keep.paths else {})

    draw = chain.noise.at(particles, jnp.zeros((), jnp.int32))
    position = lax.optimization_barrier(chain.start[:, None] + times(chain.root, draw))
    buffer = jnp.zeros_like(position)
    saved, ends = [jax.tree.map(lambda x: x[None], observe(position))], []
    for stage in chain.stages:
        position = position + stage.entry[:, None]
        state = position
        if stage.has_momentum:
            state = jnp.concatenate([position, buffer * stage.momentum])

        def move(state, save, stage=stage):
            state = chain.method.advance(stage.plan, state, stage.noise, particles, save)
            state = lax.optimization_barrier(state)
            return state, observe(state[:dimension])

        state, record = lax.scan(move, state, jnp.arange(1, stage.saves + 1, dtype=jnp.int32))
        saved.append(record)
        position = state[:dimension]
        buffer = state[dimension:] if stage.has_momentum else jnp.zeros_like(position)
        ends.append(position.T)
    out = jax.tree.map(lambda *parts: jnp.concatenate(parts), *saved)
    return out | {"ends": jnp.stack(ends)}


@eqx.filter_jit
def run_blocks(
    chain: ChainPlan, first: Array, blocks: Array, count: Array, rows: int, chunk: int, keep: Keep
) -> dict:
    """Up to `chunk` blocks from `first` on; `blocks` of them are computed, the rest stay zero.

    The number of blocks is data, so the compiled loop is the same for every chunk.
    """
    shapes = jax.eval_shape(lambda: run_block(chain, first, count, rows, keep))
    buffers = jax.tree.map(lambda s: jnp.zeros((chunk, *s.shape), s.dtype), shapes)

    def body(index, buffers):
        result = lax.optimization_barrier(run_block(chain, first + index, count, rows, keep))
        return jax.tree.map(
            lambda buffer, x: lax.dynamic_update_index_in_dim(buffer, x, index, 0), buffers, result
        )

    return lax.fori_loop(0, blocks, body, buffers)


def map_blocks(chain: ChainPlan, count: int, rows: int, keep: Keep) -> dict:
    """All blocks at once, for use under `jit` and `grad`: reverse mode goes through."""
    total = -(-count // rows)
    index = jnp.arange(total, dtype=jnp.int32)
    number = jnp.asarray(count, jnp.int32)
    return lax.map(lambda block: run_block(chain, block, number, rows, keep), index)
