"""One task: batches of cells in, what became of them out. Runs here or in any other process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from .cells import Record
from .kinds import Outcome, find_kind


@dataclass(frozen=True)
class Batch:
    """Cells of one shape, by their place in the study, with everything needed to run them."""

    experiment: str
    quantities: tuple[str, ...]
    devices: int
    index: tuple[int, ...]
    configs: tuple[Any, ...]


def compute(batches: list[Batch]) -> list[list[Record]]:
    """The records of each batch. An exception belongs to the cell that raised it, see `one_by_one`.

    A module-level function of picklable arguments, for executors.
    """
    return [_batch(batch) for batch in batches]


def _batch(batch: Batch) -> list[Record]:
    kind = find_kind(batch.experiment)
    start = time.perf_counter()
    try:
        outcomes: list[Outcome | Exception] = list(
            kind.evaluate(batch.configs, batch.quantities, batch.devices)
        )
    except ImportError:
        raise  # a package that is missing here is no property of a cell
    except Exception as error:
        outcomes = one_by_one(kind, batch, error)
    seconds = (time.perf_counter() - start) / len(batch.configs)
    facts = {"seconds": round(seconds, 6), "device": device()}
    return [_record(outcome, batch.quantities, facts) for outcome in outcomes]


def one_by_one(kind: Any, batch: Batch, error: Exception) -> list[Outcome | Exception]:
    """Each cell of a batch that raised, on its own, so that only the guilty ones fail.

    A cell alone is padded to the size of the batch: its numbers are the same as in company.
    """
    if len(batch.configs) == 1:
        return [error]
    outcomes: list[Outcome | Exception] = []
    for config in batch.configs:
        try:
            outcomes += kind.evaluate((config,), batch.quantities, batch.devices)
        except Exception as own:
            outcomes.append(own)
    return outcomes


def _record(outcome: Outcome | Exception, quantities: tuple[str, ...], facts: Any) -> Record:
    if isinstance(outcome, Exception):
        message = " ".join(str(outcome).split())
        return Record({}, "", f"{type(outcome).__name__}: {message}"[:2000], facts)
    values = {name: float(outcome.values[name]) for name in quantities}
    return Record(values, outcome.status, "", facts)


def device() -> str:
    """The device that jax computes on, without starting jax if nothing did."""
    import sys

    if "jax" not in sys.modules:
        return "none"
    import jax

    first = jax.devices()[0]
    return f"{first.platform} ({first.device_kind})"
