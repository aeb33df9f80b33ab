"""Null laws by simulation, jointly for all statistics, at a cost that does not grow with n.

Replicates of n' = min(n, cap) standard normal draws are made with a fixed key. Where n' < n a
value is carried over by its pivot, (value - offset) factor, whose law tends to a limit as n grows:
sqrt(n) times a distance of distribution functions (Donsker), n times a degenerate average over
pairs (a weighted sum of chi-squares). What remains is of order 1 / n'.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .base import AbstractStatistic
from .nulls import Chi2, Simulated, skewness_of
from .values import values

CAP = 400
"""Draws of a replicate; more only for statistics of moments of many dimensions."""

WORK = 3e11
"""Operations that a simulation may cost: seconds on one core."""

SEED = 20220831
MOST, FEWEST, ENOUGH = 2_000, 200, 1_000
"""Replicates: at most, at least, and enough for the empirical law itself; with fewer a shifted
chi-square law takes their first three moments."""


class Joint(eqx.Module):
    """Values of statistics on `values.shape[0]` replicates of `draws` draws under the claim."""

    statistics: tuple[AbstractStatistic, ...]
    values: Float[Array, "replicates statistics"]
    draws: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)
    fitted: bool = eqx.field(static=True)

    def column(self, statistic: AbstractStatistic, draws: int, fitted: bool) -> Any:
        """The replicates of one statistic, or None if they are not here."""
        if draws != self.draws or fitted != self.fitted:
            return None
        for k, mine in enumerate(self.statistics):
            if mine == statistic:
                return self.values[:, k]
        return None


def draws_of(n: int, r: int, fitted: bool = False) -> int:
    """How many draws a replicate has: all n up to `CAP`. Draws that whiten themselves need many
    more than dimensions before the limit law sets in.

    >>> draws_of(300, 2), draws_of(10**6, 2), draws_of(10**6, 50, fitted=True)
    (300, 400, 1000)
    """
    return min(n, max(CAP, 20 * r) if fitted else CAP)


def replicates_of(draws: int, r: int, pairs: bool) -> int:
    """How many replicates `WORK` pays for, between `FEWEST` and `MOST`."""
    cost = draws * r * (4 * r + 60) + 40 * r**3 + pairs * draws**2 * (2 * r + 150)
    return int(min(max(WORK / cost, FEWEST), MOST))


def joint_null(
    statistics: tuple,
    n: int,
    r: int,
    *,
    fitted: bool = False,
    draws: int | None = None,
    replicates: int | None = None,
) -> Joint:
    """Simulate all statistics together on the same draws; the same call gives the same numbers.

    `draws` per replicate: `draws_of(n, r)` if None. Results are kept for the next call.

    >>> from .mean import MeanChi2
    >>> joint_null((MeanChi2(),), 200, 1, replicates=50).values.shape
    (50, 1)
    """
    draws = draws_of(n, r, fitted) if draws is None else draws
    able = tuple(s for s in statistics if s.fewest(r) <= draws and not (fitted and s.about_moments))
    if replicates is None:
        pairs = any(hasattr(s, "kernel") and s.quadratic(r) for s in able)
        replicates = replicates_of(draws, r, pairs)
    wide = jnp.result_type(float) == jnp.float64
    return Joint(able, _simulate(able, draws, r, fitted, replicates, wide), draws, r, fitted)


@functools.lru_cache(maxsize=64)
def _simulate(statistics, draws, r, fitted, replicates, wide):
    keys = jax.random.split(jax.random.key(SEED), replicates)
    return _replicates(statistics, draws, r, fitted, keys)


@eqx.filter_jit
def _replicates(statistics, draws: int, r: int, fitted: bool, keys):
    def one(key):
        # single precision: rounding is far below the fluctuations of a few hundred draws
        z = jax.random.normal(key, (draws, r), jnp.float32)
        return values(statistics, z, fitted)[0]

    return lax.map(one, keys)


def simulated_null(
    statistic: AbstractStatistic,
    n: int,
    r: int,
    fitted: bool = False,
    joint: Joint | None = None,
    draws: int | None = None,
) -> Simulated | Chi2:
    """The law of one statistic of n draws from replicates of min(n, cap) draws (or of `draws`)."""
    draws = draws_of(n, r, fitted) if draws is None else draws
    found = None if joint is None else joint.column(statistic, draws, fitted)
    if found is None:
        found = joint_null((statistic,), n, r, fitted=fitted, draws=draws).values[:, 0]
    count = found.shape[0]
    offset, factor = statistic.pivot(draws, r)
    pivots = (found - offset) * factor
    offset, factor = statistic.pivot(n, r)
    text = f"simulated, {count:,} replicates of {draws:,} draws"
    if count >= ENOUGH:
        return Simulated(pivots, offset, factor, text, statistic.sides)
    mean, deviation, skewness = skewness_of(np.asarray(pivots, np.float64))
    text = f"chi2 with the moments of {count:,} replicates of {draws:,} draws"
    return Chi2.matched(
        offset + mean / factor,
        deviation / factor,
        skewness,
        text=text,
        sides=statistic.sides,
        kind="simulated",
    )
