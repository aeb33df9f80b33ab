"""The law of statistics of mean and covariance, simulated for any n at the cost of r x r matrices.

The mean of n standard normal draws is N(0, I / n), and n - 1 times their covariance is L L^T,
independent of it, where L is lower triangular with L_ii^2 chi-square with n - i degrees of freedom
(i = 1..r) and standard normals below the diagonal. Source: Bartlett 1933, Proceedings of the Royal
Society of Edinburgh 53, 260-283.
"""

import functools
from typing import Any

import equinox as eqx
import numpy as np
from jax import lax

from ..._check import as_float
from .moments import Moments
from .nulls import Simulated

BARTLETT = 64
"""Dimensions up to which laws of covariances are simulated."""

REPLICATES = 2_000
SEED = 20220831


def replicates_of(r: int) -> int:
    """How many replicates a second or two pays for."""
    return REPLICATES if r <= 16 else REPLICATES // 2


def random_moments(rng: np.random.Generator, n: int, r: int, count: int) -> Moments:
    """Moment sums of `count` times n standard normal draws in r dimensions, n > r. Cost O(r^3)
    each, on the host: a sampler of chi-square variables would take the compiler seconds.

    >>> found = random_moments(np.random.default_rng(0), 10**6, 2, 5)
    >>> found.total.shape, bool(np.all(np.abs(np.asarray(found.outer) / 1e6 - np.eye(2)) < 0.01))
    ((5, 2), True)
    """
    mean = rng.standard_normal((count, r)) / n**0.5
    lower = np.tril(rng.standard_normal((count, r, r)), -1)
    degrees = float(n) - np.arange(1, r + 1)
    lower[:, range(r), range(r)] = np.sqrt(rng.chisquare(degrees, (count, r)))
    outer = lower @ lower.mT + n * mean[:, :, None] * mean[:, None, :]
    return Moments(as_float(n * mean), as_float(outer))


@functools.lru_cache(maxsize=64)
def simulated_moments(statistic: Any, n: int, r: int) -> Simulated:
    """The null law of a statistic of the moments, for n > r draws; kept for the next call."""
    if n <= r:
        raise ValueError(
            f"{statistic.name}: the covariance of {n} draws in {r} dimensions is singular; use "
            "more draws than dimensions"
        )
    values = moment_values(statistic, n, r, replicates_of(r))
    text = f"simulated, {len(values)} replicates of {n} draws"
    return Simulated(values, 0.0, 1.0, text, statistic.sides)


def moment_values(statistic: Any, n: int, r: int, count: int, seed: int = SEED):
    """Values (count,) under the claim; the same draws for every statistic."""
    return _values(statistic, random_moments(np.random.default_rng(seed), n, r, count), as_float(n))


@eqx.filter_jit
def _values(statistic, moments, n):
    return lax.map(lambda one: statistic.finish(one, n)[0], moments)
