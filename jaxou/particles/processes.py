"""Several processes: each runs its own share of the particles, and all end with all results.

Start them as JAX wants it (`jax.distributed.initialize`); `simulate` sees how many there are. Steps
need no communication. At the end every process sends its sums, which are merged in the order of the
particles, so the bits are those of one process.
"""

import io
from typing import Any

import jax
import numpy as np

from .chunks import result_shapes
from .engine import Machine
from .observe import LEAF
from .state import State, Wanted


def share(count: int) -> tuple[int, int]:
    """(first, last) of this process's particles: whole leaves, evenly."""
    leaves, number = -(-count // LEAF), jax.process_count()
    ends = [min(count, leaves * k // number * LEAF) for k in range(number)] + [count]
    return ends[jax.process_index()], ends[jax.process_index() + 1]


def gather(state: State, machine: Machine, wanted: Wanted) -> State:
    """The state of the whole run, from those of all processes."""
    if jax.process_count() == 1:
        return state
    whole, shapes = State(machine, wanted, 0, wanted.count), result_shapes(machine, LEAF)
    for arrays in _exchange(state.arrays() | {"first": np.array(state.first)}):
        first, done = int(arrays["first"]), int(arrays["done"])
        if done == first:
            continue
        part = State(machine, wanted, first, done)
        part.restore(arrays, shapes)
        whole.absorb(part)
    return whole


def _exchange(arrays: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    # arrays of any names and shapes travel as bytes, padded to the longest
    from jax.experimental import multihost_utils

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    content = np.frombuffer(buffer.getvalue(), np.uint8)
    sizes: Any = multihost_utils.process_allgather(
        np.array([content.size >> 20, content.size & 0xFFFFF], np.int32)
    )
    # two words, because sizes may pass 2^31 where x64 is off
    words = np.asarray(sizes, np.int64).reshape(-1, 2)
    sizes = (words[:, 0] << 20) + words[:, 1]
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: content.size] = content
    gathered = np.asarray(multihost_utils.process_allgather(padded))
    found = []
    for row, size in zip(gathered.reshape(len(sizes), -1), sizes, strict=True):
        with np.load(io.BytesIO(row[:size].tobytes()), allow_pickle=False) as file:
            found.append(dict(file))
    return found
