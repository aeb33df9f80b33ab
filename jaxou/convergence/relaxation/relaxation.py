"""`relaxation`: how each stage of training approaches its steady law, exactly and by particles."""

import dataclasses
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._check import as_count, as_float
from ...particles.arguments import require_chain
from ...particles.methods.grid import flow_times
from ...particles.methods.method import position_law
from ...stages import PotentialStage, Stage
from ..pairing import refuse_diverged, require_pair, require_share
from .clock import CHAIN, SDE, Clock
from .directions import Direction, directions
from .lines import Line, line, reach
from .points import Points, points
from .rates import Rates, rates


@dataclass(frozen=True)
class Path:
    """The exact relaxation of one law, SGD's chain or the SDE.

    `line` as a `Line`; `tolerance_time` and `tolerance_steps`: the first time from which KL of the
    state to the steady law stays below the tolerance (inf if it never does; None under a schedule),
    `final_kl` that KL at the stage's end. `line` is None, and `reason` says why, where the steady
    law does not exist.
    """

    line: Line | None
    final_kl: float
    tolerance_time: float | None
    tolerance_steps: float | None
    reason: str = ""


@dataclass(frozen=True)
class StageRelaxation:
    """One stage: `chain` (SGD's steps), `sde` (flow time), `rates`, and the particles' `points`.

    `directions` are those that keep the stage from rest, worst first; empty when it is at rest
    within `tolerance` nats. `points` is None, with the reason in `no_points`, without a run.
    """

    name: str
    steps: float
    duration: float
    tolerance: float
    chain: Path
    sde: Path
    rates: Rates
    directions: tuple[Direction, ...]
    points: Points | None
    no_points: str
    scheduled: bool

    def reached(self, tolerance: float | None = None) -> bool:
        """Whether SGD's KL to its steady law is at most `tolerance` nats at the stage's end."""
        return self.chain.final_kl <= (self.tolerance if tolerance is None else tolerance)


@dataclass(frozen=True)
class Relaxation:
    """How every stage approaches its steady law; `print` it, or take it by stage name or index.

    `p_value` is that of all of the run's numbers together (Bonferroni over stages, save points
    and KL, W2, energy, all moments), None without a run; `decision` says whether it is below
    `level`.
    """

    stages: tuple[StageRelaxation, ...]
    tolerance: float
    level: float
    p_value: float | None

    @property
    def decision(self) -> str | None:
        """ "on the line", "off the line", or None without a run."""
        if self.p_value is None:
            return None
        return "off the line" if self.p_value < self.level else "on the line"

    def reached(self, tolerance: float | None = None) -> bool:
        """Whether every stage ends within `tolerance` nats of its steady law."""
        return all(stage.reached(tolerance) for stage in self.stages)

    def __getitem__(self, stage: int | str) -> StageRelaxation:
        names = [s.name for s in self.stages]
        if isinstance(stage, str) and stage not in names:
            raise KeyError(f"there is no stage {stage!r}; the stages are {names}")
        return self.stages[names.index(stage) if isinstance(stage, str) else stage]

    def as_dict(self) -> dict:
        """Numbers, lists, strings and None: ready for JSON but for infinities."""
        return _plain(dataclasses.asdict(self)) | {"decision": self.decision}

    def __str__(self) -> str:
        from .text import page

        return page(self)


def relaxation(
    process: Any,
    *,
    run: Any = None,
    times: Any = 32,
    tolerance: Any = 0.01,
    level: Any = 0.01,
) -> Relaxation:
    """How each stage of a process relaxes to its steady law: KL, W2 and energy against time.

    **Arguments:**

    - `process`: a `Chain` or `TwoStage` of quadratic stages. Each stage starts where the one before
      ended; with momentum the Gaussian law of (position, buffer or velocity) is propagated.
    - `run`: a run of it by `ou.simulate(process, save=K)`. Its moments at the save points are then
      compared with the exact line of the method that moved them.
    - `times`: points per stage (and its start), equally spaced in steps; or flow times since each
      stage's start, (K,). SGD's line is taken at the nearest whole steps.
    - `tolerance`: nats of KL below which a stage counts as relaxed.
    - `level`: the probability of calling any honest run "off the line".

    **Returns** a `Relaxation`: per stage the exact lines of SGD's chain and of the SDE, each to its
    own steady law, rates, the first time within `tolerance`, the directions that are not at rest,
    and the particles' points.

    KL of the state to the steady law decreases along both. Other distances need not: KL to the
    *initial* law, the one in PAC-Bayes bounds of a finite fine-tuning, can pass its limit and come
    back; so can W2 and the energy of a chain that starts too narrow, and with momentum the KL of
    the positions. A schedule has no steady law of its own: lines are towards the one that
    its last step's hyper-parameters belong to, and there is no time to a tolerance.

    Cost O(points d^3) per stage dense, O(points d) diagonal, whatever the number of steps. Raises
    `ValueError` or `TypeError` with advice for a process without exact lines, and for a run that
    cannot be of it.

    >>> from jaxou import Chain, Gaussian, Stage
    >>> stage = Stage(hessian=[1.0, 0.5], noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10,
    ...               steps=100)
    >>> found = relaxation(Chain([stage], initial=Gaussian([1.0, 0.0], 1.0)), times=4)[0]
    >>> found.reached(), found.chain.tolerance_steps, float(found.rates.slowest)
    (True, 60.0, 0.5)
    """
    _check(process, run, tolerance, level)
    stages, p_values = [], []
    for k, stage in enumerate(process.stages):
        found, reason = None, "no run was given"
        if run is not None:
            found = points(process, k, run)
            found, reason = (None, found) if isinstance(found, str) else (found, "")
        if found is not None:
            p_values.append(found.p_values.ravel())
        stages.append(_stage(process, k, stage, times, float(tolerance), found, reason))
    p_value = None
    if p_values:
        together = np.concatenate(p_values)
        p_value = float(min(1.0, together.size * together.min()))
    return Relaxation(tuple(stages), float(tolerance), float(level), p_value)


