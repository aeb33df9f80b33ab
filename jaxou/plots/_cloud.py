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
    theory_label: str = "Gibbs law: 50, 90, 99 %",
    ax: Axes | None = None,
) -> Axes:
    """Points (P, 2) and the ellipses of N(mean (2,), covariance (2, 2)) that hold the given masses.

    An ellipse that holds mass p in the plane has squared Mahalanobis radius -2 log(1 - p).

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> points = np.random.default_rng(0).normal(size=(100, 2))
    >>> len(cloud(points, np.zeros(2), np.eye(2), ax=ax).get_legend_handles_labels()[1])
    2
    """
    ax = axes_or_new(ax)
    xy = np.asarray(points)
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
    for i, p in enumerate(mass):
        x, y = ellipse(mean, covariance, -2.0 * math.log1p(-p)).T
        ax.plot(x, y, **THEORY, label=theory_label if i == 0 else None)
    return ax


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
