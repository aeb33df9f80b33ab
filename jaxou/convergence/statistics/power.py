"""What would have been noticed? Power of any statistic against any alternative, by simulation."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..._check import as_key
from ..pairing import require_share
from .base import as_statistics
from .values import values


class Power(eqx.Module):
    """`rejected` (statistics,): the share of alternatives rejected, and its standard error."""

    rejected: Float[Array, " statistics"]
    standard_error: Float[Array, " statistics"]


def power(
    statistics: Any,
    sampler: Callable,
    n: int,
    r: int,
    *,
    level: float,
    key: Any,
    replicates: int = 200,
    fitted: bool = False,
) -> Power:
    """The probability that each statistic rejects draws of an alternative at `level`.

    `sampler(key)` gives one data set (n, r): n draws of the alternative, whitened by the claim.
    Cost: `replicates` evaluations and the null laws.

    >>> from .mean import MeanChi2
    >>> shifted = lambda key: jax.random.normal(key, (50, 2)) + 0.5
    >>> found = power((MeanChi2(),), shifted, 50, 2, level=0.05, key=jax.random.key(0))
    >>> bool(found.rejected[0] > 0.95)
    True
    """
    require_share(level, "level", "the probability of a false alarm")
    statistics = as_statistics(statistics)
    nulls = [s.null(n, r, fitted) for s in statistics]

    @eqx.filter_jit
    def run(keys):
        return lax.map(lambda k: values(statistics, sampler(k), fitted)[0], keys)

    found = run(jax.random.split(as_key(key), replicates))
    p = jnp.stack([lax.map(law.p_value, found[:, i]) for i, law in enumerate(nulls)])
    share = jnp.mean((p <= level).astype(found.dtype), axis=1)
    # Agresti and Coull's centre keeps the error honest at 0 and 1
    centre = (share * replicates + 2) / (replicates + 4)
    return Power(share, jnp.sqrt(centre * (1 - centre) / (replicates + 4)))
