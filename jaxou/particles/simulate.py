"""`simulate`: particles through a chain of training stages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._check import as_float, is_concrete
from ..stages import AbstractChain, Stage
from . import checkpoint as checkpoints
from .columns import square_root
from .engine import ChainPlan, Keep, StagePlan, map_blocks, rows_per_block, run_blocks
from .method import AbstractMethod, cast
from .noise import INITIAL, stream
from .observe import COVARIANCE_LIMIT, MomentRecord, PairwiseMerge, read_observers
from .run import Run, place
from .sgd import SGD

MEMORY = 2**28
"""Bytes of results that one call may hold, by default."""


def simulate(
    process: Any,
    *,
    particles: Any,
    key,
    method: Any = None,
    save: Any = 1,
    observe=(),
    memory: float | int | None = None,
    checkpoint: Any = None,
    dtype=None,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Independent particles through every stage of a chain, and what was seen of them.

    **Arguments:**

    - `process`: a `Chain` or `TwoStage`; its `initial` law starts the particles.
    - `particles`: how many. More particles keep the old ones.
    - `key`: a `jax.random.key`. Noise is a pure function of it and of (stage, particle, step,
      coordinate), so equal keys give equal bits for every `memory`.
    - `method`: `SGD()` (default) and `Exact()` jump between saves with exact kernels, at a cost of
      particles x saves x d^2 whatever the number of steps; `EulerMaruyama` and `Diffrax` step.
    - `save`: equally spaced save points per stage, one number or one per stage. The last is the
      stage's end.
    - `observe`: `Moments(...)`, `Paths(k)` or both. Moments are always kept.
    - `memory`: bytes of results that one call may hold (256 MiB).
    - `checkpoint`: a file that is written after every chunk. The same call finds it after a crash
      and goes on to the same bits; a damaged file, or one of another run, is refused.
    - `dtype`: `jnp.float32` (default) or `jnp.float64`, which needs x64. Particles are kept as
      deviations from a stage's minimum, so float32 resolves narrow laws.
    - `progress`: called with (particles done, particles) after every chunk.

    **Returns** a `Run`. Under `jit`, `vmap` and `grad` it works too, in one chunk; stepping methods
    have forward derivatives (`jax.jvp`, `jax.jacfwd`) only.

    >>> import jaxou as ou
    >>> stage = ou.Stage(hessian=[1.0, 2.0], noise=1.0, minimum=[0.0, 1.0], learning_rate=0.1,
    ...                  batch_size=4, steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0, 0.0], 1.0))
    >>> run = ou.simulate(chain, particles=100, key=jax.random.key(0), save=5)
    >>> run.final.shape, run.moments.mean.shape, [float(n) for n in run.steps]
    ((100, 2), (6, 2), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0])
    """
    method = SGD() if method is None else method
    count, dtype = _check(process, particles, method, dtype)
    saves = _saves(save, process)
    covariance, paths = read_observers(observe)
    d, total = process.dimension, 1 + sum(saves)
    if covariance is None:
        covariance = total * d * d <= COVARIANCE_LIMIT
    paths = min(paths, count)

    for stage, k in zip(process.stages, saves, strict=True):
        method.refuse(stage, k)
    with jax.default_matmul_precision("highest"):
        plan, clocks, centres = _plan_chain(process, saves, method, key, dtype)
        rows = rows_per_block(max(stage.state_dimension for stage in process.stages))
        arguments = (plan, count, rows, covariance, paths)
        if is_concrete(plan):
            path = None if checkpoint is None else Path(checkpoint)
            ends, moments, seen = _in_chunks(*arguments, total, memory, path, progress)
        elif checkpoint is not None:
            raise ValueError("checkpoint= is for runs outside jit, vmap and grad")
        else:
            ends, moments, seen = _traced(*arguments)
    stages = np.repeat(np.arange(len(saves)), np.asarray(saves))
    stages = np.concatenate([np.zeros(1, stages.dtype), stages])
    mean, variance, full, seen = _from_centres(*moments, seen, centres, stages)
    return Run(
        times=clocks[0],
        steps=clocks[1],
        stages=jnp.asarray(stages),
        moments=MomentRecord(mean, variance, full, count),
        paths=seen,
        deviations=ends,
        centres=centres,
        method=method,
        names=tuple(process.names),
    )


