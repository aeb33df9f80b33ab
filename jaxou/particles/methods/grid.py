"""Where a run is looked at: the save points of one stage, on its three clocks."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._check import is_concrete


class Grid(eqx.Module):
    """The start of a stage and its K save points, counted from the start: K + 1 entries each.

    `ticks` counts the method's own moves (SGD steps, integrator steps), `steps` counts SGD steps
    and `times` is flow time, learning rate x steps.
    """

    ticks: Float[Array, " points"]
    steps: Float[Array, " points"]
    times: Float[Array, " points"]

    @property
    def saves(self) -> int:
        return self.ticks.shape[0] - 1


def equally_spaced(total: Array, saves: int) -> Array:
    """floor(j total / K) for j = 0..K: whole numbers whose gaps differ by at most one.

    >>> equally_spaced(jnp.asarray(10.0), 3).tolist()
    [0.0, 3.0, 6.0, 10.0]
    """
    j = jnp.arange(saves + 1, dtype=total.dtype)
    # + 0.5 keeps j total / K from falling below a whole number by rounding
    return jnp.floor((j * total + 0.5) / saves)


def step_grid(stage, saves: int) -> Grid:
    """Save points at whole SGD steps."""
    steps = equally_spaced(jnp.asarray(stage.steps), saves)
    return Grid(steps, steps, flow_times(stage, steps))


def flow_grid(stage, saves: int) -> Grid:
    """Save points at equal flow times, which need not be whole steps."""
    fraction = jnp.arange(saves + 1, dtype=stage.duration.dtype) / saves
    steps = fraction * stage.steps
    return Grid(steps, steps, fraction * stage.duration)


def refuse_too_many_saves(stage, saves: int) -> None:
    """At most one save point per SGD step."""
    if is_concrete(stage.steps) and float(stage.steps) < saves:
        raise ValueError(
            f"save={saves} asks for more save points than the stage has steps "
            f"({float(stage.steps):g}); save at most once per step"
        )


def flow_times(stage, steps: Array) -> Array:
    """Flow time after a whole number of steps, also under a schedule."""
    if not stage.scheduled:
        return stage.learning_rate * steps
    elapsed = jnp.concatenate([jnp.zeros(1), jnp.cumsum(stage.learning_rate)])
    return elapsed[steps.astype(jnp.int32)]


def schedule_parts(stage, saves: int) -> list:
    """A scheduled stage cut at its save points: a list of `saves` scheduled stages.

    The steps of a schedule are a shape, so this works while its numbers are traced.
    """
    ends = [j * stage.schedule_length // saves for j in range(saves + 1)]
    return [_part(stage, a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]


def _part(stage, first: int, last: int):
    etas, batches = stage.learning_rate[first:last], stage.batch_size[first:last]
    # a stage wants to know its number of steps, which inside jit is a tracer unless it is told so
    with jax.ensure_compile_time_eval():
        return stage.replace(learning_rate=etas, batch_size=batches, steps=last - first)
