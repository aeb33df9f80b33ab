"""A study: a design over the fields of an experiment's settings, and what to record. No jax here.

name = "rates"
experiment = "theory"
quantities = ["target_bound", "kl"]

[base]
law = "stationary"
pretrain.learning_rate = 0.1

[design.axes]
"finetune.learning_rate" = {from = 1e-3, to = 0.3, points = 20, scale = "log"}
"finetune.batch_size" = [1, 8, 64]
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import (
    ConfigError,
    check_value,
    did_you_mean,
    leaves,
    overlay,
    parse_toml,
    read_text,
)
from .design import Design, as_table, design_from
from .figure import Figure, figures_from
from .kinds import Kind, find_kind

KEYS = (
    "name",
    "experiment",
    "quantities",
    "seed",
    "replicates",
    "reading",
    "base",
    "design",
    "figures",
)


@dataclass(frozen=True)
class Cell:
    """One point of a study: where it is in the table, what varies there, and its name on disk.

    `varied` maps each axis to its value, `settings` every dotted setting of the experiment; `id` is
    the first 16 hex digits of the SHA-256 of kind, settings, jaxou's version and generator.
    """

    index: int
    varied: dict[str, Any]
    replicate: int
    config: Any
    settings: dict[str, Any]
    id: str


@dataclass(frozen=True)
class Study:
    """What a study asks; see `Study.from_toml` and `Study.make`.

    `base` are settings over the experiment's defaults. Replicate r runs every point of the design
    again with the seed `seed` + r. `reading` says in words how to read the figures.
    """

    name: str
    experiment: str
    quantities: tuple[str, ...]
    design: Design
    base: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    replicates: int = 1
    reading: str = ""
    figures: tuple[Figure, ...] = ()

    # ---- making one

    @classmethod
    def make(cls, **table: Any) -> Study:
        """A study from what its TOML file would hold, everything checked; `ConfigError` if not.

        >>> study = Study.make(
        ...     name="batches",
        ...     experiment="theory",
        ...     quantities=["kl"],
        ...     design={"axes": {"finetune.batch_size": [1, 8]}},
        ... )
        >>> [cell.varied for cell in study.cells()]
        [{'finetune.batch_size': 1.0}, {'finetune.batch_size': 8.0}]
        """
        table = as_table(table, "the study")
        for key in table:
            if key not in KEYS:
                raise ConfigError(f"unknown setting {key}{did_you_mean(key, KEYS)}")
        name = _text(table.get("name"), "name")
        if not name or name != Path(name).name or name.startswith("."):
            raise ConfigError(f"name = {name!r}: it must be a word that can name a folder")
        kind = find_kind(table.get("experiment"))
        base = _nested(as_table(table.get("base", {}), "base"), "base")
        try:
            _base_config(kind, base)
        except ConfigError as error:
            raise ConfigError(f"base: {error}") from None
        design = design_from(table.get("design", {}), _fields(kind))
        design = _checked_axes(design, kind)
        _refuse_twice(base, design)
        seed, replicates = table.get("seed", 0), table.get("replicates", 1)
        if type(seed) is not int or seed < 0:
            raise ConfigError(f"seed = {seed!r}: it must be a whole number, zero or more")
        if type(replicates) is not int or replicates < 1:
            raise ConfigError(f"replicates = {replicates!r}: it must be a whole number, 1 or more")
        _refuse_two_seeds(kind, base, design, replicates)
        quantities = _quantities(table.get("quantities"), kind)
        return cls(
            name=name,
            experiment=kind.name,
            quantities=quantities,
            design=design,
            base=base,
            seed=seed,
            replicates=replicates,
            reading=_text(table.get("reading", ""), "reading"),
            figures=figures_from(
                table.get("figures", []), quantities, tuple(axis.name for axis in design.axes)
            ),
        )

    @classmethod
    def from_toml(cls, path: Path | str) -> Study:
        """The study of a TOML file; an unknown key, wrong type or value is a `ConfigError`."""
        return cls.from_text(read_text(path), str(path))

    @classmethod
    def from_text(cls, text: str, where: str = "the study") -> Study:
        """The study of a TOML text; `where` names it in errors."""
        table = parse_toml(text, where)
        try:
            return cls.make(**table)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    # ---- writing one

    def as_dict(self) -> dict[str, Any]:
        """What `Study.make` takes."""
        return {
            "name": self.name,
            "experiment": self.experiment,
            "quantities": list(self.quantities),
            "seed": self.seed,
            "replicates": self.replicates,
            **({"reading": self.reading} if self.reading else {}),
            "base": dict(self.base),
            "design": self.design.as_toml(),
            **({"figures": [f.as_toml() for f in self.figures]} if self.figures else {}),
        }

    def to_toml(self) -> str:
        """The study as TOML text; reading it again gives an equal study."""
        import tomli_w

        return tomli_w.dumps(self.as_dict(), multiline_strings=True)

    def identity(self) -> str:
        """Sixteen hex digits of what decides the table: not of words or figures.

        >>> study = Study.make(
        ...     name="a", experiment="theory", quantities=["kl"],
        ...     design={"axes": {"finetune.steps": [1, 2]}},
        ... )
        >>> study.identity() == dataclasses.replace(study, reading="Look.").identity()
        True
        >>> study.identity() == dataclasses.replace(study, seed=1).identity()
        False
        """
        content = self.as_dict()
        decides = {k: v for k, v in content.items() if k not in ("name", "reading", "figures")}
        return _digest(decides)

    # ---- what it consists of

    @property
    def kind(self) -> Kind:
        """The kind of experiment."""
        return find_kind(self.experiment)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes, in the order of the design."""
        return tuple(axis.name for axis in self.design.axes)

    def cells(self) -> list[Cell]:
        """All cells, in the order of the design; replicates of one point follow each other."""
        return list(_cells(self))


