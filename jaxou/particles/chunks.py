"""The host's loop: which tiles go together, in which threads and devices, and what is kept of them.

Work is cut into jobs of consecutive tiles. Jobs run ahead of each other in threads (a CPU is busier
that way than with one job on all cores), their results are taken in order, and after each the state
can be written to disk: particles done, trees of partial sums, counts, and what is kept of the
particles.
"""

import collections
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import checkpoint as checkpoints
from .engine import Frozen, Keep, Machine, compiled, run_tile, thaw
from .methods.columns import UNROLLED
from .observe import LEAF
from .state import State, Wanted

MEMORY = 2**28
"""Bytes of results that the calls in flight may hold together, by default."""

SIZES = (LEAF, 4 * LEAF, 16 * LEAF, 32 * LEAF)
"""Particles in a tile: state and noise of the largest stay in a core's cache."""

NUMBERS = 65_536
"""Most numbers (particles x dimension) that an inner loop works on."""

OVERHEAD = 2_000
"""What starting the loops of a tile costs, in particles; it decides how small tiles may be."""

WRITING = 0.05
"""Share of the time that checkpoints may take; more frequent ones are skipped."""

BRIEF = 0.2
"""Seconds that the last checkpoint may take in any case, so that a finished run is found again."""


class Plan(NamedTuple):
    """How a run is cut up: particles per tile, tiles per job and device, room for so many."""

    rows: int
    tiles: int
    chunk: int
    devices: int


