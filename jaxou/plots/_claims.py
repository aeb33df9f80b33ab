"""Figures of `jaxou claims`: what each claim rests on, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxou.plots._style import COLOURS, SERIES, THEORY, ArrayLike, Number, axes_or_new

FLOOR = 1e-5
"""Nats: smaller KLs, and estimates below zero, are drawn here."""


def kl_against(
    x: ArrayLike,
    found: ArrayLike,
    *,
    exact: tuple[ArrayLike, ArrayLike] | None = None,
    margin: Number | None = None,
    colour: str = COLOURS["pretrain"],
    label: str = "particles",
    ax: Axes | None = None,
) -> Axes:
    """KL with its confidence limits, `found` (K, 3) = (estimate, lower, upper), on a log axis.

    `exact` = (x, KL) is the dashed line, `margin` the level below which two laws count as one.
    """
    ax = axes_or_new(ax)
    x, found = np.asarray(x, float), np.maximum(np.asarray(found, float), FLOOR)
    ax.set_yscale("log")
    if exact is not None:
        ax.plot(exact[0], np.maximum(np.asarray(exact[1], float), FLOOR), **THEORY, label="exact")
    ax.vlines(x, found[:, 1], found[:, 2], color=colour, linewidth=2.0)
    ax.plot(x, found[:, 0], "o", color=colour, markersize=5, label=label)
    if margin is not None and not any(line.get_label() == "margin" for line in ax.lines):
        ax.axhline(margin, color=COLOURS["accent"], linewidth=1.2, label="margin")
    ax.set_ylabel("KL (nats)")
    return ax


def rate_curves(
    sizes: ArrayLike, gaps: Mapping[str, ArrayLike], *, slope: Number = -0.5, ax: Axes | None = None
) -> Axes:
    """Gaps against N, both on log axes, and a guide of one slope through the first point."""
    ax = axes_or_new(ax)
    n = np.asarray(sizes, float)
    for k, (name, values) in enumerate(gaps.items()):
        ax.loglog(n, np.asarray(values, float), color=SERIES[k % len(SERIES)], label=name)
    first = max(float(np.asarray(values, float)[0]) for values in gaps.values())
    ax.loglog(n, first * (n / n[0]) ** slope, **THEORY, label=f"slope {slope:g}")
    ax.set_xlabel("number of examples N")
    ax.set_ylabel("gap of the bound")
    return ax


def rate_map(
    sizes: ArrayLike, risks: ArrayLike, slopes: ArrayLike, *, kl: Number, ax: Axes | None = None
) -> Axes:
    """The slope of log gap in log N over (N, risk), with the line N = KL / risk between rates."""
    ax = axes_or_new(ax)
    n, r = np.asarray(sizes, float), np.asarray(risks, float)
    keep = r > 0  # a log axis has no zero
    values = np.asarray(slopes, float)[keep]
    mesh = ax.pcolormesh(
        n, r[keep], values, cmap="cividis", vmin=-1.0, vmax=-0.5, shading="nearest"
    )
    ax.figure.colorbar(mesh, ax=ax, label="slope: -1 is 1 / N, -0.5 is 1 / sqrt(N)")
    line = kl / n
    inside = (line >= r[keep].min()) & (line <= r.max())
    ax.plot(n[inside], line[inside], color="white", linewidth=1.6, label="N = KL / risk")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("number of examples N")
    ax.set_ylabel("empirical risk")
    return ax


def dominance_boundary(
    kl_ratio: ArrayLike,
    change: ArrayLike,
    dimension: ArrayLike,
    *,
    ax: Axes | None = None,
) -> Axes:
    """N_S / N_T from which fine-tuning dominates against KL_S / KL_T, a point for each problem."""
    ax = axes_or_new(ax)
    x, y, d = (np.asarray(v, float) for v in (kl_ratio, change, dimension))
    shown = (y > 0) & np.isfinite(y) & (x > 0)
    for k, value in enumerate(np.unique(d)):
        rows = shown & (d == value)
        ax.loglog(
            x[rows],
            y[rows],
            ".",
            color=SERIES[k % len(SERIES)],
            label=f"d = {value:g}",
            alpha=0.7,
        )
    ends = np.array([x[shown].min(), x[shown].max()])
    ax.loglog(ends, ends, **THEORY, label="N_S / N_T = KL_S / KL_T")
    ax.set_xlabel("KL_S / KL_T")
    ax.set_ylabel("N_S / N_T from which fine-tuning dominates")
    return ax


def dominance_share(
    ratios: ArrayLike, change: ArrayLike, dimension: ArrayLike, *, ax: Axes | None = None
) -> Axes:
    """Share of problems in which fine-tuning has the larger gap against N_S / N_T."""
    ax = axes_or_new(ax)
    x, y, d = (np.asarray(v, float) for v in (ratios, change, dimension))
    for k, value in enumerate(np.unique(d)):
        share = (x[:, None] > y[None, d == value]).mean(axis=1)
        ax.semilogx(x, share, color=SERIES[k % len(SERIES)], label=f"d = {value:g}")
    ax.axvline(1.0, color="#777777", linewidth=1.0, linestyle=":")
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("N_S / N_T")
    ax.set_ylabel("share dominated by fine-tuning")
    return ax


def gap_scatter(
    predictor: ArrayLike,
    gap: ArrayLike,
    *,
    error: ArrayLike | None = None,
    colour: str = COLOURS["finetune"],
    label: str = "domain pairs",
    ax: Axes | None = None,
) -> Axes:
    """Measured gaps against a predictor on a log axis, a point for each pair of domains."""
    ax = axes_or_new(ax)
    x, y = np.asarray(predictor, float), np.asarray(gap, float)
    if error is not None:
        spread = np.asarray(error, float)
        ax.vlines(x, y - spread, y + spread, color=COLOURS["floor"], linewidth=0.8)
    ax.plot(x, y, ".", color=colour, label=label, alpha=0.8)
    ax.set_xscale("log")
    ax.axhline(0.0, color="#999999", linewidth=0.8)
    ax.set_ylabel("measured risk - empirical risk")
    return ax


def correlations(
    names: Sequence[str],
    values: Mapping[str, Any],
    *,
    strength: Number | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Rank correlations (K, 3) = (value, lower, upper) of K predictors, a colour for each set."""
    ax = axes_or_new(ax)
    place = np.arange(len(names))[::-1].astype(float)
    for k, (label, found) in enumerate(values.items()):
        found = np.asarray(found, float)
        y = place + 0.16 * ((len(values) - 1) / 2 - k)
        ax.hlines(y, found[:, 1], found[:, 2], color=SERIES[k % len(SERIES)], linewidth=2.0)
        ax.plot(found[:, 0], y, "o", color=SERIES[k % len(SERIES)], markersize=5, label=label)
    ax.axvline(0.0, color="#777777", linewidth=1.0)
    if strength is not None:
        ax.axvline(strength, color=COLOURS["accent"], linewidth=1.2, linestyle=":")
    ax.set_yticks(place, list(names))
    ax.set_xlim(-1.02, 1.02)
    ax.set_xlabel("rank correlation with the measured gap, N held fixed")
    return ax
