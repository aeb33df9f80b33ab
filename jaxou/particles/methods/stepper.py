"""What stepping methods share: a step size, a grid of steps, and their own exact law."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._check import as_count, is_concrete
from ..._typing import ScalarLike
from ...kernels import AffineGaussianKernel, as_step_count
from ..arguments import positive_number
from .dynamics import Dynamics
from .grid import Grid, equally_spaced, refuse_too_many_saves, step_grid
from .method import AbstractMethod, position_law
from .stepping import walk


class AbstractSteps(eqx.Module):
    """The plan of a stepper: called with (state, normals, tick) it makes one step.

    What a subclass has no `dynamics` for, it says itself.
    """

    ticks: eqx.AbstractVar[Float[Array, " points"]]
    dynamics: eqx.AbstractVar[Dynamics | None]

    @property
    def fused(self) -> bool:
        """Whether noise and update are one loop over particles."""
        return self.dynamics.fused

    @property
    def beforehand(self) -> Any:
        """What turns the normals of many steps into kicks at once, if that can be."""
        return self.dynamics.kick.beforehand

    @property
    def coordinates(self) -> int:
        """Normals per step and particle."""
        return self.dynamics.coordinates

    def enter(self, state):
        return state if self.dynamics is None else self.dynamics.enter(state)

    def leave(self, state):
        return state if self.dynamics is None else self.dynamics.leave(state)


def read_step(substeps: Any, step: ScalarLike | None) -> tuple[Array, Array | None]:
    """(substeps, step) as arrays; exactly one of them fixes the step size."""
    known = is_concrete(substeps)
    count = as_count(substeps, "substeps") if known else substeps
    if step is None:
        return as_step_count(count, "substeps"), None
    if not known or count != 1:
        raise ValueError("give substeps= or step=, not both: each fixes the step size")
    if not is_concrete(step):
        raise ValueError("step= takes a number known now; under jit use substeps=")
    return as_step_count(count, "substeps"), positive_number(step, "step")


class AbstractStepper(AbstractMethod):
    """A method that moves particles by steps of h = learning_rate / substeps, or h = step.

    The number of steps is data: no new step count, learning rate or batch size recompiles. Noise
    belongs to the absolute step, so a run that saves at every step and one that saves only at its
    end have the same final particles, bit for bit.
    """

    substeps: eqx.AbstractVar[Float[Array, ""]]
    step: eqx.AbstractVar[Float[Array, ""] | None]
    chain: ClassVar = "integrator"

    def step_size(self, stage):
        """h, in flow time."""
        return stage.learning_rate / self.substeps if self.step is None else self.step

    @abc.abstractmethod
    def one_step(self, stage) -> AffineGaussianKernel:
        """The kernel of a single step on the state, for a quadratic loss and no schedule."""

    def steady_law(self, stage):
        return position_law(self.one_step(stage).fixed_point(), stage.dimension)

    def kernel(self, stage):
        return self.one_step(stage).power(self.grid(stage, 1).ticks[-1])

    def refuse(self, stage, saves):
        if self.step is None:
            return refuse_too_many_saves(stage, saves)
        if stage.scheduled:
            raise ValueError("step= needs a constant learning rate; use substeps= with a schedule")
        if is_concrete(stage.learning_rate, stage.steps):
            duration, h = float(stage.learning_rate) * float(stage.steps), float(self.step)
            ratio = duration / h
            if abs(ratio - round(ratio)) > 1e-6 * ratio or round(ratio) < saves:
                raise ValueError(
                    f"step={h:g} does not divide the stage's flow time {duration:g} into a whole "
                    f"number of steps (it gives {ratio:g}) of at least save={saves}; use "
                    "substeps=, or a step that divides it"
                )

    def moves(self, stage):
        if self.step is not None:
            known = is_concrete(stage.steps, stage.learning_rate)
            return round(float(stage.duration) / float(self.step)) if known else None
        if not is_concrete(stage.steps, self.substeps):
            return None
        return int(stage.steps) * int(self.substeps)

    def grid(self, stage, saves):
        if self.step is None:
            grid = step_grid(stage, saves)
            return Grid(grid.steps * self.substeps, grid.steps, grid.times)
        total = jnp.round(stage.duration / self.step)
        ticks = equally_spaced(total, saves)
        flow = ticks * self.step
        return Grid(ticks, flow / stage.learning_rate, flow)

    def coordinates(self, plan: AbstractSteps) -> int:
        return plan.coordinates

    def enter(self, plan: AbstractSteps, position, velocity):
        return plan.enter(super().enter(plan, position, velocity))

    def leave(self, plan: AbstractSteps, state, dimension):
        return super().leave(plan, plan.leave(state), dimension)

    def advance(self, plan: AbstractSteps, state, noise, particles, save, stretch=None):
        first, last = (plan.ticks[k].astype(jnp.int32) for k in (save - 1, save))
        return walk(
            plan,
            state,
            noise,
            particles,
            first,
            last,
            fused=plan.fused,
            kick=plan.beforehand,
            stretch=stretch,
        )
