"""Which points a study looks at: a grid, or a random, Latin-hypercube or Sobol design.

Every axis is a function from [0, 1] to the values of one field (or of several that move together),
so that one rule serves all designs: a grid takes its listed points, the others points of a unit
cube. Coordinates depend on the design's kind, number of cells and seed alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..config import ConfigError, did_you_mean

KINDS = ("grid", "random", "latin_hypercube", "sobol")
"""grid: all combinations. random: independent uniform points. latin_hypercube: each axis cut into
as many slices as there are cells, one point in each (McKay, Beckman and Conover 1979). sobol: a
scrambled Sobol sequence (Owen 1998), best with a power of two."""

SCALES = ("linear", "log")


@dataclass(frozen=True)
class Axis:
    """The values of one axis: a list, or a range `start` to `stop`, linear or logarithmic.

    `fields` are the settings that take the value, normally the axis's own name alone. A range of
    whole numbers (`whole`) is rounded, and each number is taken once.
    """

    name: str
    fields: tuple[str, ...]
    values: tuple[Any, ...] = ()
    start: float = 0.0
    stop: float = 1.0
    points: int | None = None
    scale: str = "linear"
    whole: bool = False

    def listed(self) -> tuple[Any, ...]:
        """The points of a grid, the ends of a range included exactly.

        >>> Axis("x", ("x",), start=0.01, stop=1.0, points=3, scale="log").listed()
        (0.01, 0.1, 1.0)
        """
        if self.values:
            return self.values
        if self.points is None:
            raise ConfigError(
                f"design.axes.{self.name}: a grid needs points = N beside from and to, or a list"
            )
        last = max(self.points - 1, 1)
        points = [self.at(i / last) for i in range(self.points)]
        return tuple(dict.fromkeys(points))  # whole numbers may coincide once rounded

    def at(self, u: float) -> Any:
        """The value at `u` in [0, 1]; a list is cut into equal parts."""
        if self.values:
            return self.values[min(int(u * len(self.values)), len(self.values) - 1)]
        if u in (0.0, 1.0):
            value = (self.start, self.stop)[int(u)]
        elif self.scale == "log":
            low, high = math.log10(self.start), math.log10(self.stop)
            # fifteen digits: the same decimal number whatever the last bit of a power is
            value = float(f"{10 ** (low + u * (high - low)):.14e}")
        else:
            value = float(f"{self.start + u * (self.stop - self.start):.14e}")
        return round(value) if self.whole else value

    def as_toml(self) -> Any:
        """What `axis_from` reads."""
        if self.values:
            return {**self._fields(), "values": list(self.values)}
        range_ = {"from": self.start, "to": self.stop, "scale": self.scale}
        points = {} if self.points is None else {"points": self.points}
        return {**self._fields(), **range_, **points}

    def _fields(self) -> dict[str, Any]:
        return {} if self.fields == (self.name,) else {"fields": list(self.fields)}


@dataclass(frozen=True)
class Design:
    """The points of a study: `axes` and how they are combined."""

    kind: str
    axes: tuple[Axis, ...]
    cells: int | None = None
    seed: int = 0

    def points(self) -> list[tuple[Any, ...]]:
        """One tuple of axis values per point; a grid runs its last axis fastest.

        >>> axes = (Axis("a", ("a",), values=(1, 2)), Axis("b", ("b",), values=(3, 4)))
        >>> Design("grid", axes).points()
        [(1, 3), (1, 4), (2, 3), (2, 4)]
        """
        if self.kind == "grid":
            return list(itertools.product(*(axis.listed() for axis in self.axes)))
        cube = unit_cube(self.kind, int(self.cells or 0), len(self.axes), self.seed)
        return [
            tuple(axis.at(float(u)) for axis, u in zip(self.axes, row, strict=True)) for row in cube
        ]

    def as_toml(self) -> dict[str, Any]:
        """What `design_from` reads."""
        rest = {} if self.kind == "grid" else {"cells": self.cells, "seed": self.seed}
        # all of them tables: a TOML writer puts plain lists before tables and loses the order
        axes = {axis.name: axis.as_toml() for axis in self.axes}
        return {"kind": self.kind, **rest, "axes": axes}


def unit_cube(kind: str, cells: int, axes: int, seed: int) -> Any:
    """Points (cells, axes) in [0, 1): numpy's PCG64, or scipy's quasi-Monte-Carlo engines.

    >>> sorted((unit_cube("latin_hypercube", 4, 2, seed=0)[:, 1] * 4).astype(int).tolist())
    [0, 1, 2, 3]
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    if kind == "random":
        return generator.random((cells, axes))
    from scipy.stats import qmc

    if kind == "latin_hypercube":
        return qmc.LatinHypercube(axes, rng=generator).random(cells)
    # whole powers of two, of which the first cells are taken: scipy warns of anything else
    return qmc.Sobol(axes, rng=generator).random_base2(max(0, (cells - 1).bit_length()))[:cells]


