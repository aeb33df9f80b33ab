"""What bounds are made of, as stacked bars."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from jaxou.plots._style import Number, axes_or_new

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

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> bars = {"pre-trained": {"empirical": 0.05, "price": 0.15}, "from nothing": {"price": 0.4}}
    >>> len(bound_decomposition(bars, markers={"from nothing": 0.1}, ax=ax).patches)
    4
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