@eqx.filter_jit
def _from_centres(mean, variance, full, seen, centres, stages):
    """Means and paths as points, where they were deviations."""
    rows = centres[stages]
    return mean + rows, variance, full, None if seen is None else place(seen, rows[:, None, :])


def _check(process, particles, method, dtype):
    if isinstance(process, Stage):
        raise ValueError(
            "simulate needs to know where the particles start: wrap the stage, "
            "ou.Chain([stage], initial=ou.Gaussian(mean, covariance)). To start at its steady law "
            "use initial=stage.stationary()"
        )
    if not isinstance(process, AbstractChain):
        raise TypeError(f"simulate takes a Chain or TwoStage, got {type(process).__name__}")
    if not isinstance(method, AbstractMethod):
        raise TypeError(
            "method must be one of SGD(), Exact(), EulerMaruyama(...), Diffrax(...), got "
            f"{method!r}"
        )
    if not float(particles) == int(particles) or not 1 <= int(particles) < 2**31:
        raise ValueError(f"particles={particles} must be a whole number of at least 1")
    dtype = jnp.dtype(jnp.float32 if dtype is None else dtype)
    if dtype not in (jnp.float32, jnp.float64):
        raise ValueError(f"dtype must be jnp.float32 or jnp.float64, got {dtype}")
    if dtype == jnp.float64 and jnp.result_type(float) != jnp.float64:
        raise ValueError(
            'dtype=jnp.float64 needs x64: jax.config.update("jax_enable_x64", True) first'
        )
    return int(particles), dtype


def _saves(save, process) -> tuple[int, ...]:
    saves = tuple(save) if isinstance(save, tuple | list) else (save,) * len(process.stages)
    if len(saves) != len(process.stages):
        raise ValueError(
            f"save={save} has {len(saves)} entries for {len(process.stages)} stages: give one "
            "number for all stages or one per stage"
        )
    for k in saves:
        if isinstance(k, bool) or int(k) != k or k < 1:
            raise ValueError(f"save={save} must hold whole numbers of at least 1")
    return tuple(int(k) for k in saves)


def _centre(stage):
    # any point serves; where the Hessian is singular the minimum may be far away or undefined
    centre = jax.lax.stop_gradient(stage.effective_minimum)
    return jnp.where(jnp.isfinite(centre).all(), centre, jnp.zeros_like(centre))


@eqx.filter_jit
def _plan_chain(process, saves, method, key, dtype) -> tuple:
    """Everything that the particles of a run share: plan, (times, steps) of all rows, centres."""
    grids = tuple(method.grid(stage, k) for stage, k in zip(process.stages, saves, strict=True))
    centres = tuple(_centre(stage) for stage in process.stages)
    d, plans, before = process.dimension, [], centres[0]
    for index, (stage, grid, centre) in enumerate(zip(process.stages, grids, centres, strict=True)):
        padded = jnp.concatenate([centre, jnp.zeros(stage.state_dimension - d, centre.dtype)])
        plan = method.plan(stage, grid, padded, dtype)
        noise = stream(key, index + 1, method.coordinates(plan), dtype)
        momentum = _carried(process, index, method)
        entry = cast(before - centre, dtype)
        plans.append(
            StagePlan(plan, noise, entry, cast(momentum, dtype), grid.saves, stage.has_momentum)
        )
        before = centre
    initial = process.initial
    plan = ChainPlan(
        cast(initial.mean - centres[0], dtype),
        cast(square_root(initial.operator), dtype),
        stream(key, INITIAL, d, dtype),
        tuple(plans),
        method,
    )
    return plan, _clocks(grids), jnp.stack(centres)


def _carried(process, index: int, method):
    """What is kept of the buffer or velocity when stage `index` starts, as a factor."""
    one = jnp.ones((), process.initial.mean.dtype)
    if not process.carry_momentum or index == 0:
        return 0 * one
    stage, before = process.stages[index], process.stages[index - 1]
    if method.chain == "sgd" or not (stage.has_momentum and before.has_momentum):
        return one
    # the velocity per step is -learning_rate x buffer, and the buffer is what is kept
    return stage.learning_rate / before.learning_rate


