"""The mean of any function of the particles, with its standard error, at every save point."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._check import as_float
from .base import AbstractObserver, definite, leaf_sum, merge_means


class StatisticRecord(eqx.Module):
    """Mean and variance over the particles at each of K save points.

    `mean`, `variance` and `standard_error` have the structure of what was observed, each leaf with
    the axis (K,) in front. `variance` divides by particles - 1; `standard_error` is that of the
    mean, sqrt(variance / particles).
    """

    mean: Any
    variance: Any
    particles: int = eqx.field(static=True)

    @property
    def standard_error(self) -> Any:
        return jax.tree.map(lambda v: (v / self.particles) ** 0.5, self.variance)


class Statistic(AbstractObserver):
    """Keep mean and variance of f(x) over the particles: `run.observed[name]`, `StatisticRecord`.

    `function` maps one particle x (d,) to a number, or to a pytree of numbers and arrays; `jit`
    must be able to trace it. Truth values count as 0 and 1, so that the mean of `x[0] < 0` is a
    share of particles. Memory: two numbers per save point, entry and 1,024 particles of a chunk;
    sums are merged pairwise in float64, so the mean of 10^8 particles keeps its digits.

    >>> import jaxou as ou
    >>> stage = ou.Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=4,
    ...                  steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([2.0], 0.0))
    >>> left = ou.Statistic(lambda x: {"left": x[0] < 0, "square": x[0] ** 2}, name="left")
    >>> run = ou.simulate(chain, particles=4_000, key=jax.random.key(0), observe=left)
    >>> seen = run.observed["left"]
    >>> seen.mean["left"].shape, float(seen.mean["square"][0])
    ((2,), 4.0)
    """

    function: Callable
    label: str = eqx.field(static=True)

    def __init__(self, function: Any, *, name: str = "statistic"):
        if not callable(function):
            raise TypeError(
                f"Statistic takes a function x (d,) -> number(s), got {function!r}, for example "
                "ou.Statistic(lambda x: x[0] < 0, name='left')"
            )
        self.function = function
        self.label = name

    @property
    def name(self) -> str:
        return self.label

    def prepare(self, process):
        point = jax.ShapeDtypeStruct((process.dimension,), jnp.float32)
        for leaf in jax.tree.leaves(jax.eval_shape(self.function, point)):
            if not (jnp.issubdtype(leaf.dtype, jnp.number) or leaf.dtype == bool) or (
                jnp.issubdtype(leaf.dtype, jnp.complexfloating)
            ):
                raise TypeError(
                    f"Statistic {self.label!r}: its function must return real numbers, it returns "
                    f"{leaf.dtype}"
                )
        return self

    def look(self, position, centre, live, stage):
        points = position + centre.astype(position.dtype)[:, None]
        return leaf_means(jax.vmap(self.function, in_axes=1)(points), live, position.dtype)

    def merge(self, left, right):
        return merge_trees(left, right)

    def finish(self, total, context):
        return mean_record(total, context.count)


def leaf_means(values: Any, live: Bool[Array, " rows"], dtype) -> tuple[Float[Array, ""], Any, Any]:
    """(count, means, sums of squared deviations) of a pytree of values, particles first."""
    size = leaf_sum(live.astype(dtype))
    share = 1 / jnp.maximum(size, jnp.ones_like(size))

    def mean_of(leaf):
        columns = jnp.moveaxis(leaf.astype(dtype), 0, -1)
        kept = live.reshape((1,) * (columns.ndim - 1) + live.shape)
        mean = definite(leaf_sum(jnp.where(kept, columns, 0.0)) * share)
        gaps = jnp.where(kept, columns - mean[..., None], 0.0)
        return mean, leaf_sum(gaps**2)

    leaves, structure = jax.tree.flatten(values)
    parts = [mean_of(leaf) for leaf in leaves]
    means, scatters = ([part[i] for part in parts] for i in (0, 1))
    return size, jax.tree.unflatten(structure, means), jax.tree.unflatten(structure, scatters)


def merge_trees(left: tuple, right: tuple) -> tuple:
    """`merge_means` for records whose means and squares are pytrees with a common count."""
    (n, mean, scatter), (m, other, more) = left, right
    structure = jax.tree.structure(mean)
    columns = [jax.tree.leaves(tree) for tree in (mean, scatter, other, more)]
    pairs = [merge_means((n, a, b), (m, c, d)) for a, b, c, d in zip(*columns, strict=True)]
    means, scatters = ([pair[i] for pair in pairs] for i in (1, 2))
    return n + m, jax.tree.unflatten(structure, means), jax.tree.unflatten(structure, scatters)


def mean_record(total: tuple, count: int) -> StatisticRecord:
    """The public record of (count, means, sums of squared deviations)."""
    _, mean, scatter = total
    variance = jax.tree.map(lambda x: as_float(x / max(count - 1, 1)), scatter)
    return StatisticRecord(jax.tree.map(as_float, mean), variance, count)
