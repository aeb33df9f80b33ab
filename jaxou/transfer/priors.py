"""Source-only priors of the certificate, and what choosing among them costs."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._typing import Matrix, Vector
from ..bounds.prior_scales import ScaleGrid as ScaleGrid
from ..curvature.estimate import measure
from ..curvature.parameters import from_vector
from ..linalg.factor import eigh

PRIORS = ("source", "isotropic", "zero")
"""Centre and shape: (source, source-only), (source, identity), (zero, identity)."""


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
