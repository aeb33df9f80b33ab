"""Runs whose particles were kept at every save point, read one save point after the other."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..particles import Run
from ..particles.observe.snapshots import SnapshotRecord

Frame = tuple[int, np.ndarray]


def frames(source: Any, first: int = 0, last: int | None = None) -> Iterator[Frame]:
    """(save point, particles (n, d)) for save points first..last of a run with paths or snapshots.

    `source` is a `Run` made with `observe=ou.Paths(k)` (its first k particles), or with
    `observe=ou.Snapshots(directory)`, or what `ou.read_snapshots` returns: those are read from disk
    one save point at a time, so that memory does not grow with the number of save points.
    """
    record = _record(source)
    total = len(record)
    stop = total if last is None else last + 1
    if not 0 <= first < stop <= total:
        raise ValueError(
            f"save points {first}..{stop - 1} are not among 0..{total - 1} of this run"
        )
    for k in range(first, stop):
        yield k, np.asarray(record[k])


def save_points(source: Any) -> int:
    """How many save points a run with paths or snapshots has."""
    return len(_record(source))


def path_average(source: Any, first: int = 1, last: int | None = None) -> np.ndarray:
    """The average position (n, d) of every particle over save points first..last, in float64.

    With one save per SGD step it is the tail average whose exact law is
    `stages.averages.average_law`: save point k of a single stage is step k.

    >>> import jax, jaxou as ou
    >>> stage = ou.Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.5, batch_size=1,
    ...                  steps=4)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([1.0], 0.0))
    >>> run = ou.simulate(chain, particles=50, key=jax.random.key(0), save=4, observe=ou.Paths(50))
    >>> path_average(run, 3, 4).shape
    (50, 1)
    """
    total, count = 0.0, 0
    for _, points in frames(source, first, last):
        total, count = total + points.astype(np.float64), count + 1
    return total / count


def _record(source: Any):
    if isinstance(source, SnapshotRecord):
        return source
    if isinstance(source, Run):
        snapshots = source.observed.get("snapshots")
        if snapshots is not None:
            return snapshots
        if source.paths is not None:
            return np.asarray(source.paths)
        raise ValueError(
            "this run kept no particles between its stages' ends: simulate(..., save=K, "
            "observe=ou.Paths(particles)) keeps them in memory, ou.Snapshots(directory) on disk"
        )
    raise TypeError(
        "give the run of ou.simulate(..., observe=ou.Paths(k) or ou.Snapshots(directory)), or "
        f"ou.read_snapshots(directory), got {type(source).__name__}"
    )
