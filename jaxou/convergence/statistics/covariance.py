"""Is every covariance right? The Frobenius distance of the covariance from the identity.

With S the covariance of n whitened draws about their own mean, over 1 / nu, nu = n - 1:

    value = (nu / 2) |S - I|_F^2,   E = r (r + 1) / 2,   Var = r (r + 1) + r (2 r^2 + 5 r + 5) / nu

both exact (from the moments of Wishart's law), and the law tends to chi-square with r (r + 1) / 2
degrees of freedom. The value does not depend on the mean. Source of the test: John 1971 and
Nagao 1973 (doi:10.1214/aos/1176342464).
"""

from typing import ClassVar

import jax.numpy as jnp

from .bartlett import BARTLETT, simulated_moments
from .moments import AbstractMoments
from .noncentral import Smallest, smallest_noncentrality
from .nulls import Chi2


class Covariance(AbstractMoments):
    """value = (nu / 2) |S - I|_F^2: sees all variances and correlations alike.

    Null law: simulated by Bartlett's decomposition up to r = 64, else a scaled chi-square law with
    the exact mean and variance. Cost O(n r^2).

    >>> law = Covariance().null(1_000_000, 100)
    >>> law.kind, round(float(law.mean))
    ('asymptotic', 5050)
    """

    name: ClassVar[str] = "covariance"
    question: ClassVar[str] = "is every variance and correlation right?"

    def fewest(self, r):
        # Bartlett's decomposition needs a regular covariance
        return r + 1 if r <= BARTLETT else 2

    def finish(self, summary, n):
        nu = n - 1
        s = summary.covariance(n) * (n / nu)
        gap = s - jnp.eye(s.shape[0], dtype=s.dtype)
        value = nu / 2 * jnp.sum(gap**2)
        # delta method: d value = nu tr(gap dS), Var tr(G S) = 2 tr(G S G S) / nu
        slope = 2 * nu * jnp.sum((gap @ s) * (s @ gap).T)
        return value, jnp.sqrt(2 * s.shape[0] * (s.shape[0] + 1) / 2 + jnp.maximum(slope, 0.0))

    def null(self, n, r, fitted=False, joint=None):
        if r <= BARTLETT:
            return simulated_moments(self, n, r)
        nu = n - 1
        deviation = (r * (r + 1) + r * (2 * r**2 + 5 * r + 5) / nu) ** 0.5
        return Chi2.matched(r * (r + 1) / 2, deviation, text="chi2 with exact mean and variance")

    def smallest(self, n: int, r: int, level: float, power: float) -> Smallest:
        """|S - I|_F that a test at `level` sees with probability `power`:
        sqrt(2 noncentrality / nu)."""
        noncentrality = smallest_noncentrality(r * (r + 1) / 2, level, power)
        return Smallest(
            jnp.sqrt(2 * noncentrality / (n - 1)), "Frobenius norm of the error of the covariance"
        )
