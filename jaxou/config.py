"""What `jaxou run` does, as frozen plain dataclasses: no jax here, so that `--help` is instant.

Precedence: defaults (or the smaller ones of `--quick`) < TOML file < command-line flags. Every
field carries its own check; `RunConfig.from_toml` and `RunConfig.validate` raise `ConfigError`,
whose one line says which setting is wrong, what it was and what it must be.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import tomllib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# Of MNIST-5k's 5000 images 1000 are for testing, of the 1797 UCI digits 597.
SOURCE_IMAGES, TARGET_IMAGES = 4000, 1200

_Check = tuple[Callable[[Any], bool], str]
POSITIVE: _Check = (lambda x: x > 0, "positive")
NOT_NEGATIVE: _Check = (lambda x: x >= 0, "zero or more")
AT_LEAST_ONE: _Check = (lambda x: x >= 1, "1 or more")
FRACTION: _Check = (lambda x: 0 < x < 1, "strictly between 0 and 1")


def between(low: int, high: int) -> _Check:
    return (lambda x: low <= x <= high, f"from {low} to {high}")


class ConfigError(ValueError):
    """A setting that cannot be used; the message is one line."""


def setting(default: Any, check: _Check | None = None) -> Any:
    return field(default=default, metadata={} if check is None else {"check": check})


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
        try:
            table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {_flat(error)}") from None
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}") from None
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
        jaxou.config.ConfigError: particles = 3: it must be from 100 to 10000000
        """
        for name, value, spec in leaves(self):
            check_value(name, value, spec)
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
        text = json.dumps([self.as_dict(), *extra], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class DiabetesConfig:
    """Ridge regression on diabetes, from one sex to the other, beside three theories of SGD.

    The loss is a bowl everywhere, so real SGD can be held against exact moments at every learning
    rate. Writes report.html and result.json into --out.
    """

    learning_rate: float = setting(0.01, POSITIVE)
    """Learning rate of the runs that are judged direction by direction."""
    batch_size: int = setting(8, AT_LEAST_ONE)
    """Patients per minibatch."""
    replicas: int = setting(4000, between(100, 1_000_000))
    """Real minibatch SGD runs."""
    seed: int = setting(0, between(0, 2**32 - 1))
    """The only source of randomness."""
    quick: bool = False
    """Smaller default sizes. Sizes given explicitly still win."""
    out: Path = Path("jaxou-diabetes")
    """Folder for the results."""

    @classmethod
    def defaults(cls, quick: bool = False) -> DiabetesConfig:
        """The settings before any flag."""
        return cls(learning_rate=0.05, replicas=500, quick=True) if quick else cls()


@dataclass(frozen=True)
class NetworkConfig:
    """A small dense network from MNIST to UCI digits, trained by optax, then judged and certified.

    Writes report.html and result.json into --out.
    """

    layers: Literal["all", "last"] = "all"
    """Which layers are fine-tuned."""
    width: int = setting(16, between(2, 512))
    """Hidden units: 64-16-10 has 1,210 parameters, the last layer 170; 64-72-10 has 5,410."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Of the hidden units. A relu's kinks bend the mean loss but not its Hessian."""
    n_target: int = setting(TARGET_IMAGES, between(50, TARGET_IMAGES))
    """UCI digits for fine-tuning; 597 others are the test set."""
    poses: int = setting(5, between(0, 20))
    """Random poses of every MNIST image that pre-training sees beside the image as it is."""
    pretrain_steps: int = setting(3000, AT_LEAST_ONE)
    """Adam's steps on MNIST."""
    finetune_steps: int = setting(2000, AT_LEAST_ONE)
    """Adam's steps on UCI digits, before L-BFGS."""
    learning_rate: float = setting(0.1, POSITIVE)
    """Learning rate of the SGD that is judged, in its last phase."""
    batch_size: int = setting(16, AT_LEAST_ONE)
    """Images per minibatch of that SGD."""
    steps: int = setting(500, AT_LEAST_ONE)
    """Its steps."""
    weight_decay: float = setting(1e-3, POSITIVE)
    """L2 penalty of the training loss."""
    replicas: int = setting(256, between(100, 1_000_000))
    """Runs of that SGD."""
    draws: int = setting(2000, between(10, 1_000_000))
    """Weight draws for the empirical risk of the certificate."""
    seed: int = setting(0, between(0, 2**32 - 1))
    """The only source of randomness."""
    quick: bool = False
    """Smaller default sizes. Sizes given explicitly still win."""
    out: Path = Path("jaxou-network")
    """Folder for the results."""

    @classmethod
    def defaults(cls, quick: bool = False) -> NetworkConfig:
        """The settings before any flag."""
        small = dict(
            layers="last", width=8, poses=0, pretrain_steps=500, steps=100, replicas=100, draws=300
        )
        return cls(**small, quick=True) if quick else cls()


EXPERIMENTS: dict[str, Any] = {"diabetes": DiabetesConfig, "network": NetworkConfig}
"""Experiments beside the main one, by the name that `jaxou run NAME` knows them by."""


def check(config: Any) -> Any:
    """`config`, or `ConfigError` naming the first setting that cannot be used.

    >>> check(DiabetesConfig(replicas=3))
    Traceback (most recent call last):
    ...
    jaxou.config.ConfigError: replicas = 3: it must be from 100 to 1000000
    """
    for name, value, spec in leaves(config):
        check_value(name, value, spec)
    return config


# Settings that say where and how, not what: they do not change a single number.
LOGISTICS = frozenset({"out", "resume", "figures"})


def setting_names(config: Any = RunConfig) -> list[str]:
    """Dotted names of all settings, e.g. `finetune.learning_rate`."""
    return [name for name, _, _ in leaves(config() if isinstance(config, type) else config)]


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, tuple[Any, Any]]]:
    """Yield (dotted name, value, (type, check)) of every field below `config`."""
    hints = _hints(type(config))
    for spec in dataclasses.fields(config):
        value, name = getattr(config, spec.name), prefix + spec.name
        if dataclasses.is_dataclass(value):
            yield from leaves(value, name + ".")
        else:
            yield name, value, (hints[spec.name], spec.metadata.get("check"))


