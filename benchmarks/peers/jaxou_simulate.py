"""The engine itself, through the public call that users make."""

import jax
import jax.numpy as jnp
from cases import TILT

import jaxou as ou


def double_well(x):
    """U of the wells; one function for all problems, so that new numbers need no new trace."""
    return jnp.sum((x * x - 1) ** 2 / 4 + TILT * x)


def chain(problem):
    """The problem as a jaxou chain; the learning rate is the step, and a point is the start."""
    common = dict(learning_rate=problem.step, batch_size=1, steps=problem.steps)
    d = problem.dimension
    if problem.drift is not None:
        drift, noise = problem.drift, problem.covariance
        if d == 1:
            drift, noise = float(drift[0, 0]), float(noise[0, 0])
        stage = ou.Stage(hessian=drift, noise=noise, minimum=jnp.full(d, problem.start), **common)
    elif problem.kind == "gbm":
        scale = problem.volatility / problem.step**0.5  # N = h B B^T
        stage = ou.PotentialStage(
            lambda x: -0.5 * problem.growth * (x @ x),
            dimension=d,
            noise=lambda x: scale * x,
            **common,
        )
    else:
        stage = ou.PotentialStage(
            double_well,
            dimension=d,
            noise=ou.Temperature(problem.temperature),
            **common,
        )
    return ou.Chain([stage], initial=ou.Gaussian(jnp.full(d, problem.start), 0.0))


def final(problem, method=None):
    """Particles at the end of a stepped run; BAOAB for the kinetic problem, else Euler-Maruyama."""
    process = chain(problem)
    if method is None:
        kinetic = problem.kind == "kinetic"
        method = ou.BAOAB(problem.friction) if kinetic else ou.EulerMaruyama()

    def call(seed):
        run = ou.simulate(
            process, particles=problem.particles, key=jax.random.key(seed), method=method, save=1
        )
        return run.final.block_until_ready()

    return call


def jitted(problem):
    """The same inside a function of the user's that `jax.jit` compiled, as the peers' calls are."""
    process = chain(problem)
    method = ou.BAOAB(problem.friction) if problem.kind == "kinetic" else ou.EulerMaruyama()

    @jax.jit
    def run(key):
        count = problem.particles
        return ou.simulate(process, particles=count, key=key, method=method, save=1).final

    return lambda seed: run(jax.random.key(seed)).block_until_ready()


def moments(problem, method):
    """Covariances at the save times of a run that jumps from save to save."""
    process, method = chain(problem), getattr(ou, method)()

    def call(seed):
        run = ou.simulate(
            process,
            particles=problem.particles,
            key=jax.random.key(seed),
            method=method,
            save=problem.saves,
        )
        run.final.block_until_ready()
        return run.moments.covariance[1:].block_until_ready()

    return call
