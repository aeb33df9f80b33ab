"""All particles at every save point, in files that are written while the run goes on."""

import os
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import numpy as np

from .base import AbstractObserver

_NAME = "save{:06d}-from{:012d}.npy"
_ABOUT = "snapshots.npz"


class SnapshotRecord:
    """Particles in a directory of snapshots: `record[k]` is (particles, d) at save point k.

    Nothing is read before it is asked for. `record.pieces(k)` yields (first particle, points) file
    by file, for data that do not fit in memory; with `deviations=True` the memory-mapped files
    themselves, which are measured from `record.centre(k)`. `shape` is (saves, particles, d).
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        try:
            with np.load(self.directory / _ABOUT) as about:
                self.centres, self.stages = about["centres"], about["stages"]
                count = int(about["count"])
        except FileNotFoundError:
            raise ValueError(
                f"{directory} holds no finished snapshots (no {_ABOUT}): give the directory of "
                "ou.Snapshots(directory); if its run was interrupted make it again (with "
                "checkpoint= it goes on where it stopped)"
            ) from None
        self.shape = len(self.stages), count, self.centres.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self):
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        return f"SnapshotRecord({str(self.directory)!r}, shape={self.shape})"

    def __getitem__(self, save: int) -> np.ndarray:
        return np.concatenate([points for _, points in self.pieces(save)])

    def centre(self, save: int) -> np.ndarray:
        """The centre (d,) of the stage that a save point belongs to."""
        return self.centres[self.stages[save]]

    def pieces(self, save: int, *, deviations: bool = False):
        """(first particle, array (rows, d)) in the order of the particles; refused if any lack."""
        saves, particles, _ = self.shape
        if not -saves <= save < saves:
            raise IndexError(f"save point {save} of a run with {saves}")
        done = 0
        while done < particles:
            path = self.directory / _NAME.format(save % saves, done)
            if not path.exists():
                raise ValueError(
                    f"particles from {done} on are missing at save point {save % saves}: there is "
                    f"no {path}. Was it moved? If not, delete the directory and make the run again"
                )
            array = np.load(path, mmap_mode="r")[: particles - done]
            # added in the wider precision and rounded once, as `run.final` is
            points = array if deviations else (self.centre(save) + array).astype(array.dtype)
            yield done, points
            done += len(array)


def read_snapshots(directory: str | Path) -> SnapshotRecord:
    """The particles that a run with `observe=ou.Snapshots(directory)` wrote.

    Raises `ValueError` where there are none, or where the run did not finish.

    >>> read_snapshots("no/such/place")
    Traceback (most recent call last):
    ...
    ValueError: ...
    """
    return SnapshotRecord(directory)


class Snapshots(AbstractObserver):
    """Write all particles at every save point to `directory`; `run.observed["snapshots"]`.

    One `.npy` file of deviations (rows, d) per save point and chunk of particles, written under
    another name and renamed, so a crash leaves whole files only; `ou.read_snapshots(directory)`
    puts them together. Memory does not grow with the particles; disk: particles x saves x d
    numbers. Snapshots of an earlier run in the same directory are replaced.

    >>> import tempfile
    >>> import jax
    >>> import jaxou as ou
    >>> stage = ou.Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=4,
    ...                  steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([2.0], 0.0))
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     run = ou.simulate(chain, particles=100, key=jax.random.key(0), save=5,
    ...                       observe=ou.Snapshots(directory))
    ...     seen = ou.read_snapshots(directory)
    ...     seen.shape, seen[0].shape, bool((seen[-1] == run.final).all())
    ((6, 100, 1), (100, 1), True)
    """

    directory: str = eqx.field(static=True)
    exact: ClassVar[bool] = True
    stores: ClassVar[bool] = True

    def __init__(self, directory: str | Path):
        self.directory = os.fspath(directory)

    @property
    def name(self) -> str:
        return "snapshots"

    def prepare(self, process):
        path = Path(self.directory)
        path.mkdir(parents=True, exist_ok=True)
        (path / _ABOUT).unlink(missing_ok=True)  # until this run is finished
        return self

    def look(self, position, centre, live, stage):
        """The machine hands the particles to `store`; there is nothing to reduce."""
        return ()

    def store(self, first, positions):
        for k, points in enumerate(positions):
            path = Path(self.directory) / _NAME.format(k, first)
            _write(path, lambda file, points=points: np.save(file, points))

    def finish(self, total, context):
        about = {
            "centres": np.asarray(context.centres, np.float64),
            "stages": np.asarray(context.stages),
            "count": np.asarray(context.count),
        }
        path = Path(self.directory) / _ABOUT
        _write(path, lambda file: np.savez(file, **about))
        return SnapshotRecord(self.directory)


def _write(target: Path, fill) -> None:
    """Write under another name, then rename: a crash leaves a whole file or none."""
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, target)
