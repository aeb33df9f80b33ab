"""diffrax: a solve per particle under `vmap`, or one solve whose state is the whole batch.

Time is counted in steps: every drift carries a factor h and every noise sqrt(h). Steps are then of
size 1, and float32 sums of them are exact.
"""

import diffrax
import jax
import jax.numpy as jnp
import lineax as lx

LEVY_AREAS = (diffrax.BrownianIncrement, diffrax.SpaceTimeLevyArea)
"""What a Brownian path may carry beside its increments: the first that suffices is drawn."""


def vmapped(problem, path):
    """One key, one Brownian path and one solve per particle."""
    solve = jax.jit(jax.vmap(_solve(problem, (problem.dimension,), path=path)))

    def call(seed):
        return solve(jax.random.split(jax.random.key(seed), problem.particles)).block_until_ready()

    return call


def batched(problem, solver="Euler"):
    """One solve with a state of shape (particles, d)."""
    shape = (problem.particles, problem.dimension)
    solve = jax.jit(_solve(problem, shape, solver=solver))
    return lambda seed: solve(jax.random.key(seed)).block_until_ready()


def _solve(problem, shape, path="unsafe", solver="Euler"):
    """A function of a key: the position after all steps, of the given shape."""
    struct, end = jax.ShapeDtypeStruct(shape, jnp.float32), float(problem.steps)
    solver = getattr(diffrax, solver)()
    needs = getattr(solver, "minimal_levy_area", diffrax.AbstractBrownianIncrement)
    levy = next(area for area in LEVY_AREAS if issubclass(area, needs))
    kinetic = problem.kind == "kinetic"

    def run(key):
        if path == "tree":
            brownian = diffrax.VirtualBrownianTree(0.0, end, 0.5, struct, key, levy_area=levy)
        else:
            brownian = diffrax.UnsafeBrownianPath(struct, key, levy_area=levy)
        x = jnp.full(shape, problem.start, jnp.float32)
        if kinetic and isinstance(solver, diffrax.Euler):
            terms = _kinetic_terms(problem, brownian, struct)
        elif kinetic:
            terms = _underdamped_terms(problem, brownian)
        else:
            terms = _terms(problem, brownian, struct)
        solution = diffrax.diffeqsolve(
            terms,
            solver,
            0.0,
            end,
            1.0,
            (x, jnp.zeros_like(x)) if kinetic else x,
            saveat=diffrax.SaveAt(t1=True),
            max_steps=None,
            adjoint=diffrax.ForwardMode(),
        )
        return (solution.ys[0] if kinetic else solution.ys)[0]

    return run


def _terms(problem, brownian, struct):
    h = problem.step

    def diffusion(t, x, args):
        if problem.dimension == 1:  # a number times the identity, which every solver can handle
            amplitude = jnp.float32(h**0.5 * problem.noise(0.0, 1.0))
            return lx.IdentityLinearOperator(struct) * amplitude
        return lx.FunctionLinearOperator(lambda z: h**0.5 * problem.noise(x, z), struct)

    drift = diffrax.ODETerm(lambda t, x, args: -h * problem.gradient(x))
    return diffrax.MultiTerm(drift, diffrax.ControlTerm(diffusion, brownian))


def _kinetic_terms(problem, brownian, struct):
    """dx = h v dt, dv = -h (grad U + friction v) dt + sqrt(2 friction T h) dW, for Euler."""
    h, friction = problem.step, problem.friction
    amplitude = (2 * friction * problem.temperature * h) ** 0.5

    def drift(t, y, args):
        x, v = y
        return h * v, -h * (problem.gradient(x) + friction * v)

    def diffusion(t, y, args):
        return lx.FunctionLinearOperator(lambda z: (jnp.zeros_like(z), amplitude * z), struct)

    return diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, brownian))


def _underdamped_terms(problem, brownian):
    """The same SDE for w = h v in diffrax's form: friction h, mobility h^2 T, potential U / T."""
    gamma = jnp.float32(problem.friction * problem.step)
    mobility = jnp.float32(problem.step**2 * problem.temperature)

    def gradient(x, args):
        return problem.gradient(x) / problem.temperature

    return diffrax.MultiTerm(
        diffrax.UnderdampedLangevinDriftTerm(gamma, mobility, gradient),
        diffrax.UnderdampedLangevinDiffusionTerm(gamma, mobility, brownian),
    )
