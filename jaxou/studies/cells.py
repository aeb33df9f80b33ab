"""Cells on disk: one file each, whole or not there; any number of processes may write at once."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import ConfigError
from .study import Cell, Study


class StudyError(RuntimeError):
    """A study that cannot go on; the message is one line and says what is safe and what to do."""


class BadCell(ValueError):
    """A cell file that cannot be used; the message says why."""


@dataclass(frozen=True)
class Record:
    """What became of one cell.

    `values` are its quantities. `status` is "" or why numbers are NaN; `error` is "" or the type
    and message of the exception that it raised. `manifest` says where and with what it was made.
    """

    values: dict[str, float]
    status: str = ""
    error: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the cell raised an exception."""
        return bool(self.error)


class Folder:
    """The folder of a study: study.toml, cells/ID.json, and what `collect` and `plot` add."""

    def __init__(self, out: Path | str):
        self.path = Path(out)
        self.cells = self.path / "cells"

    @classmethod
    def create(cls, out: Path | str, study: Study) -> Folder:
        """The folder, made if need be; refused if it holds another study."""
        folder = cls(out)
        try:
            folder.cells.mkdir(parents=True, exist_ok=True)
            folder._write_study(study)
        except OSError as error:
            raise StudyError(f"{folder.path}: {reason(error)}") from None
        return folder

    @classmethod
    def open(cls, out: Path | str) -> tuple[Folder, Study]:
        """A folder that a study was started in, and that study."""
        folder = cls(out)
        file = folder.path / "study.toml"
        if not file.is_file():
            raise ConfigError(
                f"{folder.path} holds no study: there is no study.toml in it; start one with "
                "jaxou study run STUDY.toml --out DIR"
            )
        return folder, Study.from_toml(file)

    def _write_study(self, study: Study) -> None:
        file = self.path / "study.toml"
        if not file.exists():
            temporary = _temporary(file)
            try:
                _write(temporary, study.to_toml().encode())
                # a link, unlike a rename, fails if somebody was faster
                try:
                    os.link(temporary, file)
                except FileExistsError:
                    pass
                except OSError:  # a file system without links
                    os.replace(temporary, file)
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
        there = Study.from_toml(file)
        if there.identity() != study.identity():
            raise ConfigError(
                f"{self.path} holds another study ({there.name!r}, other settings, design or "
                f"quantities): give {study.name!r} a folder of its own with --out"
            )

    def file(self, cell_id: str) -> Path:
        """Where a cell is kept."""
        return self.cells / f"{cell_id}.json"

    def present(self) -> set[str]:
        """Ids of all cell files, usable or not."""
        try:
            with os.scandir(self.cells) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise StudyError(f"{self.cells}: {reason(error)}") from None
        return {n[:-5] for n in names if n.endswith(".json") and not n.startswith(".")}

    def write(self, cell: Cell, record: Record) -> None:
        """Keep one cell: a temporary name of this process, fsync, then a rename."""
        content = {
            "cell": cell.id,
            "settings": cell.settings,
            "values": {name: _spelled(value) for name, value in record.values.items()},
            "status": record.status,
            "error": record.error,
            "manifest": record.manifest,
        }
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        _replace(self.file(cell.id), text.encode())

    def read(self, cell: Cell, quantities: tuple[str, ...]) -> Record:
        """One cell; `FileNotFoundError` if it is not there, `BadCell` if it cannot be used."""
        try:
            content = json.loads(self.file(cell.id).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise
        except (ValueError, UnicodeDecodeError):
            raise BadCell("it is truncated or damaged") from None
        except OSError as error:
            raise BadCell(reason(error)) from None
        try:
            return _record(content, cell, quantities)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BadCell("it is not what this cell writes") from None


def _record(content: Mapping[str, Any], cell: Cell, quantities: tuple[str, ...]) -> Record:
    error = content["error"]
    values = {name: float(value) for name, value in content["values"].items()}
    good = (
        content["cell"] == cell.id
        and content["settings"] == cell.settings
        and isinstance(error, str)
        and isinstance(content["status"], str)
        and (error or set(quantities) <= set(values))
    )
    if not good:
        raise ValueError
    return Record(values, content["status"], error, content["manifest"])


def _spelled(value: float) -> float | str:
    """JSON has no infinity and no NaN: they are texts, "inf" and "nan"."""
    return float(value) if math.isfinite(value) else str(float(value))


def _temporary(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _replace(path: Path, content: bytes) -> None:
    """Under a temporary name, then renamed: the file is whole or not there."""
    temporary = _temporary(path)
    try:
        _write(temporary, content)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """A file that is whole or not there, and its folder; `StudyError` in one line if it fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    except OSError as error:
        raise StudyError(f"cannot write {path}: {reason(error)}") from None


def reason(error: OSError) -> str:
    """What the system said, and what helps."""
    help_ = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some of your quota",
        errno.EACCES: "this account may not write there",
        errno.EROFS: "choose another folder",
        errno.EMFILE: "too many files are open",
    }
    said = error.strerror or str(error)
    return f"{said} ({help_[error.errno]})" if error.errno in help_ else said
