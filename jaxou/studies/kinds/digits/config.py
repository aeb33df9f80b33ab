"""Settings of the experiment on real digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ....config import (
    FRACTION,
    POSITIVE,
    ConfigError,
    StageConfig,
    between,
    setting,
)

POOL = 1200
"""Target images that training samples are taken from; 597 others are the test sample."""


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how many."""

    target: Literal["digits", "mnist"] = "digits"
    """UCI's digits, or MNIST images that pre-training has not seen (a domain without a shift)."""
    side: Literal[4, 8] = 4
    """Images are side x side pixels (4: 170 weights; 8: 650, minutes per cell)."""
    n_source: int = setting(1200, between(200, 3000))
    """MNIST images for pre-training."""
    n_target: int = setting(300, between(20, POOL))
    """Images for fine-tuning; samples of two sizes are nested."""


@dataclass(frozen=True)
class ShiftConfig:
    """What is done to the target's images, training and test alike."""

    rotation: float = setting(0.0, between(-180, 180))
    """Degrees, about the centre of the 8 x 8 counts, bilinear."""
    blur: float = setting(0.0, between(0, 4))
    """Standard deviation of a Gaussian blur, in pixels of 8 x 8."""
    noise: float = setting(0.0, between(0, 2))
    """Standard deviation of noise added to every pixel in [0, 1], which is then clipped."""
    imbalance: float = setting(1.0, (lambda x: x >= 1, "1 or more"))
    """Frequency of digit 0 over that of digit 9, in equal ratios; test errors are reweighted."""


@dataclass(frozen=True)
class BoundConfig:
    """The two-stage bound of SGD's law."""

    delta: float = setting(0.05, FRACTION)
    """Failure probability, half for each stage."""
    row: Literal["mcallester_he", "maurer_pinsker", "quadratic", "seeger"] = "seeger"
    """Which bound of the catalogue."""


@dataclass(frozen=True)
class DigitsConfig:
    """Pre-training on MNIST, fine-tuning on target images: the theory's laws and real SGD."""

    law: Literal["finite", "stationary", "gibbs"] = "finite"
    """Which laws stand for the two stages; see `two_stage_bound`."""
    data: DataConfig = DataConfig()
    shift: ShiftConfig = ShiftConfig()
    pretrain: StageConfig = StageConfig(learning_rate=0.5, steps=600)
    finetune: StageConfig = StageConfig(learning_rate=0.3, steps=200)
    bound: BoundConfig = BoundConfig()
    initial_scale: float = setting(0.3, POSITIVE)
    """Standard deviation of every weight before pre-training."""
    replicas: int = setting(64, between(2, 10_000))
    """Real SGD runs through both stages."""
    seed: int = setting(0, between(0, 2**32 - 1))
    """The only source of randomness: samples, noise, minibatches."""


def check(config: DigitsConfig) -> DigitsConfig:
    """`config`, or `ConfigError` where two settings contradict each other."""
    for name, limit in (("pretrain", "n_source"), ("finetune", "n_target")):
        batch, most = getattr(config, name).batch_size, getattr(config.data, limit)
        if batch > most:
            raise ConfigError(
                f"{name}.batch_size = {batch}: it must not exceed data.{limit} = {most}"
            )
    return config
