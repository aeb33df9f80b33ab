"""Escape times from a well, seen at the save points of a run, most of them cut off by its end.

A particle's clock starts when it is first seen in the core of one well and stops when it is first
seen in the core of another: a committed transition. Looks over the saddle and back count for
nothing. What save points can miss is a visit to the target's core that is over before the next
one; with cores deep inside the wells that takes an escape back within one gap. A crossing is known
to lie between two save points only, and is put in the middle.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._check import as_float, show
from .._typing import Scalar
from ..particles import Run
from .frames import frames, save_points
from .null_laws import chi2_quantile, chi2_tail
from .pairing import require_share

_tail = jax.jit(chi2_tail)

BINS = 10
PER_BIN = 20
"""Events that a bin of the test of exponentiality must expect."""


class Escapes(eqx.Module):
    """First passages with censoring: durations, and the rate if it is one.

    - `rate` = events / exposure, the maximum of the exponential likelihood, with `standard_error` =
      rate / events^(1/2); `events`, and `exposure`, the time that all particles together were
      watched while they had not escaped. Without events rate and error are 0: see `upper_limit`.
    - `p_value` of the claim that the hazard is constant, so that durations are exponential: events
      in bins of the clock against rate x exposure there, chi-square (NaN below 40 events).
    - `clock` (k,), `survival` (k,) and `survival_error` (k,): Kaplan and Meier's curve with
      Greenwood's error, which assumes no law of the durations.
    - `durations` (n,), `escaped` (n,): of the particles that were watched, from `settle` on.
    """

    rate: Scalar
    standard_error: Scalar
    events: int = eqx.field(static=True)
    exposure: Scalar
    p_value: Scalar
    clock: Float[Array, " k"]
    survival: Float[Array, " k"]
    survival_error: Float[Array, " k"]
    durations: Float[Array, " n"]
    escaped: Bool[Array, " n"]

    @property
    def mean_time(self) -> Scalar:
        """1 / rate, inf without events."""
        return 1 / self.rate

    def upper_limit(self, alpha: Any = 0.05) -> Scalar:
        """The rate is below this with confidence 1 - alpha, exactly; also without any event."""
        # Garwood 1936: 2 rate exposure is chi-square with 2 (events + 1) degrees of freedom
        require_share(alpha, "alpha", "1 minus the confidence")
        degrees = jnp.asarray(2.0 * (self.events + 1))
        return chi2_quantile(jnp.asarray(alpha), degrees) / (2 * self.exposure)

    def __str__(self) -> str:
        watched = f"{len(self.durations):,} particles watched for {show(self.exposure)} in all"
        if not self.events:
            limit = show(self.upper_limit())
            return f"no escape ({watched}): the rate is below {limit} with 95 % confidence"
        p = "" if np.isnan(self.p_value) else f"; constant hazard: p = {float(self.p_value):.3g}"
        return (
            f"{self.events:,} escapes ({watched}): rate {float(self.rate):.3g} ± "
            f"{float(self.standard_error):.2g}, mean time {float(self.mean_time):.3g}{p}"
        )


def escape_times(
    source: Any,
    *,
    start: Callable,
    target: Callable,
    settle: Any = 0.0,
    times: Any = None,
    first: int = 0,
    last: int | None = None,
) -> Escapes:
    """Escapes from the core `start` to the core `target` among a run's particles.

    **Arguments:** `source`, a run with `observe=ou.Paths(k)` or `ou.Snapshots(directory)`, or what
    `ou.read_snapshots` returns (then give `times`, (saves,)); `start` and `target`, functions
    x (d,) -> true or false of two sets that do not meet; `settle`, how long after a particle was
    first seen in `start` it is left alone before it counts, so that the well's own relaxation is
    over; `first`, `last`, the save points to use (a single stage of a chain).

    Rates are per unit of flow time. Save often: what is lost between save points delays an escape
    by about half a gap, which is accounted for, and looking at discrete times moves the target's
    edge, which is not (`mean_first_passage(gap=...)` says by how much). Raises `ValueError` where
    no particle was seen in `start`, where the two sets meet, and for times that are not the run's.

    >>> import jaxou as ou
    >>> well = ou.PotentialStage(lambda x: jnp.sum((x**2 - 1) ** 2) / 4, dimension=1,
    ...                          noise=ou.Temperature(0.1), learning_rate=0.05, steps=1000)
    >>> chain = ou.Chain([well], initial=ou.Gaussian([-1.0], 0.0))
    >>> run = ou.simulate(chain, particles=200, key=jax.random.key(0), save=250,
    ...                   method=ou.EulerMaruyama(), observe=ou.Paths(200))
    >>> found = escape_times(run, start=lambda x: x[0] < -0.8, target=lambda x: x[0] > 0.8)
    >>> bool(abs(found.rate - 0.016) < 4.5 * found.standard_error)
    True
    """
    clock = _times(source, times)
    total = save_points(source)
    if len(clock) != total:
        raise ValueError(f"times has {len(clock)} entries for {total} save points: give run.times")
    if not settle >= 0:
        raise ValueError(f"settle={settle} must be >= 0: a time")
    entered = stopped = None
    inside = [_test(f) for f in (start, target)]
    for k, points in frames(source, first, last):
        here, there = (np.asarray(f(points)) for f in inside)
        if entered is None:
            entered, stopped = (np.full(len(points), -1) for _ in range(2))
        if (here & there).any():
            raise ValueError(
                f"a particle is in start and target at once at save point {k}: the two cores must "
                "not meet"
            )
        entered[(entered < 0) & here] = k
        stopped[(entered >= 0) & (stopped < 0) & there] = k
        end = k
    watched = entered >= 0
    if not watched.any():
        raise ValueError("no particle was ever seen in start: is its test the right one?")
    entered, stopped = entered[watched], stopped[watched]
    escaped = stopped >= 0
    ends = np.where(escaped, (clock[stopped] + clock[np.maximum(stopped, 1) - 1]) / 2, clock[end])
    lengths = ends - clock[entered] - settle
    kept = lengths > 0
    if not kept.any():
        raise ValueError(f"settle={settle:g} is longer than every particle was watched")
    return summarise(lengths[kept], escaped[kept])


def summarise(durations: Any, escaped: Any) -> Escapes:
    """The record of durations (n,), of which `escaped` (n,) ended and the others were cut off.

    >>> found = summarise([1.0, 2.0, 3.0, 4.0], [True, True, False, False])
    >>> float(found.rate), found.survival.tolist()
    (0.2, [0.75, 0.5])
    """
    durations, escaped = np.asarray(durations, float), np.asarray(escaped, bool)
    if durations.ndim != 1 or durations.shape != escaped.shape or not (durations > 0).all():
        raise ValueError("durations must be positive numbers (n,), with escaped (n,) beside them")
    events, exposure = int(escaped.sum()), float(durations.sum())
    rate = events / exposure
    clock, survival, error = _kaplan_meier(durations, escaped)
    return Escapes(
        rate=as_float(rate),
        standard_error=as_float(events**0.5 / exposure),
        events=events,
        exposure=as_float(exposure),
        p_value=as_float(_constant_hazard(durations, escaped, rate)),
        clock=as_float(clock),
        survival=as_float(survival),
        survival_error=as_float(error),
        durations=as_float(durations),
        escaped=jnp.asarray(escaped),
    )


def _kaplan_meier(durations, escaped):
    clock, deaths = np.unique(durations[escaped], return_counts=True)
    at_risk = len(durations) - np.searchsorted(np.sort(durations), clock, side="left")
    survival = np.cumprod(1 - deaths / at_risk)
    left = np.maximum(at_risk - deaths, 1)
    return clock, survival, survival * np.sqrt(np.cumsum(deaths / (at_risk * left)))


def _constant_hazard(durations, escaped, rate):
    """The p-value of equal hazards in bins of equal exposure."""
    bins = min(BINS, int(escaped.sum()) // PER_BIN)
    if bins < 2:
        return np.nan
    order = np.sort(durations)
    # exposure up to time t: sum of min(duration, t)
    before = np.concatenate([[0.0], np.cumsum(order)])
    total = before[:-1] + order * (len(order) - np.arange(len(order)))
    edges = np.interp(np.arange(1, bins) / bins * total[-1], total, order)
    edges = np.concatenate([[0.0], edges, [np.inf]])
    exposure = np.diff([np.minimum(durations, edge).sum() for edge in edges])
    seen = np.histogram(durations[escaped], edges)[0]
    expected = rate * exposure
    statistic = np.sum((seen - expected) ** 2 / expected)
    return _tail(as_float(statistic), as_float(bins - 1.0))


def _test(function):
    def one(x):
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return jnp.asarray(function(x)).reshape(()) != 0

    return jax.jit(jax.vmap(one))


def _times(source, times) -> np.ndarray:
    if times is None:
        if not isinstance(source, Run):
            raise ValueError("snapshots do not say their times: give times=run.times")
        times = source.times
    clock = np.asarray(times, float)
    if clock.ndim != 1 or not (np.diff(clock) > 0).all():
        raise ValueError(
            "escape times need one clock that all particles share, with save points that increase"
        )
    return clock
