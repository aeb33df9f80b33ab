"""Phases of a run, kept on disk: an interrupted run takes up where it stopped."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Numbers = dict[str, Any]
Arrays = dict[str, np.ndarray]


class Cache:
    """Results of phases as `folder/<name>.npz`; `Cache(None)` keeps nothing.

    A phase is a function without arguments that returns numbers (what JSON can hold) and arrays.
    What is read back equals what was computed, bit for bit.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.reused: list[str] = []

    def phase(self, name: str, compute: Callable[[], tuple[Numbers, Arrays]]) -> Any:
        """The stored result of phase `name`, or the one computed now (and stored)."""
        path = None if self.folder is None else self.folder / f"{name}.npz"
        if path is not None:
            found = _read(path)
            if found is not None:
                self.reused.append(name)
                return found
        numbers, arrays = compute()
        arrays = {key: np.asarray(value) for key, value in arrays.items()}
        numbers = json.loads(json.dumps(numbers, default=_number))
        if path is not None:
            _write(path, numbers, arrays)
        return numbers, arrays


def _read(path: Path) -> tuple[Numbers, Arrays] | None:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = dict(stored)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None  # not ours, or cut off: compute again
    text = arrays.pop("numbers_json", None)
    return None if text is None else (json.loads(str(text)), arrays)


def _write(path: Path, numbers: Numbers, arrays: Arrays) -> None:
    content = io.BytesIO()
    np.savez(content, numbers_json=np.asarray(json.dumps(numbers)), **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.getvalue())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _number(value: Any) -> Any:
    """Array scalars and arrays for JSON."""
    value = np.asarray(value)
    return value.tolist()