def _stage(process, k: int, stage: Stage, times, tolerance: float, found, reason: str):
    grids = _grids(stage, times)
    starts = [clock.enter(process, k) for clock in (CHAIN, SDE)]
    chain, sde = (
        _path(clock, stage, start, grid, tolerance)
        for clock, start, grid in zip((CHAIN, SDE), starts, grids, strict=True)
    )
    constant = stage.at_step(stage.schedule_length - 1) if stage.scheduled else stage
    position = process.position(starts[0])
    rests = [_steady(clock, stage)[0] for clock in (CHAIN, SDE)]
    rests = [None if law is None else position_law(law, stage.dimension) for law in rests]
    end = process.position(CHAIN.kernel(stage, stage.steps)(starts[0]))
    worst: tuple[Direction, ...] = ()
    if not chain.final_kl <= tolerance and bool(jnp.isfinite(end.mean).all()):
        worst = directions(constant, position, end, rests[0], tolerance)
    return StageRelaxation(
        name=process.names[k],
        steps=float(stage.steps),
        duration=float(stage.duration),
        tolerance=tolerance,
        chain=chain,
        sde=sde,
        rates=rates(constant, position, rests[1], rests[0]),
        directions=worst,
        points=found,
        no_points=reason,
        scheduled=stage.scheduled,
    )


def _path(clock: Clock, stage: Stage, start, grid, tolerance: float) -> Path:
    target, reason = _steady(clock, stage)
    if target is None:
        return Path(None, float("inf"), None if stage.scheduled else float("inf"), None, reason)
    steps, times = grid
    whole = stage.steps if clock.whole else stage.duration
    stretches = jnp.concatenate([steps if clock.whole else times, whole[None]])
    try:
        kl, state_kl, w2, energy, excess = line(clock, stage, start, target, stretches)
    except ValueError as error:  # the SDE with momentum under a schedule
        return Path(None, float("inf"), None, None, str(error))
    along = Line(steps, times, kl[:-1], state_kl[:-1], w2[:-1], energy[:-1], excess[:-1])
    if stage.scheduled:
        return Path(along, float(state_kl[-1]), None, None)
    found = reach(clock, stage, start, target, jnp.asarray(tolerance, kl.dtype))
    if clock.whole:
        return Path(along, float(state_kl[-1]), float(found * stage.learning_rate), float(found))
    return Path(along, float(state_kl[-1]), float(found), float(found / stage.learning_rate))


def _steady(clock: Clock, stage: Stage):
    """(steady law of the state, "") or (None, why there is none)."""
    try:
        return clock.steady(stage), ""
    except ValueError as error:
        return None, str(error)


def _grids(stage: Stage, times):
    """((steps, times) of the chain, (steps, times) of the SDE)."""
    if isinstance(times, Integral) and not isinstance(times, bool):
        times = as_count(times, "times")
        j = jnp.arange(times + 1, dtype=stage.steps.dtype)
        steps = jnp.unique(jnp.floor((j * stage.steps + 0.5) / times))
        flow = flow_times(stage, steps)
        return (steps, flow), (steps, flow)
    flow = jnp.atleast_1d(as_float(times, "times"))
    if flow.ndim != 1 or not bool(jnp.all(jnp.isfinite(flow) & (flow >= 0))):
        raise ValueError(
            "times must be a number of points per stage, or flow times >= 0 since a stage's start "
            f"(learning_rate x steps), shape (K,); got {times!r}"
        )
    if stage.scheduled:
        raise ValueError(
            "times=[...] needs constant learning rates; with a schedule give the number of points"
        )
    steps = jnp.round(flow / stage.learning_rate)
    return (steps, steps * stage.learning_rate), (flow / stage.learning_rate, flow)


def _check(process, run, tolerance, level):
    require_chain(process, "relaxation")
    for name, stage in zip(process.names, process.stages, strict=True):
        if isinstance(stage, PotentialStage):
            raise ValueError(
                f"{name} is a PotentialStage, whose laws have no closed form, so that there is no "
                "line to relax along: read run.moments and ou.Energy() of a long run, or "
                "approximate the loss by ou.Stage at its minimum"
            )
    if not (np.ndim(tolerance) == 0 and float(tolerance) > 0):
        raise ValueError(f"tolerance={tolerance} must be positive: a KL in nats, such as 0.01")
    require_share(level, "level", "the probability of a false alarm")
    if run is not None:
        require_pair(run, process, "relaxation")
        refuse_diverged(run.moments.variance)


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, eqx.Module):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return np.asarray(value).tolist()
    return value
