"""How many independent draws is a time series worth?

One trajectory is not n draws. For an autoregression with coefficient rho (1 - eta a of the slowest
mode) means are as good as n (1 - rho) / (1 + rho) draws, variances as n (1 - rho^2) / (1 + rho^2).
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..._check import as_float, refuse_unless, require_finite, show_value
from ..._typing import ScalarLike


class EffectiveSize(eqx.Module):
    """Numbers of independent draws, per coordinate (r,): `linear` for means, `quadratic` for
    variances and Mahalanobis distances. `thinning` (r,): rows between nearly independent draws."""

    linear: Float[Array, " r"]
    quadratic: Float[Array, " r"]
    thinning: Float[Array, " r"]


def effective_size(series: Float[Array, "n r"]) -> EffectiveSize:
    """Estimate effective sizes from a stationary series of n rows, whitened or not.

    The sum of autocorrelations of z, and of its centred square, is cut by the initial positive
    sequence: sums of neighbouring pairs are added while they are positive, and kept monotone.
    Sizes are at most n. Cost O(n r log n). Source: Geyer 1992, doi:10.1214/ss/1177011137.

    Statistics of this folder need independent rows: take every `thinning`-th, or, better, one row
    of each of many replicas.

    >>> import jax
    >>> z = jax.random.normal(jax.random.key(0), (4_000, 1))
    >>> bool(effective_size(z).linear[0] > 3_000)
    True
    """
    series = as_float(series, "series")
    if series.ndim != 2 or series.shape[0] < 8:
        raise ValueError(f"series must have shape (n >= 8, r), got {series.shape}")
    require_finite(series, "series")
    n = series.shape[0]
    z = series - jnp.mean(series, axis=0)[None, :]
    square = z**2 - jnp.mean(z**2, axis=0)[None, :]
    linear, quadratic = (n / _time(x) for x in (z, square))
    return EffectiveSize(linear, quadratic, jnp.ceil(3 * n / linear))


def _time(x):
    """1 + 2 sum of autocorrelations, at least 1, of every column."""
    n = x.shape[0]
    power = jnp.abs(jnp.fft.rfft(x, 2 * n, axis=0)) ** 2
    covariance = jnp.fft.irfft(power, 2 * n, axis=0)[:n] / n
    variance = jnp.where(covariance[0] > 0, covariance[0], 1.0)
    rho = covariance / variance[None, :]
    pairs = rho[0 : 2 * (n // 2) : 2] + rho[1 : 2 * (n // 2) : 2]
    alive = jnp.cumprod((pairs > 0).astype(pairs.dtype), axis=0)
    monotone = lax.cummin(pairs, axis=0)
    return jnp.maximum(2 * jnp.sum(alive * monotone, axis=0) - 1, 1.0)


def linear_factor(rho: ScalarLike):
    """n_eff / n of means of an autoregression: (1 - rho) / (1 + rho).

    >>> round(float(linear_factor(0.9)), 4)
    0.0526
    """
    rho = as_float(rho, "rho")
    refuse_unless(jnp.abs(rho) < 1, f"rho={show_value(rho)} must lie in (-1, 1)")
    return (1 - rho) / (1 + rho)


def quadratic_factor(rho: ScalarLike):
    """n_eff / n of variances of an autoregression: (1 - rho^2) / (1 + rho^2).

    >>> round(float(quadratic_factor(0.9)), 4)
    0.105
    """
    return linear_factor(as_float(rho) ** 2)
