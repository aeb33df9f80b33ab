"""The settings of `jaxou run`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .fields import (
    AT_LEAST_ONE,
    FRACTION,
    POSITIVE,
    ConfigError,
    between,
    check,
    identity_of,
    overlay,
    parse_toml,
    read_text,
    setting,
)

# Of MNIST-5k's 5000 images 1000 are for testing, of the 1797 UCI digits 597.
SOURCE_IMAGES, TARGET_IMAGES = 4000, 1200

# Settings that say where and how, not what: they do not change a single number.
LOGISTICS = frozenset({"out", "resume", "figures"})


@dataclass(frozen=True)
class StageConfig:
    """One training stage: minibatch SGD on softmax regression, 8x8 images, 10 digits."""

    learning_rate: float = setting(0.1, POSITIVE)
    """Learning rate eta."""
    batch_size: int = setting(16, AT_LEAST_ONE)
    """Images per minibatch."""
    steps: int = setting(1500, AT_LEAST_ONE)
    """Number of SGD steps n; flow time is s = eta * n."""
    momentum: float = setting(0.0, (lambda x: 0 <= x < 1, "in [0, 1)"))
    """Heavy-ball momentum beta."""
    weight_decay: float = setting(1e-3, POSITIVE)
    """L2 penalty lambda of the training loss; it makes the Hessian invertible."""


@dataclass(frozen=True)
class DataConfig:
    """How many images each stage may see."""

    n_source: int = setting(SOURCE_IMAGES, between(100, SOURCE_IMAGES))
    """MNIST images for pre-training."""
    n_target: int = setting(TARGET_IMAGES, between(50, TARGET_IMAGES))
    """UCI digits for fine-tuning; 597 others are the test set."""
    side: Literal[8, 4] = 8
    """Images are side x side pixels (8: 650 weights; 4: blocks averaged, 170 weights)."""


@dataclass(frozen=True)
class BoundConfig:
    """The two-stage PAC-Bayes bound, read as a model of SGD."""

    delta: float = setting(0.05, FRACTION)
    """Failure probability, split evenly between the stages."""
    row: Literal["mcallester_he", "maurer_pinsker", "quadratic", "seeger"] = "mcallester_he"
    """Which bound of the catalogue."""
    grid: int = setting(5, between(2, 40))
    """Points per side of the map of the bound over (learning rate, batch size)."""


@dataclass(frozen=True)
class CertificateConfig:
    """The certificate: a theorem about the fine-tuned model, whatever SGD's law is."""

    delta: float = setting(0.05, FRACTION)
    """Failure probability, the Monte Carlo step included."""
    draws: int = setting(4000, between(10, 1_000_000))
    """Weight draws for the empirical risk."""


@dataclass(frozen=True)
class RunConfig:
    """Pre-train on MNIST, fine-tune on UCI digits, and ask what theory says about the result.

    Writes report.html, result.json, figures, tables, config.toml and manifest.json into --out.
    """

    pretrain: StageConfig = StageConfig(learning_rate=0.5)
    finetune: StageConfig = StageConfig(learning_rate=0.3, steps=500)
    data: DataConfig = DataConfig()
    bound: BoundConfig = BoundConfig()
    certificate: CertificateConfig = CertificateConfig()
    particles: int = setting(10_000, between(100, 10_000_000))
    """Particles of the OU model that go through both stages."""
    replicas: int = setting(200, between(2, 100_000))
    """Real minibatch SGD runs beside them."""
    snapshots: int = setting(12, between(1, 100))
    """Times per stage at which laws and particles are compared."""
    initial_scale: float = setting(0.3, POSITIVE)
    """Standard deviation tau of every weight before pre-training, P0 = N(0, tau^2 I)."""
    seed: int = setting(0, between(0, 2**32 - 1))
    """The only source of randomness."""
    quick: bool = False
    """Smaller default sizes: a first answer in seconds. Sizes given explicitly still win."""
    figures: bool = True
    """Draw the figures (needs matplotlib)."""
    out: Path = Path("jaxou-run")
    """Folder for the results."""
    resume: bool = True
    """Reuse what an interrupted run with the same settings left in OUT/.cache."""

    # ---- making one

    @classmethod
    def defaults(cls, quick: bool = False) -> RunConfig:
        """The settings before any file or flag.

        >>> RunConfig.defaults().particles, RunConfig.defaults(quick=True).particles
        (10000, 2000)
        """
        if not quick:
            return cls()
        return cls(
            pretrain=StageConfig(learning_rate=0.5, steps=600),
            finetune=StageConfig(learning_rate=0.3, steps=200),
            data=DataConfig(n_source=TARGET_IMAGES, side=4),  # equal shapes compile once
            bound=BoundConfig(grid=4),
            certificate=CertificateConfig(draws=300),
            particles=2000,
            replicas=40,
            snapshots=5,
            quick=True,
        )

    @classmethod
    def from_toml(cls, path: Path, quick: bool = False) -> RunConfig:
        """A TOML file over the defaults; an unknown key, wrong type or value is a `ConfigError`."""
        table = parse_toml(read_text(path), path)
        quick = quick or table.get("quick") is True
        try:
            return overlay(cls.defaults(quick), table, "")
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    # ---- checking one

    def validate(self) -> RunConfig:
        """Return self, or raise `ConfigError` naming the first setting that cannot be used.

        >>> RunConfig(particles=3).validate()
        Traceback (most recent call last):
        ...
        jaxou.config.fields.ConfigError: particles = 3: it must be from 100 to 10000000
        """
        check(self)
        for stage, limit in (("pretrain", self.data.n_source), ("finetune", self.data.n_target)):
            batch = getattr(self, stage).batch_size
            if batch > limit:
                raise ConfigError(
                    f"{stage}.batch_size = {batch}: it must not exceed the stage's {limit} images"
                )
            steps = getattr(self, stage).steps
            if steps < self.snapshots:
                raise ConfigError(
                    f"{stage}.steps = {steps}: it must not be below snapshots = {self.snapshots}"
                )
        return self

    # ---- writing one

    def as_dict(self) -> dict[str, Any]:
        """The settings that decide the numbers, as nested plain values (without `LOGISTICS`)."""
        full = dataclasses.asdict(self)
        return {name: value for name, value in full.items() if name not in LOGISTICS}

    def to_toml(self) -> str:
        """The resolved configuration as TOML text."""
        import tomli_w

        head = "# Resolved settings: `jaxou run THIS_FILE` computes the same result.json.\n"
        plain = self.as_dict()
        tables = {name: value for name, value in plain.items() if isinstance(value, dict)}
        scalars = {name: value for name, value in plain.items() if name not in tables}
        return head + tomli_w.dumps({**scalars, **tables})

    def identity(self, *extra: str) -> str:
        """Twelve hex digits that name this configuration (and `extra`): the key of the cache.

        >>> RunConfig().identity() == RunConfig(out=Path("elsewhere")).identity()
        True
        >>> RunConfig().identity() == RunConfig(seed=1).identity()
        False
        """
        return identity_of(self.as_dict(), *extra)