def cut(machine: Machine, wanted: Wanted, memory, threads: int, devices: int) -> Plan:
    """Tile size, tiles per job and device: whatever fits the memory and keeps all cores busy.

    Few sizes are used, so that another number of particles seldom compiles again.
    """
    d = machine.chain.start.shape[-1]
    if not machine.keep.each:
        d = max(d, *(machine.method.tile_dimension(s.plan) for s in machine.chain.stages))
    workers = threads * devices
    # small dimensions are one loop over particles, which XLA spreads over cores by itself
    spread = devices if d <= UNROLLED else workers
    most = max(LEAF, NUMBERS // d)
    rows = min(
        (size for size in SIZES if size <= most),
        key=lambda size: -(-wanted.count // (size * spread)) * (size + OVERHEAD),
    )
    need = bytes_per_tile(machine, rows)
    budget = MEMORY if memory is None else memory
    while rows > LEAF and need * workers > budget:
        rows = max(size for size in SIZES if size < rows)
        need = bytes_per_tile(machine, rows)
    if memory is not None and need > memory:
        raise ValueError(
            f"memory={memory} bytes is less than one block of {rows} particles needs ({need}): "
            "raise it, save less often, or observe=ou.Moments(covariance=False)"
        )
    affordable = max(1, int(budget // (need * workers)))
    tiles = min(affordable, -(-wanted.count // (rows * workers)))
    chunk = 8 ** max(0, -(-(tiles - 1).bit_length() // 3))
    if chunk > affordable:
        chunk = 2 ** (affordable.bit_length() - 1)
    return Plan(rows, min(tiles, chunk), chunk, devices)


def bytes_per_tile(machine: Machine, rows: int) -> int:
    """Bytes of one tile's result."""
    shapes = result_shapes(machine, rows)
    return sum(int(np.prod(s.shape)) * s.dtype.itemsize for s in jax.tree.leaves(shapes)) + 1


def result_shapes(machine: Machine, rows: int) -> dict:
    """Structure and shapes of `run_tile`'s result."""
    frozen = Frozen(machine)
    return _shapes(frozen.key(), tuple((x.shape, x.dtype) for x in frozen.arrays), rows)


@lru_cache(maxsize=256)
def _shapes(key, arrays, rows):
    leaves = [jax.ShapeDtypeStruct(*a) for a in arrays]
    number = jax.ShapeDtypeStruct((), jnp.uint32), jax.ShapeDtypeStruct((), jnp.int32)
    return jax.eval_shape(lambda a, f, n: run_tile(thaw(key, a), f, n, rows), leaves, *number)


def run_jobs(
    machine: Machine,
    wanted: Wanted,
    plan: Plan,
    share: tuple[int, int],
    *,
    threads: int,
    mesh: Any = None,
    path: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> State:
    """Particles share[0], ..., share[1] - 1 of a run, from a checkpoint on if there is one."""
    state = State(machine, wanted, *share)
    run = ""
    if path is not None:
        run = checkpoints.fingerprint(machine, wanted, share, jax.default_backend())
        found = checkpoints.read(path, run)
        if found is not None:
            state.restore(found, result_shapes(machine, LEAF))
    written, spent = time.monotonic(), 0.0
    results = _results(machine, wanted, plan, state.done, share[1], threads, mesh)
    try:
        with contextlib.closing(results):
            for first, last, out in results:
                with _unbroken():
                    state.take(out, first, last, machine, wanted)
                now = time.monotonic()
                expected = spent * (last - share[0])
                due = now - written >= expected / WRITING or (last == share[1] and expected < BRIEF)
                if path is not None and due:
                    checkpoints.write(path, run, state.arrays())
                    written = time.monotonic()
                    spent = (written - now) / (last - share[0])
                if progress is not None:
                    progress(last - share[0], share[1] - share[0])
    except KeyboardInterrupt as stop:
        if path is None or state.done == share[0]:
            raise
        with _unbroken():
            checkpoints.write(path, run, state.arrays())
        raise KeyboardInterrupt(
            f"stopped after {state.done - share[0]:,} of {share[1] - share[0]:,} particles; the "
            f"same call goes on from {path}"
        ) from stop
    return state


@contextlib.contextmanager
def _unbroken() -> Iterator[None]:
    """Ctrl-C waits until the block is over: half a result must not be written."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    caught: list[tuple] = []
    signal.signal(signal.SIGINT, lambda *call: caught.append(call))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught:
            handler(*caught[0])


def _results(machine, wanted, plan, first, last, threads, mesh) -> Iterator[tuple[int, int, dict]]:
    """(first, last, result) of all jobs in order, a few of them computed ahead."""
    jobs = list(_jobs(machine, wanted, plan, first, last))
    backend = jax.default_backend()
    function = compiled(mesh, backend)
    frozen: dict[bool, Frozen] = {}

    def launch(job):
        start, stop, paths = job
        if paths not in frozen:
            keep = machine.keep._replace(paths=paths)
            frozen[paths] = Frozen(_with_keep(machine, keep))
        return _call(function, frozen[paths], plan, start, stop)

    if threads == 1 or len(jobs) == 1:
        for job in jobs:
            yield job[0], job[1], _to_host(launch(job), plan)
        return
    waiting: collections.deque[tuple[tuple, Future]] = collections.deque()
    with ThreadPoolExecutor(threads) as pool, contextlib.ExitStack() as stack:
        stack.callback(lambda: [future.cancel() for _, future in waiting])
        for job in jobs:
            waiting.append((job, pool.submit(lambda j: _to_host(launch(j), plan), job)))
            if len(waiting) > threads:
                (start, stop, _), future = waiting.popleft()
                yield start, stop, future.result()
        while waiting:
            (start, stop, _), future = waiting.popleft()
            yield start, stop, future.result()


def _with_keep(machine: Machine, keep: Keep) -> Machine:
    return Machine(machine.chain, machine.noises, machine.method, machine.observers, keep)


def _jobs(machine, wanted, plan, first, last):
    """(first, last, whether paths are kept) of each job."""
    everything = any(o.stores for o in machine.observers)
    step = plan.rows * plan.tiles * plan.devices
    while first < last:
        paths = everything or first < wanted.paths
        stop = min(first + step, last, 2**32 * (first // 2**32 + 1))
        if paths and not everything:
            # few jobs keep paths: the tiles that have them, and no more
            stop = min(stop, first + -(-(wanted.paths - first) // plan.rows) * plan.rows)
        yield first, min(stop, last), paths
        first = min(stop, last)


def _call(function, frozen: Frozen, plan: Plan, first: int, last: int):
    width = plan.chunk * plan.devices
    tiles = -(-(last - first) // plan.rows)
    # each device has room for `chunk` tiles and gets `tiles` of them, the last ones fewer
    slots = np.arange(width, dtype=np.int64)
    numbers = slots // plan.chunk * plan.tiles + slots % plan.chunk
    starts = first + numbers * plan.rows
    lefts = np.clip(last - starts, 0, plan.rows).astype(np.int32)
    todo = np.clip(tiles - np.arange(plan.devices) * plan.tiles, 0, plan.tiles).astype(np.int32)
    low = (starts % 2**32).astype(np.uint32)
    high = np.uint32(first // 2**32)
    return function(frozen.key(), plan.rows, frozen.arrays, high, low, lefts, todo)


def _to_host(out: dict, plan: Plan) -> dict:
    """NumPy arrays, with the tiles in the order of the particles and no empty slots between."""

    def in_order(x):
        x = np.asarray(x).reshape(plan.devices, plan.chunk, *x.shape[1:])
        return x[:, : plan.tiles].reshape(-1, *x.shape[2:])

    counts = jax.tree.map(np.asarray, out.pop("counts"))
    return jax.tree.map(in_order, out) | {"counts": counts}
