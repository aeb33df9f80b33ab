"""What a run has done so far: partial sums, counts, and what is kept of the particles."""

from typing import Any, NamedTuple

import jax
import numpy as np

from .engine import Machine
from .observe import LEAF, PairwiseMerge


class Wanted(NamedTuple):
    """What a run must return."""

    count: int
    saves: int
    paths: int


class State:
    """What a run has done: particles 0, ..., done - 1 (of this process's share)."""

    def __init__(self, machine: Machine, wanted: Wanted, first: int, last: int):
        d, stages = machine.chain.start.shape[-1], len(machine.chain.stages)
        dtype, keep = machine.chain.start.dtype, machine.keep
        held = max(0, last - first)
        self.first, self.done = first, first
        self.trees = [PairwiseMerge(_quiet(o.merge)) for o in machine.observers if not o.exact]
        self.counts: Any = None
        self.ends = np.empty((stages, held if keep.ends else 0, d), dtype)
        self.velocity = np.empty((held if keep.velocity else 0, d), dtype)
        self.paths = np.empty((wanted.saves, wanted.paths, d), dtype)

    def take(self, out: dict, first: int, last: int, machine: Machine, wanted: Wanted) -> None:
        """Add the result of one job: particles first, ..., last - 1."""
        leaves = -(-(last - first) // LEAF)
        for tree, record in zip(self.trees, out["floats"], strict=True):
            tree.extend(first // LEAF, jax.tree.map(lambda x: _by_leaf(x)[:leaves], record))
        counts = jax.tree.map(lambda x: x.astype(np.int64).sum(axis=0), out["counts"])
        self.counts = counts if self.counts is None else jax.tree.map(np.add, self.counts, counts)
        here = slice(first - self.first, last - self.first)
        if machine.keep.ends:
            tiles = np.moveaxis(out["ends"], 0, 1)
            stages, d = tiles.shape[0], tiles.shape[-1]
            self.ends[:, here] = tiles.reshape(stages, -1, d)[:, : last - first]
        if machine.keep.velocity:
            velocity = out["velocity"]
            self.velocity[here] = velocity.reshape(-1, velocity.shape[-1])[: last - first]
        if "paths" in out:
            positions = np.moveaxis(out["paths"], 0, 1)
            positions = positions.reshape(wanted.saves, -1, positions.shape[-1])
            positions = positions[:, : last - first]
            stop = min(wanted.paths, last)
            if first < stop:
                self.paths[:, first:stop] = positions[:, : stop - first]
            for observer in machine.observers:
                if observer.stores:
                    observer.store(first, positions)
        self.done = last

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything, as named arrays."""
        held = self.done - self.first
        arrays = {
            "done": np.array(self.done),
            "ends": self.ends[:, :held],
            "velocity": self.velocity[:held],
            "paths": self.paths[:, self._seen()],
        }
        for i, leaf in enumerate(jax.tree.leaves(self.counts)):
            arrays[f"count-{i}"] = leaf
        for i, tree in enumerate(self.trees):
            for (level, index), item in tree.nodes.items():
                for j, leaf in enumerate(jax.tree.leaves(item)):
                    arrays[f"sum-{i}-{level}-{index}-{j}"] = leaf
        return arrays

    def absorb(self, part: "State") -> None:
        """Add the state of another part of the particles."""
        for mine, other in zip(self.trees, part.trees, strict=True):
            for (level, index), item in sorted(other.nodes.items()):
                mine.put(level, index, item)
        self.counts = (
            part.counts if self.counts is None else jax.tree.map(np.add, self.counts, part.counts)
        )
        here = slice(part.first, part.done)
        if self.ends.shape[1]:
            self.ends[:, here] = part.ends[:, : part.done - part.first]
        if len(self.velocity):
            self.velocity[here] = part.velocity[: part.done - part.first]
        self.paths[:, part._seen()] = part.paths[:, part._seen()]
        self.done = max(self.done, part.done)

    def _seen(self) -> slice:
        most = self.paths.shape[1]
        return slice(min(self.first, most), min(self.done, most))

    def restore(self, arrays: dict[str, np.ndarray], shapes: dict) -> None:
        """Go on from `arrays()` of a run with the same results; `shapes` has their structure."""
        self.done = int(arrays["done"])
        held = self.done - self.first
        if self.ends.shape[1]:
            self.ends[:, :held] = arrays["ends"]
        if len(self.velocity):
            self.velocity[:held] = arrays["velocity"]
        self.paths[:, self._seen()] = arrays["paths"]
        leaves, structure = jax.tree.flatten(shapes["counts"])
        self.counts = structure.unflatten([arrays[f"count-{i}"] for i in range(len(leaves))])
        for i, (tree, shape) in enumerate(zip(self.trees, shapes["floats"], strict=True)):
            leaves, structure = jax.tree.flatten(shape)
            names = [n.split("-")[2:] for n in arrays if n.startswith(f"sum-{i}-")]
            for level, index in {(int(a), int(b)) for a, b, _ in names}:
                parts = [arrays[f"sum-{i}-{level}-{index}-{j}"] for j in range(len(leaves))]
                tree.nodes[level, index] = structure.unflatten(parts)


def _quiet(merge):
    # particles that are no numbers are told of once, when the run is over
    def merged(left, right):
        with np.errstate(invalid="ignore", over="ignore"):
            return merge(left, right)

    return merged


def _by_leaf(x: np.ndarray) -> np.ndarray:
    """(tiles, saves, leaves, ...) as (all leaves, saves, ...), in float64."""
    x = np.moveaxis(x, 2, 1)
    return x.reshape(-1, *x.shape[2:]).astype(np.float64)
