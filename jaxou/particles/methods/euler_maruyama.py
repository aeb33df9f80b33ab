"""Brute-force stepping of the stage's SDE, one normal per coordinate and step."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._check import is_concrete
from ..._typing import ScalarLike
from ...linalg import AbstractMatrix, General, Isotropic, eigh
from ...linalg.algebra import is_elementwise
from ...stages import integrator_kernel
from .columns import LowRankRoot, square_root, times
from .dynamics import Dynamics, dynamics
from .method import cast
from .stepper import AbstractStepper, AbstractSteps, read_step


class ConstantSteps(AbstractSteps):
    """y <- y + h push(y) + sqrt(h) kick(y, z), with h and sqrt(h) inside `dynamics`."""

    dynamics: Dynamics
    ticks: Float[Array, " points"]

    def __call__(self, state, normals, tick):
        return (state + self.dynamics.push(state)) + self.dynamics.kick(state, normals)


class ScheduledSteps(AbstractSteps):
    """y <- y + h (pull - F y) + root (amplitude z), with h and strength from a schedule.

    amplitude = sqrt(h (strength x spectrum + floor)).
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
    dynamics: None = None

    def __call__(self, state, normals, tick):
        step = jnp.floor((tick.astype(self.substeps.dtype) + 0.5) / self.substeps)
        step = jnp.clip(step.astype(jnp.int32), 0, self.sizes.shape[0] - 1)
        h, strength = self.sizes[step], self.strength[step]
        amplitude = jnp.sqrt(h * (strength * self.spectrum + self.floor))
        push = self.pull[:, None] - times(self.drift, state)
        return state + h * push + times(self.root, amplitude[:, None] * normals)

    @property
    def beforehand(self):
        return None

    @property
    def fused(self) -> bool:
        return is_elementwise(self.drift) and is_elementwise(self.root)

    @property
    def coordinates(self) -> int:
        return self.pull.shape[0]


class EulerMaruyama(AbstractStepper):
    """Steps the SDE of a stage in flow time with h = learning_rate / substeps.

        z <- z - h F (z - z*) + sqrt(h) N^{1/2} xi

    With `substeps=1` this *is* SGD with Gaussian noise; with momentum it is the integrator of the
    underdamped SDE, which differs from optax's buffer: use `SGD()` for that. `step=h` (a number,
    not traced) sets the step size itself; the stage's flow time must be a multiple of it. The law
    has a step bias of relative size h x curvature and its own steady state, `steady_law`.

    Takes a `PotentialStage` too, with noise that may depend on the state (in the sense of Ito), and
    schedules. Weak order 1.

    >>> import jax, jaxou as ou
    >>> stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=4,
    ...                  steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 0.0))
    >>> run = ou.simulate(chain, particles=500, key=jax.random.key(0), method=EulerMaruyama())
    >>> gap = EulerMaruyama().steady_law(stage).covariance - stage.stationary().covariance
    >>> run.final.shape, bool(abs(gap[0, 0]) < 1e-12), EulerMaruyama(substeps=4).weak_order
    ((500, 1), True, 1.0)
    """

    substeps: Float[Array, ""]
    step: Float[Array, ""] | None
    weak_order: ClassVar[float] = 1.0

    def __init__(self, substeps: ScalarLike = 1, *, step: ScalarLike | None = None):
        self.substeps, self.step = read_step(substeps, step)

    def one_step(self, stage):
        return integrator_kernel(stage, self.step_size(stage))

    def kernel(self, stage):
        if not stage.scheduled:
            return super().kernel(stage)
        if self.step is None and is_concrete(self.substeps) and self.substeps == 1:
            return stage.kernel(stage.steps)
        raise ValueError(
            "the law of EulerMaruyama on a scheduled stage is known for substeps=1 only "
            "(it is SGD's); compare with that, or split the stage into constant ones"
        )

    def refuse(self, stage, saves):
        if stage.scheduled and stage.has_momentum:
            raise ValueError(
                "EulerMaruyama cannot follow a schedule and momentum together, because the SDE's "
                "coefficients then change in every step; use SGD(), which is exact for both"
            )
        super().refuse(stage, saves)

    def plan(self, stage, grid, centre, dtype, known):
        if stage.scheduled:
            return self._scheduled(stage, grid, centre, dtype)
        h = self.step_size(stage)
        inside = dynamics(stage, centre, dtype, known, push=h, kick=jnp.sqrt(h))
        return ConstantSteps(inside, grid.ticks)

    def _scheduled(self, stage, grid, centre, dtype):
        first = stage.at_step(0)
        sizes = stage.learning_rate / self.substeps
        strength = jnp.ones_like(sizes)
        if isinstance(stage.noise, AbstractMatrix):
            # one example's noise is the same in all steps: only its strength follows the schedule
            strength = _relative_strength(stage) / _relative_strength(stage)[0]
        rate = first.replace(langevin_temperature=0.0).noise_rate()
        root, spectrum = _common_basis(rate, stage.preconditioner)
        floor = 2 * stage.langevin_temperature
        system = first.sde()
        pull = system.drift.matvec(system.fixed_point - centre)
        parts = cast((system.drift, pull, root, spectrum, floor, sizes, strength), dtype)
        return ScheduledSteps(*parts, grid.ticks, self.substeps)


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
