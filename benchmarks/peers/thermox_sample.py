"""thermox: exact sampling of the linear SDE at the save times, one trajectory per particle."""

import jax
import jax.numpy as jnp
import numpy as np
import thermox


def moments(problem, associative):
    """Covariances (saves, d, d) over particles; the paths live and die inside one jit."""
    d, count = problem.dimension, problem.particles
    times = problem.step * np.linspace(0.0, problem.steps, problem.saves + 1)
    times, start = jnp.asarray(times, jnp.float32), jnp.full(d, problem.start, jnp.float32)
    noise = jnp.asarray(problem.step * problem.covariance, jnp.float32)
    drift, noise = jax.block_until_ready(thermox.preprocess(jnp.asarray(problem.drift), noise))

    @jax.jit
    def run(keys, drift, noise):
        def sample(key):
            zero = jnp.zeros(d, jnp.float32)
            return thermox.sample(key, times, start, drift, zero, noise, associative)

        paths = jax.vmap(sample)(keys)[:, 1:]
        away = paths - paths.mean(0)
        return jnp.einsum("psi,psj->sij", away, away) / (count - 1)

    def call(seed):
        return run(jax.random.split(jax.random.key(seed), count), drift, noise).block_until_ready()

    return call
