"""Pairs (x_t, x_{t+u}) of a steady process, read forwards and backwards.

In coordinates in which the steady law is N(0, I) the pair has lag covariance L = E[x_{t+u} x_t^T].
Midpoint p = (x_{t+u} + x_t) / sqrt 2 and increment q = (x_{t+u} - x_t) / sqrt 2 have covariances
I + L_s and I - L_s, and cross covariance E[q p^T] = L_a, the antisymmetric part of L. Reading time
backwards turns q into -q, so that

    KL(pair || reversed pair) = 2 sum_i c_i^2 / (1 - c_i^2),

c_i the canonical correlations of midpoint and increment; KL / u tends to the rate of entropy
production as u -> 0, and is below it. The sample version of the sum is Hotelling's trace of the
regression of q on p, whose mean is known exactly for Gaussian pairs: the estimate is unbiased, and
the same in all linear coordinates.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..._typing import Scalar
from ...linalg import solve

GROUPS = 32


class PairDivergence(eqx.Module):
    """KL(pair || reversed pair) in nats: unbiased `estimate` (it can be negative), its
    `standard_error` (jackknife over 32 groups of particles), and the `plug_in` it comes from."""

    estimate: Scalar
    standard_error: Scalar
    plug_in: Scalar


@eqx.filter_jit
def reversal_divergence(lag: Float[Array, "r r"]) -> Scalar:
    """KL(pair || reversed pair) of Gaussian pairs with whitened lag covariance L, exactly.

    >>> round(float(reversal_divergence(jnp.array([[0.5, 0.1], [-0.1, 0.5]]))), 6)
    0.054054
    """
    eye = jnp.eye(lag.shape[0], dtype=lag.dtype)
    middle, turn = (lag + lag.T) / 2, (lag - lag.T) / 2
    return 2 * _trace(eye + middle, eye - middle, turn)


def _trace(midpoint, increment, cross):
    """tr((Q - B P^-1 B^T)^-1 B P^-1 B^T) = sum c^2 / (1 - c^2)."""
    explained = cross @ solve(midpoint, cross.T)
    return jnp.trace(solve(increment - explained, explained))


@eqx.filter_jit
def pair_divergence(paths: Float[Array, "times particles r"]) -> PairDivergence:
    """The mean of KL(pair || reversed pair) over successive times of independent particles.

    Needs particles > 2 r + 2, all groups but one; any linear coordinates; equal gaps of time. Cost
    O(times (particles r^2 + 32 r^3)).
    """
    times, count, r = paths.shape
    size = -(-count // GROUPS)
    missing = GROUPS * size - count
    live = jnp.arange(GROUPS * size).reshape(GROUPS, size) < count

    def sums(pair):
        first, second = pair
        p, q = second + first, second - first
        p, q = p - jnp.mean(p, axis=0)[None, :], q - jnp.mean(q, axis=0)[None, :]
        grouped = [jnp.pad(x, ((0, missing), (0, 0))).reshape(GROUPS, size, r) for x in (p, q)]
        p, q = grouped
        return (
            jnp.einsum("gni,gnj->gij", p, p),
            jnp.einsum("gni,gnj->gij", q, q),
            jnp.einsum("gni,gnj->gij", q, p),
        )

    parts = lax.map(sums, (paths[:-1], paths[1:]))
    sizes = live.sum(axis=1).astype(paths.dtype)

    def estimate(weights):
        n = jnp.sum(weights * sizes) - 1
        totals = tuple(jnp.einsum("g,tgij->tij", weights, part) for part in parts)
        traces = jnp.mean(lax.map(lambda s: _trace(*s), totals))
        # Hotelling's trace has mean (r^2 + noncentrality) / (n - 2 r - 1), n counted without the
        # mean, and the noncentrality is n KL / 2 on average
        return 2 * ((n - 2 * r - 1) * traces - r**2) / n, 2 * traces

    everything = jnp.ones(GROUPS, paths.dtype)
    without = everything[None, :] - jnp.eye(GROUPS, dtype=paths.dtype)
    value, plug_in = estimate(everything)
    left_out, _ = lax.map(estimate, without)
    spread = jnp.sum((left_out - jnp.mean(left_out)) ** 2) * (GROUPS - 1) / GROUPS
    return PairDivergence(value, jnp.sqrt(spread), plug_in)
