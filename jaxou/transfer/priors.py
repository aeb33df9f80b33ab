"""Source-only priors of the certificate, and what choosing among them costs."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._typing import Matrix, Vector
from ..curvature.estimate import measure
from ..curvature.parameters import from_vector
from ..linalg.factor import eigh

PRIORS = ("source", "isotropic", "zero")
"""Centre and shape: (source, source-only), (source, identity), (zero, identity)."""


class ScaleGrid(eqx.Module):
    """One-sided grid of prior scales tau_j^2 = largest exp(-j / resolution), j = 1, 2, ...

    tau^2 is the mean prior variance of a parameter. Weights 6 / (pi^2 j^2) sum to 1, so choosing j
    by looking at the target costs 2 log j + log(pi^2 / 6) nats. `largest` and
    `resolution` must be fixed before the target sample is seen.

    >>> 0.99 < sum(ScaleGrid().weight(j) for j in range(1, 100)) < 1.0
    True
    """

    largest: float = eqx.field(static=True, default=4.0)
    resolution: float = eqx.field(static=True, default=2.0)
    count: int = eqx.field(static=True, default=30)

    def __check_init__(self):
        if not (self.largest > 0 and self.resolution > 0 and self.count >= 1):
            raise ValueError(f"scales={self} must have largest > 0, resolution > 0 and count >= 1")

    def variance(self, index: Any) -> float:
        """tau_j^2."""
        return self.largest * math.exp(-self._check(index) / self.resolution)

    def weight(self, index: Any) -> float:
        """The share of delta given to scale j."""
        return 6.0 / (math.pi * self._check(index)) ** 2

    def _check(self, index: Any) -> int:
        if not isinstance(index, int | np.integer) or index < 1:
            raise ValueError(
                f"prior scale index {index!r} must be an integer >= 1: optimise a continuous "
                "scale, round it, and evaluate the bound at the rounded one"
            )
        return int(index)


class PriorShape(eqx.Module):
    """N(center, tau^2 root root'): `root` (d, d) symmetric with root root' of mean variance 1."""

    center: Vector
    root: Matrix
    inverse_root: Matrix

    def whiten(self, vector: Vector) -> Vector:
        """Coordinates in which the prior is N(0, tau^2 I)."""
        return self.inverse_root @ (vector - self.center)


def prior_shape(center: Vector, covariance: Matrix | None, inflation: float) -> PriorShape:
    """The shape (S + inflation I) / (1 + inflation), S = `covariance` at mean variance 1.

    Inflation makes a singular source covariance a proper prior. `None` is the identity. Raises
    `ValueError` if the result is not positive definite.

    >>> shape = prior_shape(jnp.zeros(2), jnp.diag(jnp.array([3.0, 0.0])), 1.0)
    >>> [round(float(v), 6) for v in jnp.diagonal(shape.root @ shape.root)]
    [1.5, 0.5]
    """
    eye = jnp.eye(center.shape[0], dtype=center.dtype)
    if covariance is None:
        return PriorShape(center, eye, eye)
    if inflation < 0:
        raise ValueError(f"inflation={inflation} must not be negative")
    mean = jnp.mean(jnp.diagonal(covariance))
    values, vectors = eigh((covariance / mean + inflation * eye) / (1.0 + inflation))
    if not float(values[0]) > 1e-12:
        raise ValueError(
            "the prior covariance is singular, so KL would be infinite: give inflation > 0, which "
            "adds that multiple of its mean variance in every direction"
        )
    root = jnp.sqrt(values)
    return PriorShape(
        center,
        (vectors * root[None, :]) @ vectors.T,
        (vectors / root[None, :]) @ vectors.T,
    )


def source_covariance(
    model: Any,
    loss: Callable[..., Any],
    source_data: Any,
    center: Vector,
    *,
    weight_decay: float,
    trainable: Any,
    chunk: int,
) -> Matrix:
    """Shape of the steady law of SGD on the source: (A + lambda I) S + S (A + lambda I) = C.

    Uses the source sample alone; the noise ratio is left out because a shape has no scale.
    """
    found = measure(
        from_vector(model, center, trainable),
        loss,
        source_data,
        negative="clip",
        trainable=trainable,
        chunk=chunk,
    )
    return _steady_shape(found.hessian, found.noise, jnp.asarray(weight_decay, center.dtype))


@jax.jit
def _steady_shape(hessian: Matrix, noise: Matrix, decay: Any) -> Matrix:
    values, vectors = eigh(hessian)
    values = jnp.maximum(values, 0.0) + decay
    rotated = vectors.T @ noise @ vectors / (values[:, None] + values[None, :])
    shape = vectors @ rotated @ vectors.T
    return 0.5 * (shape + shape.T)
