"""Histograms and quantiles of particles, counted while they move."""

from collections.abc import Callable
from numbers import Integral
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._check import (
    as_count,
    as_float,
    as_number,
    is_concrete,
    refuse_unless,
    require_finite,
    show_value,
)
from .base import AbstractObserver
from .buckets import EDGES, FINITE, HALF, bucket, by_leaves, count
from .histogram_record import HistogramRecord


class Histogram(AbstractObserver):
    """Count particles in bins at every save point: `run.observed[name]`, a `HistogramRecord`.

    **Arguments:**

    - `direction`: what to count. None: every coordinate by itself; a vector u (d,): u . x;
      a function x (d,) -> number, which `jit` must be able to trace.
    - `bins`, `range`: edges (ascending), or how many equal bins in range=(low, high). Particles
      outside are counted too. Without `bins` the buckets are those of float32 numbers (relative
      width 2^-7, sizes from 2^-64 to 2^64), measured from the stage's centre for coordinates and
      vectors and from zero for functions: quantiles of any law, with no range given.
    - `name`: the key in `run.observed`; two histograms of one run need two names.

    Counts are integers, so they are the same for every order and cut of the particles. Cost: 3 to
    6 ns per particle, save point and coordinate without `bins`, 6 to 20 ns with them; 128 KiB per
    save point and coordinate while running without `bins` (what is empty is dropped at the end).

    >>> import jaxou as ou
    >>> stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=4,
    ...                  steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 1.0))
    >>> run = ou.simulate(chain, particles=4_000, key=jax.random.key(0), save=2,
    ...                   observe=ou.Histogram([2.0]))
    >>> first = run.observed["histogram"]
    >>> median = first.quantile(0.5)
    >>> median.shape, bool(abs(median[0]) < 4 * first.standard_error_quantile(0.5)[0])
    ((3,), True)
    """

    direction: Float[Array, " d"] | Callable | None
    edges: Float[Array, " edges"] | None
    label: str = eqx.field(static=True)
    exact: ClassVar[bool] = True

    def __init__(
        self,
        direction: Any = None,
        *,
        bins: Any = None,
        range: Any = None,
        name: str = "histogram",
    ):
        if direction is not None and not callable(direction):
            direction = as_float(direction, "direction")
            if direction.ndim != 1:
                raise ValueError(
                    f"direction must be a vector (d,), got shape {direction.shape}; for several "
                    "directions give several histograms, each with its name="
                )
            require_finite(direction, "direction")
            refuse_unless(jnp.any(direction != 0), "direction is zero: give a vector to project on")
        self.direction = direction
        self.edges = _read_bins(bins, range)
        self.label = name

    @property
    def name(self) -> str:
        return self.label

    def prepare(self, process):
        d = process.dimension
        if callable(self.direction):
            point = jax.ShapeDtypeStruct((d,), jnp.float32)
            shape = jax.tree.map(lambda x: x.shape, jax.eval_shape(self.direction, point))
            if shape != ():
                raise ValueError(
                    f"Histogram(direction) needs a function x (d,) -> one number, this one returns "
                    f"shape {shape}; for several numbers give several histograms"
                )
        elif self.direction is not None and self.direction.shape != (d,):
            raise ValueError(
                f"direction has shape {self.direction.shape}, the particles have dimension {d}"
            )
        return self

    def look(self, position, centre, live, stage):
        values = self._values(position, centre)
        if self.edges is None:
            return self._squeeze(count(bucket(values), live, FINITE + 2))
        last = self.edges.shape[0] - 1
        # deviations are compared with the edges' deviations, which keeps a narrow law's digits
        edges = self.edges[None, :] - self._origin(as_float(centre))[:, None]
        edges = edges.astype(values.dtype)
        index = jax.vmap(_bin_of)(edges, values)
        return self._squeeze(count(index, live, last + 2))

    def finish(self, total, context):
        origin = None
        if self.edges is None and not callable(self.direction):
            origin = self._origin(as_float(context.centres).T)
            origin = self._squeeze(origin.T[np.asarray(context.stages)], axis=1)
        return counted(total, self.edges, origin, context.count)

    def _values(self, position, centre):
        """What is counted, (series, rows), measured from `_origin`."""
        if self.direction is None:
            return position
        if callable(self.direction):

            def evaluate(columns):
                points = columns + centre.astype(columns.dtype)[:, None]
                return jax.vmap(self.direction, in_axes=1)(points).astype(columns.dtype)

            return by_leaves(evaluate, position)[None, :]
        weights = self.direction.astype(position.dtype)[:, None]
        return by_leaves(lambda columns: jnp.sum(weights * columns, axis=0), position)[None, :]

    def _origin(self, centres):
        """From where `_values` are measured, (series, *), for centres (d, *)."""
        if self.direction is None:
            return centres
        if callable(self.direction):
            return jnp.zeros((1, *centres.shape[1:]), centres.dtype)
        return jnp.tensordot(self.direction.astype(centres.dtype), centres, 1)[None]

    def _squeeze(self, array, axis=0):
        return array if self.direction is None else jnp.squeeze(array, axis)


def _bin_of(edges, values):
    """0 below, 1 .. bins inside (the last edge belongs to the last bin), bins + 1 above."""
    index = jnp.searchsorted(edges, values, side="right", method="scan_unrolled")
    bins = edges.shape[0] - 1
    return jnp.where(values == edges[-1], bins, index).astype(jnp.int32)


def counted(total, edges, origin, particles: int) -> HistogramRecord:
    """The public record of counts with both ends; without edges those of `EDGES` that are used."""
    total = np.asarray(total) if is_concrete(total) else total
    below, counts, above = total[..., 0], total[..., 1:-1], total[..., -1]
    if edges is None:
        edges = EDGES
        if is_concrete(total):
            used = np.flatnonzero(counts.reshape(-1, FINITE).any(axis=0))
            first, last = (used[0], used[-1]) if used.size else (HALF, HALF)
            counts, edges = counts[..., first : last + 1], EDGES[first : last + 2]
    whole = lambda x: jnp.asarray(x, jnp.result_type(int))
    return HistogramRecord(
        whole(counts), whole(below), whole(above), as_float(edges), origin, particles
    )


def _read_bins(bins: Any, span: Any) -> Float[Array, " edges"] | None:
    if bins is None:
        if span is not None:
            raise ValueError(f"range={span} needs bins=, the number of bins in it")
        return None
    if isinstance(bins, Integral) and not isinstance(bins, bool):
        bins = as_count(bins, "bins")
        if span is None:
            raise ValueError(
                f"bins={bins} needs range=(low, high), because bins are fixed before the particles "
                "are seen; leave out both for buckets of any size, or give bins= as edges"
            )
        ends = [as_number(x, "range") for x in span] if np.iterable(span) else []
        if len(ends) != 2:
            raise ValueError(f"range={span!r} must be two numbers, (low, high)")
        low, high = ends
        refuse_unless(low < high, f"range={span} must be (low, high) with low < high")
        xp = np if is_concrete(low, high) else jnp
        return as_float(xp.linspace(low, high, bins + 1))
    edges = as_float(bins, "bins")
    if edges.ndim != 1 or edges.shape[0] < 2:
        raise ValueError(f"bins must be a number or at least two edges, got shape {edges.shape}")
    if span is not None:
        raise ValueError("give bins= as edges or range=, not both")
    require_finite(edges, "bins")
    refuse_unless(edges[1:] > edges[:-1], f"bins={show_value(edges)} must ascend")
    return edges
