"""The first two moments of particles: all that some questions need, and small."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

FEWEST = 100
"""Particles below which a verdict would see nothing but gross errors."""

BLOCK = 2**15
"""Particles that are worked on together."""


@dataclass(frozen=True)
class Sample:
    """`count` particles by their mean and their covariance over 1/n, in float64."""

    count: int
    mean: Float[np.ndarray, " d"]
    covariance: Float[np.ndarray, "d d"]


def sample_of(draws: Any) -> Sample:
    """Moments of draws (n, d), block by block. Cost O(n d^2), memory for one block.

    >>> sample = sample_of(np.array([[1.0], [3.0]]))
    >>> sample.mean.tolist(), sample.covariance.tolist()
    ([2.0], [[1.0]])
    """
    draws = np.asarray(draws)
    n, d = draws.shape
    # sums about a point near the mean keep their digits
    near = draws[:BLOCK].mean(axis=0, dtype=np.float64)
    total, outer = np.zeros(d), np.zeros((d, d))
    for start in range(0, n, BLOCK):
        gaps = draws[start : start + BLOCK] - near[None, :]
        total += gaps.sum(axis=0)
        outer += gaps.T @ gaps
    shift = total / n
    return Sample(n, near + shift, outer / n - np.outer(shift, shift))
