"""Settings of the synthetic two-stage problem, in the manner of `jaxou.config`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ....config import AT_LEAST_ONE, FRACTION, NOT_NEGATIVE, POSITIVE, ConfigError, between, setting
from .quantities import Row

LAWS = ("gibbs", "stationary", "finite")

_SHARE = (lambda x: 0 <= x <= 1, "in [0, 1]")


@dataclass(frozen=True)
class ProblemConfig:
    """What both stages share: where training starts and how the two domains differ."""

    dimension: int = setting(50, between(1, 2000))
    """d, the number of parameters."""
    tau: float = setting(1.0, POSITIVE)
    """Standard deviation of every weight before pre-training: P0 = N(0, tau^2 I)."""
    distance: float = setting(1.0, NOT_NEGATIVE)
    """Distance of the source minimum from the centre of P0, in a random direction."""
    shift: float = setting(0.3, NOT_NEGATIVE)
    """Distance of the target minimum from the source minimum, in a random direction."""
    tilt: float = setting(0.0, between(0, 90))
    """Degrees by which the target's eigenvectors are turned, in pairs half a spectrum apart."""
    seed: int = setting(0, between(0, 2**32 - 1))
    """Which directions and noise bases are drawn."""


@dataclass(frozen=True)
class StageConfig:
    """One stage: SGD on a quadratic bowl with Hessian A and gradient noise of covariance C.

    The eigenvalues of A run from sharpness down to sharpness / condition in equal ratios. C mixes
    a part that commutes with A (A itself) and one in a random basis; its mean eigenvalue is noise.
    """

    learning_rate: float = setting(0.1, POSITIVE)
    """eta."""
    batch_size: float = setting(16.0, AT_LEAST_ONE)
    """b."""
    steps: int = setting(1000, NOT_NEGATIVE)
    """Number of SGD steps; the steady laws do not use it."""
    momentum: float = setting(0.0, (lambda x: 0 <= x < 1, "in [0, 1)"))
    """beta of optax's buffer, zero at the start of the stage."""
    weight_decay: float = setting(0.0, NOT_NEGATIVE)
    """lambda of the penalty (lambda / 2) |theta|^2."""
    sharpness: float = setting(1.0, POSITIVE)
    """Largest eigenvalue of A."""
    condition: float = setting(20.0, (lambda x: x >= 1, "1 or more"))
    """Largest over smallest eigenvalue of A."""
    noise: float = setting(1.0, NOT_NEGATIVE)
    """tr C / d."""
    noise_rank: int = setting(0, between(0, 2000))
    """Rank of the part of C in a random basis; 0 is full rank."""
    noise_condition: float = setting(10.0, (lambda x: x >= 1, "1 or more"))
    """Largest over smallest non-zero eigenvalue of that part."""
    alignment: float = setting(0.5, _SHARE)
    """Share of C that is proportional to A."""


@dataclass(frozen=True)
class BoundConfig:
    """The two-stage bound."""

    n_source: float = setting(50_000.0, AT_LEAST_ONE)
    """Examples of the source sample."""
    n_target: float = setting(1_000.0, AT_LEAST_ONE)
    """Examples of the target sample."""
    delta: float = setting(0.05, FRACTION)
    """Failure probability, half for each stage."""
    row: Row = "mcallester_he"
    """Which bound `target_bound`, `gap` and the source's are."""
    risk: Literal["saturated", "fixed"] = "saturated"
    """Empirical risks: the saturated quadratic 1 - exp(-L / scale), or `floor` for both stages."""
    floor: float = setting(0.05, NOT_NEGATIVE)
    """Loss at the minimum; with risk = "fixed" the risk itself."""
    scale: float = setting(1.0, POSITIVE)
    """Loss at which the saturated one is 1 - 1/e."""


@dataclass(frozen=True)
class TheoryConfig:
    """Pre-training and fine-tuning on quadratic bowls: exact laws, discrepancy, bounds.

    `law` says which laws stand for the two stages: "gibbs" (steady, of the SDE), "stationary"
    (steady, of SGD) or "finite" (of SGD after its steps, started from P0).
    """

    law: Literal["gibbs", "stationary", "finite"] = "finite"
    problem: ProblemConfig = ProblemConfig()
    pretrain: StageConfig = StageConfig()
    finetune: StageConfig = StageConfig(learning_rate=0.05, steps=500)
    bound: BoundConfig = BoundConfig()


def check(config: TheoryConfig) -> TheoryConfig:
    """`config`, or `ConfigError` where two settings contradict each other."""
    d = config.problem.dimension
    for name in ("pretrain", "finetune"):
        rank = getattr(config, name).noise_rank
        if rank > d:
            raise ConfigError(
                f"{name}.noise_rank = {rank}: it must not exceed problem.dimension = {d}"
            )
        if getattr(config, name).batch_size > getattr(config.bound, _SAMPLE[name]):
            raise ConfigError(
                f"{name}.batch_size = {getattr(config, name).batch_size:g}: it must not exceed "
                f"bound.{_SAMPLE[name]} = {getattr(config.bound, _SAMPLE[name]):g}"
            )
    if config.bound.risk == "fixed" and config.bound.floor > 1:
        raise ConfigError(f"bound.floor = {config.bound.floor:g}: as a fixed risk it is at most 1")
    return config


_SAMPLE = {"pretrain": "n_source", "finetune": "n_target"}
