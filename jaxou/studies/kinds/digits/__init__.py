"""Real images: from MNIST to shifted digits, the theory beside measured errors."""

from __future__ import annotations

from typing import Any

from ..base import Kind
from .config import DigitsConfig as DigitsConfig
from .config import check
from .quantities import QUANTITIES


def _shape(config: DigitsConfig) -> tuple[Any, ...]:
    """What decides the programs: sizes. Everything else is a number or a mask in them."""
    return (
        config.data.side,
        config.data.n_source,
        config.pretrain.batch_size,
        config.finetune.batch_size,
        config.replicas,
        config.pretrain.momentum > 0,
        config.finetune.momentum > 0,
    )


KIND = Kind(
    name="digits",
    words="softmax regression from MNIST to shifted digits: theory beside real SGD",
    config=DigitsConfig,
    quantities=QUANTITIES,
    seed_field="seed",
    module=f"{__name__}.program",
    generator="threefry2x32 and numpy PCG64",
    shape=_shape,
    check=check,
)
