"""`simulate`: particles through a chain of training stages."""

import os
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from .._check import as_count, as_float, as_key, is_concrete
from .arguments import (
    byte_count,
    checkpoint_file,
    particle_dtype,
    require_chain,
    some_devices,
)
from .chunks import SIZES, cut, run_jobs
from .engine import Keep, Machine, map_tiles
from .methods import SGD, AbstractMethod
from .observe import (
    COVARIANCE_LIMIT,
    LEAF,
    AbstractObserver,
    Context,
    MomentRecord,
    Moments,
    Paths,
)
from .planning import known_stretch, plan_chain, plan_each
from .processes import gather, share
from .progress import reporter
from .run import Run, place
from .state import State, Wanted

FINAL_LIMIT = 2**30
"""Bytes of particles at the stages' ends up to which a run keeps them by default."""


def simulate(
    process: Any,
    *,
    particles: Any,
    key,
    method: Any = None,
    save: Any = 1,
    observe=(),
    each: Any = None,
    memory: Any = None,
    checkpoint: Any = None,
    dtype=None,
    progress: Any = None,
    final: bool | None = None,
    threads: Any = None,
    devices: Any = None,
) -> Run:
    """Independent particles through every stage of a chain, and what was seen of them.

    **Arguments:**

    - `process`: a `Chain` or `TwoStage`; its `initial` law starts the particles.
    - `particles`: how many. More particles keep the old ones.
    - `key`: a `jax.random.key`. Noise is a pure function of it and of (stage, particle, step,
      coordinate), so equal keys give equal bits for every `memory`, `threads` and `devices`.
    - `method`: `SGD()` (default) and `Exact()` jump between saves with exact kernels, at a cost of
      particles x saves x d^2 whatever the number of steps; `EulerMaruyama`, `Heun`, `BAOAB` and
      `Diffrax` step, and take any loss (`PotentialStage`); `RealSGD` trains on real examples.
    - `save`: equally spaced save points per stage, one number or one per stage. The last is the
      stage's end.
    - `observe`: observers, one or a tuple: `Moments(...)` (always kept), `Paths(k)`, `Histogram`,
      `Statistic`, `Energy`, `Mahalanobis`, `Snapshots`, or your own `AbstractObserver`.
    - `each`: hyper-parameters per particle: a pytree of arrays whose first axis has `particles`
      entries; `process` is then a function from one entry to a chain.
    - `memory`: bytes of results that the calls in flight may hold (256 MiB).
    - `checkpoint`: a file that is written between chunks. The same call finds it after a crash or
      Ctrl-C and goes on to the same bits; a file of another run is refused, a damaged one reported
      and the one before it used.
    - `dtype`: `jnp.float32` (default) or `jnp.float64`, which needs x64. Particles are kept as
      deviations from a stage's minimum, so float32 resolves narrow laws.
    - `progress`: None shows a bar on a terminal; True, False, or a function that is called with
      (particles done, particles) after every chunk.
    - `final`: whether to keep the particles (and their velocities) at every stage's end; by default
      up to 1 GiB of them.
    - `threads`: calls in flight; by default the number of cores on a CPU, else 2.
    - `devices`: the devices that share the particles, by default all of this process. Several
      processes (`jax.distributed.initialize`) share them too.

    **Returns** a `Run`. Under `jit`, `vmap` and `grad` it works too, in one call: stepping methods
    have forward derivatives, and reverse ones where the number of steps is not traced (memory:
    about sqrt(steps / 2) states per save).

    Raises `ValueError` or `TypeError` with advice for arguments that cannot be, and for stages that
    the method cannot follow; particles that stop being numbers are told of in a warning.

    >>> import jaxou as ou
    >>> stage = ou.Stage(hessian=[1.0, 2.0], noise=1.0, minimum=[0.0, 1.0], learning_rate=0.1,
    ...                  batch_size=4, steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0, 0.0], 1.0))
    >>> run = ou.simulate(chain, particles=100, key=jax.random.key(0), save=5)
    >>> run.final.shape, run.moments.mean.shape, [float(n) for n in run.steps]
    ((100, 2), (6, 2), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0])
    """
    method = SGD() if method is None else method
    _require_method(method)
    count, key = as_count(particles, "particles"), as_key(key)
    dtype = particle_dtype(dtype)
    example = process if each is None else _example(process, each, count)
    require_chain(example, "simulate")
    saves = _saves(save, example)
    method = method.prepare(example, count)
    for index, (stage, k) in enumerate(zip(example.stages, saves, strict=True)):
        method.of_stage(index).refuse(stage, k)
    d, total = example.dimension, 1 + sum(saves)
    observers, paths = _observers(observe, example, total, d)
    paths = min(paths, count)

    with jax.default_matmul_precision("highest"):
        if each is None:
            known = is_concrete((process, method))
            planned = plan_chain(process, saves, method, key, dtype, known)
        else:
            known = is_concrete((each, method))
            padded = jax.tree.map(lambda x: _padded(x, count), each)
            planned = plan_each(process, padded, saves, method, key, dtype)
        plan, noises, clocks, centres = planned
        if each is not None:
            clocks = tuple(clock[:count] for clock in clocks)
        size = len(saves) * count * d * dtype.itemsize
        ends = size <= FINAL_LIMIT if final is None else bool(final)
        keep = Keep(
            ends=ends,
            velocity=ends and plan.stages[-1].has_momentum and method.has_velocity,
            paths=paths > 0,
            each=each is not None,
            stretch=None if known else known_stretch(example, saves, method),
        )
        machine = Machine(plan, noises, method, observers, keep)
        wanted = Wanted(count, total, paths)
        if known and is_concrete((plan, noises)):
            path = None if checkpoint is None else checkpoint_file(checkpoint)
            state = _in_chunks(machine, wanted, memory, path, progress, threads, devices)
        elif checkpoint is not None:
            raise ValueError("checkpoint= is for runs outside jit, vmap and grad")
        else:
            state = _traced(machine, wanted)
    return _record(state, machine, wanted, example, clocks, centres, saves)


