"""What a claim of equivalence needs: the smallest margin n draws can show, and n for a margin.

The claim is "KL to the law is below the margin with confidence 1 - alpha"; it is made when the
upper confidence limit of the plug-in KL is below the margin. The limit is itself random: "can show"
means with probability `power`.
"""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from .._check import as_count
from .._typing import Scalar, ScalarLike
from .null_laws import bisect, noncentral_chi2_below, noncentrality_limit
from .pairing import require_share
from .plug_in_kl import null_moments

MOST = 1e12
"""Draws beyond which no number is given."""


def claimable(
    n: ScalarLike, rank: Any, *, kl: Any = 0.0, alpha: Any = 0.01, power: Any = 0.8
) -> float:
    """The smallest margin in nats that n draws of rank `rank` show with probability `power`.

    `kl`: the true divergence, 0 for a law that is exactly right. `inf` where n <= rank.

    >>> 0.0 < claimable(100_000, 2) < 1e-3
    True
    """
    rank = as_count(rank, "rank")
    _refuse_bad(kl, alpha, power)
    if n <= rank:
        return math.inf
    values = (jnp.asarray(float(x)) for x in (n, kl, alpha, power))
    return float(_claimable(*values, rank))


@eqx.filter_jit
def _claimable(n, kl, alpha, power, rank: int) -> Scalar:
    mean, deviation = null_moments(n, rank)
    unit, degrees = deviation**2 / (2 * mean), 2 * mean**2 / deviation**2
    noncentrality = kl / unit
    below = lambda x: noncentral_chi2_below(x, degrees, noncentrality) < power
    centre = degrees + noncentrality
    top = centre + 60 * jnp.sqrt(centre) + 1500.0
    seen = bisect(below, jnp.zeros_like(top), top)
    return unit * noncentrality_limit(seen, degrees, alpha)


def _refuse_bad(kl, alpha, power):
    require_share(alpha, "alpha", "1 minus the confidence of the claim")
    require_share(power, "power", "the probability that it can be made")
    if not kl >= 0:
        raise ValueError(f"kl={kl} must be at least 0: a divergence in nats")


def draws_needed(
    margin: Any, rank: Any, *, kl: Any = 0.0, alpha: Any = 0.01, power: Any = 0.8
) -> int | None:
    """How many draws show KL < margin with probability `power`; None if no number does.

    >>> n = draws_needed(0.01, 10)
    >>> claimable(n, 10) <= 0.01 < claimable(n // 2, 10)
    True
    """
    rank = as_count(rank, "rank")
    _refuse_bad(kl, alpha, power)
    if not margin > 0:
        raise ValueError(f"margin={margin} must be positive: a KL in nats, such as 0.05")
    if kl >= margin:
        return None
    low, high = math.log(rank + 2.0), math.log(MOST)
    enough = lambda log_n: claimable(
        math.floor(math.exp(log_n)), rank, kl=kl, alpha=alpha, power=power
    ) <= margin  # fmt: skip
    if not enough(high):
        return None
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return math.ceil(math.exp(high))