@functools.lru_cache(maxsize=4)
def _cells_of(text: str) -> tuple[Cell, ...]:
    study = Study.from_text(text)
    kind = study.kind
    base = _base_config(kind, study.base)
    common = _flat(base)
    cells: list[Cell] = []
    for point in study.design.points():
        varied = dict(zip(study.axes, point, strict=True))
        changes = {
            field: value
            for axis, value in zip(study.design.axes, point, strict=True)
            for field in axis.fields
        }
        for replicate in range(study.replicates):
            all_changes = {kind.seed_field: study.seed + replicate} | changes
            config = _replaced(base, all_changes)
            settings = common | {name: _plain(value) for name, value in all_changes.items()}
            cells.append(
                Cell(len(cells), varied, replicate, config, settings, cell_id(kind, settings))
            )
    return tuple(cells)


def _base_config(kind: Kind, base: Mapping[str, Any]) -> Any:
    """The settings that all cells share; `quick = true` starts from the kind's smaller defaults."""
    small = base.get("quick") is True and hasattr(kind.config, "defaults")
    return overlay(kind.config.defaults(True) if small else kind.config(), base, "")


def _cells(study: Study) -> tuple[Cell, ...]:
    return _cells_of(study.to_toml())


def cell_id(kind: Kind, settings: Mapping[str, Any]) -> str:
    """The name of a cell: of its settings, jaxou's version and the kind of random numbers."""
    return _digest([kind.name, dict(settings), jaxou_version(), kind.generator])


@functools.cache
def jaxou_version() -> str:
    """The installed version, or "source tree"."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("jaxou")
    except PackageNotFoundError:
        return "source tree"


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _flat(config: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value, _ in leaves(config)}


def _fields(kind: Kind) -> dict[str, Any]:
    """Dotted settings of a kind and their types."""
    return {name: spec[0] for name, _, spec in leaves(kind.config())}


def _replaced(config: Any, changes: Mapping[str, Any]) -> Any:
    """`config` with dotted fields changed; values are checked before."""
    here: dict[str, Any] = {}
    below: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        if rest:
            below.setdefault(first, {})[rest] = value
        else:
            here[first] = value
    for first, inner in below.items():
        here[first] = _replaced(getattr(config, first), inner)
    return dataclasses.replace(config, **here)


def _nested(table: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """A table in which "a.b" = x means what a = {b = x} does."""
    out: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            value = _nested(value, f"{prefix}.{key}")
        first, _, rest = key.partition(".")
        if rest:
            value = _nested({rest: value}, f"{prefix}.{first}")
        if isinstance(value, dict) and isinstance(out.get(first), dict):
            value = out[first] | value
        elif first in out:
            raise ConfigError(f"{prefix}.{key} is given twice")
        out[first] = value
    return out


def _checked_axes(design: Design, kind: Kind) -> Design:
    """The design with every listed value in its field's type; ranges checked at both ends."""
    specs = {name: spec for name, _, spec in leaves(kind.config())}
    axes = []
    for axis in design.axes:
        for field in axis.fields:
            try:
                if axis.values:
                    values = tuple(check_value(field, v, specs[field]) for v in axis.values)
                    axis = dataclasses.replace(axis, values=tuple(map(_plain, values)))
                else:
                    for u in (0.0, 1.0):
                        check_value(field, axis.at(u), specs[field])
            except ConfigError as error:
                raise ConfigError(f"design.axes: {error}") from None
        axes.append(axis)
    return dataclasses.replace(design, axes=tuple(axes))


def _refuse_two_seeds(kind: Kind, base: Mapping[str, Any], design: Design, replicates: int) -> None:
    if kind.seed_field in _flat_names(base):
        raise ConfigError(
            f"base.{kind.seed_field}: write seed = ... of the study instead; replicate r runs with "
            "seed + r"
        )
    for axis in design.axes:
        if kind.seed_field in axis.fields and replicates > 1:
            raise ConfigError(f"design.axes.{axis.name} sets the seed already: take replicates = 1")


def _refuse_twice(base: Mapping[str, Any], design: Design) -> None:
    """A setting is fixed in the base or varies along an axis."""
    fixed = _flat_names(base)
    for axis in design.axes:
        for field in axis.fields:
            if field in fixed:
                raise ConfigError(
                    f"base.{field}: the axis {axis.name} sets it in every cell; take it out of "
                    "base, or out of the design"
                )


def _flat_names(table: Mapping[str, Any], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for key, value in table.items():
        if isinstance(value, Mapping):
            names |= _flat_names(value, f"{prefix}{key}.")
        else:
            names.add(prefix + key)
    return names


def _quantities(names: Any, kind: Kind) -> tuple[str, ...]:
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        raise ConfigError(
            f"quantities = {names!r}: it must be a list of what to record; "
            + ("see " if kind.quantities is None else "there are ")
            + ("result.json of a run" if kind.quantities is None else ", ".join(kind.quantities))
        )
    for name in names:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"quantities: {name!r} is no name")
        if kind.quantities is not None and name not in kind.quantities:
            raise ConfigError(f"quantities: unknown {name}{did_you_mean(name, kind.quantities)}")
        if list(names).count(name) > 1:
            raise ConfigError(f"quantities: {name} is there twice")
    return tuple(names)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} = {value!r}: it must be a text")
    return value
