"""What a bound is made of, and how it changes with the learning rate and the batch size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from jaxou.plots._style import ArrayLike, Number, axes_or_new

_PARTS = ("#0072B2", "#56B4E9", "#E69F00", "#F0E442", "#CC79A7", "#999999")


def bound_decomposition(
    bars: Mapping[str, Mapping[str, Number]],
    *,
    markers: Mapping[str, Number] | None = None,
    marker_label: str = "measured test error",
    vacuous_at: Number | None = 1.0,
    ax: Axes | None = None,
) -> Axes:
    """Horizontal stacked bars, one per bound: `bars[bound][part] = height`, one colour per part.

    `markers[bound]` is drawn as a diamond on its bar. Beyond `vacuous_at` a bound says nothing; the
    axis stops a little after it and says how far a longer bar goes.
    """
    ax = axes_or_new(ax)
    names = list(bars)
    parts = list(dict.fromkeys(part for bar in bars.values() for part in bar))
    rows = np.arange(len(names))[::-1]
    left = np.zeros(len(names))
    for i, part in enumerate(parts):
        width = np.array([max(0.0, bars[name].get(part, 0.0)) for name in names])
        ax.barh(rows, width, left=left, height=0.55, color=_PARTS[i % len(_PARTS)], label=part)
        left = left + width
    for name, value in (markers or {}).items():
        y = rows[names.index(name)]
        label = marker_label if marker_label not in ax.get_legend_handles_labels()[1] else None
        ax.plot(
            [value], [y], "D", color="white", markeredgecolor="black", markersize=7, label=label
        )
    end = max(left.max(initial=0.0), *(markers or {"": 0.0}).values()) * 1.08
    if vacuous_at is not None:
        ax.axvline(vacuous_at, color="#777777", linewidth=1.0, linestyle=":")
        limit = 1.35 * vacuous_at
        for y, total in zip(rows, left, strict=True):
            if total > limit:
                ax.text(limit, y, f"up to {total:.3g} ▸ ", ha="right", va="center", fontsize=9)
        end = min(max(end, 1.05 * vacuous_at), limit)
    ax.set_xlim(0.0, end)
    ax.set_yticks(rows, names)
    ax.grid(axis="y", visible=False)
    return ax


def bound_map(
    learning_rates: ArrayLike,
    batch_sizes: ArrayLike,
    values: ArrayLike,
    *,
    unstable_from: Number | None = None,
    here: tuple[Number, Number] | None = None,
    arrow: tuple[Number, Number] | None = None,
    label: str = "bound",
    ax: Axes | None = None,
) -> Axes:
    """The bound over (learning rate, batch size) on log axes; `values` has shape (batches, rates).

    The smallest finite value is starred; `here` = (learning rate, batch) is the run's own and
    `arrow` the downhill direction there in (log rate, log batch), drawn to unit length; rates from
    `unstable_from` = 2/lambda_max on are hatched.
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
    mesh = ax.pcolormesh(
        x, y, z, cmap="viridis_r", shading="gouraud" if z.count() == z.size else "nearest"
    )
    ax.figure.colorbar(mesh, ax=ax, label=label)
    if z.count():
        row, column = np.unravel_index(int(z.argmin()), z.shape)
        ax.plot(
            x[column], y[row], "*", color="white", markeredgecolor="black", markersize=14,
            clip_on=False, linestyle="none", label=f"lowest here: {z[row, column]:.3g}",
        )  # fmt: skip
    if here is not None:
        ax.plot(
            *here, "o", color="white", markeredgecolor="black", linestyle="none", label="this run"
        )
        if arrow is not None and np.all(np.isfinite(arrow)) and np.hypot(*arrow) > 0:
            step = 0.5 * np.asarray(arrow) / np.hypot(*arrow)
            tip = (here[0] * np.exp(step[0]), here[1] * np.exp(step[1]))
            ax.annotate("", tip, here, arrowprops={"arrowstyle": "->", "color": "black", "lw": 1.6})
    low, high = x.min(), x.max()
    if unstable_from is not None and unstable_from < high:
        hatched = {"facecolor": "none", "edgecolor": "white", "hatch": "//", "linewidth": 0}
        ax.axvspan(max(unstable_from, low), high, **hatched, label="SGD unstable")
    ax.set_xlim(low, high)
    ax.set_xlabel("learning rate")
    ax.set_ylabel("batch size")
    return ax
