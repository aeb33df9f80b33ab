"""The n-th power of an affine Gaussian map, by squaring: x -> M x + c + noise of covariance Q.

n is a number, not a shape: a new n does not recompile, and n = 10^6 costs 20 squarings. Only
products are used, so the result differentiates to any order in (M, c, Q), at repeated, zero and
negative eigenvalues alike. There is no derivative in n. Where M is symmetric, the value (not the
derivative) comes from its eigenbasis instead, which is faster.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .factor import eigh
from .flow import expm1_ratio

MAX_BITS = 40
"""Steps below 2**40 are counted exactly (2**24 in float32)."""

Affine = tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]
"""(M, c, Q): matrices (d, d), (d, k), (d, d), or the diagonals of commuting ones."""


def compose_dense(second: Affine, first: Affine) -> Affine:
    """`first`, then `second`, for dense matrices."""
    (m2, c2, q2), (m1, c1, q1) = second, first
    return m2 @ m1, m2 @ c1 + c2, m2 @ q1 @ m2.T + q2


def compose_diagonal(second: Affine, first: Affine) -> Affine:
    """`first`, then `second`, for diagonals or numbers."""
    (m2, c2, q2), (m1, c1, q1) = second, first
    return m2 * m1, m2 * c1 + c2, m2**2 * q1 + q2


def power(
    compose: Callable[[Affine, Affine], Affine], identity: Affine, step: Affine, n: Float[Array, ""]
) -> Affine:
    """`step` applied n >= 0 times; n is a whole number in a floating array.

    Cost at most 2 log2(n) compositions.

    >>> one = jnp.ones(())
    >>> m, c, q = power(compose_diagonal, (one, 0 * one, 0 * one), (one / 2, one, one), 3 * one)
    >>> float(m), float(c), float(q)
    (0.125, 1.75, 1.3125)
    """

    @jax.checkpoint
    def body(carry, place):
        result, base = carry
        left = jnp.floor(n / 2.0**place)
        odd = left % 2 == 1
        result = lax.cond(odd, lambda r, b: compose(b, r), lambda r, b: r, result, base)
        base = lax.cond(left >= 2, lambda b: compose(b, b), lambda b: b, base)
        return (result, base), None

    places = jnp.arange(MAX_BITS, dtype=n.dtype)
    (result, _), _ = lax.scan(body, (identity, step), places)
    return result


def power_dense(
    matrix: Float[Array, "d d"],
    offset: Float[Array, "d k"],
    noise: Float[Array, "d d"],
    n: Float[Array, ""],
) -> Affine:
    """(M^n, sum_{k<n} M^k c, sum_{k<n} M^k Q M^kT)."""
    identity = (jnp.eye(matrix.shape[0], dtype=matrix.dtype), 0 * offset, 0 * noise)
    return power(compose_dense, identity, (matrix, offset, noise), n)


@jax.custom_jvp
def power_symmetric(
    matrix: Float[Array, "d d"],
    offset: Float[Array, "d k"],
    noise: Float[Array, "d d"],
    n: Float[Array, ""],
) -> Affine:
    """`power_dense` for a symmetric matrix: the value in its eigenbasis, derivatives by squaring.

    One eigendecomposition and a few products, whatever n.

    >>> m, c, q = power_symmetric(jnp.eye(1) / 2, jnp.ones((1, 1)), jnp.eye(1), jnp.asarray(3.0))
    >>> float(m[0, 0]), float(c[0, 0]), float(q[0, 0])
    (0.125, 1.75, 1.3125)
    """
    values, basis = eigh((matrix + matrix.T) / 2)
    powers = (basis * integer_power(values, n)[None, :]) @ basis.T
    shift = basis @ (geometric_sum(values, n)[:, None] * (basis.T @ offset))
    weights = geometric_sum(values[:, None] * values[None, :], n)
    return powers, shift, basis @ ((basis.T @ noise @ basis) * weights) @ basis.T


@power_symmetric.defjvp
def _power_symmetric_jvp(primals, tangents):
    _, dots = jax.jvp(power_dense, primals, tangents)
    return power_symmetric(*primals), dots


def integer_power(x, n):
    """x^n for whole n >= 0 in a floating array, x of any sign; 0^0 = 1."""
    size = jnp.where(x == 0, jnp.where(n == 0, 1.0, 0.0), jnp.abs(x) ** n)
    return jnp.where((x < 0) & (n % 2 == 1), -size, size)


def geometric_sum(x, n):
    """1 + x + ... + x^(n-1), accurate near x = 1."""
    positive = x > 0.5
    logarithm = jnp.log1p(jnp.where(positive, x - 1, 0.0))
    near = n * expm1_ratio(n * logarithm) / expm1_ratio(logarithm)
    far = (1 - integer_power(x, n)) / jnp.where(positive, 1.0, 1 - x)
    return jnp.where(positive, near, far)


def power_diagonal(matrix, offset, noise, n) -> Affine:
    """The same for diagonals of one shape."""
    identity = (jnp.ones_like(matrix), jnp.zeros_like(offset), jnp.zeros_like(noise))
    return power(compose_diagonal, identity, (matrix, offset, noise), n)
