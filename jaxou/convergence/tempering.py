"""Populations that are carried from a Gaussian reference to a Gibbs law, rung by rung.

The path is q^(1 - l) exp(-l U / T). A pilot chooses the rungs, the proposals and their sizes; the
main run takes them as given, so that its weights are unbiased.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from .._check import as_float
from .._typing import Scalar
from ..laws import Gaussian
from ..linalg import eigh

KEPT = 0.6
"""Share of effective draws that one rung leaves."""

BEND = 0.02
"""The largest correction in nats that a rung may bring to the temperature integral's trapezoids."""

RUNGS = 400
ACCEPTANCE = 0.6
PILOT = 2048


class Reference(eqx.Module):
    """A Gaussian law with its covariance factored once."""

    mean: Float[Array, " d"]
    root: Float[Array, "d d"]
    whitener: Float[Array, "d d"]
    constant: Scalar

    def log_density(self, x):
        white = self.whitener @ (x - self.mean)
        return self.constant - white @ white / 2

    def sample(self, key, count: int):
        normals = jax.random.normal(key, (count, self.mean.shape[0]), self.mean.dtype)
        return self.mean[None, :] + normals @ self.root.T


def factored(law: Gaussian) -> Reference:
    values, vectors = eigh(law.covariance)
    if not float(values[0]) > 0:
        raise ValueError(
            f"the reference's covariance has the eigenvalue {float(values[0]):.3g}: it must be "
            "positive definite; pass a wider reference="
        )
    roots = jnp.sqrt(values)
    constant = -jnp.sum(jnp.log(roots)) - law.dimension * jnp.log(2 * jnp.pi) / 2
    return Reference(law.mean, vectors * roots[None, :], vectors.T / roots[:, None], constant)


# --- one rung ------------------------------------------------------------------------------------


def _path(law, reference, level):
    """(log density, V) at a point, on the path at `level`."""

    def at(x):
        f, g = law._log_density(x), reference.log_density(x)
        f = jnp.where(jnp.isnan(f), -jnp.inf, f)
        return g + level * (f - g), f - g

    return at


def _work(law, reference, points):
    return jax.vmap(lambda x: _path(law, reference, 0.0)(x)[1])(points)


_first_work = eqx.filter_jit(_work)


def _langevin(law, reference, level, points, root, size, key, moves):
    """Moves with a Metropolis test; proposals have covariance size^2 root root^T."""
    density = jax.vmap(jax.value_and_grad(lambda x: _path(law, reference, level)(x)[0]))

    def clean(value, slope):
        # where U overflows nothing is accepted, and no NaN spreads
        return value, jnp.where(jnp.isfinite(slope), slope, 0.0)

    def one(carry, key):
        x, value, slope = carry
        noise_key, test_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, x.shape, x.dtype)
        pulled = slope @ root
        there = x + (size**2 / 2 * pulled + size * noise) @ root.T
        new_value, new_slope = clean(*density(there))
        # the noise that would lead back: root back = -root noise - size / 2 root root^T (s + s')
        back = noise + size / 2 * (pulled + new_slope @ root)
        log_ratio = new_value - value - (jnp.sum(back**2, 1) - jnp.sum(noise**2, 1)) / 2
        log_ratio = jnp.where(jnp.isnan(log_ratio), -jnp.inf, log_ratio)
        chance = jnp.exp(jnp.minimum(log_ratio, 0.0))
        take = jax.random.uniform(test_key, chance.shape, chance.dtype) < chance
        x = jnp.where(take[:, None], there, x)
        value = jnp.where(take, new_value, value)
        slope = jnp.where(take[:, None], new_slope, slope)
        return (x, value, slope), chance.mean()

    value, slope = clean(*density(points))
    start = (points, value, slope)
    (points, *_), shares = lax.scan(one, start, jax.random.split(key, moves))
    return points, shares


def _resample(points, log_weights, key):
    """Systematic resampling: every draw is kept weight x n times, rounded up or down."""
    n = points.shape[0]
    total = jnp.cumsum(jax.nn.softmax(log_weights))
    places = (jnp.arange(n, dtype=total.dtype) + jax.random.uniform(key, (), total.dtype)) / n
    return points[jnp.clip(jnp.searchsorted(total, places * total[-1]), 0, n - 1)]


def _effective(log_weights):
    n = log_weights.shape[0]
    return jnp.exp(2 * logsumexp(log_weights) - logsumexp(2 * log_weights)) / n


# --- the pilot: rungs, proposals and step sizes ---------------------------------------------------


@eqx.filter_jit
def _first_scale_medians(law, key, scales):
    normals = jax.random.normal(key, (512, law.dimension), law.centre.dtype)

    def median(scale):
        values = -jax.vmap(law._log_density)(law.centre[None, :] + scale * normals)
        return jnp.median(jnp.where(jnp.isnan(values), jnp.inf, values))

    return lax.map(median, scales)


