"""Whose relaxation: SGD's own chain, the SDE, or an integrator; each with its own time."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ...kernels import AffineGaussianKernel
from ...laws import Gaussian
from ...particles.methods import SGD, AbstractStepper, Exact
from ...particles.run import Run
from ...stages import AbstractChain, Stage


class Clock(eqx.Module):
    """A method's kernels over any stretch of a stage, and the law of the state they settle to.

    A stretch is counted in `unit`s: steps of SGD, flow time of the SDE, or an integrator's steps.
    The state is the position; with momentum (position, buffer) or (position, velocity).
    """

    method: Any

    @property
    def unit(self) -> str:
        return {"sgd": "steps", "sde": "flow time"}.get(self.method.chain, "integrator steps")

    @property
    def whole(self) -> bool:
        """Whether stretches are whole numbers."""
        return self.method.chain != "sde"

    def size(self, stage: Stage):
        """The flow time of one unit."""
        if self.method.chain == "sde":
            return jnp.ones_like(stage.steps)
        if self.method.chain == "sgd":
            return stage.learning_rate
        return self.method.step_size(stage)

    def kernel(self, stage: Stage, stretch) -> AffineGaussianKernel:
        """The state's kernel over a stretch of the stage, from its start."""
        if self.method.chain == "sgd":
            return stage.kernel(stretch)
        if self.method.chain == "sde":
            return stage.flow(stretch)
        return self.method.one_step(stage).power(stretch)

    def stretches(self, stage: Stage, run: Run, rows: np.ndarray) -> np.ndarray:
        """The clock's time at some rows of a run since the first of them."""
        values = since_start(run.steps if self.method.chain == "sgd" else run.times, rows)
        if self.method.chain == "integrator":
            return np.round(values / float(self.size(stage)))
        return values

    def enter(self, process: AbstractChain, k: int) -> Gaussian:
        """The law of the state with which stage k starts."""
        law = process.initial
        for j, stage in enumerate(process.stages[: k + 1]):
            law = self.method.enter_law(process, j, law)
            if j < k:
                law = self.method.kernel(stage)(law)
        return law

    def steady(self, stage: Stage) -> Gaussian:
        """The state's steady law; of a schedule the one that its last step's numbers belong to.

        Raises `ValueError` with advice where there is none.
        """
        if stage.scheduled:
            stage = stage.at_step(stage.schedule_length - 1)
        if isinstance(self.method, AbstractStepper):
            return self.method.one_step(stage).fixed_point()
        law = stage.gibbs() if self.method.chain == "sde" else self.method.steady_law(stage)
        return law.joint() if stage.has_momentum else law


def clock_of(method: Any) -> Clock:
    """The clock of a simulation method; that of a solver of the SDE is the SDE's own."""
    return Clock(Exact() if method.chain == "sde" else method)


def stage_rows(run: Run, k: int) -> np.ndarray:
    """The rows of stage k of a run, the last one of the stage before as its start."""
    rows = np.flatnonzero(np.asarray(run.stages) == k)
    return rows if k == 0 else np.concatenate([[rows[0] - 1], rows])


def since_start(values: Any, rows: np.ndarray) -> np.ndarray:
    """Times or steps of a run at some rows, counted from the first of them."""
    seen = np.asarray(values, float)[rows]
    return seen - seen[0]


CHAIN, SDE = Clock(SGD()), Clock(Exact())
"""SGD's own chain, and the SDE."""
