"""How far is the fitted Gaussian from the claimed one? W2 in the units of the parameters.

    W2^2 = |m - mu|^2 + tr(S + Sigma - 2 (Sigma^1/2 S Sigma^1/2)^1/2)

With Sigma = diag(lambda) in its eigenbasis, to leading order in 1 / n, n W2^2 is a sum of
independent chi-squares with weights lambda_i (mean), lambda_i / 2 (variances) and
lambda_i lambda_j / (lambda_i + lambda_j) (correlations, i < j).
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...linalg import eigh
from .bartlett import BARTLETT, simulated_moments
from .moments import AbstractMoments
from .nulls import Chi2
from .spectral import eigenvalue_sum


class BuresW2(AbstractMoments):
    """value = W2^2 between the Gaussian fitted to the draws and the claimed one.

    `eigenvalues`: those of the claimed covariance, in the order of the whitened coordinates; with
    them the value is in squared units of the parameters. None: in the law's own units (all ones).

    Null law: simulated by Bartlett's decomposition up to r = 64; else chi-square with the mean and
    variance of the weighted sum (all ones: of the large covariance, `eigenvalue_sum`). A tolerance
    on W2 that does not grow like r^2 / n rejects every true claim in high dimension. Needs n > r.

    >>> law = BuresW2(eigenvalues=[2.0] * 100).null(10**6, 100)
    >>> round(10**6 * float(law.mean), 3)  # lambda r (r + 5) / 4
    5250.0
    """

    eigenvalues: tuple[float, ...] | None = eqx.field(static=True)
    name: ClassVar[str] = "W2 of the moments"
    question: ClassVar[str] = "how far is the fitted Gaussian, in squared units of the parameters?"

    def __init__(self, eigenvalues: Any = None):
        if eigenvalues is not None:
            eigenvalues = tuple(float(x) for x in np.ravel(np.asarray(eigenvalues)))
            if not all(x > 0 and np.isfinite(x) for x in eigenvalues):
                raise ValueError(
                    "BuresW2: eigenvalues must be positive: leave out the directions in which the "
                    "law does not move, as whitening does"
                )
        self.eigenvalues = eigenvalues

    def fewest(self, r):
        return r + 2

    def _scale(self, r, dtype) -> Float[Array, " r"]:
        if self.eigenvalues is None:
            return jnp.ones(r, dtype)
        if len(self.eigenvalues) != r:
            raise ValueError(
                f"BuresW2 got {len(self.eigenvalues)} eigenvalues for draws in {r} dimensions"
            )
        return jnp.asarray(self.eigenvalues, dtype)

    def finish(self, summary, n):
        mean, covariance = summary.mean(n), summary.covariance(n)
        r = mean.shape[0]
        scale = self._scale(r, mean.dtype)
        shift = jnp.sum(scale * mean**2)
        # Sigma^1/2 S Sigma^1/2 = D V D with D = diag(scale), V the covariance of whitened draws
        inner, vectors = eigh(scale[:, None] * covariance * scale[None, :])
        root = jnp.sqrt(jnp.maximum(inner, 0.0))
        trace = jnp.sum(scale * jnp.diagonal(covariance)) + jnp.sum(scale) - 2 * jnp.sum(root)
        value = shift + trace
        variance = 2 * jnp.sum(_weights(scale) ** 2) / n**2
        # the derivative by V is D - D (D V D)^-1/2 D: zero at the claim
        tiny = jnp.finfo(root.dtype).tiny
        lever = (
            jnp.diag(scale)
            - scale[:, None]
            * ((vectors / jnp.maximum(root, tiny)[None, :]) @ vectors.T)
            * scale[None, :]
        )
        product = lever @ covariance
        slope = 2 * jnp.sum(product * product.T) / n
        slope = slope + 4 * (scale * mean) @ covariance @ (scale * mean) / n
        return value, jnp.sqrt(variance + jnp.maximum(slope, 0.0))

    def null(self, n, r, fitted=False, joint=None):
        if r <= BARTLETT:
            return simulated_moments(self, n, r)
        scale = self._scale(r, jnp.result_type(float))
        if self.eigenvalues is None:
            shrink = 1 - 1 / n  # the value's covariance is over 1 / n, the law's over 1 / nu

            def term(x):
                return (np.sqrt(shrink * x) - 1) ** 2

            mean, variance = eigenvalue_sum(term, r, n - 1.0)
            mean += r / n
            deviation = (variance + 2 * r / n**2) ** 0.5
            return Chi2.matched(mean, deviation, text="chi2 of a large covariance")
        weights = np.asarray(_weights(scale))
        mean, deviation = weights.sum() / n, (2 * (weights**2).sum()) ** 0.5 / n
        skewness = 8 * (weights**3).sum() / (2 * (weights**2).sum()) ** 1.5
        return Chi2.matched(mean, deviation, skewness, text="weighted sum of chi2 by moments")


def _weights(scale: Float[Array, " r"]) -> Float[Array, " weights"]:
    r = scale.shape[0]
    i, j = np.triu_indices(r, 1)
    cross = scale[i] * scale[j] / (scale[i] + scale[j])
    return jnp.concatenate([scale, scale / 2, cross])
