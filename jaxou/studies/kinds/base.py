"""What a kind of experiment says about itself, without jax."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """What became of one cell: its numbers, and a sentence where they are not to be used."""

    values: dict[str, float]
    status: str = ""


def _one(config: Any) -> tuple[Any, ...]:
    return ()


@dataclass(frozen=True)
class Kind:
    """A kind of experiment: its settings, its quantities, and how cells are put together.

    - `config`: a frozen dataclass in the manner of `jaxou.config`.
    - `quantities`: name -> what it is, with its unit. None: any number of result.json, by its
      dotted name.
    - `seed_field`: the setting that a study's `seed` (plus the replicate's number) goes to.
    - `module`: where `evaluate(configs, quantities, size, devices) -> list[Outcome]` is; it pads
      whatever it is given to `size` cells per device.
    - `shape`: cells of equal shape share one compiled program. `batch(shape)`: cells per device in
      one call, a constant of the shape so that no table depends on what ran together.
    - `check`: raises `ConfigError` where settings contradict each other.

    >>> from jaxou.studies.kinds import find_kind
    >>> find_kind("theory").seed_field
    'problem.seed'
    """

    name: str
    words: str
    config: type
    quantities: Mapping[str, str] | None
    seed_field: str
    module: str
    generator: str
    shape: Callable[[Any], tuple[Any, ...]] = _one
    batch: Callable[[tuple[Any, ...]], int] = field(default=lambda shape: 1)
    check: Callable[[Any], Any] = _one

    def evaluate(
        self, configs: Sequence[Any], quantities: tuple[str, ...], devices: int = 1
    ) -> list[Outcome]:
        """The outcomes of cells of one shape, at most `batch(shape)` for each device."""
        shape = self.shape(configs[0])
        evaluate = importlib.import_module(self.module).evaluate
        return evaluate(list(configs), quantities, self.batch(shape), devices)[: len(configs)]
