"""The quadratic problems that particles are sent through, in three dimensions."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ..convergence.sample import sample_of
from ..laws import Gaussian
from ..particles import EulerMaruyama, simulate
from ..stages import Chain, Stage
from .distances import Interval, moments_kl, particles_kl

SOURCE = dict(
    hessian=np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.6]]),
    noise=np.array([[1.0, 0.3, 0.0], [0.3, 0.8, -0.2], [0.0, -0.2, 1.4]]),
    minimum=np.array([1.0, -0.5, 0.5]),
)
TARGET = dict(
    hessian=np.array([[1.2, -0.2, 0.1], [-0.2, 1.8, 0.0], [0.1, 0.0, 0.7]]),
    noise=np.array([[0.9, -0.1, 0.3], [-0.1, 1.1, 0.0], [0.3, 0.0, 0.5]]),
    minimum=np.array([1.1, -0.4, 0.4]),
)
"""Curvature and noise that do not commute; minima about three standard deviations apart."""

BATCH = 8
LOOKS = 24
"""How often a run is looked at."""
SMALL = 0.02
"""Learning rate x largest curvature at which steps are small."""


def rates(bowl: dict[str, Any]) -> tuple[float, float]:
    """(smallest, largest) eigenvalue of the Hessian."""
    values = np.linalg.eigvalsh(bowl["hessian"])
    return float(values[0]), float(values[-1])


def stage(bowl: dict[str, Any], product: float, relaxations: float | int, **changes: Any) -> Stage:
    """A stage of learning rate `product` / largest curvature that lasts so many relaxation times.

    A relaxation time is the number of steps in which the slowest mode falls by a factor e.
    """
    low, high = rates(bowl)
    eta = product / high
    values = np.abs(1 - eta * np.array([low, high]))
    steps = max(1, round(relaxations / -np.log(max(values.max(), 1e-3))))
    settings = {**bowl, "learning_rate": eta, "batch_size": BATCH, "steps": steps, **changes}
    return Stage(**settings)


def followed(stages: list[Stage], initial: Gaussian, particles: int, key: Any):
    """Particles stepped one by one through two stages: SGD's chain with Gaussian noise.

    The second is looked at `LOOKS` times. One shape for all runs: the engine compiles once.
    """
    first, second = stages
    return simulate(
        Chain([first, second], initial=initial),
        particles=particles,
        key=key,
        method=EulerMaruyama(),
        save=(1, LOOKS),
        progress=False,
    )


def end_kl(run: Any, law: Gaussian, level: float, which: int = -1) -> Interval:
    """KL of the particles at a stage's end to a law, by moments and by radii."""
    points = np.asarray(run.deviations[which], np.float64) + np.asarray(run.centres[which])
    return particles_kl(points, law, level)


def row_kl(run: Any, row: int, law: Gaussian, level: float) -> Interval:
    """KL of the particles at a save point to a law, by moments."""
    n = run.particles
    covariance = np.asarray(run.moments.covariance[row], np.float64) * (1 - 1 / n)
    return moments_kl(np.asarray(run.moments.mean[row], np.float64), covariance, n, law, level)


def bins_of(law: Any, points: Any, bins: int) -> np.ndarray:
    """Counts (bins,) of points on the line in bins that `law` fills equally."""
    # sorted edges by the law's own quantiles: no distribution function is evaluated at a particle
    edges = np.asarray(law.quantile(np.arange(1, bins) / bins))
    return np.bincount(np.searchsorted(edges, np.asarray(points).ravel()), minlength=bins)


def gaussian_of(points: Any) -> Gaussian:
    """The Gaussian law with the moments of the points."""
    sample = sample_of(points)
    return Gaussian(sample.mean, sample.covariance)


def key_of(seed: int, *path: int) -> Any:
    """A key that is a function of the seed and a path of numbers."""
    key = jax.random.key(seed)
    for number in path:
        key = jax.random.fold_in(key, number)
    return key
