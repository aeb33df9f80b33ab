"""Kinds of experiments that a study can run, one module each; found by name."""

from __future__ import annotations

import importlib

from ...config import ConfigError, did_you_mean
from .base import Kind as Kind
from .base import Outcome as Outcome

MODULES = {
    "theory": "theory",
}
"""Kind -> the module that declares it as `KIND`; none of them imports jax."""


def find_kind(name: object) -> Kind:
    """The kind of that name, or `ConfigError`.

    >>> find_kind("theory").quantities["kl"]
    'KL(Q_T || Q_S) of the target law from the source law, nats'
    """
    if name not in MODULES:
        names = dict.fromkeys(MODULES)
        raise ConfigError(f"experiment = {name!r}{did_you_mean(str(name), names, '')}")
    return importlib.import_module(f"{__name__}.{MODULES[str(name)]}").KIND
