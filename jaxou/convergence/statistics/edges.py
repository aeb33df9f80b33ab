"""Is any direction wrong? The extreme eigenvalues of the covariance against their edges.

Under the claim the eigenvalues of n whitened draws' covariance fill the interval of Marchenko and
Pastur, (1 -+ sqrt(r / n))^2. The largest and the logarithm of the smallest, centred and scaled,
have the law of Tracy and Widom, nearly independently. Sources: Johnstone 2001
(doi:10.1214/aos/1009210544) with the constants of Ma 2012 (doi:10.3150/10-BEJ334).
"""

from typing import ClassVar

import jax.numpy as jnp

from ..._check import as_float
from ...linalg import eigh
from .bartlett import BARTLETT, simulated_moments
from .moments import AbstractMoments
from .nulls import Distribution, tracy_widom_tail


class ExtremeEigenvalues(AbstractMoments):
    """value: the larger of the two edges' excesses in units of their fluctuation.

    The most powerful test of one direction that is too wide or too narrow. Null law: simulated by
    Bartlett's decomposition up to r = 64, else of the larger of two independent Tracy-Widom
    variables. Needs n > r + 1. Cost O(n r^2 + r^3).

    >>> law = ExtremeEigenvalues().null(100_000, 500)
    >>> round(float(law.p_value(2.0)), 3), law.kind
    (0.02, 'asymptotic')
    """

    name: ClassVar[str] = "extreme eigenvalues"
    question: ClassVar[str] = "is any direction too wide or too narrow?"

    def fewest(self, r):
        return r + 2

    def finish(self, summary, n):
        nu = n - 1
        values, _ = eigh(summary.covariance(n) * n)
        r = values.shape[0]
        wide, high = jnp.sqrt(nu - 0.5), jnp.sqrt(as_float(r - 0.5))
        top = (wide + high) ** 2
        spread = (wide + high) * jnp.cbrt(1 / wide + 1 / high)
        above = (values[-1] - top) / spread
        bottom = (wide - high) ** 2
        # one dimension and nearly square cases have no soft lower edge: keep the formula finite
        narrow = (wide - high) * jnp.cbrt(jnp.maximum(1 / high - 1 / wide, 1e-3)) / bottom
        smallest = jnp.maximum(values[0], jnp.finfo(values.dtype).tiny)
        below = (jnp.log(bottom) + narrow**2 / 8 - jnp.log(smallest)) / narrow
        # the fluctuations have standard deviation 1.268 each in these units
        return jnp.maximum(above, below), as_float(1.268)

    def null(self, n, r, fitted=False, joint=None):
        if r <= BARTLETT:
            return simulated_moments(self, n, r)
        return Distribution(_larger_of_two, as_float(-0.6), "larger of two TW1", "asymptotic")


def _larger_of_two(x):
    p = tracy_widom_tail(x)
    return p * (2 - p)
