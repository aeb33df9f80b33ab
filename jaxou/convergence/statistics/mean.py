"""Is the mean right? n |mean|^2 is chi-square with r degrees of freedom, exactly."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._typing import Scalar
from .moments import AbstractMoments
from .noncentral import Smallest, smallest_noncentrality
from .nulls import Chi2


class MeanChi2(AbstractMoments):
    """value = n |mean|^2, exactly chi-square with r degrees of freedom.

    >>> law = MeanChi2().null(100, 3)
    >>> law.text, law.kind
    ('chi2(3)', 'exact')
    """

    name: ClassVar[str] = "mean"
    question: ClassVar[str] = "is the mean right?"

    def finish(self, summary, n):
        mean = summary.mean(n)
        value = n * jnp.sum(mean**2)
        # n m^T V m: the spread of the value about its noncentrality
        lever = jnp.maximum(n * mean @ summary.covariance(n) @ mean, 0.0)
        return value, jnp.sqrt(2.0 * mean.shape[0] + 4 * lever)

    def null(self, n, r, fitted=False, joint=None):
        return Chi2.exact(r)

    def smallest(self, n: int, r: int, level: float, power: float) -> Smallest:
        """The length of a shift of the mean, in standard deviations of the law, that a test at
        `level` sees with probability `power`: sqrt(noncentrality / n)."""
        size = jnp.sqrt(smallest_noncentrality(r, level, power) / n)
        return Smallest(size, "length of a shift of the mean, in standard deviations of the law")


def mean_chi2(whitened: Float[Array, "n rank"]) -> tuple[Scalar, Scalar]:
    """(n |mean|^2, p-value): chi-square with `rank` degrees of freedom, exactly.

    >>> statistic, p = mean_chi2(jnp.array([[1.0], [-1.0], [0.5], [-0.5]]))
    >>> float(statistic), float(p)
    (0.0, 1.0)
    """
    n, rank = whitened.shape
    statistic = n * jnp.sum(jnp.mean(whitened, axis=0) ** 2)
    return statistic, MeanChi2().null(n, rank).p_value(statistic)