def first_scale(law, key) -> float:
    """The width of a cloud around the centre that is some temperatures above the best one."""
    scales = 2.0 ** np.arange(-20, 21)
    medians = np.asarray(_first_scale_medians(law, key, as_float(scales)))
    wide = np.flatnonzero(medians <= medians.min() + 3 * law.dimension)
    if len(wide) == 0 or wide[-1] == len(scales) - 1:
        raise ValueError(
            "U does not rise away from the centre, so exp(-U / T) has no finite mass that can be "
            "computed: add weight decay, or pass a reference= that covers the law"
        )
    return float(scales[wide[-1]])


@eqx.filter_jit
def _next_level(work, level):
    """The largest rung up to 1 that leaves a share `KEPT` of effective draws."""

    def fine(new):
        weights = (new - level) * work
        share = jax.nn.softmax(weights)
        spread = share @ (work - share @ work) ** 2
        bend = (new - level) ** 2 / 12 * jnp.abs(spread - work.var())
        return (_effective(weights) >= KEPT) & (bend <= BEND)

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        ok = fine(middle)
        return jnp.where(ok, middle, low), jnp.where(ok, high, middle)

    one = jnp.ones_like(level)
    low, _ = lax.fori_loop(0, 40, halve, (level, one))
    return jnp.where(fine(one), one, low)


@eqx.filter_jit
def _pilot_rung(law, reference, old, level, points, size, key, moves):
    weights = (level - old) * _work(law, reference, points)
    resample_key, move_key = jax.random.split(key)
    points = _resample(points, weights, resample_key)
    values, vectors = eigh(jnp.cov(points.T).reshape(law.dimension, law.dimension))
    root = vectors * jnp.sqrt(jnp.maximum(values, 1e-12 * values[-1]))[None, :]

    def tune(carry, key):
        points, size = carry
        points, shares = _langevin(law, reference, level, points, root, size, key, moves)
        size = jnp.clip(size * jnp.exp(2 * (shares.mean() - ACCEPTANCE)), 1e-4, 2.0)
        return (points, size), None

    (points, size), _ = lax.scan(tune, (points, size), jax.random.split(move_key, 4))
    return points, root, size, _work(law, reference, points)


def pilot(law, reference, ladder, key, moves):
    """(rungs, draws, roots, sizes), padded with rungs at 1 to a multiple of eight."""
    start_key, key = jax.random.split(key)
    points = reference.sample(start_key, PILOT)
    size = jnp.asarray(min(1.0, 1.6 * law.dimension ** (-1 / 6)), points.dtype)
    level = jnp.zeros((), points.dtype)
    work = _first_work(law, reference, points)
    rungs, roots, sizes = [0.0], [], []
    while rungs[-1] < 1:
        if ladder is None and len(rungs) > RUNGS:
            raise ValueError(
                f"the ladder needs more than {RUNGS} rungs: the reference is too far from the law; "
                "pass a Gaussian reference= that covers it, or centre= near it"
            )
        given = ladder is not None
        new = jnp.asarray(ladder[len(rungs)]) if given else _next_level(work, level)
        points, root, size, work = _pilot_rung(
            law, reference, level, new.astype(level.dtype), points, size,
            jax.random.fold_in(key, len(rungs)), moves,
        )  # fmt: skip
        level = new.astype(level.dtype)
        rungs.append(float(level))
        roots.append(root)
        sizes.append(size)
    missing = -len(roots) % 8
    rungs += [1.0] * missing
    return (
        jnp.asarray(rungs, points.dtype),
        points,
        jnp.stack(roots + roots[-1:] * missing),
        jnp.stack(sizes + sizes[-1:] * missing),
    )


@eqx.filter_jit
def main_run(law, reference, rungs, roots, sizes, keys, count, moves):
    """All replicas: (log Z, means of V, variances of V, effective, acceptance, draws)."""

    def replica(key):
        start_key, key = jax.random.split(key)
        points = reference.sample(start_key, count)
        work = _work(law, reference, points)

        def rung(carry, inputs):
            points, work, total = carry
            gap, level, root, size, key = inputs
            resample_key, move_key = jax.random.split(key)
            weights = gap * work
            total = total + logsumexp(weights) - jnp.log(float(count))
            points = _resample(points, weights, resample_key)
            points, shares = _langevin(law, reference, level, points, root, size, move_key, moves)
            work = _work(law, reference, points)
            seen = work.mean(), work.var(ddof=1), _effective(weights), shares.mean()
            return (points, work, total), seen

        inputs = (jnp.diff(rungs), rungs[1:], roots, sizes, jax.random.split(key, len(sizes)))
        start = (points, work, jnp.zeros((), points.dtype))
        (points, _, total), (means, variances, effective, shares) = lax.scan(rung, start, inputs)
        means = jnp.concatenate([work.mean()[None], means])
        variances = jnp.concatenate([work.var(ddof=1)[None], variances])
        return total, means, variances, effective, shares, points

    return lax.map(replica, keys)
