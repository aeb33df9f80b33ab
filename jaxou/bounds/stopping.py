"""How long to fine-tune: the time at which the target's bound is smallest, by root finding.

Fine-tuning lowers the risk and moves the law away from its prior, so the bound may have a minimum
strictly between "do not fine-tune" and "to the end": there d bound / dt = 0.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._check import as_count, as_number, is_concrete, refuse_unless, show, show_value
from .._status import Status, poison
from .._typing import ScalarLike
from ..laws import Gaussian
from ..stages import AbstractChain
from .path import BoundPath, bound_path, law_before, target_at
from .rows import Row, find_row
from .stage_bound import Risk, known_risks, row_name, sample_size, split_delta
from .stage_laws import require_two_stages

PLACES = ("at the start", "inside", "at the end")


class BestStopping(eqx.Module):
    """When to stop fine-tuning, and what the bound is there.

    - `time`: flow time for clock "time", whole steps for "step".
    - `value`, `kl`, `risk`: the bound there and its parts.
    - `value_start`, `value_end`: without any fine-tuning, and at the horizon.
    - `slope`: d bound / dt there (NaN for steps): zero inside, positive at the start (or zero, when
      the risk is held fixed), negative at the end.
    - `place`: 0 at the start, 1 inside, 2 at the end; `where` in words (concrete results only).
    - `minima`: how many local minima the grid has; above one, the best of them was refined.
    - `path`: the bound on the grid from which the search started.
    - `risk_held_fixed`: the risk was a number, so the search saw the KL alone, whose minimum is the
      start.
    """

    time: Float[Array, ""]
    value: Float[Array, ""]
    kl: Float[Array, ""]
    risk: Float[Array, ""]
    value_start: Float[Array, ""]
    value_end: Float[Array, ""]
    slope: Float[Array, ""]
    place: Int[Array, ""]
    minima: Int[Array, ""]
    path: BoundPath
    status: Status
    clock: str = eqx.field(static=True)
    risk_held_fixed: bool = eqx.field(static=True)

    @property
    def where(self) -> str:
        """ "at the start", "inside" or "at the end"."""
        return PLACES[int(self.place)]

    @property
    def gain(self) -> Float[Array, ""]:
        """How much lower the bound is than without fine-tuning."""
        return self.value_start - self.value

    def __str__(self) -> str:
        unit = "flow time" if self.clock == "time" else "step"
        lines = [
            f"stop {self.where}, at {unit} {show(self.time)}: bound {show(self.value)} "
            f"(start {show(self.value_start)}, end {show(self.value_end)})"
        ]
        if self.risk_held_fixed:
            lines.append("risk held fixed: only the KL moved, and it is smallest at the start")
        if int(self.minima) > 1:
            lines.append(f"the bound has {int(self.minima)} local minima along the way")
        return "\n".join(lines)


def best_stopping(
    process: AbstractChain,
    *,
    n_source: ScalarLike,
    n_target: ScalarLike,
    risk: ScalarLike | Risk,
    source_risk: ScalarLike | Risk | None = None,
    delta: ScalarLike,
    delta_split: tuple[ScalarLike, ScalarLike] = (0.5, 0.5),
    prior: Gaussian | None = None,
    bound: str | Row = "mcallester_he",
    clock: str = "time",
    horizon: ScalarLike | None = None,
    points: Any = 65,
) -> BestStopping:
    """The stopping time of the smallest target bound, in [0, horizon].

    `clock="time"` moves in flow time: a grid of 2 `points` times, half of them evenly spaced and
    half in equal ratios, brackets the smallest value; bisection on the derivative (the exact one)
    finds the root in the bracket. The result differentiates in the process through the root's
    implicit equation. `clock="step"` takes SGD's own laws and whole numbers of steps: grids that
    close in on the smallest value, exact as long as the bound has one minimum between neighbours
    of the first grid. `horizon` (flow time or steps) is the fine-tuning stage's own length if None.

    Choosing when to stop by looking at the target sample is free: the bound holds for all
    posteriors at once. Give a callable `risk`, `ou.SaturatedRisk` for one: with a number the best
    time is 0, because only the KL is seen (`risk_held_fixed`).

    >>> import jaxou as ou
    >>> source = ou.Stage(
    ...     hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10, steps=99
    ... )
    >>> process = ou.TwoStage(source, source.replace(minimum=1.0), ou.Gaussian(0.0, 1.0))
    >>> risk = ou.SaturatedRisk(1.0, [1.0])
    >>> best = best_stopping(process, n_source=9_000, n_target=900, risk=risk, delta=0.05)
    >>> best.where, round(float(best.time), 3), bool(best.value < best.value_end)
    ('inside', 1.507, True)
    """
    require_two_stages(process)
    if clock not in ("time", "step"):
        raise ValueError(f'clock={clock!r} is neither "time" (the SDE) nor "step" (SGD)')
    points = as_count(points, "points", 5)
    stage = process.stages[1]
    if horizon is None:
        horizon = stage.duration if clock == "time" else stage.steps
    horizon = as_number(horizon, "horizon")
    refuse_unless(horizon > 0, f"horizon={show_value(horizon)} must be above 0: nothing to choose")
    risk, source_risk = known_risks(risk, source_risk)
    common = dict(
        n_source=n_source,
        n_target=n_target,
        risk=risk,
        source_risk=source_risk,
        delta=delta,
        delta_split=delta_split,
        prior=prior,
        bound=bound,
    )
    search = _by_steps if clock == "step" else _by_time
    return search(process, horizon, points, common)


# --- flow time ---------------------------------------------------------------------------------


def _by_time(process, horizon, points: int, common) -> BestStopping:
    # times early on, in equal ratios, and late ones, evenly spaced
    even = np.arange(points) / (points - 1)
    ratios = np.geomspace(1e-6, 1.0, points, endpoint=False)
    grid = np.sort(np.concatenate([even, ratios]))
    path = bound_path(process, times=horizon * jnp.asarray(grid, horizon.dtype), **common)
    row, name = find_row(common["bound"]), row_name(common["bound"])
    (_, delta), fine = split_delta(common["delta"], common["delta_split"])
    n = sample_size(common["n_target"], "n_target")
    arguments = (process, n, delta, fine, common["risk"])
    time, value, kl, risk, slope, place, status = _root(arguments, path, row, name)
    return BestStopping(
        time=time,
        value=value,
        kl=kl,
        risk=risk,
        value_start=path.value[0],
        value_end=path.value[-1],
        slope=slope,
        place=place,
        minima=_count_minima(path.value),
        path=path,
        status=status,
        clock="time",
        risk_held_fixed=path.risk_held_fixed,
    )


@eqx.filter_jit
def _root(arguments, path, row, name):
    import optimistix

    times, values = path.times, path.value
    # the law before fine-tuning does not move during the search
    everything = (*arguments, law_before(arguments[0], "time"))
    dynamic, static = eqx.partition(everything, eqx.is_array)

    def bound(time, dynamic):
        process, n, delta, fine, risk, source_law = eqx.combine(dynamic, static)
        at = target_at(process, time, source_law, n, delta, fine, risk, row, name, "time")
        return at.value, (at.value, at.kl, at.risk, at.status)

    def slope(time, dynamic):
        return jax.jvp(lambda t: bound(t, dynamic)[0], (time,), (jnp.ones_like(time),))[1]

    last = times.shape[0] - 1
    best = jnp.argmin(jnp.where(jnp.isnan(values), jnp.inf, values))
    lower, upper = times[jnp.maximum(best - 1, 0)], times[jnp.minimum(best + 1, last)]
    lower, upper = jax.lax.stop_gradient((lower, upper))
    eps = float(jnp.finfo(times.dtype).eps)
    solution = optimistix.root_find(
        slope,
        optimistix.Bisection(rtol=4 * eps, atol=eps * 1e-3, flip=False),
        (lower + upper) / 2,
        dynamic,
        options=dict(lower=lower, upper=upper),
        max_steps=64,
        throw=False,
    )
    # a minimum inside the bracket has a falling and then a rising bound at its two ends
    moments = jnp.stack([solution.value, times[best], lower, upper])
    slopes = jax.vmap(lambda t: slope(t, dynamic))(moments)
    at = jax.vmap(lambda t: bound(t, dynamic)[1])(moments[:2])
    inside = (slopes[2] < 0) & (slopes[3] > 0) & (at[0][0] <= at[0][1])
    time, slope_there, (value, kl, risk, status) = jax.tree.map(
        lambda x: jnp.where(inside, x[0], x[1]), (moments, slopes, at)
    )
    place = jnp.where(inside | ((best > 0) & (best < last)), 1, jnp.where(best == 0, 0, 2))
    return time, value, kl, risk, poison(slope_there, status), place, status


def _count_minima(values) -> Int[Array, ""]:
    """Local minima of a row of numbers, ends included; equal neighbours count once."""
    high = jnp.full((1,), jnp.inf, values.dtype)
    padded = jnp.concatenate([high, jnp.where(jnp.isnan(values), jnp.inf, values), high])
    return jnp.sum((padded[1:-1] < padded[:-2]) & (padded[1:-1] <= padded[2:]))


# --- whole steps -------------------------------------------------------------------------------


def _by_steps(process, horizon, points: int, common) -> BestStopping:
    if not is_concrete(process, horizon):
        raise ValueError('clock="step" closes in on whole steps outside jit: use clock="time"')
    end = int(np.floor(float(horizon)))
    refuse_unless(end >= 1, f"horizon={show(horizon)} leaves no whole step to choose")
    grid = np.concatenate([np.linspace(0, end, points), np.geomspace(1, end, points)])
    steps, size = np.unique(np.round(grid)), 2 * points
    first = at = None
    while True:
        # every call has one size, so that one program serves them all
        padded = np.concatenate([steps, np.full(size - len(steps), steps[-1])])
        at = bound_path(process, steps=padded, **common)
        first = at if first is None else first
        values = np.asarray(at.value)[: len(steps)]
        best = int(np.argmin(np.where(np.isnan(values), np.inf, values)))
        low, high = steps[max(best - 1, 0)], steps[min(best + 1, len(steps) - 1)]
        if max(steps[best] - low, high - steps[best]) <= 1:
            break
        steps = np.unique(np.round(np.linspace(low, high, points)))
    step = steps[best]
    nan = jnp.full((), jnp.nan, first.value.dtype)
    kept = len(np.unique(np.asarray(first.times)))
    return BestStopping(
        time=at.times[best],
        value=at.value[best],
        kl=at.kl[best],
        risk=at.risk[best],
        value_start=first.value[0],
        value_end=first.value[kept - 1],
        slope=nan,
        place=jnp.asarray(0 if step == 0 else 2 if step == end else 1),
        minima=_count_minima(first.value[:kept]),
        path=jax.tree.map(lambda x: x[:kept] if x.ndim and x.shape[0] == size else x, first),
        status=jax.tree.map(lambda x: x[best], at.status),
        clock="step",
        risk_held_fixed=first.risk_held_fixed,
    )
