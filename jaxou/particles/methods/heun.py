"""Weak order 2 for additive noise: the stochastic Heun scheme."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._typing import ScalarLike
from ...kernels import AffineGaussianKernel
from ...linalg import Isotropic
from ...linalg.algebra import add, congruence, product
from .dynamics import Dynamics, dynamics
from .stepper import AbstractStepper, AbstractSteps, read_step


class HeunSteps(AbstractSteps):
    """z = y + f(y) + R xi;  y <- y + (f(y) + f(z)) / 2 + R xi, with h inside f and R."""

    dynamics: Dynamics
    ticks: Float[Array, " points"]

    def __call__(self, state, normals, tick):
        push = self.dynamics.push(state)
        kick = self.dynamics.kick(state, normals)
        there = self.dynamics.push((state + push) + kick)
        half = jnp.asarray(0.5, state.dtype)
        return (state + half * (push + there)) + kick


class Heun(AbstractStepper):
    """Two evaluations of the gradient per step, weak order 2 in h = learning_rate / substeps.

        z = x - h grad U(x) + sqrt(h) N^{1/2} xi
        x <- x - h (grad U(x) + grad U(z)) / 2 + sqrt(h) N^{1/2} xi

    For noise that does not depend on the parameters, which makes it the explicit order 2.0 weak
    scheme for additive noise. On a quadratic loss its own law is known too, `steady_law`. Source:
    Kloeden and Platen 1992, "Numerical Solution of Stochastic Differential Equations", section
    15.1.

    >>> Heun().weak_order
    2.0
    """

    substeps: Float[Array, ""]
    step: Float[Array, ""] | None
    weak_order: ClassVar[float] = 2.0

    def __init__(self, substeps: ScalarLike = 1, *, step: ScalarLike | None = None):
        self.substeps, self.step = read_step(substeps, step)

    def one_step(self, stage):
        system, h = stage.sde(), self.step_size(stage)
        one = Isotropic(1.0, system.fixed_point.shape[0], check=False)
        pull = system.drift.scale(-h)
        half = add(one, pull.scale(jnp.full_like(h, 0.5)))
        # x - x* <- (I - hF + (hF)^2 / 2)(x - x*) + (I - hF / 2) noise
        matrix = add(one, product(pull, half))
        offset = system.fixed_point - matrix.matvec(system.fixed_point)
        return AffineGaussianKernel(matrix, offset, congruence(half, system.noise.scale(h)))

    def refuse(self, stage, saves):
        if stage.scheduled:
            raise ValueError("Heun needs a constant learning rate; use EulerMaruyama() or SGD()")
        if stage.state_dependent:
            raise ValueError(
                "Heun needs noise that does not depend on the parameters (its order 2, and the "
                "sense of Ito, are lost otherwise); use EulerMaruyama(substeps=...)"
            )
        super().refuse(stage, saves)

    def plan(self, stage, grid, centre, dtype, known):
        h = self.step_size(stage)
        inside = dynamics(stage, centre, dtype, known, push=h, kick=jnp.sqrt(h))
        return HeunSteps(inside, grid.ticks)
