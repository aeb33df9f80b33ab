"""Are all moments right together? The plug-in KL divergence, from sums of moments."""

from typing import ClassVar

import jax.numpy as jnp

from ...linalg import logabsdet
from ..plug_in_kl import null_moments
from .moments import AbstractMoments
from .noncentral import Smallest, smallest_noncentrality
from .nulls import Chi2


class MomentsKL(AbstractMoments):
    """value = KL^ - E0 nats: the KL divergence of a moment fit less its exact null mean.

    Unbiased for Gaussian draws of any mean and covariance, so it can be negative. Null law: a
    scaled chi-square law with the exact mean and variance (`plug_in_kl`). Needs n > r. Cost
    O(n r^2 + r^3).

    >>> law = MomentsKL().null(1_000, 2)
    >>> bool(abs(law.mean) < 1e-12), law.kind
    (True, 'asymptotic')
    """

    name: ClassVar[str] = "all moments (KL)"
    question: ClassVar[str] = "are mean and every covariance right?"

    def fewest(self, r):
        return r + 1

    def finish(self, summary, n):
        mean, covariance = summary.mean(n), summary.covariance(n)
        r = mean.shape[0]
        shift = jnp.sum(mean**2)
        plug_in = (jnp.trace(covariance) - r - logabsdet(covariance) + shift) / 2
        null_mean, null_deviation = null_moments(n, r)
        gap = covariance - jnp.eye(r, dtype=covariance.dtype)
        excess = jnp.sum(gap**2) / (2 * n) + mean @ covariance @ mean / n
        return plug_in - null_mean, jnp.sqrt(null_deviation**2 + excess)

    def null(self, n, r, fitted=False, joint=None):
        mean, deviation = null_moments(n, r)
        skewness = 2 * deviation / mean
        text = (
            f"{float(deviation**2 / (2 * mean)):.3g} x (chi2({float(8 / skewness**2):.4g}) - mean)"
        )
        return Chi2.matched(0.0, deviation, skewness, text=text)

    def smallest(self, n: int, r: int, level: float, power: float) -> Smallest:
        """The KL in nats that a test at `level` sees with probability `power`."""
        mean, deviation = null_moments(n, r)
        degrees, unit = 2 * mean**2 / deviation**2, deviation**2 / (2 * mean)
        return Smallest(unit * smallest_noncentrality(degrees, level, power), "KL in nats")
