"""The plug-in KL divergence of a moment fit: its exact null mean and variance, and a limit.

Draws x_1..x_n are whitened by the claimed law; m and S are their mean and covariance (over 1/n):

    KL^ = (tr S - r - log det S + |m|^2) / 2

For Gaussian draws of *any* mean and covariance E KL^ = KL + E0 with one and the same

    E0 = -(sum_{i=1}^{r} psi((n - i) / 2) + r log(2 / n)) / 2        about r (r + 3) / (4 n),

so KL^ - E0 is unbiased, and KL^ itself must never be compared with zero. Under the null KL^ follows
a scaled chi-square law that has its exact mean and variance.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, polygamma
from jaxtyping import Array, Float

from .._typing import Scalar, ScalarLike
from ..linalg import logabsdet
from .null_laws import chi2_tail, noncentrality_limit, normal_quantile


class PlugInKL(eqx.Module):
    """KL(draws || law) in nats: `plug_in`, its null mean and standard deviation, and estimates.

    `estimate` = plug_in - null_mean is unbiased and can be negative. `p_value` tests KL = 0.
    """

    plug_in: Scalar
    null_mean: Scalar
    null_deviation: Scalar
    deviation: Scalar

    @property
    def estimate(self) -> Scalar:
        return self.plug_in - self.null_mean

    @property
    def unit(self) -> Scalar:
        """KL^ / unit is chi-square under the null; unit is about 1 / (2 n)."""
        return self.null_deviation**2 / (2 * self.null_mean)

    @property
    def degrees(self) -> Scalar:
        return 2 * self.null_mean**2 / self.null_deviation**2

    @property
    def p_value(self) -> Scalar:
        return chi2_tail(self.plug_in / self.unit, self.degrees)

    def upper_limit(self, alpha: Scalar) -> Scalar:
        """KL is below this with confidence 1 - alpha: what a claim of equivalence needs.

        The larger of the noncentral chi-square limit, right for small KL, and a normal limit with
        the estimated standard deviation, right for large KL.
        """
        near = self.unit * noncentrality_limit(self.plug_in / self.unit, self.degrees, alpha)
        far = self.estimate + normal_quantile(alpha) * self.deviation
        return jnp.maximum(near, far)


@functools.partial(jax.jit, static_argnums=1)
def null_moments(n: ScalarLike, rank: int) -> tuple[Scalar, Scalar]:
    """Exact mean and standard deviation of KL^ under the null, n > rank.

    >>> mean, deviation = null_moments(1000, 2)
    >>> round(float(mean), 6), round(float(deviation), 6)
    (0.002503, 0.001583)
    """
    half = (n - jnp.arange(1.0, rank + 1.0)) / 2
    mean = -(jnp.sum(digamma(half)) + rank * jnp.log(2.0 / n)) / 2
    log_determinant = jnp.sum(polygamma(1, half))
    return mean, jnp.sqrt(2 * rank / n - 4 * rank / n + log_determinant) / 2


def plug_in_kl(whitened: Float[Array, "n rank"]) -> PlugInKL:
    """KL of draws from the law that whitened them; needs n > rank. Cost O(n rank^2 + rank^3).

    >>> import jax
    >>> kl = plug_in_kl(jax.random.normal(jax.random.key(0), (1000, 2)))
    >>> bool(abs(kl.plug_in - kl.null_mean) < 5 * kl.null_deviation)
    True
    """
    n = whitened.shape[0]
    mean = jnp.mean(whitened, axis=0)
    centred = whitened - mean[None, :]
    return kl_of_moments(mean, centred.T @ centred / n, n)


@functools.partial(jax.jit, static_argnums=2)
def kl_of_moments(
    mean: Float[Array, " rank"], covariance: Float[Array, "rank rank"], n: int
) -> PlugInKL:
    """The same from the mean and the covariance (over 1/n) of n whitened draws. Cost O(rank^3)."""
    rank = mean.shape[0]
    if n <= rank:
        raise ValueError(
            f"the plug-in KL needs more draws than dimensions, got {n} draws in rank {rank}"
        )
    trace, shift = jnp.trace(covariance), jnp.sum(mean**2)
    value = (trace - rank - logabsdet(covariance) + shift) / 2
    null_mean, null_deviation = null_moments(n, rank)
    # Var KL^ = (2 tr V^2 / n - 4 tr V / n + Var log det + 4 m^T V m / n) / 4, with V estimated
    square = jnp.maximum(jnp.sum(covariance**2) - trace**2 / n, 0.0)
    lever = jnp.maximum(mean @ covariance @ mean - square / n, 0.0)
    excess = 2 * (square - rank) / n - 4 * (trace - rank) / n + 4 * lever / n
    deviation = jnp.sqrt(null_deviation**2 + jnp.maximum(excess, 0.0) / 4)
    return PlugInKL(value, null_mean, null_deviation, deviation)
