"""Any stochastic solver of diffrax on the stage's SDE, of a quadratic loss or any other."""

from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from ..._typing import ScalarLike
from ..arguments import positive_number
from .dynamics import Dynamics, dynamics
from .grid import flow_grid
from .method import AbstractMethod, cast

FORWARD = diffrax.ForwardMode()
"""Brownian increments drawn step by step can only be differentiated forwards."""


class Solves(eqx.Module):
    """The stage's SDE, the save times and the step."""

    dynamics: Dynamics
    times: Float[Array, " points"]
    dt: Float[Array, ""]


class Diffrax(AbstractMethod):
    """Solves the stage's SDE with a diffrax solver, one Brownian path per particle.

    `dt` is the step in flow time (the learning rate by default). `tolerance`, a positive number,
    draws the path from a `VirtualBrownianTree`; without it each step draws its own increment
    (`UnsafeBrownianPath`), which is faster. The noise is additive, so Ito and Stratonovich solvers
    agree. Slower than `EulerMaruyama` for the same scheme: use it for other schemes and as a
    second opinion. Particles are compared with the SDE's law; a step bias shows as a difference.

    >>> Diffrax(diffrax.Heun()).chain
    'sde'
    """

    solver: diffrax.AbstractSolver
    dt: Float[Array, ""] | None
    tolerance: float | None = eqx.field(static=True)
    weak_order: ClassVar[float] = 1.0
    chain: ClassVar = "sde"

    def __init__(
        self, solver: Any, dt: ScalarLike | None = None, *, tolerance: float | None = None
    ):
        if not isinstance(solver, diffrax.AbstractSolver):
            raise TypeError(f"Diffrax(solver) takes a diffrax solver, got {solver!r}")
        self.solver = solver
        self.dt = None if dt is None else positive_number(dt, "dt")
        self.tolerance = (
            None if tolerance is None else float(positive_number(tolerance, "tolerance"))
        )

    def steady_law(self, stage):
        raise ValueError(
            f"the steady law of {type(self.solver).__name__} is not known in closed form: use "
            "stage.gibbs(), the law of the SDE that it approximates"
        )

    def kernel(self, stage):
        return stage.flow(stage.duration)

    def refuse(self, stage, saves):
        if stage.state_dependent:
            raise ValueError(
                "Diffrax needs noise that does not depend on the parameters, so that Ito and "
                "Stratonovich solvers agree; use EulerMaruyama()"
            )
        if stage.scheduled:
            raise ValueError(
                "Diffrax needs a constant learning rate and batch size; use SGD() or "
                "EulerMaruyama() with a schedule"
            )

    def grid(self, stage, saves):
        return flow_grid(stage, saves)

    def plan(self, stage, grid, centre, dtype, known):
        one = jnp.ones((), centre.dtype)
        inside = dynamics(stage, centre, dtype, False, push=one, kick=one)
        dt = stage.learning_rate if self.dt is None else self.dt
        return Solves(inside, *cast((grid.times, dt), dtype))

    def coordinates(self, plan: Solves) -> int:
        return plan.dynamics.coordinates

    def advance(self, plan, state, noise, particles: UInt32[Array, " rows"], save, stretch=None):
        start, stop = plan.times[save - 1], plan.times[save]
        # diffrax draws from keys of its own: one per stage, save and particle
        base = jax.random.fold_in(
            jax.random.wrap_key_data(noise.keys[0], impl="threefry2x32"), save
        )
        keys = jax.vmap(lambda p: jax.random.fold_in(base, p))(particles)
        size = plan.dynamics.coordinates
        eye = jnp.eye(size, dtype=state.dtype)

        def drift(t, y, args):
            return plan.dynamics.push(y[:, None])[:, 0]

        def noise_matrix(t, y, args):
            return plan.dynamics.kick.beforehand(eye)

        def solve(key, y):
            path = self._path(key, start, stop, eye[0])
            diffusion = diffrax.ControlTerm(noise_matrix, path)
            terms = diffrax.MultiTerm(diffrax.ODETerm(drift), diffusion)
            solution = diffrax.diffeqsolve(
                terms, self.solver, start, stop, plan.dt, y, max_steps=None, adjoint=FORWARD
            )
            return solution.ys[0]

        # the solver mixes Python floats and arrays freely
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return jax.vmap(solve)(keys, state.T).T

    def _path(self, key, start, stop, y):
        shape = jax.ShapeDtypeStruct(y.shape, y.dtype)
        levy = getattr(self.solver, "minimal_levy_area", diffrax.BrownianIncrement)
        if self.tolerance is None:
            return diffrax.UnsafeBrownianPath(shape, key, levy_area=levy)
        return diffrax.VirtualBrownianTree(start, stop, self.tolerance, shape, key, levy_area=levy)
