"""numba: one compiled loop, threads over particles, numba's own normal generator."""

# ruff: noqa: NPY002  -- inside numba's threads only the legacy functions have a state per thread

import math

import numba
import numpy as np

ROWS = 64
F = np.float32


@numba.njit
def seed_thread(seed):
    np.random.seed(seed)


@numba.njit(parallel=True)
def seed_threads(seed):
    for i in numba.prange(numba.get_num_threads()):
        seed_thread(seed + i)


@numba.njit(parallel=True, fastmath=True)
def ou(x, steps, decay, amplitude):
    for i in numba.prange(x.size):
        y = x[i]
        for _ in range(steps):
            y = y * decay + amplitude * F(np.random.standard_normal())
        x[i] = y


@numba.njit(parallel=True, fastmath=True)
def well(x, steps, h, tilt, amplitude):
    for i in numba.prange(x.size):
        y = x[i]
        for _ in range(steps):
            push = y * (y * y - F(1)) + tilt
            y = y - h * push + amplitude * F(np.random.standard_normal())
        x[i] = y


@numba.njit(parallel=True, fastmath=True)
def kinetic(x, steps, h, tilt, keep, kick):
    half = F(0.5) * h
    for i in numba.prange(x.size):
        y, v = x[i], F(0)
        push = y * (y * y - F(1)) + tilt
        for _ in range(steps):
            v -= half * push
            y += half * v
            v = keep * v + kick * F(np.random.standard_normal())
            y += half * v
            push = y * (y * y - F(1)) + tilt
            v -= half * push
        x[i] = y


@numba.njit(parallel=True, fastmath=True)
def dense(x, steps, forward, kick):
    rows, d = x.shape
    for block in numba.prange((rows + ROWS - 1) // ROWS):
        here = x[block * ROWS : (block + 1) * ROWS].copy()
        z, moved, noise = np.empty_like(here), np.empty_like(here), np.empty_like(here)
        for _ in range(steps):
            for i in range(here.shape[0]):
                for j in range(d):
                    z[i, j] = F(np.random.standard_normal())
            np.dot(here, forward, moved)
            np.dot(z, kick, noise)
            for i in range(here.shape[0]):
                for j in range(d):
                    here[i, j] = moved[i, j] + noise[i, j]
        x[block * ROWS : (block + 1) * ROWS] = here


def compiled(problem):
    """The compiled loop of the problem's kind, as a function of a seed."""
    h, n = problem.step, problem.steps
    amplitude = F((2 * problem.temperature * h) ** 0.5)
    if problem.kind == "ou":
        decay = F(1 - h * problem.drift[0, 0])
        step = lambda x: ou(x[:, 0], n, decay, F(h**0.5 * problem.root[0, 0]))
    elif problem.kind == "well":
        step = lambda x: well(x[:, 0], n, F(h), F(problem.gradient(0.0)), amplitude)
    elif problem.kind == "kinetic":
        keep = math.exp(-problem.friction * h)
        kick = F(math.sqrt(problem.temperature * (1 - keep**2)))
        step = lambda x: kinetic(x[:, 0], n, F(h), F(problem.gradient(0.0)), F(keep), kick)
    else:
        forward = np.eye(problem.dimension, dtype=F) - F(h) * problem.drift
        kick = np.ascontiguousarray(F(h**0.5) * problem.root.T)
        step = lambda x: dense(x, n, forward, kick)

    def call(seed):
        seed_threads(seed)
        x = np.full((problem.particles, problem.dimension), problem.start, np.float32)
        step(x)
        return x

    return call
