"""Exact samples of SGD's own chain at the save points."""

from typing import ClassVar

import jax.numpy as jnp
from jax import lax

from .grid import refuse_too_many_saves, schedule_parts, step_grid
from .jumps import AbstractJump, plan_jumps


class SGD(AbstractJump):
    """Samples of SGD with Gaussian gradient noise, by its exact n-step kernel between saves.

        theta <- theta - eta A (theta - theta*) - (eta / sqrt(b)) B xi            (2.1), n times

    Momentum, weight decay and schedules are the stage's and are followed exactly. For real
    step-by-step simulation of the same chain use `EulerMaruyama()`.

    >>> import jax, jaxou as ou
    >>> stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=4,
    ...                  steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 0.0))
    >>> run = ou.simulate(chain, particles=4_000, key=jax.random.key(0), method=SGD())
    >>> gap = float(run.final.var()) / float(chain.law(step=50).covariance[0, 0]) - 1
    >>> run.final.shape, bool(abs(gap) < 4 * (2 / 4_000) ** 0.5)
    ((4000, 1), True)
    """

    weak_order: ClassVar[float] = 1.0
    chain: ClassVar = "sgd"

    def steady_law(self, stage):
        return stage.stationary()

    def kernel(self, stage):
        return stage.kernel(stage.steps)

    def refuse(self, stage, saves):
        super().refuse(stage, saves)
        refuse_too_many_saves(stage, saves)

    def grid(self, stage, saves):
        return step_grid(stage, saves)

    def plan(self, stage, grid, centre, dtype, known):
        if stage.scheduled:
            kernels = [part.kernel(part.steps) for part in schedule_parts(stage, grid.saves)]
            return plan_jumps(kernels, jnp.arange(grid.saves), centre, dtype)
        # gaps of an equally spaced grid are n or n + 1, so two kernels serve all saves
        gaps = jnp.diff(grid.steps)
        short = jnp.min(gaps)
        kernel = stage.kernel(short)
        which = (gaps > short).astype(jnp.int32)
        longer = lax.cond(jnp.any(gaps > short), lambda: stage.kernel(short + 1), lambda: kernel)
        return plan_jumps([kernel, longer], which, centre, dtype)
