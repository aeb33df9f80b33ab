"""The particle cloud in a plane, under the contours of a Gaussian law."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxou.plots._style import COLOURS, THEORY, ArrayLike, Number, axes_or_new

# beyond this many points a scatter is a blot
HEXBIN_FROM = 100_000


def cloud(
    points: ArrayLike,
    mean: ArrayLike,
    covariance: ArrayLike,
    *,
    mass: tuple[Number, ...] = (0.5, 0.9, 0.99),
    colour: str = COLOURS["finetune"],
    label: str = "particles",
    theory_label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Points (P, 2) and the ellipses of N(mean (2,), covariance (2, 2)) that hold the given masses.

    An ellipse that holds mass p in the plane has squared Mahalanobis radius -2 log(1 - p).
    `theory_label` is "Gibbs law: " and the masses if None.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> points = np.random.default_rng(0).normal(size=(100, 2))
    >>> len(cloud(points, np.zeros(2), np.eye(2), ax=ax).get_legend_handles_labels()[1])
    2
    """
    ax = axes_or_new(ax)
    xy = np.asarray(points)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise ValueError(f"points has shape {xy.shape}; expected (P, 2), such as run.final[:, :2]")
    if xy.shape[0] >= HEXBIN_FROM:
        ax.hexbin(xy[:, 0], xy[:, 1], gridsize=80, bins="log", cmap="Greys", linewidths=0)
    else:
        size, alpha = (2, 0.35) if xy.shape[0] > 1000 else (8, 0.6)
        ax.scatter(
            xy[:, 0],
            xy[:, 1],
            s=size,
            alpha=alpha,
            color=colour,
            linewidths=0,
            label=label,
            rasterized=True,
        )
    contours(ax, mean, covariance, mass, theory_label, "Gibbs law")
    return ax


def contours(
    ax: Axes,
    mean: ArrayLike,
    covariance: ArrayLike,
    mass: tuple[Number, ...],
    label: str | None,
    law: str,
) -> None:
    """The ellipses that hold the given masses; the label is that of the first, `law` and the masses
    if None."""
    for i, p in enumerate(mass):
        if not 0 < p < 1:
            raise ValueError(f"mass={mass} must hold shares in (0, 1), such as 0.9")
        x, y = ellipse(mean, covariance, -2.0 * math.log1p(-p)).T
        if label is None:
            label = f"{law}: " + ", ".join(f"{100 * p:g}" for p in mass) + " %"
        ax.plot(x, y, **THEORY, label=label if i == 0 else None)


def ellipse(
    mean: ArrayLike, covariance: ArrayLike, squared_radius: Number, points: int = 181
) -> Any:
    """Points (n, 2) at the given squared Mahalanobis distance; a flat covariance gives a segment.

    >>> bool(np.allclose(ellipse([1.0, 0.0], [[4.0, 0.0], [0.0, 1.0]], 1.0, 5)[0], [3.0, 0.0]))
    True
    """
    values, vectors = np.linalg.eigh(np.asarray(covariance, dtype=float))
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    angle = np.linspace(0.0, 2 * np.pi, points)
    circle = math.sqrt(squared_radius) * np.stack([np.cos(angle), np.sin(angle)])
    return (np.asarray(mean, dtype=float)[:, None] + root @ circle).T
