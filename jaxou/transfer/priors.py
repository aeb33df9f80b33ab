"""Source-only priors of the certificate, and what choosing among them costs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from .._typing import Matrix, Vector
from ..bounds.prior_scales import ScaleGrid as ScaleGrid
from ..curvature.estimate import measure
from ..curvature.hessian import hessian, hessian_product
from ..curvature.low_rank import leading_pairs
from ..curvature.parameters import from_vector
from ..linalg.factor import eigh
from .roots import AbstractRoot, DenseRoot, DiagonalRoot, LowRankRoot

PRIORS = ("source", "isotropic", "zero")
"""Centre and shape: (source, source-only), (source, identity), (zero, identity)."""

STRUCTURES = ("full", "diagonal", "low_rank")
"""Of prior and posterior: dense (d up to 2,000), diagonal, low-rank plus diagonal."""

SHAPES = ("steady", "laplace")
"""Of a source prior: SGD's steady law, or the inverse of the damped Hessian."""


class PriorShape(eqx.Module):
    """N(center, tau^2 root root'), root root' of mean variance 1."""

    center: Vector
    root: AbstractRoot

    def whiten(self, vector: Vector) -> Vector:
        """Coordinates in which the prior is N(0, tau^2 I)."""
        return self.root.solve((vector - self.center)[None, :])[0]


class ShapeMaker(NamedTuple):
    """What candidate prior shapes are made from: all that the prior may see.

    `data` is None for a prior that has seen nothing, `curve` holds `trainable` and `chunk`.
    """

    model: Any
    loss: Callable[..., Any]
    data: Any
    center: Vector
    structure: str
    shape: str
    rank: int
    curve: dict[str, Any]

    def all(
        self,
        covariance: Any,
        inflations: tuple[float, ...],
        ridges: tuple[float, ...],
        decay: float,
    ) -> tuple[list[PriorShape], tuple[float, ...]]:
        """The shapes, and the inflation or ridge of each."""
        what = (self.model, self.loss, self.data, self.center)
        if self.structure != "full":
            if covariance is not None:
                raise ValueError(
                    "prior_covariance needs structure='full'; the other structures make their own "
                    "prior from source_data and ridge"
                )
            values = ridges if self.structure == "low_rank" and self.data is not None else (0.0,)
            how = dict(structure=self.structure, rank=self.rank, **self.curve)
            return [structured_shape(*what, ridge=v, **how) for v in values], values
        if covariance is None and self.data is not None and self.shape == "laplace":
            made = [laplace_covariance(*what, v, **self.curve) for v in ridges]
            return [prior_shape(self.center, matrix, 0.0) for matrix in made], ridges
        if covariance is None and self.data is not None:
            covariance = source_covariance(*what, weight_decay=decay, **self.curve)
        values = (0.0,) if covariance is None else inflations
        return [prior_shape(self.center, covariance, v) for v in values], values


def prior_shape(center: Vector, covariance: Matrix | None, inflation: float) -> PriorShape:
    """The shape (S + inflation I) / (1 + inflation), S = `covariance` at mean variance 1.

    Inflation makes a singular source covariance a proper prior. `None` is the identity. Raises
    `ValueError` if the result is not positive definite.

    >>> shape = prior_shape(jnp.zeros(2), jnp.diag(jnp.array([3.0, 0.0])), 1.0)
    >>> [round(float(v), 6) for v in jnp.diagonal(shape.root.dense()) ** 2]
    [1.5, 0.5]
    """
    eye = jnp.eye(center.shape[0], dtype=center.dtype)
    if covariance is None:
        return PriorShape(center, DenseRoot(eye, eye))
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
    matrix, inverse = (vectors * root[None, :]) @ vectors.T, (vectors / root[None, :]) @ vectors.T
    return PriorShape(center, DenseRoot(matrix, inverse))


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

    Uses the source sample alone; the noise ratio is left out because a shape has no scale. Raises
    `ValueError` where A + lambda I is singular.
    """
    found = measure(
        from_vector(model, center, trainable),
        loss,
        source_data,
        negative="clip",
        trainable=trainable,
        chunk=chunk,
    )
    shape = _steady_shape(found.hessian, found.noise, jnp.asarray(weight_decay, center.dtype))
    if not bool(jnp.isfinite(shape).all()):
        raise ValueError(
            f"the source's Hessian is singular and weight_decay={weight_decay:g}, so SGD has no "
            "steady law to shape the prior: give weight_decay > 0, or shape='laplace'"
        )
    return shape


@jax.jit
def _steady_shape(hessian: Matrix, noise: Matrix, decay: Any) -> Matrix:
    values, vectors = eigh(hessian)
    values = jnp.maximum(values, 0.0) + decay
    rotated = vectors.T @ noise @ vectors / (values[:, None] + values[None, :])
    shape = vectors @ rotated @ vectors.T
    return 0.5 * (shape + shape.T)


def laplace_covariance(
    model: Any, loss: Callable[..., Any], source_data: Any, center: Vector, ridge: float, **how: Any
) -> Matrix:
    """(A_S + ridge I)^-1, the posterior of a quadratic model of the source loss, up to scale."""
    values, vectors = eigh(hessian(model, loss, source_data, at=center, **how))
    values = jnp.maximum(values, 0.0) + ridge
    return (vectors / values[None, :]) @ vectors.T


def structured_shape(
    model: Any,
    loss: Callable[..., Any],
    source_data: Any,
    center: Vector,
    *,
    structure: str,
    ridge: float,
    rank: int,
    trainable: Any = None,
    chunk: int = 256,
) -> PriorShape:
    """A prior of mean variance 1 that stores O(d rank) numbers.

    "low_rank" is (A_S + ridge I)^-1 with A_S the `rank` leading eigenpairs of the source Hessian
    (negative ones count as zero): prior variance shrinks along directions that the source data
    determine. "diagonal", and anything without `source_data`, is the identity.
    """
    size = center.shape[0]
    if structure == "diagonal" or source_data is None:
        return PriorShape(center, DiagonalRoot(jnp.ones(size, center.dtype)))
    product = hessian_product(model, loss, source_data, at=center, trainable=trainable, chunk=chunk)
    pairs = leading_pairs(product, center, min(rank, size), iterations=4)
    values = jnp.maximum(pairs.values, 0.0)
    gains = jnp.sqrt(ridge / (values + ridge)) - 1.0
    variance = 1.0 + jnp.sum((1.0 + gains) ** 2 - 1.0) / size
    return PriorShape(center, LowRankRoot(1.0 / jnp.sqrt(variance), pairs.vectors, gains))
