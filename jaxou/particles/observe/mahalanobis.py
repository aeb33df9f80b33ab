"""Squared Mahalanobis distances of particles to a Gaussian law, counted while they move."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._check import as_float, is_concrete
from ...laws import Gaussian
from ...linalg import LowRankPlusDiagonal, eigh
from ...linalg.algebra import divisible, entries, is_elementwise
from ...linalg.roots import range_mask
from ..methods.columns import LowRankRoot, square_root
from .base import AbstractObserver
from .buckets import EDGES, HALF, bucket, by_leaves, count, exact_sum, remainders
from .histogram import counted
from .histogram_record import HistogramRecord, share_of_particles


class MahalanobisRecord(eqx.Module):
    """Squared distances q = (x - m)^T S^+ (x - m) of the particles at each of K save points.

    If the particles had the law N(m, S), q would be chi-square with `rank` (K,) degrees of freedom.

    - `mean` (K,) and `standard_error` (K,); chi-square has mean `rank`.
    - `quantile(q)`, `cdf(x)` (K, *shape) and their standard errors, as in `histogram`;
      `null_quantile(q)` and `null_cdf(x)`, the same of chi-square.
    """

    mean: Float[Array, " saves"]
    variance: Float[Array, " saves"]
    rank: Float[Array, " saves"]
    histogram: HistogramRecord

    @property
    def standard_error(self) -> Float[Array, " saves"]:
        """sqrt(variance / particles), with the histogram's variance: good to one per cent."""
        return jnp.sqrt(self.variance / self.histogram.particles)

    def quantile(self, q) -> Float[Array, "*shape"]:
        return self.histogram.quantile(q)

    def standard_error_quantile(self, q) -> Float[Array, "*shape"]:
        return self.histogram.standard_error_quantile(q)

    def cdf(self, x) -> Float[Array, "*shape"]:
        return self.histogram.cdf(x)

    def standard_error_cdf(self, x) -> Float[Array, "*shape"]:
        return self.histogram.standard_error_cdf(x)

    def null_cdf(self, x) -> Float[Array, "*shape"]:
        """P(chi-square <= x) with each row's degrees of freedom."""
        from scipy.special import gammainc  # scipy comes with jax

        x = np.asarray(as_float(x, "x"))
        return as_float(gammainc(self._half_rank(x.ndim), np.maximum(x, 0.0)[None] / 2))

    def null_quantile(self, q) -> Float[Array, "*shape"]:
        """The quantiles of chi-square with each row's degrees of freedom."""
        from scipy.special import gammaincinv

        q = share_of_particles(q)
        return as_float(2 * gammaincinv(self._half_rank(q.ndim), q[None]))

    def _half_rank(self, axes: int) -> np.ndarray:
        return np.asarray(self.rank).reshape((-1,) + (1,) * axes) / 2


class Mahalanobis(AbstractObserver):
    """Keep the law of q = (x - m)^T S^+ (x - m): `run.observed[name]`, a `MahalanobisRecord`.

    `law` is a `Gaussian`, or one per stage; None takes every stage's own steady law
    `stage.stationary()`, so that the rows show how the particles relax to it. A particle outside
    the range of a singular law has q = inf; q of 2^64 and more counts as infinite too.

    Distances are counted in integers (their histogram, and the exact sum of their float32 values),
    so they are the same for every order and cut of the particles. Cost: d^2 per particle and save
    point for a dense law, d for a structured one, and about 20 ns.

    >>> import jaxou as ou
    >>> stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=4,
    ...                  steps=200)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 0.0))
    >>> run = ou.simulate(chain, particles=4_000, key=jax.random.key(0), observe=ou.Mahalanobis())
    >>> seen = run.observed["mahalanobis"]
    >>> seen.rank.tolist(), bool(abs(seen.mean[1] - 1) < 4 * seen.standard_error[1])
    ([1.0, 1.0], True)
    """

    law: Gaussian | tuple[Gaussian, ...] | None
    metrics: tuple | None
    label: str = eqx.field(static=True)
    exact: ClassVar[bool] = True

    def __init__(self, law: Any = None, *, name: str = "mahalanobis"):
        laws = tuple(law) if isinstance(law, tuple | list) else (law,)
        for each in laws:
            if not isinstance(each, Gaussian) and law is not None:
                raise TypeError(
                    f"Mahalanobis takes a Gaussian law, or one per stage, got {type(each).__name__}"
                )
        self.law = law if law is None or isinstance(law, Gaussian) else laws
        self.metrics = None
        self.label = name

    @property
    def name(self) -> str:
        return self.label

    def prepare(self, process):
        laws = self.law
        if laws is None:
            laws = tuple(_steady_law(stage, k) for k, stage in enumerate(process.stages))
        elif isinstance(laws, Gaussian):
            laws = (laws,) * len(process.stages)
        if len(laws) != len(process.stages):
            raise ValueError(
                f"Mahalanobis got {len(laws)} laws for {len(process.stages)} stages: give one law, "
                "or one per stage"
            )
        for law in laws:
            if law.dimension != process.dimension:
                raise ValueError(
                    f"Mahalanobis: a law has dimension {law.dimension}, the particles have "
                    f"{process.dimension}"
                )
        metrics = tuple(_metric(law) for law in laws)
        return eqx.tree_at(lambda x: x.metrics, self, metrics, is_leaf=lambda x: x is None)

    def look(self, position, centre, live, stage):
        if self.metrics is None:
            raise ValueError("Mahalanobis() does not know its process yet: call prepare(process)")
        metric = self.metrics[stage]
        squares = by_leaves(lambda columns: metric(columns, centre), position)
        # distances are not negative: the upper half of the buckets holds them all
        index = bucket(squares)[None] - jnp.int32(HALF + 1)
        return count(index, live, HALF + 1)[0], remainders(squares, live)

    def finish(self, total, context):
        n, xp = context.count, np if is_concrete(total) else jnp
        counts, digits = (xp.asarray(x) for x in total)
        dtype = xp.float64 if xp is np else jnp.result_type(float)
        inside, above = counts[:, :HALF], counts[:, HALF:]
        mean = exact_sum(inside, digits) / n
        middle = xp.asarray((EDGES[1:] + EDGES[:-1])[HALF:] / 2, dtype)
        spread = (middle[None, :] - mean[:, None]) ** 2
        variance = xp.sum(inside.astype(dtype) * spread, axis=1) / max(n - 1, 1)
        far = above[:, 0] > 0
        mean, variance = (as_float(xp.where(far, xp.inf, x)) for x in (mean, variance))
        rank = xp.stack([xp.asarray(m.rank) for m in self.metrics])[np.asarray(context.stages)]
        both = xp.concatenate([xp.zeros((len(counts), HALF + 1), counts.dtype), inside, above], 1)
        return MahalanobisRecord(mean, variance, as_float(rank), counted(both, None, None, n))


