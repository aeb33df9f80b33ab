"""Maximum likelihood of a vector autoregression of order one whose matrix is symmetric.

Everything is written for increments, D = x' - x = Delta (x - theta*) + N(0, Q), so that a slow
chain (Delta near 0) loses no digits.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._typing import Matrix, Scalar, Vector
from ..linalg.factor import eigh, logabsdet

ROUNDS, CLOSE = 200, 1e-13
"""Alternations of slope and noise at most, and the relative change of Q that ends them."""


class Sums(eqx.Module):
    """Sufficient statistics of pairs (x, x + D), both centred: S = sum x x', R = sum D x',
    V = sum D D'; their means; the number of pairs."""

    mean: Vector
    increment: Vector
    S: Matrix
    R: Matrix
    V: Matrix
    count: Scalar


class Regression(eqx.Module):
    """Slope Delta and noise Q at the maximum (Q over T), the log-likelihood, and the frame W.

    W'Q^-1 W = I and W'S W = diag(information): in this frame every entry of the slope is
    estimated on its own.
    """

    slope: Matrix
    noise: Matrix
    frame: Matrix
    information: Vector
    log_likelihood: Scalar


def sums(before: Float[Array, "pairs d"], after: Float[Array, "pairs d"]) -> Sums:
    """The statistics of pairs of consecutive iterates."""
    D = after - before
    mean, increment = jnp.mean(before, axis=0), jnp.mean(D, axis=0)
    x, D = before - mean[None, :], D - increment[None, :]
    count = jnp.asarray(before.shape[0], before.dtype)
    return Sums(mean, increment, x.T @ x, D.T @ x, D.T @ D, count)


def frame_of(S: Matrix, Q: Matrix) -> tuple[Matrix, Vector, Matrix]:
    """(W, information, W^-1) with Q = W W' and W'S W diagonal; no inverse of a matrix is taken."""
    q, E = eigh(0.5 * (Q + Q.T))
    root = jnp.sqrt(jnp.maximum(q, 0.0))
    B = E * root[None, :]
    inner = B.T @ S @ B
    information, Z = eigh(0.5 * (inner + inner.T))
    return B @ Z, information, Z.T @ (E.T / root[:, None])


def noise_at(data: Sums, slope: Matrix) -> Matrix:
    """The maximum-likelihood Q at a slope: the residuals' second moment."""
    cross = slope @ data.R.T
    return (data.V - cross - cross.T + slope @ data.S @ slope.T) / data.count


def least_squares(data: Sums) -> Regression:
    """The maximum over all slopes: ordinary least squares."""
    values, vectors = eigh(data.S)
    slope = ((data.R @ vectors) / values[None, :]) @ vectors.T
    return _finished(data, slope)


def symmetric_maximum(data: Sums) -> Regression:
    r"""The maximum over symmetric slopes.

    At a given Q the score Q^-1 Delta S + S Delta Q^-1 = Q^-1 R + R'Q^-1 is a Sylvester equation,
    diagonal in the frame W; Q follows from the slope, and the two alternate, each step raising
    the likelihood.
    """

    def update(noise: Matrix) -> Matrix:
        W, information, inverse = frame_of(data.S, noise)
        pull = inverse @ data.R @ W
        inside = (pull + pull.T) / (information[:, None] + information[None, :])
        return W @ inside @ W.T

    def body(state):
        slope, noise, _, rounds = state
        slope = update(noise)
        new = noise_at(data, slope)
        change = jnp.max(jnp.abs(new - noise)) / jnp.max(jnp.abs(new))
        return slope, new, change, rounds + 1

    def unfinished(state):
        return (state[2] > CLOSE) & (state[3] < ROUNDS)

    start = least_squares(data)
    wide = jnp.full((), jnp.inf, data.S.dtype)
    state = (start.slope, start.noise, wide, jnp.asarray(0))
    slope = jax.lax.while_loop(unfinished, body, state)[0]
    return _finished(data, 0.5 * (slope + slope.T))


def _finished(data: Sums, slope: Matrix) -> Regression:
    noise = noise_at(data, slope)
    noise = 0.5 * (noise + noise.T)
    frame, information, _ = frame_of(data.S, noise)
    d = slope.shape[0]
    log_likelihood = -0.5 * data.count * (d * (jnp.log(2 * jnp.pi) + 1.0) + logabsdet(noise))
    return Regression(slope, noise, frame, information, log_likelihood)
