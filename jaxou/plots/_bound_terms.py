"""The terms of a two-stage bound, source and target side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxou.plots._style import COLOURS, axes_or_new

# term: its name, and its share: 2 KL is the sum of the first five, so each enters KL by half
_TERMS = {
    "trace": ("TRACE / 2", 0.5),
    "shift": ("SHIFT / 2", 0.5),
    "dimension": ("DIM / 2", 0.5),
    "prior_volume": ("PRIORVOL / 2", 0.5),
    "logdet": ("LOGDET / 2", 0.5),
    "kl": ("= KL", 1.0),
    "confidence": ("CONF", 1.0),
    "log_n": ("LOGN", 1.0),
    "constant": ("CONST", 1.0),
}
_STAGES = (("source", "pre-training", "pretrain", ""), ("target", "fine-tuning", "finetune", "///"))


def bound_terms(bound: Any, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Every term of both stages of an `ou.two_stage_bound`, in nats, with its value at the bar.

    The terms of the KL are halved, so that they add up to the row "= KL"; CONF, LOGN and CONST join
    it under the root. The legend holds the rest: FIT, the empirical risk, with the gap and their
    sum. The axis is linear up to 1 nat and logarithmic beyond where the terms differ by more than
    a factor of 50: trace and log-determinant of many dimensions dwarf the rest and nearly cancel.

    >>> import jaxou as ou
    >>> stage = ou.Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10,
    ...                  steps=9)
    >>> process = ou.TwoStage(stage, stage.replace(minimum=0.1), ou.Gaussian(0.0, 1.0))
    >>> b = ou.two_stage_bound(process, n_source=9_000, n_target=900, risk=0.1, delta=0.05)
    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> bound_terms(b, ax=ax) is ax
    True
    """
    ax = axes_or_new(ax)
    stages = {key: getattr(bound, key) for key, *_ in _STAGES}
    rows = [
        name
        for name in _TERMS
        if any(_term(stage, name) not in (None, 0.0) for stage in stages.values())
    ]
    height = 0.38
    everything = []
    for k, (key, words, colour, hatch) in enumerate(_STAGES):
        stage = stages[key]
        values = [_term(stage, name) for name in rows]
        places = np.arange(len(rows)) + (k - 0.5) * height
        shown = [(y, v) for y, v in zip(places, values, strict=True) if v is not None]
        finite = [v if np.isfinite(v) else 0.0 for _, v in shown]
        ax.barh(
            [y for y, _ in shown], finite, height=height, color=COLOURS[colour], hatch=hatch,
            edgecolor="white", linewidth=0.5, label=f"{words}: {_guarantee(stage)}",
        )  # fmt: skip
        everything += [(y, v) for y, v in shown]
    sizes = np.array([abs(v) for _, v in everything if np.isfinite(v) and v != 0.0])
    if sizes.size and sizes.max() > 50 * max(1.0, float(np.median(sizes))):
        ax.set_xscale("symlog", linthresh=1.0)
    ax.axvline(0.0, color="#333333", linewidth=0.8)
    for y, v in everything:
        ax.annotate(
            f"{v:.3g}", (v if np.isfinite(v) else 0.0, y), xytext=(3 if v >= 0 else -3, 0),
            textcoords="offset points", va="center", ha="left" if v >= 0 else "right", fontsize=7,
        )  # fmt: skip
    ax.set_yticks(np.arange(len(rows)), [_TERMS[name][0] for name in rows])
    ax.invert_yaxis()
    if "kl" in rows:  # a line below what sums to it
        ax.axhline(rows.index("kl") + 0.5, color="#999999", linewidth=0.8, linestyle=":")
    _widen(ax, [v for _, v in everything if np.isfinite(v)])
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("nats")
    if title:
        ax.set_title(title)
    return ax


def _widen(ax: Axes, values: list[float]) -> None:
    """Room for the numbers at the bars, measured on the scale of the axis."""
    scale = ax.xaxis.get_transform()
    low, high = scale.transform([min(0.0, *values), max(0.0, *values)])
    room = 0.14 * max(high - low, 1e-12)
    low, high = low - room * (low < 0), high + room * (high > 0)
    if high > low:
        ax.set_xlim(*scale.inverted().transform([low, high]))


def _term(stage: Any, name: str) -> float | None:
    value = stage.kl if name == "kl" else getattr(stage.terms, name)
    return None if value is None else float(value) * _TERMS[name][1]


def _guarantee(stage: Any) -> str:
    gap = f"gap {float(stage.gap):.3g} (n = {float(stage.n):.6g})"
    if not stage.risk_given:
        return gap
    return f"FIT {float(stage.risk):.3g} + {gap} = {float(stage.value):.3g}"
