"""The loop that a JAX user writes: `lax.scan` with `jax.random.normal` in every step."""

import jax
import jax.numpy as jnp
from jax import lax


def scan(problem, generator):
    """Euler-Maruyama, or BAOAB for the kinetic problem, with one key per step."""
    h, shape = problem.step, (problem.particles, problem.dimension)

    def euler(x, z):
        return x - h * problem.gradient(x) + h**0.5 * problem.noise(x, z)

    def baoab(state, z):
        x, v, force = state
        v = v + 0.5 * h * force
        x = x + 0.5 * h * v
        keep = jnp.exp(jnp.float32(-problem.friction * h))
        v = keep * v + jnp.sqrt(problem.temperature * (1 - keep**2)) * z
        x = x + 0.5 * h * v
        force = -problem.gradient(x)
        return x, v + 0.5 * h * force, force

    @jax.jit
    def run(key):
        def body(state, k):
            z = jax.random.normal(jax.random.fold_in(key, k), shape, jnp.float32)
            return (baoab if kinetic else euler)(state, z), None

        kinetic = problem.kind == "kinetic"
        x = jnp.full(shape, problem.start, jnp.float32)
        state = (x, jnp.zeros_like(x), -problem.gradient(x)) if kinetic else x
        end = lax.scan(body, state, jnp.arange(problem.steps))[0]
        return end[0] if kinetic else end

    return lambda seed: run(jax.random.key(seed, impl=generator)).block_until_ready()
