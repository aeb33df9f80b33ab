"""Studies that come along, as TOML files: `jaxou study list`, `jaxou study run NAME --out DIR`."""

from __future__ import annotations

from importlib.resources import files

from ...config import ConfigError, did_you_mean
from ..study import Study


def names() -> list[str]:
    """Names of the ready studies.

    >>> "target_size" in names()
    True
    """
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".toml")
    )


def text(name: str) -> str:
    """The TOML of a ready study, or `ConfigError`."""
    if name not in names():
        raise ConfigError(f"there is no ready study {name!r}{did_you_mean(name, names())}")
    return (files(__name__) / f"{name}.toml").read_text(encoding="utf-8")


def load(name: str) -> Study:
    """A ready study.

    >>> load("target_size").experiment
    'theory'
    """
    return Study.from_text(text(name), name)
