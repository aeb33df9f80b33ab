"""Is the overall scale right? The sum of all squares is chi-square with n r degrees of freedom."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._check import as_float
from ..._typing import Scalar
from ..null_laws import chi2_quantile
from .moments import AbstractMoments
from .noncentral import Smallest
from .nulls import Chi2


class TotalVariance(AbstractMoments):
    """value = sum |z|^2, exactly chi-square with n r degrees of freedom; both tails count.

    The most powerful test of a factor that is common to all variances. It uses the claimed mean.

    >>> import jax
    >>> from .evaluate import evaluate
    >>> z = jax.random.normal(jax.random.key(0), (1000, 2))
    >>> found = [evaluate((TotalVariance(),), s * z, joint=False) for s in (1.0, 1.2)]
    >>> [test["total variance"].p_value < 1e-4 for test in found]
    [False, True]
    """

    name: ClassVar[str] = "total variance"
    question: ClassVar[str] = "is its overall scale right?"
    sides: ClassVar[str] = "both"

    def finish(self, summary, n):
        second = summary.outer
        # Var sum |z|^2 = 2 n tr S^2 for Gaussian draws of any covariance S about the claimed mean
        return jnp.trace(second), jnp.sqrt(2 * jnp.sum(second**2) / n)

    def null(self, n, r, fitted=False, joint=None):
        return Chi2.exact(float(n) * r, sides="both")

    def smallest(self, n: int, r: int, level: float, power: float) -> Smallest:
        """The relative excess of all variances that a test at `level` sees with probability
        `power`: q(level / 2) / q(1 - power) - 1 with the quantiles q of chi-square."""
        degrees = as_float(float(n) * r)
        critical = chi2_quantile(as_float(level) / 2, degrees)
        return Smallest(
            critical / chi2_quantile(as_float(power), degrees) - 1,
            "relative excess common to all variances",
        )


def energy_chi2(whitened: Float[Array, "n rank"]) -> tuple[Scalar, Scalar]:
    """(sum |z|^2, two-sided p-value): chi-square with n x rank degrees of freedom, exactly.

    The most powerful test of a factor that is common to all variances.

    >>> import jax
    >>> z = jax.random.normal(jax.random.key(0), (1000, 2))
    >>> float(energy_chi2(z)[1]) > 1e-4 > float(energy_chi2(1.2 * z)[1])
    True
    """
    n, rank = whitened.shape
    statistic = jnp.sum(whitened**2)
    return statistic, TotalVariance().null(n, rank).p_value(statistic)
