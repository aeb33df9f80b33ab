"""The late slope of log KL, fitted to particles, with a standard error that knows they are the same
particles at every save point."""

from dataclasses import dataclass

import numpy as np

FEWEST = 3
ABOVE = 3.0
"""Points are used where the exact KL is above this many times the 95 % floor."""


@dataclass(frozen=True)
class Fit:
    """d log KL / ds (flow time), by weighted least squares over the last half of the points whose
    exact KL is well above the floor; `points` of them, between `first` and `last`.

    `line` is the same fit to the exact line: what `slope` estimates, z = (slope - line) / error.
    It tends to the late slope of `rates` where the window lies late enough.
    """

    slope: float
    error: float
    line: float
    points: int
    first: float
    last: float
    intercept: float

    @property
    def z(self) -> float:
        return (self.slope - self.line) / self.error


def fit_slope(
    times, measured, exact, error, floor, white, shifts, states, propagators, n
) -> Fit | str:
    """The fit, or why there is none.

    `times` (K,), then the KL's `measured`, `exact`, `error` (K,) and `floor`; `white` (r, d)
    whitens by the steady law; `shifts` (K, d) and `states` (K, D, D) are the exact mean, from the
    steady one, and covariance of the state; `propagators` (K-1, D, D) lead from each to the next.
    The window is chosen by the exact line alone, so that choosing it adds no bias.

    To first order KL^_t - KL_t = tr(G_t dS_t) / 2 + g_t dm_t, G = I - V^-1, g = x, in whitened
    coordinates, and with C the exact covariance of x_t with x_s

        n Cov(KL^_t, KL^_s) = tr(G_t C G_s C^T) / 2 + g_t^T C g_s.
    """
    usable = np.flatnonzero(exact > ABOVE * floor)
    if len(usable) < FEWEST:
        return (
            f"{len(usable)} save points have a KL well above the Monte Carlo floor, a fit needs "
            f"{FEWEST}: save more often, or use more particles"
        )
    window = usable[-max(FEWEST, (len(usable) + 1) // 2) :]
    if np.any(measured[window] <= 0):
        return "the particles' KL is not positive where the exact one is far above the floor"
    variance = (error[window] / exact[window]) ** 2
    # E log(1 + e) = -Var(e) / 2 to second order
    target = np.log(measured[window]) + variance / 2
    design = np.stack([np.ones(len(window)), times[window]], axis=1)
    weighted = design.T / variance
    solve = np.linalg.solve(weighted @ design, weighted)
    intercept, slope = solve @ target
    relative = _covariance(window, white, shifts, states, propagators, n)
    relative /= np.outer(exact[window], exact[window])
    # what is beyond first order is (almost) independent between points
    extra = np.maximum(variance - np.diag(relative), 0.0)
    spread = solve @ (relative + np.diag(extra)) @ solve.T
    return Fit(
        slope=float(slope),
        error=float(np.sqrt(spread[1, 1])),
        line=float((solve @ np.log(exact[window]))[1]),
        points=len(window),
        first=float(times[window[0]]),
        last=float(times[window[-1]]),
        intercept=float(intercept),
    )


def _covariance(window, white, shifts, states, propagators, n) -> np.ndarray:
    """Covariances of KL^ between the points of the window, to first order."""
    d, r = shifts.shape[1], len(white)
    pull = [white @ shifts[t] for t in window]
    slope = [np.eye(r) - np.linalg.inv(white @ states[t][:d, :d] @ white.T) for t in window]
    found = np.zeros((len(window), len(window)))
    for j, s in enumerate(window):
        lagged = states[s]
        for i in range(j, len(window)):
            if i > j:
                for step in range(window[i - 1], window[i]):
                    lagged = propagators[step] @ lagged
            c = white @ lagged[:d, :d] @ white.T
            both = np.sum((slope[i] @ c) * (c @ slope[j])) / 2 + pull[i] @ c @ pull[j]
            found[i, j] = found[j, i] = both / n
    return found
