"""What a run has done so far, in one file: written between chunks, read when it starts again.

The file is an `.npz` with named arrays, the fingerprint of the run they belong to, and a checksum
of it all. It is written under another name and then renamed, and the one before is kept beside it
(`.previous`), so that neither a crash nor a damaged file loses more than one chunk.
"""

import contextlib
import hashlib
import os
import re
import warnings
import zipfile
import zlib
from pathlib import Path

import jax
import numpy as np


def fingerprint(*parts) -> str:
    """A hash of everything that a result depends on: laws, key, method, sizes, versions.

    >>> fingerprint(np.ones(2), 3) == fingerprint(np.ones(2), 3)
    True
    >>> fingerprint(np.ones(2), 3) == fingerprint(np.ones(2), 4)
    False
    """
    leaves, structure = jax.tree.flatten(parts)
    # a function is shown with its address, which is another in every process
    shape = re.sub(r" at 0x[0-9a-f]+", "", str(structure))
    digest = hashlib.sha256(f"{shape} jax {jax.__version__}".encode())
    for leaf in leaves:
        if callable(leaf) and not hasattr(leaf, "shape"):
            digest.update(_told(leaf).encode())
            continue
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        if array.dtype == object:
            # the bytes of an object are its address
            digest.update(type(leaf).__qualname__.encode())
            continue
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _told(function) -> str:
    """A function's name, code, constants, defaults and what it has closed over."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    words = [getattr(function, "__module__", ""), name]
    if (code := getattr(function, "__code__", None)) is not None:
        words += [_code(code), _values(function.__defaults__, function.__kwdefaults__)]
        words += [_values(*_cells(function))]
    return repr(words)


def _code(code) -> str:
    # the constants of a function have its inner functions among them
    constants = [
        _code(c)
        if hasattr(c, "co_code")
        else sorted(map(repr, c))
        if isinstance(c, frozenset)
        else repr(c)
        for c in code.co_consts
    ]
    return repr((code.co_code, code.co_names, constants))


def _cells(function) -> list:
    # a cell that is not filled yet has no contents; a function may be closed over itself
    cells = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):
            if cell.cell_contents is not function:
                cells.append(cell.cell_contents)
    return cells


def _values(*values) -> str:
    try:
        return fingerprint(*values)
    except (TypeError, RecursionError):
        # not numbers, or functions that are closed over each other: their kinds must do
        return repr([type(leaf).__qualname__ for leaf in jax.tree.leaves(values)])


def previous(path: Path) -> Path:
    """Where the checkpoint before the newest is kept."""
    return path.with_name(path.name + ".previous")


def write(path: Path, run: str, arrays: dict[str, np.ndarray]) -> None:
    """Make `arrays` the newest checkpoint at `path`, atomically."""
    arrays = dict(arrays) | {"run": np.array(run)}
    arrays["checksum"] = np.array(fingerprint(sorted(arrays.items())))
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.replace(path, previous(path))
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        reason = (
            f"{error.strerror or error}: the checkpoint could not be written (is the disk full, or "
            "the directory not yours?); the one before it is as it was"
        )
        raise OSError(error.errno, reason, str(path)) from error


def read(path: Path, run: str) -> dict[str, np.ndarray] | None:
    """The newest undamaged checkpoint of this run, None if there is none.

    A damaged newest one is reported by a warning, and the one before is used. Raises `ValueError`
    if all that there are are damaged, or if they belong to another run.
    """
    there = [p for p in (path, previous(path)) if p.exists()]
    for found in there:
        arrays = _intact(found)
        if arrays is None:
            continue
        if str(arrays.pop("run")) != run:
            raise ValueError(
                f"the checkpoint {found} belongs to another run (other process, key, method, "
                "number of particles, saves or version): give another file, or delete it"
            )
        if found != path and path.exists():
            warnings.warn(
                f"the checkpoint {path} is damaged (truncated or changed): going on from the one "
                f"before it, {found}",
                stacklevel=5,  # the line that called simulate
            )
        return arrays
    if there:
        raise ValueError(
            f"the checkpoint {path} is damaged (truncated, changed, or no checkpoint at all), and "
            "there is no good one before it: give another file, or delete it to start again"
        )
    return None


def _intact(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = dict(file)
        checksum = str(arrays.pop("checksum"))
        return arrays if checksum == fingerprint(sorted(arrays.items())) else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError, zlib.error):
        return None
    except (NotImplementedError, SyntaxError, MemoryError, OverflowError):
        # a flipped bit in a header can ask for another compression, syntax or size
        return None
