"""How far particles are from a law: KL with both confidence limits, by moments and by quantiles."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import gammaincinv  # scipy comes with jax

from ..convergence.distance import kl_of_sample
from ..convergence.null_laws import (
    bisect,
    noncentral_chi2_below,
    noncentrality_limit,
    normal_quantile,
)
from ..convergence.sample import Sample, sample_of
from ..convergence.whitening import whitening
from ..laws import Gaussian

BINS = 32
ROUNDING = float(np.finfo(np.float32).eps)
"""Of particles, which move in float32."""


class Interval(NamedTuple):
    """A KL in nats with lower and upper confidence limits, each at the level that was asked for."""

    estimate: float
    lower: float
    upper: float


def moments_kl(
    mean: Float[np.ndarray, " d"],
    covariance: Float[np.ndarray, "d d"],
    count: int,
    law: Gaussian,
    level: float,
) -> Interval:
    """KL(fitted Gaussian || law) from the mean and covariance (over 1/n) of `count` particles.

    `level` is the error of each limit. Says nothing about the particles' shape.
    """
    sample = Sample(count, np.asarray(mean, np.float64), np.asarray(covariance, np.float64))
    return _of_sample(sample, law, level)


def particles_kl(particles: Any, law: Gaussian, level: float) -> Interval:
    """The farther of two: KL of the moments, and KL of squared Mahalanobis distances in 32 bins.

    The second sees shape: under the law the distances are chi-square. Both at half the level.
    """
    points = np.asarray(particles, np.float64)
    sample = sample_of(points)
    first = _of_sample(sample, law, level / 2)
    map_ = whitening(law, sample, ROUNDING, np.zeros(points.shape[1]))
    radii = np.sum(np.asarray(map_.draws(points), np.float64) ** 2, axis=1)
    edges = 2 * gammaincinv(map_.rank / 2, np.arange(1, BINS) / BINS)
    counts = np.bincount(np.searchsorted(edges, radii), minlength=BINS)
    second = binned_kl(counts, level / 2)
    upper = max(first.upper, second.upper)
    lower = max(first.lower, second.lower)
    return Interval(max(first.estimate, second.estimate), lower, upper)


def binned_kl(counts: Any, level: float) -> Interval:
    """KL of a multinomial from equal bins: the information that the bins see, no more.

    2 n KL^ is noncentral chi-square with bins - 1 degrees of freedom and noncentrality 2 n KL.

    >>> even = binned_kl([1000] * 32, 0.01)
    >>> even.lower, even.upper < 0.005
    (0.0, True)
    """
    counts = np.asarray(counts, float)
    n, k = float(counts.sum()), counts.size
    share = counts / n
    plug_in = float(np.sum(np.where(share > 0, share * np.log(np.maximum(share, 1e-300) * k), 0.0)))
    lower, upper = _limits(2 * n * plug_in, k - 1.0, level)
    return Interval(plug_in - (k - 1) / (2 * n), lower / (2 * n), upper / (2 * n))


def _of_sample(sample: Sample, law: Gaussian, level: float) -> Interval:
    origin = np.zeros(len(sample.mean))
    map_ = whitening(law, sample, ROUNDING, origin)
    if sample.count <= map_.rank or not map_.rank:
        return Interval(math.nan, 0.0, math.inf)
    found = kl_of_sample(map_.moments(sample), sample.count)
    unit = float(found.unit)
    near = _limits(float(found.plug_in) / unit, float(found.degrees), level)
    upper = float(found.upper_limit(jnp.asarray(level)))
    # noncentral chi-square is right for small KL, a normal law for large: the wider on either side
    far = found.estimate - normal_quantile(jnp.asarray(level)) * found.deviation
    return Interval(float(found.estimate), max(0.0, min(near[0] * unit, float(far))), upper)


def _limits(x: float, degrees: float, level: float) -> tuple[float, float]:
    """Confidence limits of a noncentrality from one noncentral chi-square number."""
    seen, k, alpha = (jnp.asarray(float(v)) for v in (x, degrees, level))
    return float(_lower(seen, k, alpha)), float(noncentrality_limit(seen, k, alpha))


@jax.jit
def _lower(x, degrees, alpha):
    """The noncentrality whose law exceeds x with probability alpha; 0 if none does."""
    below = lambda c: noncentral_chi2_below(x, degrees, c)
    top = 4 * x + 40 * jnp.sqrt(x) + 400.0
    limit = bisect(lambda c: below(c) > 1 - alpha, jnp.zeros_like(top), top)
    return jnp.where(below(jnp.zeros_like(top)) <= 1 - alpha, 0.0, limit)
