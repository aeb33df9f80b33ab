"""Random pairs of linear-Gaussian domains: real SGD from one to the other, and its measured gap.

Both domains: x ~ N(0, H), y = w . x + s(x) noise, s(x)^2 = sigma^2 (1 + h (u . x)^2 / u'Hu), so
that curvature H and gradient noise C = sigma^2 ((1 + h) H + 2 h H u u'H / u'Hu) do not commute. The
risk of any w is known without error, so the gap needs no test sample:

    R(w) = (w - w*)' H (w - w*) / 2 + sigma^2 (1 + h) / 2.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..linalg.equations import LYAPUNOV, symbol

DIMENSION = 8
STEPS = (10, 50, 250, 750)
RATE, BATCH = 0.03, 8
REPLICAS = 4
SIZES = (30, 1000)
CHUNK = 40
"""Pairs in one call."""


class Domain(NamedTuple):
    """Curvature, square root of it, noise C, minimum, size of the noise, its direction and h."""

    hessian: np.ndarray
    root: np.ndarray
    noise: np.ndarray
    minimum: np.ndarray
    sigma: np.ndarray
    direction: np.ndarray
    excess: np.ndarray


class Pairs(NamedTuple):
    """Source law N(mean, covariance), target domain and sample size of every pair (pairs, ...)."""

    mean: np.ndarray
    covariance: np.ndarray
    target: Domain
    size: np.ndarray


def random_pairs(count: int, seed: int, only_shift: bool = False) -> Pairs:
    """Pairs whose shift, noise, curvature, eps of pre-training and N_T are all drawn at random.

    `only_shift`: one pair of curvatures and noises, eps = 0.01 and N_T = 100 for all; the way from
    one minimum to the other alone is random.
    """
    generator = np.random.default_rng([seed, 51])
    log_uniform = lambda low, high: np.exp(generator.uniform(np.log(low), np.log(high), count))
    source, target = (_domains(count, generator) for _ in range(2))
    shift = generator.standard_normal((count, DIMENSION))
    shift *= (log_uniform(0.03, 3.0) / np.linalg.norm(shift, axis=1))[:, None]
    eps, size = log_uniform(1e-3, 1e-1), np.round(log_uniform(*SIZES)).astype(int)
    if only_shift:
        first = lambda x: np.repeat(x[:1], count, axis=0)
        source, target = (jax.tree.map(first, domain) for domain in (source, target))
        eps, size = np.full(count, 0.01), np.full(count, 100)
    values, vectors = np.linalg.eigh(source.hessian)
    turned = np.einsum("pij,pik,pkl->pjl", vectors, source.noise, vectors)
    divisor = np.asarray(symbol(LYAPUNOV, values[:, :, None], values[:, None, :]))
    steady = eps[:, None, None] * turned / divisor
    covariance = np.einsum("pij,pjk,plk->pil", vectors, steady, vectors)
    return Pairs(target.minimum + shift, covariance, target, size)


def _domains(count: int, generator: np.random.Generator) -> Domain:
    d = DIMENSION
    basis = np.linalg.qr(generator.standard_normal((count, d, d)))[0]
    values = np.exp(generator.uniform(np.log(0.3), np.log(2.0), (count, d)))
    hessian = np.einsum("pij,pj,pkj->pik", basis, values, basis)
    root = basis * np.sqrt(values)[:, None, :]
    sigma = np.exp(generator.uniform(np.log(0.3), np.log(1.0), count))
    excess = generator.uniform(0.0, 3.0, count)
    u = generator.standard_normal((count, d))
    hu = np.einsum("pij,pj->pi", hessian, u)
    u, hu = (v / np.sqrt(np.einsum("pi,pi->p", u, hu))[:, None] for v in (u, hu))
    outer = 2 * excess[:, None, None] * hu[:, :, None] * hu[:, None, :]
    noise = (sigma**2)[:, None, None] * ((1 + excess)[:, None, None] * hessian + outer)
    return Domain(hessian, root, noise, generator.standard_normal((count, d)), sigma, u, excess)


def measure(pairs: Pairs, samples: int, seed: int, steps: tuple[int, ...] = STEPS):
    """name -> (durations, pairs): measured gaps and risks, discrepancies, and their rivals.

    Every target sample is drawn `samples` times anew; from each, `REPLICAS` real SGD runs start at
    draws of the source's law. The laws in the discrepancy are those of the chain (2.1) with A and C
    of the very sample; all numbers are means over samples.
    """
    key = jax.random.key(seed)
    parts = []
    for first in range(0, len(pairs.size), CHUNK):
        rows = np.arange(first, first + CHUNK) % len(pairs.size)  # the last chunk is filled up
        chunk = jax.tree.map(lambda x, rows=rows: jnp.asarray(x[rows]), pairs)
        found = _program(chunk, jax.random.fold_in(key, first), jnp.asarray(steps), samples)
        parts.append(jax.tree.map(np.asarray, found))
    count = len(pairs.size)
    seen = {k: np.concatenate([p[k] for p in parts], axis=1)[:, :count] for k in parts[0]}
    return _with_laws(pairs, seen)


@functools.partial(jax.jit, static_argnames="samples")
def _program(pairs: Pairs, key: Any, steps: Any, samples: int):
    keys = jax.random.split(key, (len(pairs.size), samples))
    one = functools.partial(_one_sample, steps)
    each = jax.vmap(jax.vmap(one, in_axes=(None, 0)))(pairs, keys)
    return jax.tree.map(lambda x: jnp.moveaxis(x, 2, 0), each)


def _one_sample(steps: Any, pair: Pairs, key: Any):
    """One target sample of one pair: SGD's runs and the chain's moments at every duration."""
    target, d, most = pair.target, DIMENSION, SIZES[1]
    names = ("x", "noise", "start", "sgd")
    keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
    x = jax.random.normal(keys["x"], (most, d)) @ target.root.T
    scale = target.sigma * jnp.sqrt(1 + target.excess * (x @ target.direction) ** 2)
    # everything is measured from the target's minimum: y = noise
    y = scale * jax.random.normal(keys["noise"], (most,))
    share = (jnp.arange(most) < pair.size).astype(x.dtype) / pair.size.astype(x.dtype)
    hessian = (x * share[:, None]).T @ x
    moment, energy = (share * y) @ x, share @ y**2
    mean = pair.mean - target.minimum
    start = mean[None, :] + jax.random.normal(keys["start"], (REPLICAS, d)) @ _root(pair.covariance)

    def step(k, state):
        w, m, v = state
        rows = jax.random.randint(
            jax.random.fold_in(keys["sgd"], k), (REPLICAS, BATCH), 0, pair.size
        )
        bx, by = x[rows], y[rows]
        pull = jnp.sum(bx * w[:, None, :], axis=2) - by
        w = w - RATE / BATCH * jnp.sum(pull[:, :, None] * bx, axis=1)
        m = m - RATE * (hessian @ m - moment)
        turned = v - RATE * (hessian @ v)
        v = turned - RATE * (turned @ hessian) + RATE**2 / BATCH * noise
        return w, m, v

    optimum = _solve(hessian, moment)
    pulls = x * ((x @ optimum - y) * jnp.sqrt(share))[:, None]
    noise = pulls.T @ pulls

    def look(state):
        w, m, v = state
        risk = jnp.sum((w @ target.hessian) * w, axis=1) / 2
        floor = target.sigma**2 * (1 + target.excess) / 2
        seen = jnp.sum((w @ hessian) * w, axis=1) / 2 - w @ moment + energy / 2
        return {
            "gap": jnp.mean(risk + floor - seen),
            "risk": jnp.mean(risk + floor),
            "excess": jnp.mean(risk),
            "train": jnp.mean(seen),
            "mean": m,
            "covariance": v,
            "hessian": hessian,
            "noise": noise,
        }

    def segment(state, ends):
        state = lax.fori_loop(ends[0], ends[1], step, state)
        return state, look(state)

    begins = jnp.concatenate([jnp.zeros(1, steps.dtype), steps[:-1]])
    first = (start, mean, pair.covariance)
    return lax.scan(segment, first, jnp.stack([begins, steps], axis=1))[1]


def _root(matrix: Any, rounds: int = 24) -> Any:
    """Symmetric square root of a positive definite matrix by Denman and Beavers' coupled products.

    Newton and Schulz's form: matrix products alone, so that many run side by side.
    """
    size = jnp.sqrt(jnp.sum(matrix**2))
    eye = jnp.eye(matrix.shape[0])

    def refine(_, pair):
        y, z = pair
        t = (3 * eye - z @ y) / 2
        return y @ t, t @ z

    return lax.fori_loop(0, rounds, refine, (matrix / size, eye))[0] * jnp.sqrt(size)


def _solve(matrix: Any, vector: Any, rounds: int = DIMENSION) -> Any:
    """matrix^-1 vector by conjugate gradients: exact after d steps, without a factorisation."""

    def one(_, state):
        x, r, p = state
        image = matrix @ p
        length = (r @ r) / jnp.maximum(p @ image, 1e-300)
        new = r - length * image
        return x + length * p, new, new + (new @ new) / jnp.maximum(r @ r, 1e-300) * p

    first = (jnp.zeros_like(vector), vector, vector)
    return lax.fori_loop(0, 2 * rounds, one, first)[0]


def _with_laws(pairs: Pairs, seen: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Discrepancies of the chain's laws, and what is simpler; means over samples."""
    mean, covariance = seen["mean"], seen["covariance"]
    source = np.linalg.inv(pairs.covariance)[None, :, None]
    shift = mean - (pairs.mean - pairs.target.minimum)[None, :, None]
    trace = np.einsum("...ij,...ji->...", source, covariance)
    logdet = np.linalg.slogdet(pairs.covariance)[1][None, :, None]
    logdet = logdet - np.linalg.slogdet(covariance)[1]
    moved = np.einsum("...i,...ij,...j->...", shift, source, shift)
    spread = trace - DIMENSION + logdet
    size = np.broadcast_to(pairs.size, moved.shape[:2]).astype(float)
    gap = pairs.mean - pairs.target.minimum
    first = np.einsum("pi,pij,pj->p", gap, pairs.target.hessian, gap)
    first = (first + np.einsum("pij,pji->p", pairs.target.hessian, pairs.covariance)) / 2
    first = first + pairs.target.sigma**2 * (1 + pairs.target.excess) / 2
    all_ = lambda x: np.broadcast_to(x, size.shape)
    tilt = np.linalg.solve(pairs.target.hessian, pairs.target.noise)
    discrepancy = (spread + moved).mean(axis=2)
    return {
        "gap": seen["gap"].mean(axis=2),
        "gap_error": seen["gap"].std(axis=2, ddof=1) / np.sqrt(seen["gap"].shape[2]),
        "excess": seen["excess"].mean(axis=2),
        "risk": seen["risk"].mean(axis=2),
        "discrepancy": discrepancy,
        "shift part": moved.mean(axis=2),
        "covariance part": spread.mean(axis=2),
        "discrepancy / N": discrepancy / size,
        "1 / N": 1 / size,
        "zero-shot loss": all_(first),
        "parameter distance": all_(np.linalg.norm(gap, axis=1)),
        "training loss": seen["train"].mean(axis=2),
        "tr(A^-1 C) / N": all_(np.trace(tilt, axis1=1, axis2=2)) / size,
        "n": size,
    }
