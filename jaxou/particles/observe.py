"""What to keep of a run, and how moments of blocks of particles are put together.

Moments are summed in fixed blocks of particles and merged pairwise in block order, so a run's
statistics do not depend on how its particles were cut into chunks. Source of the update: Chan,
Golub and LeVeque 1983, doi:10.1080/00031305.1983.10483115.
"""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

COVARIANCE_LIMIT = 2**24
"""Entries of all covariances of a run (saves x d x d) up to which they are kept by default."""


class Moments(eqx.Module):
    """Keep mean and covariance at every save point.

    `covariance=False` keeps variances only, memory O(saves x d); None decides by size.
    """

    covariance: bool | None = eqx.field(static=True, default=None)


class Paths(eqx.Module):
    """Keep the first `count` particles at every save point, as `run.paths` (saves, count, d)."""

    count: int = eqx.field(static=True)

    def __check_init__(self):
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise ValueError(f"Paths(count) needs a whole number of at least 1, got {self.count!r}")


class MomentRecord(eqx.Module):
    """Mean and covariance of the particles at each of K save points, with their errors.

    `covariance` divides by particles - 1. `standard_error_mean` (K, d) is the standard deviation
    of each mean; `standard_error_covariance` (K, d, d) is the Gaussian one,
    sqrt((S_ij^2 + S_ii S_jj) / (particles - 1)).
    """

    mean: Float[Array, "saves d"]
    variance: Float[Array, "saves d"]
    full: Float[Array, "saves d d"] | None
    count: int = eqx.field(static=True)

    @property
    def covariance(self) -> Float[Array, "saves d d"]:
        if self.full is None:
            raise ValueError(
                "this run kept variances only, because its covariances are large or were not asked "
                "for: pass observe=ou.Moments(covariance=True), or use run.moments.variance"
            )
        return self.full

    @property
    def standard_error_mean(self) -> Float[Array, "saves d"]:
        return (self.variance / self.count) ** 0.5

    @property
    def standard_error_covariance(self) -> Float[Array, "saves d d"]:
        square = self.variance[:, :, None] * self.variance[:, None, :]
        return ((self.covariance**2 + square) / max(self.count - 1, 1)) ** 0.5


def merge(left: tuple, right: tuple) -> tuple:
    """(count, mean, sum of squared deviations) of two groups together; arrays of any library."""
    (n, mean, scatter), (m, other, more) = left, right
    gap = other - mean
    square = gap[..., :, None] * gap[..., None, :] if scatter.ndim > mean.ndim else gap**2
    return n + m, mean + gap * (m / (n + m)), scatter + more + square * (n * m / (n + m))


class PairwiseMerge:
    """A pairwise tree over a stream: like a binary counter, it holds log2(blocks) partial sums.

    >>> import numpy as np
    >>> tree = PairwiseMerge()
    >>> for x in (1.0, 2.0, 6.0):
    ...     tree.push((1.0, np.array([x]), np.array([0.0])))
    >>> [float(np.squeeze(part)) for part in tree.total()]
    [3.0, 3.0, 14.0]
    """

    def __init__(self, stack: list[tuple[int, Any]] | None = None):
        self.stack = stack or []

    def push(self, item: tuple) -> None:
        level = 0
        while self.stack and self.stack[-1][0] == level:
            item = merge(self.stack.pop()[1], item)
            level += 1
        self.stack.append((level, item))

    def total(self) -> tuple:
        items = [item for _, item in self.stack]
        result = items.pop()
        while items:
            result = merge(items.pop(), result)
        return result


def read_observers(observe) -> tuple[bool | None, int]:
    """(covariance wanted, number of paths) from what the caller asked for."""
    items = observe if isinstance(observe, tuple | list) else (observe,)
    covariance, paths = None, 0
    for item in items:
        if isinstance(item, Moments):
            covariance = item.covariance
        elif isinstance(item, Paths):
            paths = item.count
        else:
            raise ValueError(
                f"observe takes ou.Moments(...) and ou.Paths(k), or a tuple of them, got {item!r}"
            )
    return covariance, paths
