"""Is the shape Gaussian, whatever mean and covariance are? Mardia's skewness and kurtosis.

With y the draws whitened by their *own* mean and covariance (over 1 / n):

    b1 = sum_ij (y_i . y_j)^3 / n^2,    b2 = sum_i |y_i|^4 / n

    E b1 = r (r+2) ((n+1)(r+1) - 6) / ((n+1)(n+3))
    E b2 = r (r+2) (n-1) / (n+1)
    Var b2 = 8 r (r+2) (n-3)(n-r-1)(n-r+1) / ((n+1)^2 (n+3)(n+5))

exactly, while n b1 / 6 -> chi2_{r(r+1)(r+2)/6} and b2 -> normal need n >> 100 r: at n = 200 and
r = 50 the normal law of b2 rejects four true claims of five at 5 %. Source: Mardia 1970,
doi:10.1093/biomet/57.3.519.
"""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..._check import as_float
from .base import AbstractSum
from .nulls import Chi2, Simulated
from .pair_sums import PairSums
from .pairs import PAIRS, AbstractPairs
from .simulated import simulated_null

EXACT = 2_048
"""Up to this many draws the null law is simulated with all of them."""

TENSOR = 16
"""Dimensions up to which the sum over pairs is the squared norm of a third-moment tensor."""


class MardiaSkewness(AbstractPairs):
    """value: b1, the mean of (y_i . y_j)^3 over all pairs of self-whitened draws.

    Null law: simulated with n draws up to n = 2,048; above, a scaled chi-square law with the exact
    mean and the limit's variance. Says nothing about mean and covariance. Cost O(n r^3) up to
    r = 16, above O(n^2 r) for up to 20,000 draws; needs n > r + 1.

    >>> float(MardiaSkewness().null(10_000, 1).mean) * 10_000  # doctest: +ELLIPSIS
    5.99...
    """

    pairs: int = eqx.field(static=True, default=PAIRS)
    name: ClassVar[str] = "skewness (Mardia)"
    question: ClassVar[str] = "is the shape symmetric like a Gaussian?"
    standardised: ClassVar[bool] = True
    diagonal_counts: ClassVar[bool] = True

    def kernel(self, dot, left, right, r):
        return dot * dot * dot

    def centre(self, squares, r):
        return jnp.zeros_like(squares)

    def diagonal(self, squares, r):
        return squares**3

    def direct(self, rows):
        """The sums in linear time, or None in more than `TENSOR` dimensions."""
        m, r = rows.shape
        if self.quadratic(r):
            return None
        square = (rows[:, :, None] * rows[:, None, :]).reshape(m, r * r)
        tensor = square.T @ rows
        each = jnp.sum((square @ tensor) * rows, axis=1)
        diagonal = jnp.sum(self.diagonal(jnp.sum(rows**2, axis=1), r))
        means = jnp.sum((each / (m - 1)) ** 2)
        sums = (jnp.sum(each) - diagonal, jnp.zeros((), rows.dtype), diagonal, means)
        return PairSums(*(as_float(x) for x in sums))

    def quadratic(self, r):
        return r > TENSOR

    def finish(self, sums, m):
        value = (sums.cross + sums.diagonal) / m**2
        # E|y|^2 = r exactly, so E h^2 under the claim tells the dimension's part of the error
        first = jnp.maximum(sums.rows / m - value**2, 0.0)
        return value, 2 * jnp.sqrt(first / m)

    def null(self, n, r, fitted=False, joint=None):
        m = self.used(n, r).draws
        mean = r * (r + 2) * ((m + 1) * (r + 1) - 6) / ((m + 1) * (m + 3))
        if m > EXACT:
            deviation = 6 / m * (r * (r + 1) * (r + 2) / 3) ** 0.5
            return Chi2.matched(mean, deviation, text="chi2 with the exact mean")
        law = simulated_null(self, m, r, False, joint, m)
        if isinstance(law, Simulated):
            return law
        # few replicates know the deviation well and the skewness badly, and a shift would be wrong
        # near zero, where much of the law is in low dimension
        text = "chi2 with the exact mean and the deviation of replicates"
        return Chi2.matched(mean, law.deviation, text=text, kind="simulated")

    def pivot(self, n, r):
        return 0.0, 1.0


class MardiaKurtosis(AbstractSum):
    """value: b2, the mean of |y|^4 over self-whitened draws; both tails count.

    Null law: simulated with n draws up to n = 2,048; above, a shifted chi-square law with the exact
    mean and variance and the leading skewness. Says nothing about mean and covariance. Cost
    O(n r^2); needs n > r + 3.

    >>> law = MardiaKurtosis().null(10_000, 1)
    >>> round(float(law.mean), 4)  # 3 (n - 1) / (n + 1)
    2.9994
    """

    name: ClassVar[str] = "kurtosis (Mardia)"
    question: ClassVar[str] = "are the tails those of a Gaussian?"
    sides: ClassVar[str] = "both"
    standardised: ClassVar[bool] = True

    def fewest(self, r):
        return max(r + 4, 8)

    def reduce(self, block, live):
        squares = jnp.sum(block**2, axis=1)
        fourth = jnp.where(live, squares**2, jnp.zeros((), block.dtype))
        return jnp.sum(fourth), jnp.sum(fourth**2)

    def finish(self, summary, n):
        total, square = summary
        value = total / n
        return value, jnp.sqrt(jnp.maximum(square / n - value**2, 0.0) / n)

    def null(self, n, r, fitted=False, joint=None):
        if n <= EXACT:
            return simulated_null(self, n, r, False, joint, n)
        mean = r * (r + 2) * (n - 1) / (n + 1)
        variance = 8 * r * (r + 2) * (n - 3) * (n - r - 1) * (n - r + 1)
        variance /= (n + 1) ** 2 * (n + 3) * (n + 5)
        text = "chi2 with exact mean and variance"
        return Chi2.matched(mean, variance**0.5, kurtosis_skewness(n, r), text=text, sides="both")


def kurtosis_skewness(n: float | int, r: int) -> float:
    """The skewness of b2 to leading order: E psi^3 / ((E psi^2)^(3/2) sqrt(n)) with the influence
    psi = q^2 - 2 (r + 2) q + r (r + 2), q chi-square with r degrees of freedom.

    >>> round(kurtosis_skewness(1.0, 1), 4)  # 6 sqrt(6)
    14.6969
    """
    psi = np.array([1.0, -2.0 * (r + 2), float(r * (r + 2))])
    powers = [np.convolve(psi, psi), np.convolve(np.convolve(psi, psi), psi)]
    moments = np.concatenate([[1.0], np.cumprod(r + 2.0 * np.arange(6))])
    second, third = (float(np.dot(p[::-1], moments[: len(p)])) for p in powers)
    return third / second**1.5 / n**0.5
