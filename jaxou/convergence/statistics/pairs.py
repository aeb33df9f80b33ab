"""Averages of a kernel h(z_i, z_j) over all pairs of draws, in square tiles of the Gram matrix.

Kernels here are functions of the inner product and the two squared lengths, and *degenerate*: under
the claim E h(x, z) = 0 for every x. All statistics of a call share the tiles' inner products.

    U = sum_{i != j} h(z_i, z_j) / (m (m - 1)),      Var U = 2 E h^2 / (m (m - 1)) under the claim

U is zero in the mean, and sqrt(m (m - 1)) U has a law nearly free of m.

Above `pairs` draws (20,000) one draw is taken from each of 20,000 equal strata of the rows, at a
place fixed by the counter-based generator (above r = 64 from fewer strata, down to 5,000, at equal
cost). Pairs cost the square of the draws, and a subsample keeps the exact null law. What is lost is
power: what is seen is what that many draws show.
"""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from ..._typing import Scalar
from .base import AbstractStatistic, Used
from .pair_sums import PairSums
from .simulated import simulated_null

PAIRS = 20_000
MANY = 64
"""In more dimensions a subsample gets smaller, so that its Gram matrix costs no more; but not below
a quarter of `pairs`."""


class AbstractPairs(AbstractStatistic):
    """A statistic that averages a degenerate kernel over pairs."""

    pairs: eqx.AbstractVar[int]
    diagonal_counts: ClassVar[bool] = False

    @abc.abstractmethod
    def kernel(self, dot: Any, left: Any, right: Any, r: int) -> Any:
        """k(x, y) from x.y (a, b) and the squared lengths (a, 1), (1, b)."""

    @abc.abstractmethod
    def centre(self, squares: Any, r: int) -> Any:
        """c(x) from the squared lengths (m,), such that h(x, y) = k(x, y) - c(x) - c(y)."""

    @abc.abstractmethod
    def diagonal(self, squares: Any, r: int) -> Any:
        """h(x, x) from the squared lengths (m,)."""

    def direct(self, rows: Any) -> PairSums | None:
        """The sums by a way shorter than over all pairs, where there is one."""
        return None

    def quadratic(self, r: int) -> bool:
        """Whether the cost in r dimensions is that of all pairs."""
        return True

    def finish(self, sums: PairSums, m: Scalar) -> tuple[Scalar, Scalar]:
        """(U, its standard error) from the sums over m draws.

        Var U = 4 zeta_1 / m + 2 E h^2 / (m (m - 1)), zeta_1 the variance of E[h(x, Z) | x], zero
        under the claim. Source: Hoeffding 1948, doi:10.1214/aoms/1177730196.
        """
        value = sums.cross / (m * (m - 1))
        second = sums.square / (m * (m - 1))
        first = jnp.maximum(sums.rows / m - value**2 - second / (m - 1), 0.0)
        error = jnp.sqrt(4 * first / m + 2 * second / (m * (m - 1)))
        return (sums.cross + sums.diagonal) / m**2 if self.diagonal_counts else value, error

    def used(self, n, r=1):
        if n <= self.pairs:
            return Used(n, "")
        m = int(self.pairs * min(1.0, max((MANY / r) ** 0.5, 0.25)))
        return Used(
            m,
            f"all pairs of {m:,} of the {n:,} draws, one from each stratum: sees deviations "
            f"{(n / m) ** 0.5:.3g} times larger than all of them would show",
        )

    def null(self, n, r, fitted=False, joint=None):
        return simulated_null(self, self.used(n, r).draws, r, fitted, joint)

    def pivot(self, n, r):
        m = float(self.used(int(n), r).draws)
        return 0.0, (m * (m - 1)) ** 0.5
