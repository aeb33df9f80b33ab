"""The target's bound along fine-tuning: as a function of SGD's step, or of the SDE's flow time.

    B(n) = risk(Q_n) + gap(KL(Q_n || Q_S), N_T, delta_T),        Q_0 = Q_S -> Q_n

Q_S is the law with which pre-training really ends, after its own steps, and Q_n the law that
fine-tuning has reached from there. At n = 0 the KL is zero: the bound is that of the pre-trained
model on the target. Fine-tuning lowers the risk and pays with KL, so there may be a best n.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._check import as_float, is_concrete, refuse_unless, require_finite, show, show_value
from .._status import Status, first_failure
from .._typing import ScalarLike
from ..laws import Gaussian
from ..stages import AbstractChain
from ..stages.transition import within
from .rows import Row, find_row
from .stage_bound import (
    Risk,
    StageBound,
    known_risks,
    row_name,
    sample_size,
    split_delta,
    stage_bound,
)
from .stage_laws import prior_of, require_two_stages


class BoundPath(eqx.Module):
    """The target's guarantee at each of `times`, and the source's, which does not change.

    `target` is a `StageBound` with arrays (times,) in all its fields, its terms (the parts of the
    discrepancy 2 KL) included. `clock` is "step" (SGD) or "time" (the SDE); `risk_held_fixed` says
    that the risk was a number, so that only the KL moves. A time at which the law has left the
    range of numbers is NaN, with its own `target.status`.
    """

    times: Float[Array, " times"]
    target: StageBound
    source: StageBound
    clock: str = eqx.field(static=True)
    risk_held_fixed: bool = eqx.field(static=True)
    bound: str = eqx.field(static=True)

    @property
    def value(self) -> Float[Array, " times"]:
        """risk + gap of the target."""
        return self.target.value

    @property
    def gap(self) -> Float[Array, " times"]:
        """What the bound adds to the empirical risk."""
        return self.target.gap

    @property
    def risk(self) -> Float[Array, " times"]:
        """The empirical risk on the target sample."""
        return self.target.risk

    @property
    def kl(self) -> Float[Array, " times"]:
        """KL(Q_n || Q_S), nats."""
        return self.target.kl

    @property
    def discrepancy(self) -> dict[str, Float[Array, " times"]]:
        """2 KL and its parts: `value` = `trace` + `logdet` + `dimension` + `shift`."""
        terms = self.target.terms
        names = ("trace", "logdet", "dimension", "shift")
        return {"value": 2 * self.kl} | {name: getattr(terms, name) for name in names}

    @property
    def status(self) -> Status:
        """ok, or the first failure of each time, (times,)."""
        return self.target.status


def bound_path(
    process: AbstractChain,
    *,
    steps=None,
    times=None,
    n_source: ScalarLike,
    n_target: ScalarLike,
    risk: ScalarLike | Risk,
    source_risk: ScalarLike | Risk | None = None,
    delta: ScalarLike,
    delta_split: tuple[ScalarLike, ScalarLike] = (0.5, 0.5),
    prior: Gaussian | None = None,
    bound: str | Row = "mcallester_he",
) -> BoundPath:
    """The two-stage bound at finite fine-tuning times, all of them in one compiled call.

    Give exactly one of `steps` (whole numbers, the chain's laws) and `times` (flow time learning
    rate x steps, the SDE's laws): arrays (times,) >= 0, beyond the stage's own length too (but not
    beyond a schedule). The rest is as in `two_stage_bound`; its value at law="finite" is the one
    here at step=finetune.steps.
    One bound holds at one time that is fixed or chosen from the target sample, because it holds for
    all posteriors at once: reading off the best time is free.

    A law that diverges (a learning rate beyond its limit, many steps) gives NaN at those times and
    a status, not an error. Differentiable in the process, and in `times`. Cost: one
    eigendecomposition of each Hessian, then O(d^3) a time.

    >>> from jaxou import Gaussian, Stage, TwoStage
    >>> source = Stage(
    ...     hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10, steps=99
    ... )
    >>> process = TwoStage(source, source.replace(minimum=0.1), Gaussian(0.0, 1.0))
    >>> path = bound_path(
    ...     process, steps=[0, 10, 99], n_source=9_000, n_target=900, risk=0.1, delta=0.05
    ... )
    >>> [round(float(x), 3) for x in path.kl], path.risk_held_fixed
    ([0.0, 0.403, 0.95], True)
    """
    require_two_stages(process)
    if (steps is None) == (times is None):
        raise ValueError(
            "give exactly one of steps= (SGD's law after so many fine-tuning steps) and times= "
            f"(the SDE's law at flow times); got steps={steps}, times={times}"
        )
    clock = "step" if times is None else "time"
    moments = _moments(process, steps if times is None else times, clock)
    (delta_source, delta_target), fine = split_delta(delta, delta_split)
    counts = sample_size(n_source, "n_source"), sample_size(n_target, "n_target")
    risk, source_risk = known_risks(risk, source_risk)
    source, target = _evaluate(
        process, moments, counts, (delta_source, delta_target), fine,
        prior_of(process, prior), risk, source_risk, find_row(bound), row_name(bound), clock,
    )  # fmt: skip
    return BoundPath(
        times=moments,
        target=target,
        source=source,
        clock=clock,
        risk_held_fixed=not callable(risk),
        bound=row_name(bound),
    )


def law_before(process: AbstractChain, clock: str) -> Gaussian:
    """Q_S: where pre-training ends, as SGD (clock "step") or as the SDE ("time")."""
    first = process.stages[0]
    if clock == "step":
        return process.law(0, step=first.steps)
    return process.law(0, time=first.duration)


def target_at(process, moment, source_law, n, delta, fine, risk, row, name, clock) -> StageBound:
    """The target's bound at one time of fine-tuning."""
    law = process.law(1, **{clock: moment})
    return stage_bound(
        law, source_law, risk, n, delta, row=row, name=name, split_is_fine=fine, throw=False
    )


@eqx.filter_jit
def _evaluate(process, moments, counts, deltas, fine, prior, risk, source_risk, row, name, clock):
    source_law = law_before(process, clock)
    make = partial(stage_bound, row=row, name=name, split_is_fine=fine, throw=False)
    source = make(source_law, prior, source_risk, counts[0], deltas[0], is_source=True)

    def at(moment):
        bound = target_at(
            process, moment, source_law, counts[1], deltas[1], fine, risk, row, name, clock
        )
        status = first_failure(source_law.status, bound.status)
        return eqx.tree_at(lambda b: b.status, bound, status)

    return source, jax.vmap(at)(moments)


def _moments(process, given, clock: str) -> Float[Array, " times"]:
    name = "steps" if clock == "step" else "times"
    moments = jnp.atleast_1d(as_float(given, name))
    if moments.ndim != 1 or moments.size == 0:
        raise ValueError(f"{name} must be an array (times,) of one or more, got {moments.shape}")
    require_finite(moments, name)
    if not is_concrete(moments):
        return moments
    smallest = show(np.min(moments))
    refuse_unless(moments >= 0, f"{name} holds {smallest}: fine-tuning starts at 0")
    if clock == "step":
        refuse_unless(
            moments == jnp.floor(moments),
            "steps must be whole numbers: ask for times= (flow time, learning rate x steps) to "
            "move continuously",
        )
    stage = process.stages[1]
    if stage.scheduled:
        end = stage.schedule_length if clock == "step" else stage.duration
        refuse_unless(
            within(stage, **{clock: moments}),
            f"{name} reach {show(np.max(moments))}, beyond the fine-tuning stage's schedule, which "
            f"ends at {show_value(end)}",
        )
    return moments
