"""Statistics of whitened draws whose null laws are known, for any number of draws."""

import jax.numpy as jnp
from jax.scipy.special import gammainc
from jaxtyping import Array, Float

from .._typing import Scalar
from .null_laws import chi2_tail, kolmogorov_tail

Draws = Float[Array, "n rank"]


def mean_chi2(whitened: Draws) -> tuple[Scalar, Scalar]:
    """(n |mean|^2, p-value): chi-square with `rank` degrees of freedom, exactly.

    >>> statistic, p = mean_chi2(jnp.array([[1.0], [-1.0], [0.5], [-0.5]]))
    >>> float(statistic), float(p)
    (0.0, 1.0)
    """
    n, rank = whitened.shape
    statistic = n * jnp.sum(jnp.mean(whitened, axis=0) ** 2)
    return statistic, chi2_tail(statistic, jnp.asarray(float(rank)))


def energy_chi2(whitened: Draws) -> tuple[Scalar, Scalar]:
    """(sum |z|^2, two-sided p-value): chi-square with n x rank degrees of freedom, exactly.

    The most powerful test of a factor that is common to all variances.
    """
    n, rank = whitened.shape
    statistic = jnp.sum(whitened**2)
    upper = chi2_tail(statistic, jnp.asarray(float(n * rank)))
    return statistic, jnp.minimum(1.0, 2 * jnp.minimum(upper, 1 - upper))


def mahalanobis_ks(whitened: Draws) -> tuple[Scalar, Scalar]:
    """(KS distance of |z|^2 from chi-square_rank, p-value): sees wrong shapes as well as scales.

    Null law: (sqrt(n) + 0.12 + 0.11 / sqrt(n)) D is Kolmogorov's (Stephens 1970).
    """
    n, rank = whitened.shape
    squares = jnp.sort(jnp.sum(whitened**2, axis=1))
    below = gammainc(rank / 2, squares / 2)
    index = jnp.arange(n, dtype=below.dtype)
    distance = jnp.max(jnp.maximum((index + 1) / n - below, below - index / n))
    root = jnp.sqrt(float(n))
    return distance, kolmogorov_tail((root + 0.12 + 0.11 / root) * distance)


def holm(p_values: list[float]) -> list[float]:
    """Holm's adjusted p-values: reject those below the level and all errors together stay below it.

    Valid for dependent tests. Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for position, i in enumerate(order):
        worst = max(worst, (len(p_values) - position) * p_values[i])
        adjusted[i] = min(1.0, worst)
    return adjusted
