"""Where the particles go: median and bands against time, across both stages."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from jaxou.plots._style import COLOURS, THEORY, ArrayLike, Number, axes_or_new, mark_stage_change

BANDS = (0.05, 0.25, 0.5, 0.75, 0.95)


def trajectory_fan(
    times: ArrayLike,
    quantiles: ArrayLike,
    *,
    theory_mean: ArrayLike | None = None,
    theory_sd: ArrayLike | None = None,
    replicas: ArrayLike | None = None,
    stage_change: Number | None = None,
    colour: str = COLOURS["pretrain"],
    ax: Axes | None = None,
) -> Axes:
    """Median, 50 % and 90 % bands of one coordinate of the particles, and what theory says.

    `times` (K,) in steps; `quantiles` (K, 5) at levels `BANDS`; `theory_mean`, `theory_sd` (K,)
    draw mean and mean +- 2 standard deviations, dashed; `replicas` (K, R) real SGD runs, thin.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> quantiles = np.linspace(-1, 1, 5)[None, :] * np.array([[1.0], [0.5]])
    >>> trajectory_fan([0, 10], quantiles, theory_mean=[0, 0], ax=ax).get_xlabel()
    'training step'
    """
    ax = axes_or_new(ax)
    t, q = np.asarray(times), np.asarray(quantiles)
    if q.shape != (t.size, len(BANDS)):
        raise ValueError(f"quantiles has shape {q.shape}; expected ({t.size}, {len(BANDS)})")
    if replicas is not None:
        lines = ax.plot(t, np.asarray(replicas), color=COLOURS["sgd"], linewidth=0.6, alpha=0.45)
        lines[0].set_label("real SGD runs")
    ax.fill_between(
        t, q[:, 0], q[:, 4], color=colour, alpha=0.15, linewidth=0, label="90 % of particles"
    )
    ax.fill_between(t, q[:, 1], q[:, 3], color=colour, alpha=0.30, linewidth=0, label="50 %")
    ax.plot(t, q[:, 2], color=colour, linewidth=1.5, label="median")
    if theory_mean is not None:
        mean = np.asarray(theory_mean)
        ax.plot(t, mean, **THEORY, label="theory: mean")
        if theory_sd is not None:
            edge = {**THEORY, "linewidth": 0.9, "alpha": 0.7}
            ax.plot(t, mean - 2 * np.asarray(theory_sd), **edge)
            ax.plot(t, mean + 2 * np.asarray(theory_sd), **edge, label="theory: ± 2 sd")
    mark_stage_change(ax, stage_change)
    ax.set_xlabel("training step")
    return ax
