"""KL between two coins, to the last digits.

The textbook form `q log(q/p) + (1-q) log((1-q)/(1-p))` cancels when p is near q and loses half of
the digits. Written with h(u) = u - log(1+u) the linear parts are gone before anything is rounded:

    kl(q || q + x) = q h(x/q) + (1-q) h(-x/(1-q))

Both terms are positive, so the relative error is a few units in the last place for every x.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .._check import as_float, refuse_unless, show_value

# log(1+u) = 2 atanh(s) with s = u/(2+u); for -1/2 <= u <= 1 the terms of atanh fall like 9^-k.
_ATANH_TERMS = 17


def log1p_remainder(u: Float[Array, "..."]) -> Float[Array, "..."]:
    """h(u) = u - log(1+u), relative error below 4 ulp on (-1, inf); h(-1) = inf.

    XLA's own `log1p` loses two digits for some small arguments, hence the series.

    >>> f"{log1p_remainder(jnp.asarray(1e-9)):.6g}"
    '5e-19'
    """
    near = (u >= -0.5) & (u <= 1.0)
    small = jnp.where(near, u, 0.0)
    s = small / (2.0 + small)
    square = s * s
    tail = jnp.full_like(s, 1.0 / (2 * _ATANH_TERMS + 1))
    for k in range(_ATANH_TERMS - 1, 0, -1):
        tail = tail * square + 1.0 / (2 * k + 1)
    # u - 2s = us, the rest of 2 atanh(s) follows with its sign: nothing large is subtracted
    series = s * (small - 2.0 * square * tail)
    large = jnp.where(near, 1.0, u)
    return jnp.where(near, series, large - jnp.log(1.0 + large))


def accurate_log1p(u: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(1+u) to a few ulp for every u > -1."""
    near = (u >= -0.5) & (u <= 1.0)
    small = jnp.where(near, u, 0.0)
    return jnp.where(near, small - log1p_remainder(small), jnp.log(1.0 + jnp.where(near, 1.0, u)))


def gap_kl(q: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """kl(q || q + x) for 0 < q < 1 and -q < x <= 1-q; inf where q + x = 1."""
    rest = 1.0 - q
    return q * log1p_remainder(x / q) + rest * log1p_remainder(-x / rest)


def binary_kl(q: ArrayLike, p: ArrayLike) -> Array:
    """kl(q||p) in nats between Bernoulli(q) and Bernoulli(p), elementwise and broadcasting.

    The difference p - q is taken in floating point: give p with all its digits when it is close to
    q. Refuses (NaN under tracing) values outside [0, 1].

    >>> f"{binary_kl(0.05, 0.1):.5f}"
    '0.01671'
    >>> float(binary_kl(0.5, 0.0)), float(binary_kl(0.0, 0.0))
    (inf, 0.0)
    """
    q, p = jnp.broadcast_arrays(as_float(q, "q"), as_float(p, "p"))
    valid = (q >= 0) & (q <= 1) & (p >= 0) & (p <= 1)
    refuse_unless(
        valid,
        f"q={show_value(q)}, p={show_value(p)}: both are probabilities and lie in [0, 1]",
    )
    inside = (q > 0) & (q < 1) & (p > 0) & (p < 1)
    safe_q = jnp.where(inside, q, 0.5)
    value = gap_kl(safe_q, jnp.where(inside, p - q, 0.0))
    at_zero = -accurate_log1p(-jnp.where((q == 0) & (p < 1), p, 0.0))
    at_one = -jnp.log(jnp.where((q == 1) & (p > 0), p, 1.0))
    edge = jnp.where(q == 0, at_zero, jnp.where(q == 1, at_one, jnp.inf))
    impossible = ((p == 0) & (q > 0)) | ((p == 1) & (q < 1))
    value = jnp.where(inside, value, jnp.where(impossible, jnp.inf, edge))
    return jnp.where(valid, value, jnp.nan)
