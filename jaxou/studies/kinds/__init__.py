"""Kinds of experiments that a study can run; found by name."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Iterator
from typing import Any

from ...config import ConfigError, describe, did_you_mean, leaves, words_of
from .base import Kind as Kind
from .base import Outcome as Outcome

MODULES = {
    "theory": "theory",
    "digits": "digits",
    "run": "runs",
    "diabetes": "runs",
    "network": "runs",
}
"""Kind -> the module that declares it, as `KIND` or among `KINDS`; none of them imports jax."""


def find_kind(name: object) -> Kind:
    """The kind of that name, or `ConfigError`.

    >>> find_kind("theory").quantities["kl"]
    'KL(Q_T || Q_S) of the target law from the source law, nats'
    """
    if name not in MODULES:
        raise ConfigError(f"experiment = {name!r}{did_you_mean(str(name), MODULES)}")
    module = importlib.import_module(f"{__name__}.{MODULES[str(name)]}")
    return module.KINDS[name] if hasattr(module, "KINDS") else module.KIND


def about(name: str) -> str:
    """What a study of this kind may name: its settings with their defaults, and its quantities.

    >>> print(about("theory").split(chr(10))[0])
    theory: exact laws and bounds of a synthetic two-stage problem
    """
    kind = find_kind(name)
    lines = [f"{kind.name}: {kind.words}", "", "settings, for [base] and [design.axes]:"]
    for setting, value, (type_, check), words in _settings(kind.config()):
        if setting == kind.seed_field:
            continue  # a study has one of its own
        must = describe(type_) + (f", {check[1]}" if check else "")
        lines += [f"  {setting} = {_toml(value)}    # {must}", *([f"      {words}"] * bool(words))]
    lines += ["", "quantities:"]
    if kind.quantities is None:
        lines.append(
            "  any number of a run's result.json by its dotted name, as certificates.source.bound"
        )
    lines += [f"  {quantity}: {words}" for quantity, words in (kind.quantities or {}).items()]
    return "\n".join(lines)


def _settings(config: Any) -> Iterator[tuple[str, Any, tuple[Any, Any], str]]:
    """What `leaves` gives, with the words of each field."""
    for name, value, spec in leaves(config):
        *path, last = name.split(".")
        owner = functools.reduce(getattr, path, config)
        yield name, value, spec, words_of(type(owner)).get(last, "")


def _toml(value: Any) -> str:
    """A plain value as TOML spells it."""
    return str(value).lower() if isinstance(value, bool) else json.dumps(value, default=str)
