"""From a chain of stages to what its particles share: plans, clocks and centres."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from .engine import ChainPlan, StagePlan
from .methods.columns import square_root
from .methods.method import cast
from .random import INITIAL, stream


@eqx.filter_jit
def plan_chain(process: Any, saves, method, key, dtype, known: bool) -> tuple:
    """(ChainPlan, noise streams, (times, steps) of all rows, centres) of one chain."""
    centres = tuple(_centre(stage) for stage in process.stages)
    plan, clocks = _plan(process, saves, method, centres, dtype, known)
    return plan, _noises(plan, method, key, dtype), clocks, jnp.stack(centres)


@eqx.filter_jit
def plan_each(build: Callable, values: Any, saves, method, key, dtype) -> tuple:
    """The same with a chain per particle, `build(value)`; all are measured from one centre."""
    processes = eqx.filter_vmap(build)(values)
    centres = eqx.filter_vmap(lambda p: tuple(_centre(s) for s in p.stages))(processes)
    centres = tuple(jnp.mean(c, axis=0) for c in centres)
    plan, clocks = eqx.filter_vmap(lambda p: _plan(p, saves, method, centres, dtype, False))(
        processes
    )
    one = jax.tree.map(lambda x: x[0] if eqx.is_array(x) else x, plan)
    return plan, _noises(one, method, key, dtype), clocks, jnp.stack(centres)


def _plan(process, saves, method, centres, dtype, known):
    grids = tuple(method.grid(stage, k) for stage, k in zip(process.stages, saves, strict=True))
    plans, before = [], centres[0]
    for index, (stage, grid, centre) in enumerate(zip(process.stages, grids, centres, strict=True)):
        rest = jnp.zeros(stage.state_dimension - process.dimension, centre.dtype)
        start = jnp.concatenate([centre, rest])
        plan = method.of_stage(index).plan(stage, grid, start, dtype, known)
        momentum = cast(_carried(process, index, method), dtype)
        entry = cast(before - centre, dtype)
        moving = stage.has_momentum or method.has_velocity
        plans.append(StagePlan(plan, entry, momentum, centre, grid.saves, moving))
        before = centre
    start = cast(process.initial.mean - centres[0], dtype)
    root = cast(square_root(process.initial.operator), dtype)
    return ChainPlan(start, root, tuple(plans)), _clocks(grids)


def _noises(plan: ChainPlan, method, key, dtype):
    draws = [stream(key, INITIAL, plan.start.shape[-1], dtype)]
    for index, stage in enumerate(plan.stages):
        draws.append(stream(key, index + 1, method.coordinates(stage.plan), dtype))
    return tuple(draws)


def _centre(stage):
    # any point serves; where the Hessian is singular the minimum may be far away or undefined
    centre = lax.stop_gradient(stage.effective_minimum)
    return jnp.where(jnp.isfinite(centre).all(), centre, jnp.zeros_like(centre))


def _carried(process, index: int, method):
    """What is kept of the buffer or velocity when stage `index` starts, as a factor."""
    one = jnp.ones((), process.initial.mean.dtype)
    if not process.carry_momentum or index == 0:
        return 0 * one
    stage, before = process.stages[index], process.stages[index - 1]
    if method.chain == "sgd" or not (stage.has_momentum and before.has_momentum):
        return one
    # the velocity per step is -learning_rate x buffer, and the buffer is what is kept
    return stage.learning_rate / before.learning_rate


def _clocks(grids):
    """Cumulative flow time and steps of every row; row 0 is the start."""
    times, steps = [jnp.zeros(1)], [jnp.zeros(1)]
    for grid in grids:
        times.append(times[-1][-1] + grid.times[1:])
        steps.append(steps[-1][-1] + grid.steps[1:])
    return jnp.concatenate(times), jnp.concatenate(steps)


def known_stretch(process: Any, saves, method) -> tuple[int, int] | None:
    """The fewest and most moves between two save points; None if they are traced or not steps."""
    shortest, longest = [], []
    for stage, k in zip(process.stages, saves, strict=True):
        moves = method.moves(stage)
        if moves is None:
            return None
        shortest.append(moves // k)
        longest.append(-(-moves // k))
    return min(shortest), max(longest)
