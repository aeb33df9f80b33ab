"""Derivatives of the two kl inverses, by the implicit function theorem.

From kl(q||p) = c with p = q + x, and everything in terms that keep their digits near p = q and near
p = 1:

    dp/dc = p (1-p) / x,      dp/dq = dp/dc log(p (1-q) / (q (1-p)))

On the edges the value is the one-sided partial derivative, infinite where that is:

    c = 0, 0 < q < 1     dp/dc = inf          dp/dq = 1
    q = 0, c > 0         dp/dc = exp(-c)      dp/dq = inf
    q = 0, c = 0         dp/dc = 1            dp/dq = 1
    q = 1 or c = inf     dp/dc = 0            dp/dq = 0   (1 at c = 0)

and the lower inverse is the mirror image, lower(q, c) = 1 - upper(1-q, c). Second derivatives on
the edges are infinite with the sign of their limit.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .bernoulli import accurate_log1p, log1p_remainder
from .zero_times import singular, zero_times

Values = Float[Array, "..."]
Slopes = tuple[Values, Values]

_pole = singular(jnp.inf, -jnp.inf)
_rise = singular(0.0, jnp.inf)
_fall = singular(0.0, -jnp.inf)
_FAR = 2.0**40


def interior(q: Values, c: Values) -> Array:
    """Where both inverses are smooth."""
    return (q > 0) & (q < 1) & (c > 0) & (c < jnp.inf)


def upper_slopes(q: Values, c: Values, x: Values) -> tuple[Slopes, Slopes]:
    """((dp/dc, dp/dq), (dx/dc, dx/dq)) of the upper inverse p = q + x; the second inside only."""
    inside = interior(q, c)
    s, b, x = _safe(inside, q, c, x)
    rest = 1.0 - s
    log_p_q = _log1p_ratio(x, s)
    # near p = 1 the equation itself gives 1 - p with all its digits; beyond 2000 it is 0
    far = x > 0.5 * rest
    exponent = jnp.where(far, (jnp.minimum(b, 2000.0 * rest) + s * log_p_q) / rest, 0.0)
    ratio = jnp.where(far, 0.0, x / rest)
    to_one = rest * jnp.where(far, jnp.exp(-exponent), 1.0 - ratio)
    log_odds = log_p_q + jnp.where(far, exponent, -accurate_log1p(-ratio))
    by_c = (1.0 + _ratio(s, x)) * to_one
    by_q = zero_times(by_c, log_odds)
    # dx/dq = dp/dq - 1, with the 1 gone before anything is rounded
    near = (x <= 0.5 * s) & ~far
    a = jnp.where(near, _ratio(x, s), 0.0)
    difference = log1p_remainder(-ratio) - log1p_remainder(a)
    close = a * (1.0 - 2.0 * s - x) / rest + by_c * difference
    gap_by_q = jnp.where(near, close, by_q - 1.0)
    edge_c, edge_q = _edges(q, c)
    zero = jnp.zeros_like(x)
    return (
        (jnp.where(inside, by_c, edge_c), jnp.where(inside, by_q, edge_q)),
        (jnp.where(inside, by_c, zero), jnp.where(inside, gap_by_q, zero)),
    )


def lower_slopes(q: Values, c: Values, t: Values) -> tuple[Slopes, Slopes]:
    """((dp/dc, dp/dq), (dt/dc, dt/dq)) of the lower inverse p = q exp(-t)."""
    tiny = float(jnp.finfo(q.dtype).tiny)
    inside = interior(q, c) & (q * jnp.exp(-t) > tiny)  # p underflows to 0 and stays there
    s, _, t = _safe(inside, q, c, t)
    rest = 1.0 - s
    share = -jnp.expm1(-t)  # (q - p) / q
    x = s * share
    one_minus_p = rest + x
    log_odds = t + _log1p_ratio(x, rest)
    over_share = _ratio(one_minus_p, share)
    t_by_c = _ratio(over_share, s)
    by_c = jnp.exp(-t) * over_share
    by_q = zero_times(by_c, log_odds)
    near = (share <= 0.5) & (x <= 0.5 * rest)
    b = jnp.where(near, _ratio(x, rest), 0.0)
    difference = log1p_remainder(-jnp.where(near, share, 0.0)) - log1p_remainder(b)
    close = -share / rest - t_by_c * difference
    t_by_q = jnp.where(near, close, _ratio(1.0 - over_share * log_odds, s))
    edge_c, edge_q = _edges(1.0 - q, c)
    zero = jnp.zeros_like(x)
    return (
        (jnp.where(inside, -by_c, -edge_c), jnp.where(inside, by_q, edge_q)),
        (jnp.where(inside, t_by_c, zero), jnp.where(inside, t_by_q, zero)),
    )


@jax.custom_jvp
def _ratio(x: Values, y: Values) -> Values:
    """x/y, whose derivative does not square y: 1e-300 squared is 0."""
    return x / y


@_ratio.defjvp
def _ratio_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    ratio = _ratio(x, y)
    return ratio, dx / y - ratio * (dy / y)


@jax.custom_jvp
def _decay(c: Values) -> Values:
    """exp(-c), whose slope of 0 at c = inf wins over an infinite cotangent."""
    return jnp.exp(-c)


@_decay.defjvp
def _decay_jvp(primals, tangents):
    value = _decay(primals[0])
    return value, zero_times(-value, tangents[0])


def chain(slopes: Slopes, dc: Values, dq: Values) -> Values:
    """The differential, in which a zero tangent counts nothing even at an infinite slope."""
    return zero_times(slopes[0], dc) + zero_times(slopes[1], dq)


def _safe(inside: Array, q: Values, c: Values, gap: Values) -> tuple[Values, Values, Values]:
    gap = jnp.maximum(jnp.where(inside, gap, 0.25), float(jnp.finfo(q.dtype).tiny))
    return jnp.where(inside, q, 0.5), jnp.where(inside, c, 1.0), gap


def _log1p_ratio(x: Values, q: Values) -> Values:
    """log(1 + x/q), also where x/q and its derivatives would overflow."""
    far = x > _FAR * q
    split = jnp.log(jnp.where(far, q + x, 1.0)) - jnp.log(jnp.where(far, q, 1.0))
    return jnp.where(far, split, accurate_log1p(_ratio(jnp.where(far, 0.0, x), q)))


def _edges(q: Values, c: Values) -> Slopes:
    """Slopes of the upper inverse on the edges, and infinite second derivatives with their sign."""
    open_q = (q > 0) & (q < 1)
    s = jnp.where(open_q, q, 0.5)
    decay = _decay(c)
    at_zero = q == 0
    # p = q + sqrt(2 q (1-q) c) + O(c); of what multiplies an infinity only the sign matters
    middle = s - 0.5
    growth = 1.0 - zero_times(middle, middle)
    by_c = jnp.where(open_q & (c == 0), zero_times(growth, _pole(c)), 0.0)
    by_c = jnp.where(at_zero, decay + _fall(q), by_c)
    by_q = jnp.where(at_zero, zero_times(decay, _pole(q)), 0.0)
    tilt = jnp.where(open_q, zero_times(-middle, _rise(c)), 0.0)
    return by_c, jnp.where(c == 0, 1.0 + tilt, by_q)
