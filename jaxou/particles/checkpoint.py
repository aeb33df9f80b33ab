"""What a run has done so far, in one file: written after every chunk, read when it starts again.

The file is an `.npz` with the particles and sums of the finished blocks, the fingerprint of the run
they belong to, and a checksum of it all. It is written under another name and then renamed, so
that a crash leaves the previous one.
"""

import hashlib
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np


class Progress(NamedTuple):
    """Finished blocks, their particles and paths, and the partial sums of the pairwise tree."""

    blocks: int
    ends: np.ndarray
    seen: np.ndarray
    stack: list[tuple[int, tuple]]


def fingerprint(*parts) -> str:
    """A hash of everything that a result depends on: laws, key, method, sizes, versions.

    >>> fingerprint(np.ones(2), 3) == fingerprint(np.ones(2), 3)
    True
    >>> fingerprint(np.ones(2), 3) == fingerprint(np.ones(2), 4)
    False
    """
    leaves, structure = jax.tree.flatten(parts)
    digest = hashlib.sha256(f"{structure} jax {jax.__version__}".encode())
    for leaf in leaves:
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def write(path: Path, run: str, progress: Progress) -> None:
    """Replace the checkpoint at `path`, atomically."""
    arrays = {"ends": progress.ends, "seen": progress.seen}
    for i, (_, item) in enumerate(progress.stack):
        arrays |= {f"sum{i}_{j}": np.asarray(part) for j, part in enumerate(item)}
    arrays["levels"] = np.array([level for level, _ in progress.stack], dtype=np.int64)
    arrays["blocks"] = np.array(progress.blocks)
    arrays["run"] = np.array(run)
    arrays["checksum"] = np.array(fingerprint(sorted(arrays.items())))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read(path: Path, run: str) -> Progress | None:
    """The progress kept at `path`, None if there is none; refused if damaged or of another run."""
    if not path.exists():
        return None
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = dict(file)
        checksum = str(arrays.pop("checksum"))
        intact = checksum == fingerprint(sorted(arrays.items()))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
        intact = False
    if not intact:
        raise ValueError(
            f"the checkpoint {path} is damaged (truncated or changed): delete it to start again"
        )
    if str(arrays["run"]) != run:
        raise ValueError(
            f"the checkpoint {path} belongs to another run (other process, key, method, number of "
            "particles, saves or version): give another file, or delete it"
        )
    stack = []
    for i, level in enumerate(arrays["levels"]):
        size, mean, scatter = (arrays[f"sum{i}_{j}"] for j in range(3))
        stack.append((int(level), (float(size), mean, scatter)))
    return Progress(int(arrays["blocks"]), arrays["ends"], arrays["seen"], stack)
