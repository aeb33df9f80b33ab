"""Bounds along a line: against the number of examples, and against the time of stopping."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from jaxou.plots._style import COLOURS, THEORY, ArrayLike, Number, axes_or_new, star, tighten

_MARKS = ("-", "--", "-.", ":")


def bound_against_n(
    n: ArrayLike,
    gaps: Mapping[str, ArrayLike],
    *,
    here: Mapping[str, tuple[Number, Number]] | None = None,
    vacuous_at: Number | None = 1.0,
    label: str = "gap",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Gaps (or bounds) against the number of examples N, log-log, beside a line of slope -1/2.

    `gaps[name]` has the shape of `n`; names "pre-training" and "fine-tuning" have the colours of
    the stages. `here[name]` = (N, gap) marks where the run is. The line 1/sqrt(N) goes through the
    last finite value of the last gap. Above `vacuous_at` a bound says nothing.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> n = [100, 1_000, 10_000]
    >>> bound_against_n(n, {"fine-tuning": [0.3, 0.1, 0.03]}, ax=ax).get_xscale()
    'log'
    """
    ax = axes_or_new(ax)
    x = np.asarray(n, dtype=float)
    own = {"pre-training": COLOURS["pretrain"], "fine-tuning": COLOURS["finetune"]}
    spare = iter((COLOURS["sgd"], COLOURS["accent"], COLOURS["prior"]) * max(len(gaps), 1))
    anchor = None
    for i, (name, values) in enumerate(gaps.items()):
        y = np.asarray(values, dtype=float)
        if y.shape != x.shape or x.ndim != 1:
            raise ValueError(f"gaps[{name!r}] has shape {y.shape}; expected that of n, {x.shape}")
        colour = own.get(name) or next(spare)
        fine = np.isfinite(y) & (y > 0)
        ax.plot(x, np.where(fine, y, np.nan), _MARKS[i % 4], color=colour, linewidth=2, label=name)
        if fine.any():
            anchor = (x[fine][-1], y[fine][-1])
        if here and name in here:
            ax.plot(*here[name], "o", color=colour, markeredgecolor="black", markersize=8, zorder=4)
            at, value = here[name]
            ax.annotate(
                f"N = {at:.6g}: {value:.3g}", (at, value), xytext=(6, 7),
                textcoords="offset points", fontsize=8,
            )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    if anchor is not None:
        ax.plot(
            x, anchor[1] * np.sqrt(anchor[0] / x), **{**THEORY, "linestyle": (0, (1, 2))},
            label="∝ 1/√N",
        )  # fmt: skip
    if vacuous_at is not None and ax.get_ylim()[1] > vacuous_at:
        top = ax.get_ylim()[1]
        ax.axhspan(vacuous_at, top, color="#EEEEEE", zorder=0, label="says nothing")
        ax.set_ylim(top=top)
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.grid(which="minor", visible=False)
    tighten(ax.set_xlim, x)
    ax.set_xlabel("number of examples N")
    ax.set_ylabel(label)
    if title:
        ax.set_title(title)
    return ax


def stopping(
    times: ArrayLike,
    value: ArrayLike,
    *,
    risk: ArrayLike | None = None,
    gap: ArrayLike | None = None,
    best_time: Number | None = None,
    clock: str = "step",
    log_time: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The bound against the time at which fine-tuning stops, with its minimum.

    `value`, `risk` and `gap` have the shape of `times`; the value is the sum of the other two, the
    empirical risk that falls and the gap that grows. The star is the minimum: at `best_time` if
    given, else the lowest of `value`; the label says so where it is an end. `clock` is "step" or
    "time". `log_time` draws log time and leaves out a time of 0.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> steps, risk, gap = [1, 2, 3], [0.5, 0.2, 0.19], [0.0, 0.1, 0.2]
    >>> stopping(steps, [0.5, 0.3, 0.39], risk=risk, gap=gap, ax=ax) is ax
    True
    """
    ax = axes_or_new(ax)
    t = np.asarray(times, dtype=float)
    curves = {"value": value, "risk": risk, "gap": gap}
    y = {name: np.asarray(c, dtype=float) for name, c in curves.items() if c is not None}
    for name, curve in y.items():
        if curve.shape != t.shape or t.ndim != 1:
            raise ValueError(f"{name} has shape {curve.shape}; expected that of times, {t.shape}")
    if clock not in ("step", "time"):
        raise ValueError(f'clock={clock!r} is neither "step" nor "time"')
    looks = {
        "value": {"color": COLOURS["theory"], "linestyle": "-", "linewidth": 2.4},
        "risk": {"color": COLOURS["pretrain"], "linestyle": "--", "linewidth": 1.8},
        "gap": {"color": COLOURS["finetune"], "linestyle": "-.", "linewidth": 1.8},
    }
    words = {
        "value": "bound = risk + gap" if len(y) == 3 else "bound",
        "risk": "empirical risk",
        "gap": "gap",
    }
    for name, curve in y.items():
        ax.plot(t, curve, label=words[name], **looks[name])
    if log_time:
        ax.set_xscale("log")
    _star(ax, t, y["value"], best_time)
    lowest = np.concatenate(list(y.values()))
    ax.set_ylim(bottom=float(np.min(lowest, initial=0.0, where=np.isfinite(lowest))))
    tighten(ax.set_xlim, t[t > 0] if log_time else t)
    ax.set_xlabel("fine-tuning stops at step" if clock == "step" else "fine-tuning stops at time s")
    ax.set_ylabel("risk on the target")
    if title:
        ax.set_title(title)
    return ax


def _star(ax: Axes, t: ArrayLike, value: ArrayLike, best_time: Number | None) -> None:
    fine = np.isfinite(value)
    if not fine.any():
        return
    if best_time is None:
        best_time = float(t[np.nanargmin(value)])
    lowest = float(np.interp(best_time, t[fine], value[fine]))
    span = t[fine][-1] - t[fine][0]
    at_end = best_time >= t[fine][-1] - 1e-9 * span
    at_start = best_time <= t[fine][0] + 1e-9 * span
    where = " (at the end)" if at_end else " (at the start)" if at_start else ""
    star(ax, best_time, lowest, f"best: {best_time:.4g}, bound {lowest:.3g}{where}")
    ax.axvline(best_time, color="#777777", linewidth=1.0, linestyle=":")
