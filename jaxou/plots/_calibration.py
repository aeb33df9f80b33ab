"""Do particles have the claimed law? Squared Mahalanobis distances against chi-square."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxou.plots._style import COLOURS, THEORY, ArrayLike, Number, axes_or_new


def calibration(
    squared_distances: ArrayLike,
    degrees: Number,
    *,
    colour: str = COLOURS["finetune"],
    label: str = "particles",
    points: int = 199,
    ax: Axes | None = None,
) -> Axes:
    """Quantiles of (x - mu)^T Sigma^-1 (x - mu) against those of chi-square with `degrees`.

    The grey band is the 95 % range of each empirical quantile when the claimed law is true: its
    level has variance p(1 - p)/n, mapped through the quantile function.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> q = np.random.default_rng(0).chisquare(2, 1_000)
    >>> len(calibration(q, 2, ax=ax).lines) > 1
    True
    """
    ax = axes_or_new(ax)
    x = np.asarray(squared_distances, dtype=float).ravel()
    p = np.arange(1, points + 1) / (points + 1)
    spread = 1.96 * np.sqrt(p * (1 - p) / x.size)
    theory = chi_square_quantile(p, degrees)
    low, high = (
        chi_square_quantile(np.clip(p + s, 1e-12, 1 - 1e-12), degrees) for s in (-spread, spread)
    )
    ax.fill_between(
        theory,
        low,
        high,
        color=COLOURS["floor"],
        alpha=0.45,
        linewidth=0,
        label="95 % if the law is right",
    )
    ax.plot(theory, theory, **THEORY, label="exactly right")
    ax.plot(theory, np.quantile(x, p), ".", color=colour, markersize=4, label=label)
    ax.set_xlabel(f"chi-square quantile, {degrees} degrees of freedom")
    ax.set_ylabel("squared distance")
    return ax


def chi_square_quantile(p: ArrayLike, degrees: Number) -> Any:
    """Inverse of the chi-square distribution function.

    >>> round(float(chi_square_quantile(0.95, 1)), 6)
    3.841459
    """
    from scipy.special import gammaincinv  # scipy comes with jax

    return 2.0 * gammaincinv(degrees / 2.0, np.asarray(p))
