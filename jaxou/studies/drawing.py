"""The figures of a study from its table, into OUT/figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .cells import write_whole
from .collect import Table
from .figure import Figure

MOST = 6
"""Figures that are drawn of a study that asks for none."""


def draw(table: Table, out: Path | str) -> list[Path]:
    """Draw what the study asks for (or a guess) as PNG files; the paths written.

    Raises `ImportError` that names the extra if matplotlib is missing.
    """
    from matplotlib.figure import Figure as Canvas

    from .. import plots
    from ..report.figures import png

    paths = []
    for number, figure in enumerate(table.study.figures or guess(table)):
        with plots.style():
            canvas = Canvas(figsize=(7.0, 4.4))
            plot(table, figure, canvas.add_subplot())
            picture = png(canvas)
        paths.append(Path(out) / "figures" / f"{number + 1}-{figure.name}.png")
        write_whole(paths[-1], picture)
    return paths


def guess(table: Table) -> list[Figure]:
    """Lines of each quantity over the longest numeric axis, by another one; clouds for others."""
    study = table.study
    length = {name: len(set(table.columns[name])) for name in study.axes}
    numeric = [n for n in study.axes if isinstance(table.columns[n][0], int | float)]
    x = max(numeric or study.axes, key=length.__getitem__)
    others = [name for name in study.axes if name != x]
    kind = "lines" if study.design.kind == "grid" else "scatter"
    by = min(others, key=length.__getitem__) if others else ""
    return [Figure(q, x, by, kind) for q in study.quantities[:MOST]]


def plot(table: Table, figure: Figure, ax: Any) -> Any:
    """One figure into `ax`."""
    from .. import plots

    scale = figure.x_scale or scale_of(table, figure.x)
    words = {"x_label": figure.x, "x_scale": scale, "title": _title(table, figure), "ax": ax}
    if figure.kind == "scatter":
        return plots.study_scatter(
            table.column(figure.x),
            table.column(figure.quantity),
            colour=table.column(figure.by) if figure.by else None,
            colour_label=figure.by,
            y_label=figure.quantity,
            y_scale=figure.y_scale,
            **words,
        )
    if figure.kind == "map":
        x, y, mean, _ = averaged(table, figure.quantity, figure.x, figure.by)
        return plots.study_map(
            x,
            y,
            mean,
            y_label=figure.by,
            label=figure.quantity,
            y_scale=scale_of(table, figure.by),
            **words,
        )
    names = (figure.quantity, *figure.beside)
    lines, bands, shades, dashes = {}, {}, [], []
    for dash, name in enumerate(names):
        x, y, mean, error = averaged(table, name, figure.x, figure.by)
        for shade, (value, row, width) in enumerate(zip(y, mean, error, strict=True)):
            parts = ([f"{figure.by} = {_word(value)}"] if figure.by else []) + [name] * (
                len(names) > 1 or not figure.by
            )
            label = ", ".join(parts)
            lines[label], bands[label] = row, width
            shades.append(shade if figure.by else dash)
            dashes.append(dash)
    return plots.study_lines(
        x,
        lines,
        bands=bands if table.study.replicates > 1 else None,
        shades=shades,
        dashes=dashes,
        y_label=figure.quantity if len(names) == 1 else "",
        y_scale=figure.y_scale,
        **words,
    )


def averaged(table: Table, quantity: str, x: str, by: str = "") -> tuple[Any, Any, Any, Any]:
    """(values of x, values of by, means (by, x), standard errors): over all that is not named.

    Cells without a finite number are left out of the mean; none left is NaN.
    """
    across, at = _levels(table, x)
    up, row = _levels(table, by) if by else (np.array([""]), np.zeros(len(table), int))
    values = table.column(quantity)
    mean = np.full((len(up), len(across)), np.nan)
    error = np.zeros_like(mean)
    for i in range(len(up)):
        for j in range(len(across)):
            chosen = values[(row == i) & (at == j)]
            chosen = chosen[np.isfinite(chosen)]
            if chosen.size:
                mean[i, j] = chosen.mean()
            if chosen.size > 1:
                error[i, j] = chosen.std(ddof=1) / np.sqrt(chosen.size)
    return across, up, mean, error


def _levels(table: Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    column = table.columns[name]
    levels = list(dict.fromkeys(column))
    place = {value: k for k, value in enumerate(levels)}
    return np.array(levels), np.array([place[value] for value in column])


def scale_of(table: Table, name: str) -> str:
    """Log for axes in equal ratios: log ranges, and lists of positive numbers that grow so."""
    axis = next(axis for axis in table.study.design.axes if axis.name == name)
    if not axis.values:
        return axis.scale
    numbers = [v for v in axis.values if isinstance(v, int | float) and v > 0]
    wide = len(numbers) == len(axis.values) > 2 and max(numbers) >= 20 * min(numbers)
    return "log" if wide else "linear"


def _title(table: Table, figure: Figure) -> str:
    if figure.kind == "scatter":
        return f"{table.study.name}: {len(table) - len(table.missing):,} cells"
    rest = [name for name in table.study.axes if name not in (figure.x, figure.by)]
    rest += ["replicates"] * (table.study.replicates > 1)
    return table.study.name + (f"\nmean over {', '.join(rest)}" if rest else "")


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)
