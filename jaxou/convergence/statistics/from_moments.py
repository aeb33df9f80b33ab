"""Statistics of moments where the draws themselves were not kept."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..._check import as_float
from .equipartition import Equipartition
from .evaluate import Findings, judged
from .moments import Moments


def evaluate_moments(
    statistics: Any, mean: Float[np.ndarray, " r"], covariance: Float[np.ndarray, "r r"], n: int
) -> Findings:
    """Those `statistics` that need only the mean and the covariance (over 1/n) of whitened draws.

    The number of draws is only a number here: 10^9 cost what a thousand do. The family's decision
    is Bonferroni's.

    >>> found = evaluate_moments((Equipartition(),), np.zeros(2), np.eye(2), 1_000_000_000)
    >>> found["equipartition"].p_value
    1.0
    """
    statistics = tuple(s for s in statistics if s.about_moments)
    r, count = len(mean), as_float(float(n))
    able = tuple(s for s in statistics if n >= s.fewest(r))
    found = _finish(able, as_float(mean), as_float(covariance), count)
    numbers = {id(s): (float(a), float(b)) for s, (a, b) in zip(able, found, strict=True)}
    return judged(statistics, numbers, n, r, False, None)


@eqx.filter_jit
def _finish(statistics: tuple, mean, covariance, count) -> Any:
    second = covariance + mean[:, None] * mean[None, :]
    whole = Moments(count * mean, count * second)
    square = (whole.total, count * second.diagonal())
    return [s.finish(square if isinstance(s, Equipartition) else whole, count) for s in statistics]
