"""Kinds of experiments that a study can run; found by name."""

from __future__ import annotations

import importlib

from ...config import ConfigError, did_you_mean
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
        names = dict.fromkeys(MODULES)
        raise ConfigError(f"experiment = {name!r}{did_you_mean(str(name), names, '')}")
    module = importlib.import_module(f"{__name__}.{MODULES[str(name)]}")
    return module.KINDS[name] if hasattr(module, "KINDS") else module.KIND
