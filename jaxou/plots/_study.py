"""Tables of studies: a quantity over one axis, over two, or over a cloud of random points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from jaxou.plots._style import COLOURS, SERIES, ArrayLike, axes_or_new, star_lowest

_DASHES = ("-", "--", ":", "-.")
_WORDS_ABOVE = 6  # ticks of an axis without numbers are turned beyond so many


def study_lines(
    x: ArrayLike,
    lines: Mapping[str, ArrayLike],
    *,
    bands: Mapping[str, ArrayLike] | None = None,
    dashes: Sequence[int] | None = None,
    shades: Sequence[int] | None = None,
    x_label: str = "",
    y_label: str = "",
    x_scale: str = "linear",
    y_scale: str = "linear",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """One line per entry of `lines` (label -> values like `x`); what is not finite is left out.

    `bands` are half-widths of shaded bands by label. `shades` numbers the lines' colours (one
    number, one colour; in order if None) and `dashes` their patterns. `x` may be words.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> ax = study_lines([1, 2, 3], {"b = 1": [0.3, 0.2, 0.1], "b = 8": [0.4, 0.3, np.nan]}, ax=ax)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['b = 1', 'b = 8']
    """
    ax = axes_or_new(ax)
    at = _positions(ax, x, x_scale)
    ax.set_yscale(y_scale)
    shades = list(range(len(lines))) if shades is None else list(shades)
    dashes = [0] * len(lines) if dashes is None else list(dashes)
    colours = _colours(max(shades, default=0) + 1)
    for (label, values), shade, dash in zip(lines.items(), shades, dashes, strict=True):
        y = _shown(values, y_scale)
        style = {"color": colours[shade], "linestyle": _DASHES[dash % len(_DASHES)]}
        ax.plot(at, y, marker="o", markersize=3.5, label=label, **style)
        if bands is not None and label in bands:
            half = np.asarray(bands[label], dtype=float)
            low = _shown(y - half, y_scale)
            ax.fill_between(at, np.where(np.isfinite(low), low, y), y + half, alpha=0.18,
                            color=colours[shade], linewidth=0)  # fmt: skip
    ax.set(xlabel=x_label, ylabel=y_label, title=title)
    if len(lines) > 1 or (lines and next(iter(lines)) not in ("", y_label)):
        ax.legend()
    return ax


def study_map(
    x: ArrayLike,
    y: ArrayLike,
    values: ArrayLike,
    *,
    x_label: str = "",
    y_label: str = "",
    label: str = "",
    x_scale: str = "linear",
    y_scale: str = "linear",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """A heat map of `values` (len(y), len(x)); cells without a number stay grey.

    The smallest value is starred. Axes may be words.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> values = [[0.1, 0.2], [0.3, np.nan]]
    >>> study_map([1, 2], [10, 20], values, x_label="steps", ax=ax).get_xlabel()
    'steps'
    """
    ax = axes_or_new(ax)
    z = np.ma.masked_invalid(np.asarray(values, dtype=float))
    shape = (np.size(y), np.size(x))
    if z.shape != shape:
        raise ValueError(f"values has shape {z.shape}; expected (len(y), len(x)) = {shape}")
    ax.grid(visible=False)
    ax.set_facecolor("#DDDDDD")
    across, up = _positions(ax, x, x_scale), _positions(ax, y, y_scale, vertical=True)
    edges = _edges(across, x_scale), _edges(up, y_scale)
    mesh = ax.pcolormesh(*edges, z, cmap="viridis_r", shading="flat")
    ax.figure.colorbar(mesh, ax=ax, label=label)
    if z.count():
        star_lowest(ax, across, up, z)
        ax.legend(loc="upper right", frameon=True)
    ax.set(xlabel=x_label, ylabel=y_label, title=title)
    return ax


def study_scatter(
    x: ArrayLike,
    values: ArrayLike,
    *,
    colour: ArrayLike | None = None,
    x_label: str = "",
    y_label: str = "",
    colour_label: str = "",
    x_scale: str = "linear",
    y_scale: str = "linear",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """One point per cell at (x, value), coloured by a second axis; no number, no point.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> study_scatter([1, 2, 3], [0.3, 0.2, None], y_label="bound", ax=ax).get_ylabel()
    'bound'
    """
    ax = axes_or_new(ax)
    at, y = _positions(ax, x, x_scale), _shown(values, y_scale)
    ax.set_yscale(y_scale)
    if colour is None:
        ax.scatter(at, y, s=16, color=COLOURS["pretrain"], alpha=0.8, linewidths=0)
    else:
        words = np.asarray(colour)
        named = words.dtype.kind not in "biuf"
        shade = np.unique(words, return_inverse=True)[1] if named else words.astype(float)
        cloud = ax.scatter(at, y, s=16, c=shade, cmap="viridis", alpha=0.9, linewidths=0)
        bar = ax.figure.colorbar(cloud, ax=ax, label=colour_label)
        if named:
            bar.set_ticks(range(len(np.unique(words))), labels=np.unique(words).tolist())
    ax.set(xlabel=x_label, ylabel=y_label, title=title)
    return ax


def _positions(ax: Axes, values: ArrayLike, scale: str, vertical: bool = False) -> np.ndarray:
    """Numbers as they are, words at 0, 1, 2, ... with their ticks; sets the scale."""
    array = np.asarray(values)
    if array.dtype.kind in "iuf":
        (ax.set_yscale if vertical else ax.set_xscale)(scale)
        return array.astype(float)
    words = list(dict.fromkeys(map(str, array.tolist())))
    ticks = ax.set_yticks if vertical else ax.set_xticks
    turned = len(words) > _WORDS_ABOVE and not vertical
    ticks(range(len(words)), labels=words, rotation=45 if turned else 0)
    return np.array([words.index(str(value)) for value in array.tolist()], dtype=float)


def _edges(centres: np.ndarray, scale: str) -> np.ndarray:
    """Borders between neighbours, half-way on the axis as it is drawn."""
    at = np.log(centres) if scale == "log" else centres
    if at.size == 1:
        edges = at[0] + np.array([-0.5, 0.5])
        return np.exp(edges) if scale == "log" else edges
    middle = (at[1:] + at[:-1]) / 2
    edges = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
    return np.exp(edges) if scale == "log" else edges


def _shown(values: ArrayLike, scale: str) -> np.ndarray:
    y = np.asarray(values, dtype=float)
    fine = np.isfinite(y) & (y > 0) if scale == "log" else np.isfinite(y)
    return np.where(fine, y, np.nan)


def _colours(count: int) -> list[Any]:
    """Distinct colours for a few lines, a ramp for many."""
    if count <= len(SERIES):
        return list(SERIES)
    ramp = matplotlib.colormaps["viridis"]
    return [ramp(0.92 * k / (count - 1)) for k in range(count)]