class Metric(eqx.Module):
    """q of columns: |root^-1 (x - mean)|^2 on the law's range, inf outside."""

    mean: Float[Array, " d"]
    inverse: Float[Array, " d"] | Float[Array, "d d"] | LowRankRoot
    outside: Float[Array, " d"] | Float[Array, "d d"] | None
    rank: Float[Array, ""]

    def __call__(self, position, centre) -> Float[Array, " rows"]:
        dtype = position.dtype
        gap = position + (as_float(centre) - self.mean).astype(dtype)[:, None]
        squares = jnp.sum(_apply(self.inverse, gap) ** 2, axis=0)
        if self.outside is None:
            return squares
        leak = jnp.sum(_apply(self.outside, gap) ** 2, axis=0)
        tolerance = jnp.finfo(dtype).eps * jnp.sum(gap**2, axis=0)
        return jnp.where(leak > tolerance, jnp.inf, squares)


def _apply(matrix, columns):
    dtype = columns.dtype
    if isinstance(matrix, LowRankRoot):
        leaves = (matrix.scale, matrix.unit, matrix.basis, matrix.gain)
        scale, unit, basis, gain = (x.astype(dtype) for x in leaves)
        scaled = scale[:, None] * columns
        with jax.default_matmul_precision("highest"):
            return unit * scaled + basis @ (gain[:, None] * (basis.T @ scaled))
    if matrix.ndim == 1:
        return matrix.astype(dtype)[:, None] * columns
    return jnp.matmul(matrix.astype(dtype), columns, precision=jax.lax.Precision.HIGHEST)


def _metric(law: Gaussian) -> Metric:
    d = law.dimension
    operator = divisible(law.operator, "distances from a law of low rank over zeros")
    if is_elementwise(operator):
        values = jnp.broadcast_to(entries(operator), (d,))
        inside = values > 0
        inverse = jnp.where(inside, 1 / jnp.sqrt(jnp.where(inside, values, 1.0)), 0.0)
        return Metric(law.mean, inverse, _outside(inside, None), as_float(inside.sum()))
    if isinstance(operator, LowRankPlusDiagonal):
        root = square_root(operator)
        if isinstance(root, LowRankRoot):
            # (E^1/2 (u I + B g B^T))^-1 = (1/u I + B (1 / (u + g) - 1/u) B^T) E^-1/2
            u, g = root.unit, root.gain
            back = LowRankRoot(1 / root.scale, 1 / u, root.basis, -g / (u * (u + g)))
            return Metric(law.mean, back, None, as_float(d))
    values, vectors = eigh(law.covariance)
    inside = range_mask(values)
    scale = jnp.where(inside, 1 / jnp.sqrt(jnp.where(inside, values, 1.0)), 0.0)
    outside = _outside(inside, vectors)
    return Metric(law.mean, vectors.T * scale[:, None], outside, as_float(inside.sum()))


def _outside(inside, vectors):
    """The projection on directions in which the law does not move; None if there are none."""
    if is_concrete(inside) and bool(inside.all()):
        return None
    beyond = as_float(~inside)
    return beyond if vectors is None else vectors.T * beyond[:, None]


def _steady_law(stage, k: int) -> Gaussian:
    try:
        return stage.stationary()
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"Mahalanobis() compares with the steady law of every stage, but stage {k} has none "
            f"({error}); give the law to compare with: ou.Mahalanobis(law)"
        ) from error