def design_from(table: Any, kinds: Mapping[str, Any]) -> Design:
    """The design that a TOML table describes; `kinds` maps each field that may vary to its type."""
    known = ("kind", "cells", "seed", "axes")
    table = as_table(table, "design", known)
    kind = table.get("kind", "grid")
    if kind not in KINDS:
        raise ConfigError(f"design.kind = {kind!r}: it must be one of {', '.join(KINDS)}")
    axes = as_table(table.get("axes", {}), "design.axes")
    if not axes:
        raise ConfigError(
            'design.axes is empty: name what varies, as in "finetune.steps" = [1, 10, 100]'
        )
    made = tuple(axis_from(name, content, kinds) for name, content in axes.items())
    taken: dict[str, str] = {}
    for axis in made:
        for field in axis.fields:
            if field in taken:
                raise ConfigError(
                    f"design.axes.{axis.name}: {field} is set by {taken[field]} already"
                )
            taken[field] = axis.name
    cells, seed = table.get("cells"), table.get("seed", 0)
    if kind == "grid" and cells is not None:
        raise ConfigError("design.cells: a grid has as many cells as its axes' points multiply to")
    if kind == "grid" and "seed" in table:
        raise ConfigError("design.seed: a grid draws nothing; seed = ... of the study is another")
    if kind != "grid" and (type(cells) is not int or cells < 1):
        raise ConfigError(f"design.cells = {cells!r}: a {kind} design needs a number of cells")
    if type(seed) is not int or seed < 0:
        raise ConfigError(f"design.seed = {seed!r}: it must be a whole number, zero or more")
    design = Design(kind, made, cells, seed)
    if kind == "grid":
        for axis in made:
            axis.listed()
    return design


def axis_from(name: str, content: Any, kinds: Mapping[str, Any]) -> Axis:
    """One axis: a list of values, or a table with from, to, points, scale (or values) and fields.

    >>> axis_from("steps", {"from": 1, "to": 100, "points": 3, "scale": "log"}, {"steps": int})
    Axis(name='steps', fields=('steps',), ..., points=3, scale='log', whole=True)
    """
    where = f"design.axes.{name}"
    if isinstance(content, list | tuple):
        content = {"values": list(content)}
    known = ("from", "to", "points", "scale", "values", "fields")
    content = as_table(content, where, known, "a list of values, or a table with from and to")
    fields = content.get("fields", [name])
    if not isinstance(fields, list) or not fields:
        raise ConfigError(f"{where}.fields = {fields!r}: it must be a list of settings")
    for field in fields:
        if field not in kinds:
            label = f"{where}.fields: unknown" if "fields" in content else "design.axes: unknown"
            raise ConfigError(f"{label} setting {field}{did_you_mean(str(field), kinds)}")
    if "values" in content:
        if mixed := {"from", "to", "points", "scale"} & set(content):
            raise ConfigError(
                f"{where}: {', '.join(sorted(mixed))} beside values: give a list or a range"
            )
        values = content["values"]
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{where} = {values!r}: it must be a list of one or more values")
        if any(values.count(value) > 1 for value in values):
            raise ConfigError(f"{where} = {values!r}: every value once")
        return Axis(name, tuple(fields), values=tuple(values))
    return _range(name, where, tuple(fields), content, kinds)


def _range(name, where, fields, content, kinds) -> Axis:
    kind = kinds[fields[0]]
    if kind not in (int, float):
        raise ConfigError(f"{where}: {fields[0]} is no number, so give a list of its values")
    ends = []
    for end in ("from", "to"):
        value = content.get(end)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise ConfigError(f"{where}.{end} = {value!r}: it must be a number")
        ends.append(float(value))
    scale, points = content.get("scale", "linear"), content.get("points")
    if scale not in SCALES:
        raise ConfigError(f"{where}.scale = {scale!r}: it must be one of {', '.join(SCALES)}")
    if scale == "log" and min(ends) <= 0:
        raise ConfigError(f"{where}: a log scale needs from and to above zero")
    if ends[0] >= ends[1]:
        raise ConfigError(f"{where}: from = {ends[0]:g} must be below to = {ends[1]:g}")
    if points is not None and (type(points) is not int or points < 2):
        raise ConfigError(f"{where}.points = {points!r}: it must be a whole number, 2 or more")
    return Axis(
        name, fields, start=ends[0], stop=ends[1], points=points, scale=scale, whole=kind is int
    )


def as_table(
    content: Any, where: str, known: tuple[str, ...] = (), wanted: str = "a table"
) -> dict[str, Any]:
    """A TOML table whose keys are all among `known` (if any are given), or `ConfigError`."""
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where} = {content!r}: it must be {wanted}")
    for key in content:
        if known and key not in known:
            raise ConfigError(
                f"unknown setting {where}.{key}{did_you_mean(key, known, where + '.')}"
            )
    return dict(content)
