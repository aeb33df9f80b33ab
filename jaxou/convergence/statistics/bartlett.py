"""The law of statistics of mean and covariance, simulated for any n at the cost of r x r matrices.

The mean of n standard normal draws is N(0, I / n), and n - 1 times their covariance is L L^T,
independent of it, where L is lower triangular with L_ii^2 chi-square with n - i degrees of freedom
(i = 1..r) and standard normals below the diagonal. Source: Bartlett 1933, Proceedings of the Royal
Society of Edinburgh 53, 260-283.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
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


def random_moments(key: Any, n: Any, r: int) -> Moments:
    """The moment sums of n standard normal draws in r dimensions, n > r. Cost O(r^3).

    >>> found = random_moments(jax.random.key(0), 1e6, 2)
    >>> found.total.shape, bool(jnp.all(jnp.abs(found.outer / 1e6 - jnp.eye(2)) < 0.01))
    ((2,), True)
    """
    first, second, third = jax.random.split(key, 3)
    dtype = jnp.result_type(float)
    n = as_float(n)
    mean = jax.random.normal(first, (r,), dtype) / jnp.sqrt(n)
    degrees = n - jnp.arange(1, r + 1, dtype=dtype)
    diagonal = jnp.sqrt(jax.random.chisquare(second, degrees, (r,), dtype))
    lower = jnp.tril(jax.random.normal(third, (r, r), dtype), -1) + jnp.diag(diagonal)
    return Moments(n * mean, lower @ lower.T + n * mean[:, None] * mean[None, :])


@functools.lru_cache(maxsize=64)
def simulated_moments(statistic: Any, n: int, r: int) -> Simulated:
    """The null law of a statistic of the moments, for n > r draws; kept for the next call."""
    if n <= r:
        raise ValueError(
            f"{statistic.name}: the covariance of {n} draws in {r} dimensions is singular; use "
            "more draws than dimensions"
        )
    values = moment_values((statistic,), n, r, replicates_of(r))
    text = f"simulated, {len(values)} replicates of {n} draws"
    return Simulated(values[:, 0], 0.0, 1.0, text, statistic.sides)


def moment_values(statistics: tuple, n: int, r: int, count: int, seed: int = SEED):
    """Values (count, statistics) under the claim."""
    keys = jax.random.split(jax.random.key(seed), count)
    return _values(statistics, as_float(n), r, keys)


@eqx.filter_jit
def _values(statistics, n, r: int, keys):
    def one(key):
        moments = random_moments(key, n, r)
        return jnp.stack([statistic.finish(moments, n)[0] for statistic in statistics])

    return lax.map(one, keys)
