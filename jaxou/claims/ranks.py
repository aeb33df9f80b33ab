"""Rank correlation with intervals, alone and with other quantities held fixed."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float


class Correlation(NamedTuple):
    """A rank correlation with its confidence limits, and how many pairs are behind it."""

    value: float
    lower: float
    upper: float
    pairs: int


def ranks(x: Any) -> Float[np.ndarray, " n"]:
    """Ranks 1..n, ties sharing their mean.

    >>> ranks([3.0, 1.0, 1.0]).tolist()
    [3.0, 1.5, 1.5]
    """
    x = np.asarray(x, float)
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def spearman(x: Any, y: Any, level: float = 0.01) -> Correlation:
    """Spearman's rank correlation of pairs (n,), n >= 10, with a two-sided interval.

    Fisher's z = artanh(rho) with the variance (1 + rho^2 / 2) / (n - 3), right within a few per
    cent for correlations up to 0.95 (Bonett and Wright 2000). Pairs with a value that is not finite
    are refused.
    """
    return partial_spearman(x, y, (), level)


def partial_spearman(x: Any, y: Any, given: Any, level: float = 0.01) -> Correlation:
    """The same between what is left of the ranks after a linear fit on the ranks of `given`.

    `given`: a sequence of arrays (n,); each costs one degree of freedom.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    others = [np.asarray(z, float) for z in given]
    if not all(np.isfinite(z).all() for z in (x, y, *others)):
        raise ValueError("a value is not finite: leave its pair out, and say so")
    n = x.size
    if n < 10 + len(others):
        raise ValueError(f"{n} pairs are too few for a rank correlation: at least 10 more than "
                         "there are quantities held fixed")  # fmt: skip
    rho = _residual_correlation(ranks(x), ranks(y), [ranks(z) for z in others])
    spread = np.sqrt((1 + rho**2 / 2) / (n - 3 - len(others)))
    z = NormalDist().inv_cdf(1 - level / 2) * spread
    centre = np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12))
    return Correlation(rho, float(np.tanh(centre - z)), float(np.tanh(centre + z)), n)


def _residual_correlation(x, y, others) -> float:
    basis = np.stack([np.ones_like(x), *others], axis=1)
    q, r = np.linalg.qr(basis)
    q = q[:, np.abs(np.diag(r)) > 1e-9 * np.abs(r).max()]  # a constant says nothing
    x, y = x - q @ (q.T @ x), y - q @ (q.T @ y)
    size = np.linalg.norm(x) * np.linalg.norm(y)
    small = 1e-9 * x.size**1.5
    return float(x @ y / size) if size > small**2 else 0.0


def difference(
    x: Any, rival: Any, y: Any, *, seed: int, level: float = 0.01, draws: int = 2000
) -> Correlation:
    """spearman(x, y) - spearman(rival, y) with a bootstrap interval over pairs."""
    x, rival, y = (np.asarray(v, float) for v in (x, rival, y))
    n = x.size
    generator = np.random.default_rng(seed)
    both = lambda rows: (
        _plain(ranks(x[rows]), ranks(y[rows])) - _plain(ranks(rival[rows]), ranks(y[rows]))
    )
    drawn = [both(generator.integers(0, n, n)) for _ in range(draws)]
    lower, upper = np.quantile(drawn, [level / 2, 1 - level / 2])
    return Correlation(both(np.arange(n)), float(lower), float(upper), n)


def _plain(x, y) -> float:
    return _residual_correlation(x, y, [])
