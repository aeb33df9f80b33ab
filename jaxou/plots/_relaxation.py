"""The relaxation of one stage: exact line, particles with errors, floor, fitted slope."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxou.plots._decay import decay
from jaxou.plots._style import COLOURS, axes_or_new

_NAMES = {
    "kl": "KL to the steady law (nats)",
    "w2": "W2 to the steady law",
    "energy": "E[L - L*]",
}


def relaxation(
    stage: Any,
    *,
    quantity: str = "kl",
    clock: str = "chain",
    colour: str = COLOURS["pretrain"],
    ax: Axes | None = None,
) -> Axes:
    """KL, W2 or energy (`quantity`) of one stage of `ou.relaxation` against steps since its start.

    The exact line of SGD's chain or of the SDE (`clock="sde"`), the particles with two standard
    errors, the grey Monte Carlo floor up to its 95 % quantile, and for KL the fitted late slope.
    Points are without bias: below the floor they scatter around the line, and those that are not
    positive have no place on a log axis.

    >>> import jaxou as ou
    >>> stage = ou.Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10,
    ...                  steps=99)
    >>> found = ou.relaxation(ou.Chain([stage], initial=ou.Gaussian([1.0], 1.0)), times=4)
    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> relaxation(found[0], ax=ax).get_yscale()
    'log'
    """
    if quantity not in _NAMES:
        raise ValueError(f"quantity={quantity!r} is none of {', '.join(map(repr, _NAMES))}")
    if clock not in ("chain", "sde"):
        raise ValueError(f'clock={clock!r} is neither "chain" nor "sde"')
    path = stage.chain if clock == "chain" else stage.sde
    if path.line is None:
        raise ValueError(f"{stage.name} has no line to draw: {path.reason}")
    ax = axes_or_new(ax)
    label = "theory: SGD's chain" if clock == "chain" else "theory: the SDE"
    floor = None
    points = stage.points
    if points is not None and quantity != "energy":
        floor = points.kl.floor if quantity == "kl" else float(np.sqrt(points.w2.floor))
    decay(
        path.line.steps,
        getattr(path.line, quantity),
        floor=floor,
        label=label,
        colour=colour,
        ax=ax,
    )
    if points is not None:
        _particles(ax, stage, quantity, colour)
    ax.set_xlabel(f"step of {stage.name}")
    ax.set_ylabel(_NAMES[quantity])
    return ax


def _particles(ax: Axes, stage: Any, quantity: str, colour: str) -> None:
    points = stage.points
    series = getattr(points, quantity)
    value, low, high = (series.measured + k * series.error for k in (0.0, -2.0, 2.0))
    if quantity == "w2":  # the series is of the square
        value, low, high = (np.sqrt(np.maximum(x, 0.0)) for x in (value, low, high))
    shown = value > 0
    bottom = np.maximum(low, 1e-3 * np.maximum(value, np.finfo(float).tiny))
    errors = np.stack([value - bottom, high - value])[:, shown]
    ax.errorbar(
        points.steps[shown], value[shown], yerr=errors, fmt="o", color=colour, markersize=4.0,
        elinewidth=0.9, label="particles, ± 2 standard errors",
    )  # fmt: skip
    fit = points.fit
    if quantity == "kl" and fit is not None:
        times = np.array([fit.first, fit.last])
        per_step = stage.duration / stage.steps
        ax.plot(
            times / per_step,
            np.exp(fit.intercept + fit.slope * times),
            color=COLOURS["accent"],
            linewidth=2.0,
            label=f"fitted slope {fit.slope:.3g} ± {fit.error:.1g}",
        )
