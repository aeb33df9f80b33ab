"""Eigenvalues of the curvature A and of the gradient noise C, largest first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from jaxou.plots._style import ArrayLike, Number, axes_or_new


def spectra(
    eigenvalues: Mapping[str, ArrayLike],
    *,
    styles: Mapping[str, Mapping[str, object]] | None = None,
    floor: Number = 1e-12,
    ax: Axes | None = None,
) -> Axes:
    """One line per matrix, log axis; values below `floor` times the largest are zeros, left out.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> spectra({"A": [3.0, 1.0, 0.0]}, ax=ax).lines[0].get_ydata().tolist()
    [3.0, 1.0]
    """
    ax = axes_or_new(ax)
    ax.set_yscale("log")
    for name, values in eigenvalues.items():
        v = np.sort(np.asarray(values, dtype=float))[::-1]
        kept = v[v > floor * v[0]]
        ax.plot(np.arange(1, kept.size + 1), kept, label=name, **((styles or {}).get(name) or {}))
    ax.set_xlabel("direction, from the steepest or noisiest on")
    ax.set_ylabel("eigenvalue")
    return ax
