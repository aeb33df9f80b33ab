"""The Wasserstein-2 (Bures) distance between Gaussian laws.

    W2^2 = |m1 - m0|^2 + tr(S1 + S0 - 2 (S0^1/2 S1 S0^1/2)^1/2)

The value is computed as min over rotations O of |S1^1/2 - S0^1/2 O|_F^2, which does not cancel
where the laws nearly coincide; the derivative is that of the formula above.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..linalg.algebra import densified, entries, is_elementwise
from ..linalg.factor import svd
from ..linalg.matrices import DENSE_LIMIT, AbstractMatrix, Isotropic, LowRankPlusDiagonal
from ..linalg.roots import sqrtm


@eqx.filter_jit
def wasserstein(
    mean1: Float[Array, " d"],
    covariance1: AbstractMatrix,
    mean0: Float[Array, " d"],
    covariance0: AbstractMatrix,
) -> Float[Array, ""]:
    """W2 (not squared); zero slope at zero.

    O(d) for isotropic and diagonal pairs, O(d r^2) for low rank over isotropic ones from
    `DENSE_LIMIT` on (there without second derivatives in the factors), O(d^3) else.
    """
    shift = jnp.sum((mean1 - mean0) ** 2)
    if is_elementwise(covariance1, covariance0):
        roots = [
            _root(jnp.broadcast_to(entries(s), mean1.shape)) for s in (covariance1, covariance0)
        ]
        return _root(shift + jnp.sum((roots[0] - roots[1]) ** 2))
    if mean1.shape[0] >= DENSE_LIMIT and all(map(_is_flat, (covariance1, covariance0))):
        return _root(shift + _flat_bures_squared(covariance1, covariance0, mean1.shape[0]))
    why = "W2 between laws of these structures"
    s1, s0 = densified(covariance1, why).dense(), densified(covariance0, why).dense()
    return _root(shift + _bures_squared(s1, s0))


def _is_flat(covariance: AbstractMatrix) -> bool:
    """Whether all but a few directions have one and the same variance."""
    if isinstance(covariance, LowRankPlusDiagonal):
        return isinstance(covariance.base, Isotropic)
    return isinstance(covariance, Isotropic)


def _flat_bures_squared(s1, s0, size):
    """W2^2 of the centred laws: densely in the span of both factors, in one number outside.

    The span is held fixed under differentiation. That is exact in first order: what leaves it is
    a block between span and complement, and W2 is even in that block.
    """
    factors = [s.factor for s in (s1, s0) if isinstance(s, LowRankPlusDiagonal)]
    if not factors:
        factors = [jnp.zeros((size, 0))]
    columns = jnp.concatenate(factors, axis=1)
    span = jnp.linalg.qr(lax.stop_gradient(columns))[0]
    flat = [(s.base if isinstance(s, LowRankPlusDiagonal) else s).value for s in (s1, s0)]
    inside = [span.T @ s.matmat(span) for s in (s1, s0)]
    outside = (size - span.shape[1]) * (_root(flat[0]) - _root(flat[1])) ** 2
    return _bures_squared(*inside) + outside


def _root(x):
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), jnp.where(x == 0, 0.0, x))


def _bures_formula(s1, s0):
    root = sqrtm(s0)
    return jnp.trace(s1) + jnp.trace(s0) - 2 * jnp.trace(sqrtm(root @ s1 @ root))


@jax.custom_jvp
def _bures_squared(s1, s0):
    root1, root0 = sqrtm(s1), sqrtm(s0)
    left, _, right = svd(root0 @ root1)
    return jnp.sum((root1 - root0 @ left @ right) ** 2)


@_bures_squared.defjvp
def _bures_squared_jvp(primals, tangents):
    _, dot = jax.jvp(_bures_formula, primals, tangents)
    return _bures_squared(*primals), dot
