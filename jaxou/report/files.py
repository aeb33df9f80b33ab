"""Writing results so that a reader never sees half a file, and equal numbers give equal bytes."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..config import ConfigError

CERTIFICATE = "certificate"
"""Folder of the certificate's factors, in the folder of the results."""


def made_folder(out: Path | str) -> Path:
    """The folder for results, made if need be; `ConfigError` in one line if that cannot be."""
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"out = {out}: {error.strerror}") from None
    return out


def write_bytes(path: Path, content: bytes) -> Path:
    """Write to a temporary name beside `path`, then rename: atomic on one file system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_text(path: Path, content: str) -> Path:
    """`write_bytes` of UTF-8 text."""
    return write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> Path:
    """Write `content` as `to_json` spells it."""
    return write_text(path, to_json(content))


def to_json(content: Any) -> str:
    """Standard JSON: arrays as lists, floats to ten significant digits, infinities as text.

    Ten digits are more than any number here deserves and fewer than what the order of a sum can
    change, so that running again gives the same bytes.

    >>> print(to_json({"kl": np.float64(np.inf), "risk": 0.1 + 0.2}))
    {
      "kl": "inf",
      "risk": 0.3
    }
    <BLANKLINE>
    """
    return json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(content: Any) -> Any:
    """Nested dicts, lists, numbers and text, as JSON knows them."""
    if isinstance(content, dict):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, str | bool | int) or content is None:
        return content
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    value = np.asarray(content)
    if value.ndim:
        return [plain(entry) for entry in value]
    value = value.item()
    if not isinstance(value, float):
        return value
    return float(f"{value:.10g}") if math.isfinite(value) else str(value)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write one table; numbers as in `to_json`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows([["" if cell is None else plain(cell) for cell in row] for row in rows])
    return write_text(path, text.getvalue())
