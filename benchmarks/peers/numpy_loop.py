"""A numpy loop: all particles in one array, in-place float32 operations, the SFC64 generator."""

import math

import numpy as np


def loop(problem):
    """Euler-Maruyama, or BAOAB for the kinetic problem."""
    h, shape = np.float32(problem.step), (problem.particles, problem.dimension)
    z = np.empty(shape, np.float32)

    def euler(x, rng):
        for _ in range(problem.steps):
            rng.standard_normal(out=z, dtype=np.float32)
            push = problem.gradient(x)
            push *= h
            x -= push
            kick = problem.noise(x, z)
            kick *= np.sqrt(h)
            x += kick
        return x

    def baoab(x, rng):
        v, half = np.zeros_like(x), h / 2
        keep = math.exp(-problem.friction * problem.step)
        kick = math.sqrt(problem.temperature * (1 - keep**2))
        push = problem.gradient(x)
        for _ in range(problem.steps):
            rng.standard_normal(out=z, dtype=np.float32)
            v -= half * push
            x += half * v
            v *= np.float32(keep)
            v += np.float32(kick) * z
            x += half * v
            push = problem.gradient(x)
            v -= half * push
        return x

    def call(seed):
        rng = np.random.Generator(np.random.SFC64(seed))
        x = np.full(shape, problem.start, np.float32)
        return (baoab if problem.kind == "kinetic" else euler)(x, rng)

    return call
