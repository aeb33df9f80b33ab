"""Exact samples of the SDE at the save points."""

from typing import ClassVar

import jax.numpy as jnp

from .grid import flow_grid, refuse_too_many_saves, schedule_parts, step_grid
from .jumps import AbstractJump, plan_jumps


class Exact(AbstractJump):
    """Samples of the stage's SDE, without step bias, at K equally spaced flow times
    (for a schedule: steps).

        theta(s + u) = theta* + e^{-A u} (theta(s) - theta*) + N(0, G(u))          (3.1)

    Right for every pair of Hessian and noise, commuting or not, singular or not. Its law differs
    from SGD's by terms of relative size learning_rate x curvature: use `SGD` for those.

    >>> import jax, jaxou as ou
    >>> stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=4,
    ...                  steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 0.0))
    >>> run = ou.simulate(chain, particles=4_000, key=jax.random.key(0), method=Exact())
    >>> gap = float(run.final.var()) / float(chain.law(time=5.0).covariance[0, 0]) - 1
    >>> run.final.shape, bool(abs(gap) < 4 * (2 / 4_000) ** 0.5)
    ((4000, 1), True)
    """

    weak_order: ClassVar[float] = float("inf")
    chain: ClassVar = "sde"

    def steady_law(self, stage):
        return stage.gibbs()

    def kernel(self, stage):
        return stage.flow(stage.duration)

    def refuse(self, stage, saves):
        super().refuse(stage, saves)
        if stage.scheduled:
            refuse_too_many_saves(stage, saves)

    def grid(self, stage, saves):
        if stage.scheduled:
            return step_grid(stage, saves)
        return flow_grid(stage, saves)

    def plan(self, stage, grid, centre, dtype, known):
        if stage.scheduled:
            kernels = [part.flow(part.duration) for part in schedule_parts(stage, grid.saves)]
            return plan_jumps(kernels, jnp.arange(grid.saves), centre, dtype)
        interval = grid.times[-1] / grid.saves
        which = jnp.zeros(grid.saves, jnp.int32)
        return plan_jumps([stage.flow(interval)], which, centre, dtype)
