"""The transition of a linear SDE over a time s: dz = -F z ds + noise of covariance N per time.

    E(s) = exp(-F s),      G(s) = int_0^s exp(-F u) N exp(-F^T u) du

By scaling and doubling: a Taylor series over a short time h = s / 2^m, then

    J <- 2 J + J^2,      G <- G + (I + J) G (I + J)^T,      J = E - I,

m times. Where the drift is symmetric, the value (not the derivative) comes from its eigenbasis
instead, which is faster. Carrying E - I instead of E keeps the digits of slow modes. F may be
singular, indefinite or without symmetry (momentum), nothing overflows where Van Loan's block
exponential does, and the route differentiates to any order in (F, N, s).
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from .factor import eigh

MAX_DOUBLINGS = 64
TERMS = 13
SHORT = 0.125


def flow_dense(
    drift: Float[Array, "d d"], noise: Float[Array, "d d"], time: Float[Array, ""]
) -> tuple[Float[Array, "d d"], Float[Array, "d d"]]:
    """(E - I, G) for arrays; cost about 26 + 3 log2(8 |F| s) products.

    >>> J, G = flow_dense(jnp.eye(1), 2 * jnp.eye(1), jnp.log(2.0))
    >>> round(float(J[0, 0]), 6), round(float(G[0, 0]), 6)
    (-0.5, 0.75)
    """
    size = lax.stop_gradient(jnp.max(jnp.sum(jnp.abs(drift), axis=1)) * time)
    doublings = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(size, SHORT) / SHORT)), 0, MAX_DOUBLINGS)
    short = time * 2.0**-doublings
    x = -drift * short

    def taylor(carry, k):
        decay, term, covariance, moment = carry
        term = x @ term / k
        half = x @ moment / (k + 1)
        return (decay + term, term, covariance + moment, half + half.T), None

    eye = jnp.eye(drift.shape[0], dtype=drift.dtype)
    start = (jnp.zeros_like(drift), eye, jnp.zeros_like(noise), noise)
    orders = jnp.arange(1, TERMS + 1, dtype=drift.dtype)
    (decay, _, covariance, _), _ = lax.scan(taylor, start, orders)
    covariance = covariance * short

    @jax.checkpoint
    def body(carry, step):
        def double(j, g):
            jg = j @ g
            return 2 * j + j @ j, 2 * g + jg + jg.T + jg @ j.T

        return lax.cond(step < doublings, double, lambda j, g: (j, g), *carry), None

    steps = jnp.arange(MAX_DOUBLINGS, dtype=drift.dtype)
    (decay, covariance), _ = lax.scan(body, (decay, covariance), steps)
    return decay, covariance


@jax.custom_jvp
def flow_symmetric(
    drift: Float[Array, "d d"], noise: Float[Array, "d d"], time: Float[Array, ""]
) -> tuple[Float[Array, "d d"], Float[Array, "d d"]]:
    """(E - I, G) for a symmetric drift: in its eigenbasis, except derivatives in the drift itself.

    One eigendecomposition and six products for the value, a tenth of `flow_dense`.

    >>> J, G = flow_symmetric(jnp.zeros((1, 1)), jnp.eye(1), jnp.asarray(3.0))
    >>> abs(float(J[0, 0])), float(G[0, 0])
    (0.0, 3.0)
    """
    return _flow_in_basis(*eigh((drift + drift.T) / 2), noise, time)


def _flow_in_basis(rates, basis, noise, time):
    decay = (basis * jnp.expm1(-rates * time)[None, :]) @ basis.T
    gain = time * expm1_ratio(-(rates[:, None] + rates[None, :]) * time)
    return decay, basis @ ((basis.T @ noise @ basis) * gain) @ basis.T


def _flow_symmetric_jvp(primals, tangents):
    drift, noise, time = primals
    fixed = isinstance(tangents[0], SymbolicZero)
    dots = [
        jnp.zeros_like(x) if isinstance(t, SymbolicZero) else t
        for x, t in zip(primals, tangents, strict=True)
    ]
    if fixed:  # learning rates, batch sizes and times vary, the Hessian does not: keep its basis
        rates, basis = eigh((drift + drift.T) / 2)

        def transition(noise, time):
            return _flow_in_basis(rates, basis, noise, time)

        return jax.jvp(transition, (noise, time), tuple(dots[1:]))
    return flow_symmetric(*primals), jax.jvp(flow_dense, primals, tuple(dots))[1]


flow_symmetric.defjvp(_flow_symmetric_jvp, symbolic_zeros=True)


def flow_diagonal(drift, noise, time):
    """(E - I, G) for diagonals of one shape: expm1(-a s) and n (1 - exp(-2 a s)) / (2 a).

    >>> J, G = flow_diagonal(jnp.zeros(1), jnp.ones(1), jnp.asarray(3.0))
    >>> abs(float(J[0])), float(G[0])
    (0.0, 3.0)
    """
    return jnp.expm1(-drift * time), noise * time * expm1_ratio(-2 * drift * time)


def expm1_ratio(x):
    """(e^x - 1) / x, equal to 1 at x = 0, with its derivatives.

    >>> expm1_ratio(jnp.zeros(())).item()
    1.0
    """
    small = jnp.abs(x) < 1e-2
    safe = jnp.where(small, 1.0, x)
    near = jnp.where(small, x, 0.0)
    series = 1 + near / 2 * (
        1 + near / 3 * (1 + near / 4 * (1 + near / 5 * (1 + near / 6 * (1 + near / 7))))
    )
    return jnp.where(small, series, jnp.expm1(safe) / safe)