def _record(state: State, machine, wanted, process, clocks, centres, saves) -> Run:
    stages = np.repeat(np.arange(len(saves)), np.asarray(saves))
    stages = np.concatenate([np.zeros(1, stages.dtype), stages])
    context = Context(process, wanted.count, centres, stages)
    trees, counts = iter(state.trees), iter(state.counts)
    observed = {}
    for observer in machine.observers:
        total = next(counts) if observer.exact else next(trees).total()
        observed[observer.name] = observer.finish(total, context)
    _warn_if_diverged(observed["moments"][1], stages, process)
    found = (
        observed.pop("moments"),
        state.paths if wanted.paths else None,
        state.ends if machine.keep.ends else None,
        state.velocity if machine.keep.velocity else None,
    )
    (mean, variance, full), paths, ends, velocity, times, steps, stages = _assemble(
        *found, clocks, centres, stages
    )
    return Run(
        times=times,
        steps=steps,
        stages=stages,
        moments=MomentRecord(mean, variance, full, wanted.count),
        paths=paths,
        observed=observed,
        deviations=ends,
        velocity=velocity,
        centres=centres,
        method=machine.method,
        names=tuple(process.names),
        dtype=machine.chain.start.dtype,
    )


@jax.jit
def _assemble(moments, paths, ends, velocity, clocks, centres, stages):
    """Means and paths as points, where they were deviations, and everything on the device."""
    mean, variance, full = moments
    rows = centres[stages]
    seen = None if paths is None else place(paths, rows[:, None, :])
    return (
        (mean + rows, variance, full),
        seen,
        ends,
        velocity,
        *clocks,
        stages + jnp.zeros_like(stages),
    )


def _warn_if_diverged(variance, stages, process):
    if not is_concrete(variance):
        return
    bad = ~np.isfinite(np.asarray(variance)).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        warnings.warn(
            f"some particles are no numbers any more from save point {row} on (stage "
            f"{process.names[stages[row]]!r}): the method is unstable there. Use a smaller "
            "learning_rate, more substeps=, or a potential that grows less fast",
            stacklevel=4,  # the line that called simulate
        )


def _require_method(method):
    if not isinstance(method, AbstractMethod):
        raise TypeError(
            "method must be one of SGD(), Exact(), EulerMaruyama(...), Heun(...), BAOAB(...), "
            f"Diffrax(...), RealSGD(...), got {method!r}"
        )


def _example(build: Callable, each: Any, count: int):
    """The chain of the first particle, which says what all have in common."""
    if not callable(build):
        raise TypeError(
            "with each=values the process is a function from one particle's values to a chain, "
            f"got {type(build).__name__}"
        )
    leaves = jax.tree.leaves(each)
    if not leaves or any(jnp.ndim(x) < 1 or jnp.shape(x)[0] != count for x in leaves):
        shapes = [jnp.shape(x) for x in leaves]
        raise ValueError(
            f"each= must hold arrays whose first axis has particles={count} entries, got shapes "
            f"{shapes}"
        )
    return build(jax.tree.map(lambda x: jnp.asarray(x)[0], each))


