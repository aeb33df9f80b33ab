"""Exact laws and bounds of a synthetic two-stage problem: thousands of cells in seconds."""

from __future__ import annotations

from typing import Any

from ..base import Kind
from .config import LAWS as LAWS
from .config import TheoryConfig as TheoryConfig
from .config import check
from .quantities import QUANTITIES

LANES, NUMBERS_AT_ONCE = 64, 2**22
"""Cells in one call; fewer in many dimensions."""


def _shape(config: TheoryConfig) -> tuple[Any, ...]:
    """What decides the program: everything else is a number in it."""
    return (
        config.problem.dimension,
        config.law,
        config.bound.row,
        config.bound.risk,
        config.pretrain.momentum > 0,
        config.finetune.momentum > 0,
    )


KIND = Kind(
    name="theory",
    words="exact laws and bounds of a synthetic two-stage problem",
    config=TheoryConfig,
    quantities=QUANTITIES,
    seed_field="problem.seed",
    module=f"{__name__}.program",
    generator="numpy PCG64",
    shape=_shape,
    batch=lambda shape: max(1, min(LANES, NUMBERS_AT_ONCE // shape[0] ** 2)),
    check=check,
)