def _in_chunks(plan, count, rows, covariance, paths, total, memory, path, progress):
    """The run as a host loop over chunks of blocks; sums on the host, in float64."""
    d, blocks = plan.start.shape[0], -(-count // rows)
    seen_blocks = -(-paths // rows)
    ends = np.empty((len(plan.stages), blocks * rows, d), plan.start.dtype)
    seen = np.empty((total, seen_blocks * rows, d), plan.start.dtype)
    tree = PairwiseMerge()
    first, run = 0, ""
    if path is not None:
        run = checkpoints.fingerprint(plan, count, rows, covariance, paths)
        found = checkpoints.read(path, run)
        if found is not None:
            first, tree = found.blocks, PairwiseMerge(found.stack)
            ends[:, : found.ends.shape[1]] = found.ends
            seen[:, : found.seen.shape[1]] = found.seen
    while first < blocks:
        keep = Keep(covariance, first < seen_blocks)
        limit = _chunk(plan, rows, total, keep, memory, blocks)
        stop = seen_blocks if keep.paths else blocks
        width = min(limit, stop - first)
        out = run_blocks(
            plan,
            jnp.asarray(first, jnp.int32),
            jnp.asarray(width, jnp.int32),
            jnp.asarray(count, jnp.int32),
            rows,
            limit,
            keep,
        )
        out = {name: np.asarray(x) for name, x in out.items()}
        for i in range(width):
            here = slice((first + i) * rows, (first + i + 1) * rows)
            ends[:, here] = out["ends"][i]
            if keep.paths:
                seen[:, here] = out["paths"][i].transpose(0, 2, 1)
            size = float(min(rows, count - (first + i) * rows))
            parts = (size, out["mean"][i].astype(np.float64), out["scatter"][i].astype(np.float64))
            tree.push(parts)
        first += width
        if path is not None:
            done = checkpoints.Progress(
                first, ends[:, : first * rows], seen[:, : first * rows], tree.stack
            )
            checkpoints.write(path, run, done)
        if progress is not None:
            progress(min(first * rows, count), count)
    moments = _summary(tree.total(), covariance)
    return jnp.asarray(ends[:, :count]), moments, jnp.asarray(seen[:, :paths]) if paths else None


def _chunk(plan, rows, total, keep, memory, blocks) -> int:
    """Blocks per call: a power of two that fits the memory, so that few shapes are compiled."""
    d, size = plan.start.shape[0], plan.start.dtype.itemsize
    scatter = d * d if keep.covariance else d
    numbers = total * (d + scatter + keep.paths * d * rows) + len(plan.stages) * rows * d
    need = numbers * size
    budget = MEMORY if memory is None else memory
    if memory is not None and need > memory:
        raise ValueError(
            f"memory={memory} bytes is less than one block of {rows} particles needs ({need}): "
            "raise it, save less often, or observe=ou.Moments(covariance=False)"
        )
    fitting = max(1, min(budget // need, blocks))
    return 2 ** (fitting.bit_length() - 1)


def _traced(plan, count, rows, covariance, paths):
    """The same under `jit` and `grad`: all blocks in one mapped call."""
    out = map_blocks(plan, count, rows, Keep(covariance, paths > 0))
    blocks = out["ends"].shape[0]
    tree = PairwiseMerge()
    for i in range(blocks):
        size = float(min(rows, count - i * rows))
        wide = jax.tree.map(lambda x, i=i: as_float(x[i]), (out["mean"], out["scatter"]))
        tree.push((size, *wide))
    ends = jnp.moveaxis(out["ends"], 0, 1).reshape(len(plan.stages), blocks * rows, -1)[:, :count]
    seen = None
    if paths:
        seen = out["paths"].transpose(1, 0, 3, 2)
        seen = seen.reshape(seen.shape[0], blocks * rows, -1)[:, :paths]
    return ends, _summary(tree.total(), covariance), seen


def _summary(total, covariance):
    """(mean, variance, covariance or None) of the deviations."""
    count, mean, scatter = total
    spread = scatter / max(count - 1, 1)
    variance = spread.diagonal(axis1=1, axis2=2) if covariance else spread
    return tuple(
        None if x is None else as_float(x) for x in (mean, variance, spread if covariance else None)
    )


def _clocks(grids):
    """Cumulative flow time and steps of every row; row 0 is the start."""
    times, steps = [jnp.zeros(1)], [jnp.zeros(1)]
    for grid in grids:
        times.append(times[-1][-1] + grid.times[1:])
        steps.append(steps[-1][-1] + grid.steps[1:])
    return jnp.concatenate(times), jnp.concatenate(steps)
