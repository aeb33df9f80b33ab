"""Brute-force stepping of the stage's SDE, one normal per coordinate and step."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._check import as_float, is_concrete
from .._typing import ScalarLike
from ..linalg import AbstractMatrix, General, Isotropic, eigh
from ..linalg.algebra import is_elementwise
from ..stages import integrator_kernel
from .columns import LowRankRoot, square_root, times
from .grid import Grid, refuse_too_many_saves, step_grid
from .method import AbstractMethod, cast, position_law


class Steps(eqx.Module):
    """One Euler-Maruyama step of a stage: y <- y + h (pull - F y) + root (amplitude z).

    amplitude = sqrt(h (strength x spectrum + floor)); h and strength are one number, or follow a
    schedule, and spectrum and floor are 1 and 0 unless they do.
    """

    drift: AbstractMatrix
    pull: Float[Array, " D"]
    root: AbstractMatrix | LowRankRoot
    spectrum: Float[Array, " D"]
    floor: Float[Array, ""]
    sizes: Float[Array, " lengths"]
    strength: Float[Array, " lengths"]
    ticks: Float[Array, " points"]
    substeps: Float[Array, ""]

    def __call__(self, state, normals, tick):
        h, strength = self.sizes[0], self.strength[0]
        if self.sizes.shape[0] > 1:  # a schedule: look the step up
            step = jnp.floor((tick.astype(self.substeps.dtype) + 0.5) / self.substeps)
            step = jnp.clip(step.astype(jnp.int32), 0, self.sizes.shape[0] - 1)
            h, strength = self.sizes[step], self.strength[step]
        amplitude = jnp.sqrt(h * (strength * self.spectrum + self.floor))
        push = self.pull[:, None] - times(self.drift, state)
        return state + h * push + times(self.root, amplitude[:, None] * normals)


class EulerMaruyama(AbstractMethod):
    """Steps the SDE of a stage in flow time with h = learning_rate / substeps.

        z <- z - h F (z - z*) + sqrt(h) N^{1/2} xi

    With `substeps=1` this *is* SGD with Gaussian noise; with momentum it is the integrator of the
    underdamped SDE, which differs from optax's buffer: use `SGD()` for that. `step=h` (a number,
    not traced) sets the step size itself; the stage's flow time must be a multiple of it. The law
    has a step bias of relative size h x curvature and its own steady state, `steady_law`.

    The number of steps is data: no new step count, learning rate or batch size recompiles.
    Noise belongs to the absolute step, so a run that saves at every step and one that saves only
    at its end have the same final particles, bit for bit. Stepping runs under forward-mode
    derivatives; for reverse mode differentiate a law, or jump with `SGD`.
    """

    substeps: Float[Array, ""]
    step: Float[Array, ""] | None
    weak_order: ClassVar[float] = 1.0
    chain: ClassVar = "integrator"

    def __init__(self, substeps: ScalarLike = 1, *, step: ScalarLike | None = None):
        self.substeps = as_float(substeps, "substeps")
        if is_concrete(self.substeps) and (self.substeps < 1 or self.substeps % 1 != 0):
            raise ValueError(f"substeps={substeps} must be a whole number of at least 1")
        if step is not None:
            if substeps != 1:
                raise ValueError("give substeps= or step=, not both: each fixes the step size")
            if not is_concrete(step):
                raise ValueError("step= takes a number known now; under jit use substeps=")
            if not float(step) > 0:
                raise ValueError(f"step={step} must be positive")
        self.step = None if step is None else as_float(step, "step")

    def step_size(self, stage):
        """h, in flow time."""
        return stage.learning_rate / self.substeps if self.step is None else self.step

    def one_step(self, stage):
        """The kernel of a single step on the state, for a stage without a schedule."""
        return integrator_kernel(stage, self.step_size(stage))

    def steady_law(self, stage):
        return position_law(self.one_step(stage).fixed_point(), stage.dimension)

    def kernel(self, stage):
        if stage.scheduled:
            if self.step is None and is_concrete(self.substeps) and self.substeps == 1:
                return stage.kernel(stage.steps)
            raise ValueError(
                "the law of EulerMaruyama on a scheduled stage is known for substeps=1 only "
                "(it is SGD's); compare with that, or split the stage into constant ones"
            )
        return self.one_step(stage).power(self.grid(stage, 1).ticks[-1])

    def refuse(self, stage, saves):
        if stage.scheduled and stage.has_momentum:
            raise ValueError(
                "EulerMaruyama cannot follow a schedule and momentum together, because the SDE's "
                "coefficients then change in every step; use SGD(), which is exact for both"
            )
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

    def grid(self, stage, saves):
        if self.step is None:
            grid = step_grid(stage, saves)
            return Grid(grid.steps * self.substeps, grid.steps, grid.times)
        total = jnp.round(stage.duration / self.step)
        ticks = jnp.floor((jnp.arange(saves + 1, dtype=total.dtype) * total + 0.5) / saves)
        flow = ticks * self.step
        return Grid(ticks, flow / stage.learning_rate, flow)

    def plan(self, stage, grid, centre, dtype):
        if stage.scheduled:
            sde, noise = self._scheduled(stage)
        else:
            sde, h = stage.sde(), self.step_size(stage)
            one, zero = jnp.ones(centre.shape[0], h.dtype), jnp.zeros((), h.dtype)
            noise = (square_root(sde.noise), one, zero, h[None], one[:1])
        pull = sde.drift.matvec(sde.fixed_point - centre)
        return Steps(*cast((sde.drift, pull, *noise), dtype), grid.ticks, self.substeps)

    def _scheduled(self, stage):
        first = stage.at_step(0)
        sizes = stage.learning_rate / self.substeps
        strength = jnp.ones_like(sizes)
        if isinstance(stage.noise, AbstractMatrix):
            # one example's noise is the same in all steps: only its strength follows the schedule
            strength = _relative_strength(stage) / _relative_strength(stage)[0]
        rate = first.replace(langevin_temperature=0.0).noise_rate()
        root, spectrum = _common_basis(rate, stage.preconditioner)
        return first.sde(), (root, spectrum, 2 * stage.langevin_temperature, sizes, strength)

    def coordinates(self, plan: Steps) -> int:
        return plan.pull.shape[0]

    def advance(self, plan, state, noise, particles, save):
        first = plan.ticks[save - 1].astype(jnp.int32)
        last = plan.ticks[save].astype(jnp.int32)

        def two_steps(pair, state):
            # an interval may start or end inside a pair: the other half is computed and dropped
            for half, normals in enumerate(noise.pair(particles, pair)):
                tick = 2 * pair + half
                moved = plan(state, normals, tick)
                state = jnp.where((tick >= first) & (tick < last), moved, state)
            return state

        return lax.fori_loop(first // 2, (last + 1) // 2, two_steps, state)


def _relative_strength(stage):
    """The strength of gradient noise per flow time at every step, up to a constant."""
    ratio = stage.learning_rate / stage.batch_size
    if stage.population is None:
        return ratio
    return ratio * (stage.population - stage.batch_size)


def _common_basis(rate: AbstractMatrix, preconditioner: AbstractMatrix | None):
    """(B, g) with B (f diag(g) + t) B^T = f P N P + t P for all numbers f and t, P = I if None.

    B = P^1/2 V, where V diag(g) V^T = P^1/2 N P^1/2.
    """
    if preconditioner is None:
        if is_elementwise(rate):
            one = Isotropic(1.0, rate.dimension, check=False)
            return one, rate.diagonal_part()
        values, vectors = eigh(rate.dense())
        return General(vectors, check=False), jnp.maximum(values, 0.0)
    half = square_root(preconditioner)
    if is_elementwise(rate, half):
        return half, half.diagonal_part() ** 2 * rate.diagonal_part()
    half = half.dense()
    values, vectors = eigh(half @ rate.dense() @ half)
    return General(half @ vectors, check=False), jnp.maximum(values, 0.0)
