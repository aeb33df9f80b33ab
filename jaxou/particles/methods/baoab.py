"""Underdamped Langevin dynamics by splitting: kick, drift, friction and noise, drift, kick."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._typing import ScalarLike
from ...kernels import AffineGaussianKernel
from ...laws import Gaussian
from ...linalg import Dense, General
from ..arguments import positive_number
from .dynamics import Dynamics, dynamics
from .stepper import AbstractStepper, AbstractSteps, read_step


class SplitSteps(AbstractSteps):
    """One BAOAB step on (x, v), or on (x, v, force) where steps are not fused.

    `dynamics` has h / 2 inside its force and the noise of a whole step inside its kick.
    """

    dynamics: Dynamics
    half: Float[Array, ""]
    damping: Float[Array, ""]
    ticks: Float[Array, " points"]

    def __call__(self, state, normals, tick):
        x, v, *force = state
        # in a fused body the compiler sees that this is the last evaluation of the step before
        v = v + (force[0] if force else self.dynamics.push(x))
        x = x + self.half * v
        v = self.damping * v + self.dynamics.kick(x, normals)
        x = x + self.half * v
        push = self.dynamics.push(x)
        return (x, v + push, push) if force else (x, v + push)


class BAOAB(AbstractStepper):
    """Underdamped Langevin dynamics in flow time, by a splitting of weak order 2.

        dx = v ds,    dv = -grad U(x) ds - friction v ds + (friction N)^{1/2} dW,

    with N the stage's noise rate, as in dx = -grad U ds + N^{1/2} dW, to which it tends for high
    friction (with time rescaled by it). For `Temperature(T)`, N = 2 T I, the steady law is
    Maxwell-Boltzmann on (x, v), exp(-(U + |v|^2 / 2) / T) (`laws.MaxwellBoltzmann`); other N break
    it. On a quadratic loss with isotropic noise the *positions* have no step bias at all.

    Every stage starts at rest unless the chain carries its momentum; `run.velocity` holds the
    velocities at the end. Steps are h = learning_rate / substeps, or `step=h`, stable below
    2 / sqrt(largest curvature). Source: Leimkuhler and Matthews 2013, "Rational construction of
    stochastic numerical methods for molecular sampling", doi:10.1093/amrx/abs010.

    >>> BAOAB(friction=1.0).weak_order
    2.0
    """

    friction: Float[Array, ""]
    substeps: Float[Array, ""]
    step: Float[Array, ""] | None
    weak_order: ClassVar[float] = 2.0

    def __init__(
        self, friction: ScalarLike, substeps: ScalarLike = 1, *, step: ScalarLike | None = None
    ):
        self.friction = positive_number(friction, "friction")
        self.substeps, self.step = read_step(substeps, step)

    @property
    def has_velocity(self):
        return True

    def _factors(self, stage):
        h = self.step_size(stage)
        damping = jnp.exp(-self.friction * h)
        # integral of exp(-2 friction u) friction N du over a step
        return h, damping, jnp.sqrt(-jnp.expm1(-2 * self.friction * h) / 2)

    def one_step(self, stage):
        system = stage.sde()
        h, damping, strength = self._factors(stage)
        d = stage.dimension
        eye, zero = jnp.eye(d, dtype=h.dtype), jnp.zeros((d, d), h.dtype)
        kick = jnp.block([[eye, zero], [-h / 2 * system.drift.dense(), eye]])
        move = jnp.block([[eye, h / 2 * eye], [zero, eye]])
        damp = jnp.block([[eye, zero], [zero, damping * eye]])
        after = kick @ move
        matrix = after @ damp @ move @ kick
        column = strength * after[:, d:]
        noise = column @ system.noise.dense() @ column.T
        rest = jnp.concatenate([system.fixed_point, jnp.zeros(d, h.dtype)])
        return AffineGaussianKernel(
            General(matrix, check=False), rest - matrix @ rest, Dense(noise, check=False)
        )

    def enter_law(self, process: Any, k: int, law: Gaussian) -> Gaussian:
        if process.carry_momentum and law.dimension == 2 * process.dimension:
            return law
        law = process.position(law)
        zero = jnp.zeros_like(law.covariance)
        covariance = Dense(jnp.block([[law.covariance, zero], [zero, zero]]), check=False)
        mean = jnp.concatenate([law.mean, jnp.zeros_like(law.mean)])
        return Gaussian(mean, covariance, status=law.status, check=False)

    def refuse(self, stage, saves):
        if stage.scheduled or stage.has_momentum:
            raise ValueError(
                "BAOAB needs a stage with a constant learning rate and without momentum: its "
                "friction is the momentum"
            )
        if stage.preconditioner is not None:
            raise ValueError("BAOAB cannot follow a preconditioner; use EulerMaruyama()")
        if stage.state_dependent:
            raise ValueError(
                "BAOAB needs noise that does not depend on the parameters; use EulerMaruyama()"
            )
        super().refuse(stage, saves)

    def plan(self, stage, grid, centre, dtype, known):
        h, damping, strength = self._factors(stage)
        inside = dynamics(stage, centre, dtype, known, push=h / 2, kick=strength)
        numbers = ((h / 2).astype(dtype), damping.astype(dtype))
        return SplitSteps(inside, *numbers, grid.ticks)

    def enter(self, plan, position, velocity):
        x = plan.dynamics.enter(position)
        v = jnp.zeros_like(x) if velocity is None else plan.dynamics.enter(velocity)
        return (x, v) if plan.dynamics.fused else (x, v, plan.dynamics.push(x))

    def leave(self, plan, state, dimension):
        x, v, *_ = state
        return plan.dynamics.leave(x), plan.dynamics.leave(v)
