"""Square roots, inverses and log-determinants of symmetric positive semidefinite matrices.

Singular matrices are normal here (softmax has gauge directions, gradient noise has rank below d):
every function works on the range, which is what the eigenvalues above
d * epsilon_machine * lambda_max span. Derivatives follow from equations that the result solves,
never from eigenvectors, and hold for changes that keep the range.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .equations import LYAPUNOV, solve_spectral_dense
from .factor import eigh


def range_mask(values: Float[Array, " d"]) -> Bool[Array, " d"]:
    """Which eigenvalues count as non-zero: those above d * epsilon * the largest."""
    threshold = values.size * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    return values > threshold


def _spectral(matrix, function):
    values, vectors = eigh(lax.stop_gradient(matrix))
    return (vectors * function(values)[None, :]) @ vectors.T


@jax.custom_jvp
def sqrtm(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The symmetric root S, S S = matrix. dS solves S dS + dS S = d matrix. Cost O(d^3).

    >>> sqrtm(jnp.diag(jnp.array([4.0, 9.0]))).diagonal().round(6).tolist()
    [2.0, 3.0]
    """
    return _spectral(matrix, lambda a: jnp.sqrt(jnp.where(range_mask(a), a, 0.0)))


@sqrtm.defjvp
def _sqrtm_jvp(primals, tangents):
    (matrix,), (dot,) = primals, tangents
    root = sqrtm(matrix)
    return root, solve_spectral_dense(LYAPUNOV, root, dot)


@jax.custom_jvp
def pinv(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The inverse on the range; d pinv = -pinv dM pinv. Cost O(d^3).

    >>> pinv(jnp.diag(jnp.array([4.0, 0.0]))).diagonal().round(6).tolist()
    [0.25, 0.0]
    """

    def inverse(a):
        inside = range_mask(a)
        return jnp.where(inside, 1 / jnp.where(inside, a, 1.0), 0.0)

    return _spectral(matrix, inverse)


@pinv.defjvp
def _pinv_jvp(primals, tangents):
    (matrix,), (dot,) = primals, tangents
    inverse = pinv(matrix)
    return inverse, -inverse @ dot @ inverse


@jax.custom_jvp
def logdet(matrix: Float[Array, "d d"]) -> Float[Array, ""]:
    """log det on the range (the pseudo-determinant); d log det M = tr(pinv(M) dM). Cost O(d^3).

    >>> round(float(logdet(jnp.diag(jnp.array([4.0, 0.5])))), 6)
    0.693147
    """
    values, _ = eigh(lax.stop_gradient(matrix))
    inside = range_mask(values)
    return jnp.sum(jnp.where(inside, jnp.log(jnp.where(inside, values, 1.0)), 0.0))


@logdet.defjvp
def _logdet_jvp(primals, tangents):
    (matrix,), (dot,) = primals, tangents
    return logdet(matrix), jnp.sum(pinv(matrix) * dot)
