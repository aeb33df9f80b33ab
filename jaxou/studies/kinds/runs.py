"""Whole experiments as cells: `jaxou run`, `jaxou run diabetes`, `jaxou run network`.

Quantities are numbers of result.json by their dotted name, as in "certificates.source.bound".
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...config import DiabetesConfig, NetworkConfig, RunConfig, did_you_mean
from .base import Kind, Outcome


def evaluate(
    configs: list[Any], quantities: tuple[str, ...], size: int, devices: int
) -> list[Outcome]:
    """The outcomes, one experiment after the other: seconds to minutes each."""
    import jax

    with jax.enable_x64(True):
        return [_chosen(_result(config), quantities) for config in configs]


def _chosen(result: Mapping[str, Any], names: tuple[str, ...]) -> Outcome:
    """The numbers that are there; a name that is not is NaN, and the status says what is."""
    values, problems = dict.fromkeys(names, float("nan")), []
    for name in names:
        try:
            values |= numbers(result, (name,))
        except KeyError as error:
            problems.append(str(error.args[0]))
    return Outcome(values, "; ".join(problems))


def numbers(result: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, float]:
    """The numbers that dotted names choose; `KeyError` says what is there instead.

    >>> numbers({"a": {"b": 2, "c": "inf"}}, ("a.b", "a.c"))
    {'a.b': 2.0, 'a.c': inf}
    """
    found = {}
    for name in names:
        here: Any = result
        for step in name.split("."):
            if isinstance(here, Mapping) and step in here:
                here = here[step]
            elif isinstance(here, list | tuple) and step.isdecimal() and int(step) < len(here):
                here = here[int(step)]
            else:
                near = here if isinstance(here, Mapping) else ()
                raise KeyError(f"result.json has no {name}: no {step}{did_you_mean(step, near)}")
        try:
            found[name] = float(here)
        except (TypeError, ValueError):
            raise KeyError(f"{name} is no number in result.json: {str(here)[:80]}") from None
    return found


def _result(config: Any) -> Mapping[str, Any]:
    from ...report.steps import silent

    if isinstance(config, RunConfig):
        from ...report.files import plain
        from ...transfer.experiment import run_experiment

        quiet = dataclasses.replace(config, figures=False)
        return plain(run_experiment(quiet, silent, None).numbers)
    from ...report.experiments.builtin import BUILT_IN

    name = "diabetes" if isinstance(config, DiabetesConfig) else "network"
    with tempfile.TemporaryDirectory() as folder:
        here = dataclasses.replace(config, out=Path(folder))
        return BUILT_IN[name](here, silent).numbers


def _check(config: RunConfig) -> RunConfig:
    return config.validate()


def _kind(name: str, config: type, words: str, **rest: Any) -> Kind:
    return Kind(
        name=name,
        words=words,
        config=config,
        quantities=None,
        seed_field="seed",
        module=__name__,
        generator="threefry2x32",
        **rest,
    )


KINDS = {
    "run": _kind("run", RunConfig, "the experiment of jaxou run, whole", check=_check),
    "diabetes": _kind("diabetes", DiabetesConfig, "the experiment of jaxou run diabetes, whole"),
    "network": _kind("network", NetworkConfig, "the experiment of jaxou run network, whole"),
}
