"""The stationary current in a plane of parameter space, over the steady law's contours."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from jaxou.plots._cloud import contours
from jaxou.plots._style import COLOURS, ArrayLike, Number, axes_or_new


def current(
    mean: ArrayLike,
    covariance: ArrayLike,
    antisymmetric: ArrayLike,
    *,
    directions: ArrayLike = (0, 1),
    kind: str = "stream",
    mass: tuple[Number, ...] = (0.5, 0.9, 0.99),
    points: int = 21,
    colour: str = COLOURS["accent"],
    ax: Axes | None = None,
) -> Axes:
    """The mean velocity of the current of N(mean (d,), covariance (d, d)), as streams or arrows.

    `antisymmetric` (d, d) is R of `ou.irreversibility(stage).current`. `directions`: two indices,
    or the columns of a matrix W (d, 2). At a point y of that plane the drawn velocity is what the
    current does there on average over the other directions,

        E[v | W^T (x - mean) = y] = -(W^T R W) (W^T S W)^-1 y,

    a rotation along the contours that hold the given masses. `kind` is "stream" or "quiver".
    Without a current only the contours are drawn.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> turning = np.array([[0.0, 0.5], [-0.5, 0.0]])
    >>> current(np.zeros(2), np.eye(2), turning, kind="quiver", ax=ax) is ax
    True
    """
    if kind not in ("stream", "quiver"):
        raise ValueError(f'kind={kind!r} is neither "stream" nor "quiver"')
    ax = axes_or_new(ax)
    s, r = np.asarray(covariance, dtype=float), np.asarray(antisymmetric, dtype=float)
    w, names = _plane(directions, len(s))
    centre, spread = w.T @ np.asarray(mean, dtype=float), w.T @ s @ w
    contours(ax, centre, spread, mass, None, "steady law")
    turn = -(w.T @ r @ w) @ np.linalg.pinv(spread)
    if np.abs(w.T @ r @ w).max() > 1e-12 * np.abs(spread).max():
        half = 3.0 * np.sqrt(np.diag(spread))
        x, y = (np.linspace(c - h, c + h, points) for c, h in zip(centre, half, strict=True))
        grid = np.stack(np.meshgrid(x, y), axis=-1) - centre
        u, v = np.moveaxis(grid @ turn.T, -1, 0)
        if kind == "stream":
            speed = np.hypot(u, v)
            width = 0.4 + 1.6 * speed / speed.max()
            ax.streamplot(x, y, u, v, color=colour, linewidth=width, density=0.9, arrowsize=0.9)
        else:
            ax.quiver(x, y, u, v, color=colour, angles="xy", label="current")
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    return ax


def _plane(directions: ArrayLike, d: int) -> tuple[np.ndarray, tuple[str, str]]:
    chosen = np.asarray(directions)
    if chosen.shape == (2,) and np.issubdtype(chosen.dtype, np.integer):
        if chosen[0] == chosen[1] or not np.all((-d <= chosen) & (chosen < d)):
            raise ValueError(f"directions={tuple(directions)} must be two of 0..{d - 1}")
        return np.eye(d)[:, chosen], (f"parameter {chosen[0]}", f"parameter {chosen[1]}")
    if chosen.shape == (d, 2):
        return chosen.astype(float), ("first direction", "second direction")
    raise ValueError(
        f"directions must be two indices or a matrix ({d}, 2), got shape {chosen.shape}"
    )
