"""The problems that every engine is given, in one place.

A problem is an SDE dx = -grad U(x) ds + B(x) dW, P particles that start at one point, and n steps
of size h. `gradient` and `noise` are written with operators only, so that they serve numpy, jax and
torch arrays of shape (..., d).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

TILT = 0.1

SIZES = {
    "ou": [dict(particles=p, steps=1_000) for p in (1_024, 16_384, 65_536, 1_048_576)],
    "well": [dict(particles=65_536, steps=1_000)],
    "kinetic": [dict(particles=65_536, steps=1_000)],
    "dense": [
        dict(particles=65_536, steps=1_000, dimension=4),
        dict(particles=16_384, steps=1_000, dimension=16),
        dict(particles=4_096, steps=1_000, dimension=64),
        dict(particles=2_048, steps=1_000, dimension=256),
    ],
    "jumps": [
        dict(particles=p, dimension=d, steps=50 * between, saves=50)
        for p, d in ((65_536, 2), (16_384, 16), (4_096, 64))
        for between in (10, 1_000, 1_000_000)
    ],
    # DiffEqGPU.jl's problem (Utkarsh et al., CMAME 419:116591, 2024): 256 steps to time 1
    "gbm": [dict(particles=8_388_608, steps=256, dimension=3)],
}
QUICK = {
    "ou": [dict(particles=1_024, steps=100)],
    "well": [dict(particles=1_024, steps=100)],
    "kinetic": [dict(particles=1_024, steps=100)],
    "dense": [dict(particles=256, steps=20, dimension=d) for d in (4, 16)],
    "jumps": [dict(particles=1_024, dimension=2, steps=500, saves=50)],
    "gbm": [dict(particles=1_024, steps=256, dimension=3)],
}
GPU_ONLY = ("gbm",)
DEFAULTS = {
    "ou": dict(step=0.1),
    "well": dict(step=0.05, temperature=0.25),
    "kinetic": dict(step=0.05, temperature=0.25, friction=1.0),
    "dense": dict(step=0.05),
    "jumps": dict(step=0.01),
    "gbm": dict(step=1 / 256, start=0.1, growth=1.5, volatility=0.01),
}


@dataclass(frozen=True, eq=False)
class Problem:
    """P particles, n steps of size h in d dimensions, of one kind of SDE."""

    kind: str
    particles: int
    steps: int
    step: float
    dimension: int = 1
    saves: int = 1
    start: float = 0.0
    temperature: float = 0.0
    friction: float = 0.0
    growth: float = 0.0
    volatility: float = 0.0
    drift: np.ndarray | None = None  # A of a linear SDE, symmetric (d, d)
    covariance: np.ndarray | None = None  # C: B B^T = h C, as SGD with batch size 1 has it

    def gradient(self, x):
        """grad U at x (..., d)."""
        if self.kind in ("well", "kinetic"):  # U = (x^2 - 1)^2 / 4 + tilt x
            return x * (x * x - 1.0) + TILT
        if self.kind == "gbm":
            return -self.growth * x
        return float(self.drift[0, 0]) * x if self.dimension == 1 else x @ self.drift

    def noise(self, x, z):
        """B(x) z for standard normals z (..., d)."""
        if self.kind in ("well", "kinetic"):
            return (2 * self.temperature) ** 0.5 * z
        if self.kind == "gbm":
            return self.volatility * x * z
        return float(self.root[0, 0]) * z if self.dimension == 1 else z @ self.root.T

    @cached_property
    def root(self) -> np.ndarray:
        """A triangular B with B B^T = h C."""
        return np.linalg.cholesky(self.step * self.covariance).astype(np.float32)

    def at_most(self, particle_steps: float) -> "Problem":
        """The same problem with fewer steps, and at ten steps fewer particles, for slow engines."""
        steps = int(min(self.steps, max(10, particle_steps / self.particles)))
        return replace(self, steps=steps, particles=int(min(self.particles, particle_steps / 10)))

    def statistic(self, x) -> np.ndarray:
        """What shows that the right thing was simulated: |x|^2 / d of each particle; wells: x^4.

        In a well x^2 is near 1 whatever the temperature.
        """
        x = np.asarray(x, np.float64).reshape(self.particles, self.dimension)
        return (x**4 if self.kind in ("well", "kinetic") else x**2).mean(1)

    def expected(self) -> float | None:
        """The mean of `statistic` after n Euler-Maruyama steps, in float64; None if unknown."""
        n, h, x0 = self.steps, self.step, self.start
        if self.kind == "gbm":
            return x0**2 * ((1 + h * self.growth) ** 2 + h * self.volatility**2) ** n
        if self.kind == "well":
            return well_fourth_moment(self)
        if self.drift is None or self.kind == "jumps":
            return None
        return float(np.trace(sgd_covariance(self, n))) / self.dimension


def sgd_covariance(problem: Problem, n: int) -> np.ndarray:
    """Covariance of the chain x <- (I - h A) x + (h^2 C)^(1/2) z after n steps from a point."""
    return _linear_covariance(problem, lambda a, b: _geometric(a, b, problem.step, n))


def flow_covariance(problem: Problem, time: float) -> np.ndarray:
    """Covariance of dx = -A x ds + (h C)^(1/2) dW at a time, from a point."""
    h = problem.step
    return _linear_covariance(problem, lambda a, b: -h * np.expm1(-(a + b) * time) / (a + b))


def _geometric(a, b, h, n):
    product = (1 - h * a) * (1 - h * b)
    return h**2 * -np.expm1(n * np.log(product)) / (1 - product)


def _linear_covariance(problem, table):
    """V (table(a_i, a_j) * V^T C V) V^T, with A = V diag(a) V^T."""
    a, v = np.linalg.eigh(problem.drift.astype(np.float64))
    c = v.T @ problem.covariance.astype(np.float64) @ v
    return v @ (table(a[:, None], a[None, :]) * c) @ v.T


def well_fourth_moment(problem: Problem) -> float:
    """E x^4 of the Euler-Maruyama chain in the well: its density moved step by step on a grid."""
    x = np.linspace(-4.0, 4.0, 401)
    spread = (2 * problem.temperature * problem.step) ** 0.5
    ahead = lambda y: np.exp(-0.5 * ((x - y + problem.step * problem.gradient(y)) / spread) ** 2)
    kernel = ahead(x[:, None])
    kernel /= kernel.sum(1, keepdims=True)
    density = ahead(problem.start)
    for _ in range(problem.steps - 1):
        density = density @ kernel
    return float(density @ x**4 / density.sum())


def problem(kind: str, **size) -> Problem:
    """The problem of a kind and size; matrices come from a fixed seed and do not commute."""
    made = Problem(kind, **(DEFAULTS[kind] | size))
    if kind not in ("ou", "dense", "jumps"):
        return made
    d = made.dimension
    if d == 1:
        return replace(made, drift=np.ones((1, 1), np.float32), covariance=np.eye(1))
    if d == 2:
        drift = np.array([[2.0, 1.0], [1.0, 3.0]], np.float32)
        return replace(made, drift=drift, covariance=np.diag([1.0, 4.0]))
    rng = np.random.default_rng(0)
    a, c = rng.normal(size=(2, d, d)) / np.sqrt(d)
    drift = (np.eye(d) + a @ a.T / 4).astype(np.float32)
    return replace(made, drift=drift, covariance=c @ c.T + 0.1 * np.eye(d))


def problems(kind: str, quick: bool) -> list[Problem]:
    """The problems of one case, full or quick."""
    return [problem(kind, **size) for size in (QUICK if quick else SIZES)[kind]]
