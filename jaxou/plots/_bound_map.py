"""A bound over the learning rate and the batch size of one stage, and the way down."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from jaxou.plots._style import COLOURS, ArrayLike, Number, axes_or_new, star_lowest, tighten

_ARROWS = (9, 6)  # at most so many along the learning rates and the batch sizes


def bound_map(
    learning_rates: ArrayLike,
    batch_sizes: ArrayLike,
    values: ArrayLike,
    *,
    unstable_from: Number | None = None,
    here: tuple[Number, Number] | None = None,
    arrow: tuple[Number, Number] | None = None,
    downhill: bool | tuple[ArrayLike, ArrayLike] = False,
    path: ArrayLike | None = None,
    contours: int = 7,
    label: str = "bound",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The bound over (learning rate, batch size) on log axes; `values` has shape (batches, rates).

    The smallest finite value is starred. `here` = (learning rate, batch) is the run's own and
    `arrow` the downhill direction there in (log rate, log batch), drawn to unit length. `downhill`
    draws such arrows over the map: from the derivatives (in log rate, in log batch) if two arrays
    like `values` are given, from differences of `values` if True. `path` is the way that tuning
    took, (steps, 2) of (learning rate, batch). Rates from `unstable_from` = 2/lambda_max on are
    hatched. `contours` is how many level lines, 0 for none.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> ax = bound_map([0.01, 0.1], [1, 8], [[0.5, 0.4], [0.3, 0.2]], ax=ax)
    >>> [text.get_text() for text in ax.legend().get_texts()]
    ['lowest here: 0.2']
    """
    ax = axes_or_new(ax)
    x, y = np.asarray(learning_rates, dtype=float), np.asarray(batch_sizes, dtype=float)
    z = np.ma.masked_invalid(np.asarray(values, dtype=float))
    if z.shape != (y.size, x.size):
        raise ValueError(
            f"values has shape {z.shape}; expected (batches, rates) = ({y.size}, {x.size})"
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.grid(visible=False)
    ax.set_facecolor("#EEEEEE")  # where there is no value
    whole = z.count() == z.size and min(z.shape) > 1
    top = _top(z)
    mesh = ax.pcolormesh(
        x, y, z, cmap="viridis_r", shading="gouraud" if whole else "nearest", vmax=top
    )
    over = top is not None and z.max() > top
    ax.figure.colorbar(mesh, ax=ax, label=label, extend="max" if over else "neither")
    _level_lines(ax, x, y, z, contours)
    if downhill is not False:
        _downhill(ax, x, y, z, downhill, np.inf if unstable_from is None else unstable_from)
    if path is not None:
        _path(ax, path)
    star_lowest(ax, x, y, z)
    if here is not None:
        ax.plot(
            *here, "o", color="white", markeredgecolor="black", linestyle="none", zorder=4,
            label="this run",
        )  # fmt: skip
        if arrow is not None and np.all(np.isfinite(arrow)) and np.hypot(*arrow) > 0:
            step = 0.5 * np.asarray(arrow) / np.hypot(*arrow)
            tip = (here[0] * np.exp(step[0]), here[1] * np.exp(step[1]))
            ax.annotate("", tip, here, arrowprops={"arrowstyle": "->", "color": "black", "lw": 1.6})
    low, high = x.min(), x.max()
    if unstable_from is not None and unstable_from < high:
        start = max(unstable_from, low)
        hatched = {"facecolor": (1, 1, 1, 0.35), "edgecolor": "#555555", "hatch": "///"}
        ax.axvspan(start, high, **hatched, linewidth=0, zorder=2.5, label="SGD unstable")
        ax.axvline(start, color="#555555", linewidth=1.2, zorder=2.6)
    tighten(ax.set_xlim, x)
    tighten(ax.set_ylim, y)
    _plain_ticks(ax.xaxis, x)
    _plain_ticks(ax.yaxis, y)
    ax.set_xlabel("learning rate η")
    ax.set_ylabel("batch size b")
    if title:
        ax.set_title(title)
    return ax


def _plain_ticks(axis: Axis, values: Any) -> None:
    """1, 2, 5, 10 as people write them; decades alone where there are many."""
    decades = np.log10(values.max() / values.min())
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.7 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _top(z: Any) -> float | None:
    """Where the colours end: a few cells beside the wall of instability must not take them all."""
    flat = z.compressed()
    if flat.size < 4:
        return None
    high, low = float(np.quantile(flat, 0.9)), float(flat.min())
    return high if flat.max() - low > 3 * (high - low) > 0 else None


def _level_lines(ax: Axes, x: Any, y: Any, z: Any, count: int) -> None:
    flat = z.compressed()
    if count < 1 or min(z.shape) < 2 or flat.size < 4 or flat.max() - flat.min() < 1e-12:
        return
    # equal areas between the lines: equal steps would crowd at the wall
    levels = np.unique(np.quantile(flat, np.linspace(0.0, 0.95, count + 2)[1:-1]))
    levels = levels[levels > flat.min()]
    digits = next(k for k in range(2, 18) if len({f"{v:.{k}g}" for v in levels}) == len(levels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a ragged mask may leave a level without a line
        lines = ax.contour(x, y, z, levels=levels, colors="black", linewidths=0.7, alpha=0.75)
        labels = ax.clabel(lines, fmt=f"%.{digits}g", fontsize=7)
    for text in labels:  # the frame would cut those at the edge
        place = [
            np.log(at / side.min()) / np.log(side.max() / side.min())
            for at, side in zip(text.get_position(), (x, y), strict=True)
        ]
        text.set_visible(0.03 < min(place) and max(place) < 0.97)


def _downhill(ax: Axes, x: Any, y: Any, z: Any, slopes: Any, limit: Number) -> None:
    if slopes is True:
        if min(z.shape) < 2:
            return
        in_batch, in_rate = np.gradient(z.filled(np.nan), np.log(y), np.log(x))
    else:
        in_rate, in_batch = (np.asarray(slope, dtype=float) for slope in slopes)
        if in_rate.shape != z.shape or in_batch.shape != z.shape:
            raise ValueError(
                f"downhill has shapes {in_rate.shape} and {in_batch.shape}; expected those of "
                f"values, {z.shape}"
            )
    columns, rows = (_thinned(x.size, _ARROWS[0]), _thinned(y.size, _ARROWS[1]))
    grid = np.ix_(rows, columns)
    u, v = -in_rate[grid], -in_batch[grid]
    length = np.hypot(u, v)
    with np.errstate(invalid="ignore"):
        shown = np.isfinite(length) & (length > 1e-12 * max(np.nanmax(np.abs(z)), 1e-300))
    xs, ys = np.meshgrid(x[columns], y[rows])
    shown &= xs < limit
    scale = np.where(shown, length, 1.0)
    # unit arrows: where, not how steep
    ax.quiver(
        xs[shown], ys[shown], (u / scale)[shown], (v / scale)[shown], color="black", pivot="mid",
        edgecolor="white", linewidth=0.6, scale=19, width=0.0055, headwidth=3.5, headlength=4.0,
        headaxislength=3.6, zorder=3,
    )  # fmt: skip
    ax.plot([], [], color="black", marker=r"$\rightarrow$", linestyle="none", markersize=14,
            label="downhill")  # fmt: skip


def _thinned(size: int, most: int) -> Any:
    """Evenly spaced indices, at most `most`, without the edges, whose differences are one-sided."""
    inner = np.arange(1, size - 1) if size > 3 else np.arange(size)
    stride = -(-inner.size // most)
    return inner[(inner.size - 1) % stride // 2 :: stride]


def _path(ax: Axes, path: ArrayLike) -> None:
    points = np.asarray(path, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"path has shape {points.shape}; expected (steps, 2): rate and batch")
    ax.plot(
        points[:, 0], points[:, 1], color=COLOURS["finetune"], linewidth=2.2, zorder=3.5,
        label="tuning", marker="s", markevery=[0], markersize=6, markeredgecolor="black",
    )  # fmt: skip
    if len(points) > 1:
        ax.annotate(
            "", points[-1], points[-2], zorder=3.6,
            arrowprops={"arrowstyle": "-|>", "color": COLOURS["finetune"], "lw": 2.0},
        )  # fmt: skip
