"""The prior's scale may look at the target sample, at the price of a union over a grid.

    tau_j^2 = largest exp(-j / resolution)

With KL(N(m, S) || N(m0, tau^2 I)) = (a / tau^2 + d log tau^2 + b) / 2 the best continuous scale is
tau^2 = a / d, a = tr S + |m - m0|^2. The index is rounded to an integer and the bound evaluated
there, with log(1/pi_j) paid: a bound at a scale between the grid's is none. Being half a cell off
costs d / (16 resolution^2) nats. Source: Langford and Caruana 2001; Dziugaite and Roy 2017.
"""

import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import numpy as np

from .._check import as_point, is_concrete, show_value
from .._typing import ScalarLike
from ..laws import Gaussian
from .rows import Row, find_row
from .weights import TwoSided, Weights, Zeta

_MOST = 10**6


class ScaleGrid(eqx.Module):
    """One-sided grid of prior scales tau_j^2 = largest exp(-j / resolution), j = 1, 2, ...

    tau^2 is the mean prior variance of a parameter. Weights 6 / (pi^2 j^2) sum to 1, so choosing j
    by looking at the target costs 2 log j + log(pi^2 / 6) nats. `two_sided` gives every integer j,
    with the weights of `TwoSided`, around `largest`. `count` is how many a search may look at.
    `largest` and `resolution` must be fixed before the target sample is seen.

    >>> 0.99 < sum(ScaleGrid().weight(j) for j in range(1, 100)) < 1.0
    True
    """

    largest: float | int = eqx.field(static=True, default=4.0)
    resolution: float | int = eqx.field(static=True, default=2.0)
    count: int = eqx.field(static=True, default=30)
    two_sided: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if not (0 < self.largest < math.inf and 0 < self.resolution < math.inf and self.count >= 1):
            raise ValueError(f"scales={self} must have largest > 0, resolution > 0 and count >= 1")

    @property
    def weights(self) -> Weights:
        """What the scales weigh."""
        return TwoSided() if self.two_sided else Zeta()

    def variance(self, index: Any) -> float:
        """tau_j^2."""
        return self.largest * math.exp(-self.weights.check(index) / self.resolution)

    def weight(self, index: Any) -> float:
        """The share of delta given to scale j."""
        return self.weights.weight(index)

    def nearest(self, variance: float) -> int:
        """The index whose scale is nearest to `variance` on a logarithmic axis; at least 1."""
        index = round(self.resolution * math.log(self.largest / variance))
        return index if self.two_sided else max(index, 1)


def scale_grid(
    largest: float | int, resolution: float | int, *, two_sided: bool = False
) -> ScaleGrid:
    """The grid tau_j^2 = `largest` exp(-j / resolution); a resolution of sqrt(d) suffices.

    >>> round(scale_grid(1.0, 2.0).variance(4), 6)
    0.135335
    """
    return ScaleGrid(largest, resolution, 30, two_sided)


@dataclass(frozen=True)
class PriorScale:
    """The scale that was chosen: `value` is the bound with the choice paid for.

    `kl` is KL(Q || N(center, variance)) at the integer `index`; `cost` = log(1/weight) nats;
    `continuous` the best variance if none had to be paid for; `free_value` the bound at the same
    KL without the union term, which is no bound and shows what the choice costs.
    """

    index: int
    variance: float
    continuous: float
    kl: float
    weight: float
    cost: float
    value: float
    free_value: float


def best_scale(
    law: Gaussian,
    center: Any = 0.0,
    *,
    n: ScalarLike,
    delta: ScalarLike,
    risk: ScalarLike = 0.0,
    grid: ScaleGrid | None = None,
    bound: str | Row = "mcallester_he",
) -> PriorScale:
    """The isotropic prior N(center, tau_j^2 I) with the smallest bound, its choice paid for.

    Exact over the whole grid, not only around the continuous optimum: beyond that one both KL and
    price grow, so that finitely many j remain, and all of them are evaluated. Concrete numbers
    only. Cost: one KL, and `bound` at the candidates, together.

    >>> chosen = best_scale(Gaussian([1.0, -0.5], 1e-3), n=50_000, delta=0.025)
    >>> chosen.index, round(chosen.continuous, 3), chosen.value > chosen.free_value
    (1, 0.626, True)
    """
    grid = ScaleGrid() if grid is None else grid
    center = as_point(center, law.dimension, "center")
    terms = law.kl_terms(Gaussian(center, 1.0))
    if not is_concrete(terms.value):
        raise TypeError("best_scale searches a grid of integers: call it outside of jit and grad")
    a, d = float(terms.trace + terms.shift), law.dimension
    if not (np.isfinite(float(terms.value)) and a > 0):
        raise ValueError(
            f"KL to N(center, I) is {show_value(terms.value)}: the law is a point or singular, and "
            "no isotropic prior is at a finite distance; inflate its covariance"
        )
    rest = float(terms.dimension + terms.logdet)
    indices = _candidates(grid, a / d)
    variances = np.array([grid.variance(j) for j in indices])
    weights = np.array([grid.weight(j) for j in indices])
    kl = np.maximum(0.5 * (a / variances + d * np.log(variances) + rest), 0.0)
    row = find_row(bound)
    values = np.asarray(row(risk, kl, n, delta * weights))
    best = int(np.nanargmin(values))
    return PriorScale(
        index=indices[best],
        variance=float(variances[best]),
        continuous=a / d,
        kl=float(kl[best]),
        weight=float(weights[best]),
        cost=-math.log(weights[best]),
        value=float(values[best]),
        free_value=float(row(risk, kl[best], n, delta)),
    )


def _candidates(grid: ScaleGrid, variance: float) -> list[int]:
    """Every index that can win: between the free optimum and the item of the largest weight."""
    nearest = grid.nearest(variance)
    cheapest = 0 if grid.two_sided else 1
    low, high = min(nearest, cheapest), max(nearest, cheapest)
    if high - low > _MOST:
        raise ValueError(
            f"the best prior variance {variance:.3g} is {high - low} cells away from the grid's "
            f"largest ({grid.largest:g}): lower the resolution ({grid.resolution:g}; sqrt(d) "
            "suffices) or start nearer"
        )
    return list(range(low - 1 if grid.two_sided else low, high + 2))