def _padded(values, count: int):
    # tiles are full, so the last particle's values are repeated
    values = jnp.asarray(values)
    missing = -count % LEAF + max(SIZES)
    tail = jnp.broadcast_to(values[-1:], (missing, *values.shape[1:]))
    return jnp.concatenate([values, tail])


def _saves(save, process) -> tuple[int, ...]:
    several = isinstance(save, tuple | list) or np.ndim(save) == 1
    saves = tuple(save) if several else (save,) * len(process.stages)
    if len(saves) != len(process.stages):
        raise ValueError(
            f"save={save} has {len(saves)} entries for {len(process.stages)} stages: give one "
            "number for all stages or one per stage"
        )
    return tuple(as_count(k, "save") for k in saves)


def _observers(observe, process, total, d) -> tuple[tuple, int]:
    """(observers that reduce, number of paths); moments first, with their covariance decided."""
    items = list(observe) if isinstance(observe, tuple | list) else [observe]
    for item in items:
        if not isinstance(item, AbstractObserver):
            raise ValueError(
                "observe takes observers, such as ou.Moments(...) and ou.Paths(k), or a tuple of "
                f"them, got {item!r}"
            )
    moments = [o for o in items if isinstance(o, Moments)] or [Moments()]
    covariance = moments[-1].covariance
    if covariance is None:
        covariance = total * d * d <= COVARIANCE_LIMIT
    paths = max([o.count for o in items if isinstance(o, Paths)], default=0)
    rest = [o.prepare(process) for o in items if not isinstance(o, Moments | Paths)]
    names = [o.name for o in rest]
    for name in names:
        if names.count(name) > 1 or name in ("moments", "paths"):
            raise ValueError(
                f"two observers are called {name!r}: leave one out, or give it another name="
            )
    return (Moments(covariance), *rest), paths


def _in_chunks(machine, wanted, memory, path, progress, threads, devices) -> State:
    """The run as a host loop over chunks of tiles; sums on the host, in float64."""
    memory = None if memory is None else byte_count(memory)
    devices = some_devices(devices)
    # one device that is not the default one must be named too
    named = len(devices) > 1 or devices[0] != jax.local_devices()[0]
    mesh = Mesh(np.array(devices), ("particles",)) if named else None
    if threads is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        threads = max(1, cores or 1) if devices[0].platform == "cpu" and mesh is None else 2
    threads = as_count(threads, "threads")
    mine = share(wanted.count)
    if path is not None and jax.process_count() > 1:
        path = path.with_name(f"{path.name}.{jax.process_index()}-of-{jax.process_count()}")
    plan = cut(machine, wanted, memory, threads, len(devices))
    with reporter(progress) as report:
        state = run_jobs(
            machine, wanted, plan, mine, threads=threads, mesh=mesh, path=path, progress=report
        )
    return gather(state, machine, wanted)


def _traced(machine, wanted) -> State:
    """The same under `jit` and `grad`: all tiles in one mapped call, sums by JAX."""
    if any(o.stores for o in machine.observers):
        raise ValueError("observers that write to disk are for runs outside jit, vmap and grad")
    plan = cut(machine, wanted, None, 1, 1)
    out = map_tiles(machine, wanted.count, plan.rows)
    state = State(machine, Wanted(0, 0, 0), 0, 0)
    leaves = -(-wanted.count // LEAF)
    for tree, record in zip(state.trees, out["floats"], strict=True):
        tree.extend(0, jax.tree.map(lambda x: _leaves(x)[:leaves], record))
    state.counts = jax.tree.map(lambda x: x.sum(axis=0), out["counts"])
    if machine.keep.ends:
        tiles = jnp.moveaxis(out["ends"], 0, 1)
        state.ends = tiles.reshape(tiles.shape[0], -1, tiles.shape[-1])[:, : wanted.count]
    if machine.keep.velocity:
        velocity = out["velocity"]
        state.velocity = velocity.reshape(-1, velocity.shape[-1])[: wanted.count]
    if wanted.paths:
        paths = jnp.moveaxis(out["paths"], 0, 1)
        state.paths = paths.reshape(wanted.saves, -1, paths.shape[-1])[:, : wanted.paths]
    return state


def _leaves(x):
    x = jnp.moveaxis(x, 2, 1)
    return as_float(x.reshape(-1, *x.shape[2:]))