_hints = functools.cache(typing.get_type_hints)  # slow, and the same for every configuration


def overlay(config: Any, table: Mapping[str, Any], prefix: str = "") -> Any:
    """Replace the fields of `config` that `table` names, checking keys, types and values."""
    hints = _hints(type(config))
    known = {spec.name: spec for spec in dataclasses.fields(config)}
    changes = {}
    for key, value in table.items():
        name = prefix + key
        if key not in known:
            raise ConfigError(f"unknown setting {name}{did_you_mean(key, known, prefix)}")
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{name} = {value!r}: it must be a table of settings")
            changes[key] = overlay(getattr(config, key), value, name + ".")
        else:
            changes[key] = check_value(name, value, (hints[key], known[key].metadata.get("check")))
    return dataclasses.replace(config, **changes)


def check_value(name: str, value: Any, spec: tuple[Any, Any]) -> Any:
    """The value in its field's type, or `ConfigError`."""
    kind, check = spec
    value = _coerce(name, value, kind)
    if check is not None and not check[0](value):
        raise ConfigError(f"{name} = {value!r}: it must be {check[1]}")
    return value


def _coerce(name: str, value: Any, kind: Any) -> Any:
    wrong = ConfigError(f"{name} = {value!r}: it must be {describe(kind)}")
    if typing.get_origin(kind) is Literal:
        if not any(value == a and type(value) is type(a) for a in typing.get_args(kind)):
            raise wrong
        return value
    if kind is float:
        # TOML writes 1 for 1.0; a boolean is not a number
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong
        try:
            value = float(value)
        except OverflowError:
            raise wrong from None
        if not math.isfinite(value):
            raise wrong
        return value
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(value)
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, kind):
        raise wrong
    return value


def describe(kind: Any) -> str:
    """A type in words, as in "it must be an integer"."""
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    names = {float: "a finite number", int: "an integer", bool: "true or false", Path: "a path"}
    return names.get(kind, str(kind) if isinstance(kind, types.GenericAlias) else "a text")


def did_you_mean(key: str, known: Mapping[str, Any], prefix: str) -> str:
    close = difflib.get_close_matches(key.replace("-", "_"), known, n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else f"; there are {', '.join(known)}"


def _flat(error: BaseException) -> str:
    return " ".join(str(error).split())
