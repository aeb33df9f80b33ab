"""Distribution functions of the null laws: chi-square, noncentral chi-square, Kolmogorov."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import gammaincc, ndtr, ndtri
from jaxtyping import Array, Float

from .._typing import Scalar

LARGE = 2_000.0
"""Degrees of freedom above which the cube-root normal law of chi-square is used; a tail's relative
error is then below 5e-3."""


@jax.jit
def chi2_tail(x: Scalar, degrees: Scalar) -> Scalar:
    """P(chi2_degrees > x).

    >>> round(float(chi2_tail(jnp.asarray(3.841459), jnp.asarray(1.0))), 6)
    0.05
    """
    small = jnp.minimum(degrees, LARGE)
    exact = gammaincc(small / 2, jnp.where(degrees > LARGE, small, jnp.maximum(x, 0.0)) / 2)
    # Wilson and Hilferty 1931: (chi2 / k)^(1/3) is normal with variance 2 / (9 k)
    spread = 2 / (9 * degrees)
    z = (jnp.cbrt(jnp.maximum(x, 0.0) / degrees) - 1 + spread) / jnp.sqrt(spread)
    return jnp.where(degrees > LARGE, ndtr(-z), exact)


@jax.jit
def chi2_quantile(tail: Scalar, degrees: Scalar) -> Scalar:
    """x with P(chi2_degrees > x) = tail, by bisection.

    >>> round(float(chi2_quantile(jnp.asarray(0.05), jnp.asarray(1.0))), 6)
    3.841459
    """
    top = degrees + 60 * jnp.sqrt(degrees) + 1500.0
    return bisect(lambda x: chi2_tail(x, degrees) > tail, jnp.zeros_like(top), top)


@jax.jit
def noncentral_chi2_below(x: Scalar, degrees: Scalar, noncentrality: Scalar) -> Scalar:
    """P(chi2_degrees(noncentrality) <= x), by Sankaran's normal approximation.

    Error below 1e-3 from 10 degrees of freedom on; below that it errs upwards in the lower tail,
    which makes confidence limits wider. Source: Sankaran 1963, doi:10.1093/biomet/50.1-2.199.

    >>> x, degrees = jnp.asarray(20.0), jnp.asarray(10.0)
    >>> 0.45 < float(noncentral_chi2_below(x, degrees, jnp.asarray(10.0))) < 0.6
    True
    """
    k, c = degrees, noncentrality
    mean = k + c
    h = 1 - 2 * mean * (k + 3 * c) / (3 * (k + 2 * c) ** 2)
    p = (k + 2 * c) / mean**2
    m = (h - 1) * (1 - 3 * h)
    centre = 1 + h * p * (h - 1 - (2 - h) * m * p / 2)
    spread = h * jnp.sqrt(2 * p) * (1 + m * p / 2)
    return ndtr((jnp.maximum(x, 0.0) / mean) ** h / spread - centre / spread)


@jax.jit
def noncentrality_limit(x: Scalar, degrees: Scalar, alpha: Scalar) -> Scalar:
    """The noncentrality whose law falls to x or below with probability alpha; 0 if none does.

    With x observed this is an upper confidence limit at level 1 - alpha; with x the critical
    value of a test it is the noncentrality detected with power 1 - alpha.
    """
    top = 4 * x + 40 * jnp.sqrt(x) + 400.0
    limit = bisect(lambda c: noncentral_chi2_below(x, degrees, c) > alpha, jnp.zeros_like(top), top)
    return jnp.where(noncentral_chi2_below(x, degrees, jnp.zeros_like(top)) <= alpha, 0.0, limit)


@jax.jit
def kolmogorov_tail(x: Scalar) -> Scalar:
    """P(K > x) for Kolmogorov's limiting law.

    >>> round(float(kolmogorov_tail(jnp.asarray(1.3581))), 4)
    0.05
    """
    k = jnp.arange(1.0, 21.0, dtype=x.dtype)
    large = 2 * jnp.sum((-1.0) ** (k - 1) * jnp.exp(-2 * (k * x) ** 2))
    safe = jnp.maximum(x, 0.05)
    odd = (2 * k - 1) ** 2
    small = jnp.sqrt(2 * jnp.pi) / safe * jnp.sum(jnp.exp(-odd * jnp.pi**2 / (8 * safe**2)))
    return jnp.clip(jnp.where(x > 1, large, 1 - small), 0.0, 1.0)


@jax.jit
def normal_quantile(tail: Scalar) -> Scalar:
    """z with P(N(0, 1) > z) = tail."""
    return -ndtri(tail)


def bisect(is_below, low: Float[Array, ""], high: Float[Array, ""], rounds: int = 100) -> Scalar:
    """The point where `is_below` turns false, between low and high."""

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        below = is_below(middle)
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = lax.fori_loop(0, rounds, halve, (low, high))
    return (low + high) / 2
