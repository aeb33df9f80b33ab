"""Kullback-Leibler divergence between Gaussian laws, term by term, singular laws included.

    2 KL(N(m1, S1) || N(m0, S0))
        = tr(S0^-1 S1) - d + D^T S0^-1 D + log det S0 - log det S1,    D = m1 - m0

The sign of the log-determinants is the classical slip: prior (S0) minus posterior (S1).

If S0 and S1 have one and the same range and D lies in it, the value is the one on that range, with
pseudo-determinants and d = rank; otherwise KL = inf, exactly, and `direction` is the first
direction that breaks it. No value depends on a clip.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._status import Status
from ..linalg.algebra import as_low_rank, densified, entries, is_elementwise, is_structured
from ..linalg.factor import eigh, logabsdet, solve
from ..linalg.gram import sum_over_rows
from ..linalg.matrices import AbstractMatrix
from ..linalg.roots import logdet, pinv, range_mask


class GaussianDivergence(eqx.Module):
    """KL(posterior || reference) in nats and its parts.

    `trace + logdet + dimension + shift` is twice `value`; `dimension` is minus the common rank.
    `direction` is zero where the divergence is finite.

    >>> import jaxou as ou
    >>> terms = ou.Gaussian([1.0], 1.0).kl_terms(ou.Gaussian([0.0], 1.0))
    >>> float(terms.value), float(terms.shift), int(terms.rank)
    (0.5, 1.0, 1)
    """

    value: Float[Array, ""]
    trace: Float[Array, ""]
    logdet: Float[Array, ""]
    dimension: Float[Array, ""]
    shift: Float[Array, ""]
    rank: Int[Array, ""]
    reference_rank: Int[Array, ""]
    direction: Float[Array, " d"]
    status: Status


@eqx.filter_jit
def gaussian_kl(
    posterior_mean: Float[Array, " d"],
    posterior: AbstractMatrix,
    reference_mean: Float[Array, " d"],
    reference: AbstractMatrix,
) -> Float[Array, ""]:
    """The value of `gaussian_divergence` alone, which is all that is then computed."""
    return _divergence(posterior_mean, posterior, reference_mean, reference).value


@eqx.filter_jit
def gaussian_divergence(
    posterior_mean: Float[Array, " d"],
    posterior: AbstractMatrix,
    reference_mean: Float[Array, " d"],
    reference: AbstractMatrix,
) -> GaussianDivergence:
    """KL between two Gaussian laws in the cheapest way that their structures allow.

    O(d) for isotropic and diagonal covariances, O(d r^2) for low rank plus diagonal, O(d^3) dense.
    """
    return _divergence(posterior_mean, posterior, reference_mean, reference)


def _divergence(posterior_mean, posterior, reference_mean, reference):
    delta = posterior_mean - reference_mean
    if is_elementwise(posterior, reference):
        return _elementwise(delta, posterior, reference)
    if is_structured(posterior, reference):
        return _low_rank(delta, as_low_rank(posterior), as_low_rank(reference))
    why = "KL between laws of these structures"
    return _dense(delta, densified(posterior, why).dense(), densified(reference, why).dense())


def _assemble(value, trace, log_determinants, shift, rank, reference_rank, direction):
    return GaussianDivergence(
        value=value,
        trace=trace,
        logdet=log_determinants,
        dimension=-reference_rank.astype(value.dtype),
        shift=shift,
        rank=rank,
        reference_rank=reference_rank,
        direction=direction,
        status=Status.where(jnp.isnan(value), Status.bad_input, Status.ok),
    )


def _first(broken: Bool[Array, " d"]) -> Float[Array, " d"]:
    """The unit vector of the first broken coordinate, zero if none is."""
    first = broken & (jnp.cumsum(broken) == 1)
    return first.astype(jnp.result_type(float))


def _elementwise(delta, posterior, reference):
    s1 = jnp.broadcast_to(entries(posterior), delta.shape)
    s0 = jnp.broadcast_to(entries(reference), delta.shape)
    inside1, inside0 = s1 > 0, s0 > 0
    safe1, safe0 = jnp.where(inside1, s1, 1.0), jnp.where(inside0, s0, 1.0)
    broken = (inside1 != inside0) | (~inside0 & (delta != 0))
    both = inside0 & inside1
    x = jnp.where(both, (safe1 - safe0) / safe0, 0.0)
    shift = jnp.sum(jnp.where(inside0, delta**2 / safe0, 0.0))
    value = jnp.sum(x - jnp.log1p(x)) / 2 + shift / 2
    nan = jnp.isnan(s1).any() | jnp.isnan(s0).any() | jnp.isnan(delta).any()
    value = jnp.where(broken.any() & ~nan, jnp.inf, jnp.where(nan, jnp.nan, value))
    log_determinants = jnp.sum(jnp.log(safe0)) - jnp.sum(jnp.log(safe1))
    trace = jnp.sum(jnp.where(inside0, s1 / safe0, 0.0))
    return _assemble(
        value, trace, log_determinants, shift, inside1.sum(), inside0.sum(), _first(broken)
    )


def _low_rank(delta, posterior, reference):
    # S_k = E_k + U_k W_k U_k^T. Only r x r matrices are factorised: M_k = I + W_k U_k^T E_k^-1 U_k,
    # log det S_k = log det E_k + log det M_k and S_0^-1 = E_0^-1 - E_0^-1 U_0 H U_0^T E_0^-1 with
    # H = M_0^-1 W_0. A zero in E_0 or E_1 gives NaN; `Gaussian` makes such laws dense beforehand.
    e1 = jnp.broadcast_to(entries(posterior.base), delta.shape)
    e0 = jnp.broadcast_to(entries(reference.base), delta.shape)
    u1, u0, w1, w0 = posterior.factor, reference.factor, posterior.core, reference.core
    diagonal_core = posterior.weights is None or posterior.weights.ndim == 1

    def products(u1, u0, e1, e0, delta):
        scaled0 = u0 / e0[:, None]
        scaled1 = u1 / e0[:, None]
        # with a diagonal W1 only the diagonal of U1^T E0^-1 U1 is asked for
        mixed = jnp.sum(scaled1 * u1, axis=0) if diagonal_core else scaled1.T @ u1
        return (
            scaled0.T @ u0,
            u1.T @ (u1 / e1[:, None]),
            scaled0.T @ u1,
            scaled0.T @ (scaled0 * e1[:, None]),
            mixed,
            scaled0.T @ delta,
        )

    gram0, gram1, cross, inner, mixed, projected = sum_over_rows(products, u1, u0, e1, e0, delta)
    eye0, eye1 = jnp.eye(w0.shape[0], dtype=e0.dtype), jnp.eye(w1.shape[0], dtype=e0.dtype)
    capacitance0, capacitance1 = eye0 + w0 @ gram0, eye1 + w1 @ gram1
    h = solve(capacitance0, w0) if w0.shape[0] else w0

    x = (e1 - e0) / e0
    energy = jnp.sum((jnp.diagonal(w1) if diagonal_core else w1) * mixed)
    trace_rest = energy - jnp.sum(h * inner) - jnp.sum(h * (cross @ w1 @ cross.T))
    shift = jnp.sum(delta**2 / e0) - projected @ h @ projected
    low_rank_logdet = _small_logdet(capacitance0) - _small_logdet(capacitance1)
    value = (jnp.sum(x - jnp.log1p(x)) + trace_rest + low_rank_logdet + shift) / 2
    d = jnp.asarray(delta.shape[0])
    return _assemble(
        value,
        jnp.sum(e1 / e0) + trace_rest,
        jnp.sum(jnp.log(e0)) - jnp.sum(jnp.log(e1)) + low_rank_logdet,
        shift,
        d,
        d,
        jnp.zeros_like(delta),
    )


def _small_logdet(matrix):
    return logabsdet(matrix) if matrix.shape[0] else jnp.zeros((), matrix.dtype)


def _dense(delta, s1, s0):
    broken, direction, rank1, rank0 = _range_check(*(lax.stop_gradient(x) for x in (delta, s1, s0)))
    value = _dense_value(delta, s1, s0)
    value = jnp.where(broken & ~jnp.isnan(value), jnp.inf, value)
    inverse = pinv(s0)
    return _assemble(
        value,
        jnp.sum(inverse * s1),
        logdet(s0) - logdet(s1),
        delta @ inverse @ delta,
        rank1,
        rank0,
        direction,
    )


@jax.custom_jvp
def _dense_value(delta, s1, s0):
    """KL on the range of s0; accurate also where the two laws nearly coincide."""
    values0, vectors0 = eigh(s0)
    values1, _ = eigh(s1)
    inside0, inside1 = range_mask(values0), range_mask(values1)
    weights = jnp.where(inside0, 1 / jnp.sqrt(jnp.where(inside0, values0, 1.0)), 0.0)
    half = vectors0 * weights[None, :]
    x = half.T @ (s1 - s0) @ half
    shift = jnp.sum((half.T @ delta) ** 2)
    # Far apart, the logarithms of the two spectra are the better conditioned route; close
    # together, x - log(1 + x) is the one that does not cancel.
    far = (
        jnp.trace(x)
        + jnp.sum(jnp.where(inside0, jnp.log(jnp.where(inside0, values0, 1.0)), 0.0))
        - jnp.sum(jnp.where(inside1, jnp.log(jnp.where(inside1, values1, 1.0)), 0.0))
    )
    ratios, _ = eigh((x + x.T) / 2)
    is_near = jnp.max(jnp.abs(ratios)) < 0.5
    near_ratios = jnp.where(is_near, ratios, 0.0)
    near = jnp.sum(near_ratios - jnp.log1p(near_ratios))
    value = (jnp.where(is_near, near, far) + shift) / 2
    tolerance = 1e2 * values0.size * jnp.finfo(s0.dtype).eps
    indefinite = (values0[0] < -tolerance * jnp.abs(values0[-1])) | (
        values1[0] < -tolerance * jnp.abs(values1[-1])
    )
    return jnp.where(indefinite, jnp.nan, value)


@_dense_value.defjvp
def _dense_value_jvp(primals, tangents):
    (delta, s1, s0), (delta_dot, s1_dot, s0_dot) = primals, tangents
    inverse0, inverse1 = pinv(s0), pinv(s1)
    whitened = inverse0 @ delta
    # S0^-1 - S1^-1 = S0^-1 (S1 - S0) S1^-1 keeps its digits where the laws nearly coincide.
    gap = inverse0 @ (s1 - s0)
    slope1 = gap @ inverse1
    slope0 = -gap @ inverse0 - jnp.outer(whitened, whitened)
    dot = jnp.sum(slope1 * s1_dot + slope0 * s0_dot) / 2 + whitened @ delta_dot
    return _dense_value(delta, s1, s0), dot


def _range_check(delta, s1, s0):
    """(differs, first direction, ranks): whether the ranges differ or the shift leaves them."""
    values0, vectors0 = eigh(s0)
    values1, vectors1 = eigh(s1)
    inside0, inside1 = range_mask(values0), range_mask(values1)
    angle0, angle1 = _range_angle(values0, inside0), _range_angle(values1, inside1)
    # variance of the posterior along the null directions of the reference, and the shift there
    leak = jnp.sum((s1 @ vectors0) * vectors0, axis=0)
    allowed = delta.size * jnp.finfo(s1.dtype).eps * jnp.max(jnp.abs(values1))
    along = jnp.abs(vectors0.T @ delta)
    norm = jnp.sqrt(jnp.sum(delta**2))
    top1 = jnp.max(jnp.abs(values1))
    outside0 = ~inside0 & ((leak > allowed + angle0**2 * top1) | (along > angle0 * norm))
    # null directions of the posterior along which the reference still varies
    spread = jnp.sum((s0 @ vectors1) * vectors1, axis=0)
    top0 = jnp.max(jnp.abs(values0))
    allowed0 = delta.size * jnp.finfo(s1.dtype).eps * top0
    outside1 = ~inside1 & (spread > allowed0 + angle1**2 * top0)
    outside1 = outside1 & (inside1.sum() < inside0.sum())
    broken0, broken1 = outside0.any(), outside1.any()
    direction = jnp.where(
        broken0,
        vectors0 @ _first(outside0).astype(s0.dtype),
        vectors1 @ _first(outside1).astype(s0.dtype),
    )
    return broken0 | broken1, direction, inside1.sum(), inside0.sum()


def _range_angle(values, inside):
    """How far rounding can tilt the computed range: d * epsilon * lambda_max / lambda_min,range."""
    smallest = jnp.min(jnp.where(inside, values, jnp.inf))
    ratio = jnp.max(jnp.abs(values)) / smallest
    return jnp.minimum(1.0, 8 * values.size * jnp.finfo(values.dtype).eps * ratio)
