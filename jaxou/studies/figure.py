"""Which figures a study asks for; drawing them is for `jaxou.plots`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..config import ConfigError, did_you_mean
from .design import as_table

KINDS = ("lines", "map", "scatter")
SCALES = ("linear", "log")


@dataclass(frozen=True)
class Figure:
    """One figure: a `quantity` over the axis `x`.

    "lines" has one line for each value of `by`; "map" is a heat map over `x` and `by`; "scatter"
    shows all cells, coloured by `by`. Axes that are not named are averaged over, replicates too.
    `beside` are further quantities on the same panel of "lines".
    """

    quantity: str
    x: str
    by: str = ""
    kind: str = "lines"
    beside: tuple[str, ...] = ()
    x_scale: str = ""
    y_scale: str = "linear"

    def as_toml(self) -> dict[str, Any]:
        """What `figures_from` reads."""
        content = {
            "kind": self.kind,
            "quantity": self.quantity,
            "x": self.x,
            "by": self.by,
            "beside": list(self.beside),
            "x_scale": self.x_scale,
            "y_scale": self.y_scale,
        }
        return {name: value for name, value in content.items() if value}

    @property
    def name(self) -> str:
        """A name for its file."""
        parts = [self.quantity, "over", self.x] + ([self.by] if self.by else [])
        return "-".join(parts).replace(".", "_").replace("/", "_").replace(" ", "_")


def figures_from(
    content: Any, quantities: tuple[str, ...], axes: tuple[str, ...]
) -> tuple[Figure, ...]:
    """The figures of a TOML array of tables, or `ConfigError`."""
    if not isinstance(content, list):
        raise ConfigError(f"figures = {content!r}: it must be an array of tables, [[figures]]")
    known = ("kind", "quantity", "x", "by", "beside", "x_scale", "y_scale")
    made = []
    for number, each in enumerate(content):
        where = f"figures[{number}]"
        table = as_table(each, where, known)
        for name, choices in (
            ("quantity", quantities),
            ("x", axes),
            ("by", ("", *axes)),
            ("kind", KINDS),
            ("x_scale", ("", *SCALES)),
            ("y_scale", SCALES),
        ):
            value = table.get(name, _DEFAULTS.get(name))
            if value not in choices:
                hint = did_you_mean(str(value), filter(None, choices))
                raise ConfigError(f"{where}.{name} = {value!r}{hint}")
        beside = table.get("beside", [])
        if not isinstance(beside, list) or any(name not in quantities for name in beside):
            raise ConfigError(f"{where}.beside = {beside!r}: it must list recorded quantities")
        if table.get("kind") == "map" and not table.get("by"):
            raise ConfigError(f'{where}: a map needs a second axis, by = "..."')
        made.append(Figure(**{**table, "beside": tuple(beside)}))
    return tuple(made)


_DEFAULTS = {"by": "", "kind": "lines", "x_scale": "", "y_scale": "linear"}
