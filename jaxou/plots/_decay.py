"""A divergence against time, log axis: theory's line, measured points, the Monte Carlo floor."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxou.plots._style import COLOURS, THEORY, ArrayLike, Number, axes_or_new, mark_stage_change


def decay(
    times: ArrayLike,
    theory: ArrayLike,
    *,
    measured: ArrayLike | None = None,
    measured_label: str = "particles",
    floor: tuple[Number, Number] | Number | None = None,
    floor_label: str = "Monte Carlo floor",
    sgd: ArrayLike | None = None,
    stage_change: Number | None = None,
    colour: str = COLOURS["pretrain"],
    label: str = "theory",
    ax: Axes | None = None,
) -> Axes:
    """KL(t), W2(t) or any distance; values that are not finite and positive are left out.

    `theory` (K,) is the dashed line, `measured` (K,) the particles' points; `floor` is what a
    perfect sample of that size would show: one number (a band from 0 up to it) or (low, high).

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> decay([0, 10, 20], [1.0, 0.1, 0.01], measured=[0.9, 0.1, 0.02], floor=0.005, ax=ax) is ax
    True
    >>> ax.get_yscale()
    'log'
    """
    ax = axes_or_new(ax)
    t = np.asarray(times, dtype=float)
    ax.set_yscale("log")
    ax.plot(t, _positive(theory), **THEORY, label=label)
    if measured is not None:
        ax.plot(t, _positive(measured), "o", color=colour, markersize=4.5, label=measured_label)
    if sgd is not None:
        ax.plot(t, _positive(sgd), "s", color=COLOURS["sgd"], markersize=4, label="real SGD runs")
    if floor is not None:
        low, high = floor if np.size(floor) == 2 else (0.0, floor)
        shown = [y for line in ax.lines for y in np.atleast_1d(line.get_ydata()) if np.isfinite(y)]
        # a log axis has no zero: the band starts well below everything drawn
        low = low if low > 0 else 0.3 * min([high, *shown])
        ax.axhspan(low, high, color=COLOURS["floor"], alpha=0.45, linewidth=0, label=floor_label)
    mark_stage_change(ax, stage_change)
    ax.set_xlabel("training step")
    return ax


def _positive(values: ArrayLike) -> Any:
    y = np.asarray(values, dtype=float)
    return np.where(np.isfinite(y) & (y > 0), y, np.nan)
