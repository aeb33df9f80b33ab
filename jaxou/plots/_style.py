"""Colours, the style context and small helpers that every figure shares."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

# whatever numpy.asarray takes: jax arrays, numpy arrays, numbers, nested lists of them
ArrayLike = Any
Number = float | int

# Okabe and Ito's palette: distinct for every common kind of colour vision, and in grey print
COLOURS = {
    "pretrain": "#0072B2",
    "finetune": "#D55E00",
    "sgd": "#009E73",
    "prior": "#999999",
    "theory": "#000000",
    "floor": "#BBBBBB",
    "accent": "#CC79A7",
}

SERIES = tuple(COLOURS[name] for name in ("pretrain", "finetune", "sgd", "accent", "prior"))
"""The colours of lines that have none of their own, in turn."""

THEORY = {"color": COLOURS["theory"], "linestyle": "--", "linewidth": 1.4}

_RC = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": "#333333",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.dpi": 130,
    "figure.constrained_layout.use": True,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The house style for the figures drawn inside; what was set before comes back afterwards.

    >>> import matplotlib
    >>> before = matplotlib.rcParams["font.size"]
    >>> with style():
    ...     pass
    >>> matplotlib.rcParams["font.size"] == before
    True
    """
    with matplotlib.rc_context(_RC):
        yield


def axes_or_new(ax: Axes | None, **subplot: Any) -> Axes:
    """The given axes, or new ones in a figure of their own."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(**subplot)[1]


def tighten(set_limits: Callable[[float, float], Any], values: ArrayLike) -> None:
    """Limits at the smallest and the largest value; one alone has room on both sides."""
    values = np.asarray(values)
    if values.size and values.min() < values.max():
        set_limits(values.min(), values.max())


def star(ax: Axes, x: Number, y: Number, label: str) -> None:
    """The mark of a minimum, whole at the edge of the axes too."""
    ax.plot(
        [x], [y], "*", color="white", markeredgecolor="black", markersize=14, zorder=5,
        clip_on=False, linestyle="none", label=label,
    )  # fmt: skip


def star_lowest(ax: Axes, x: ArrayLike, y: ArrayLike, z: np.ma.MaskedArray) -> None:
    """Star the lowest of the values (len(y), len(x)) that are not masked, if there are any."""
    if z.count():
        row, column = np.unravel_index(int(z.argmin()), z.shape)
        star(ax, x[column], y[row], f"lowest here: {z[row, column]:.3g}")


def mark_stage_change(ax: Axes, at: Number | None) -> None:
    """A thin vertical line with a word on either side: pre-training ends, fine-tuning begins.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> mark_stage_change(ax, 100)
    >>> [text.get_text().strip() for text in ax.texts]
    ['pre-training', 'fine-tuning']
    """
    if at is None:
        return
    ax.axvline(at, color="#777777", linewidth=1.0, linestyle=":")
    words = {"y": 1.0, "transform": ax.get_xaxis_transform(), "va": "bottom", "fontsize": 8}
    ax.text(at, s="pre-training  ", ha="right", color=COLOURS["pretrain"], **words)
    ax.text(at, s="  fine-tuning", ha="left", color=COLOURS["finetune"], **words)
