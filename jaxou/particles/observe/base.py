"""What an observer is, and how records of groups of particles are put together.

Particles are looked at in fixed leaves of `LEAF` particles, numbered from the first. Records of
leaves are merged pairwise in a fixed tree, so a result does not depend on how particles were cut
into chunks, on which device or process had them, or on when a run was interrupted.
"""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

LEAF = 1024
"""Particles per leaf: a power of two."""


class Context(NamedTuple):
    """What an observer may want to know when a run is over."""

    process: Any
    count: int
    centres: Any
    stages: Any


class AbstractObserver(eqx.Module):
    """Reduces particles to a record while they move; subclass it for one of your own.

    At every save point `look` sees one leaf of particles, inside `jit`. With `exact = True` its
    record holds int32 counts, which are summed over any particles in any order (and need no
    `merge`). Otherwise it holds floats, one record per leaf, and `merge` puts two groups together
    on the host, in float64; the leaves' order is fixed. Records carry the save points as their
    first axis by then, and `merge` may see further axes in front.
    """

    exact: ClassVar[bool] = False
    stores: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The record's key in `run.observed`; unique in a run."""

    def prepare(self, process: Any) -> "AbstractObserver":
        """The observer to use on this process; called once before the run."""
        return self

    @abc.abstractmethod
    def look(
        self,
        position: Float[Array, "d rows"],
        centre: Float[Array, " d"],
        live: Bool[Array, " rows"],
        stage: int,
    ) -> Any:
        """The record of some particles at one save point.

        `position` holds deviations from `centre`, one particle per column; only `live` columns
        count. `stage` is the index of the stage that the save point belongs to.
        """

    def look_leaves(
        self,
        position: Float[Array, "d leaves rows"],
        centre: Float[Array, " d"],
        live: Bool[Array, "leaves rows"],
        stage: int,
    ) -> Any:
        """One record per leaf (first axis), for `exact = False`: `look` at one after the other.

        Override it where all leaves at once are faster *and* have the same bits for any number of
        leaves: elementwise operations and `leaf_sum` do; matrix products and `jnp.sum` do not.
        """
        one = lambda leaf: self.look(leaf[0], centre, leaf[1], stage)
        return lax.map(one, (jnp.moveaxis(position, 1, 0), live))

    def merge(self, left: Any, right: Any) -> Any:
        """The record of two groups of particles together; numpy, float64."""
        raise NotImplementedError(f"{type(self).__name__} has exact=False and needs a merge")

    def store(self, first: int, positions: np.ndarray) -> None:
        """Called on the host with deviations (saves, rows, d) of particles first, first + 1, ...

        Only for `stores = True`, in the order of the particles. A resumed run may hand over the
        same particles again, with the same bits.
        """

    @abc.abstractmethod
    def finish(self, total: Any, context: Context) -> Any:
        """What the user gets, from the record of all particles; its first axis: save points."""


def definite(values: Array) -> Array:
    """The values, rounded before they are used: XLA may contract a product and a sum otherwise.

    A maximum with the least number changes nothing but an infinity, and no compiler sees through
    it; where a product meets a sum depends on the shapes around it.

    >>> float(definite(jnp.asarray(2.5)))
    2.5
    """
    return jnp.maximum(values, jnp.asarray(jnp.finfo(values.dtype).min, values.dtype))


def leaf_sum(values: Float[Array, "... rows"]) -> Float[Array, "..."]:
    """The sum over the last axis, a leaf of particles, in one order whatever else is computed.

    Rows of 32 are added one after the other, then halves of the 32 numbers that are left, all as
    sums of arrays: XLA orders the terms of a reduction by the shape around it.

    >>> float(leaf_sum(jnp.ones(LEAF)))
    1024.0
    """
    width = 32
    values = definite(values).reshape(*values.shape[:-1], values.shape[-1] // width, width)
    total = values[..., 0, :]
    for row in range(1, values.shape[-2]):
        total = total + values[..., row, :]
    while width > 1:
        width //= 2
        total = total[..., :width] + total[..., width:]
    return total[..., 0]


def merge_means(left: tuple, right: tuple) -> tuple:
    """(count, mean, sum of squared deviations) of two groups together.

    `count` has the leading axes that `mean` has; the squares are elementwise, or products of all
    pairs if they have one axis more than the mean. Source: Chan, Golub and LeVeque 1983,
    doi:10.1080/00031305.1983.10483115.
    """
    (n, mean, scatter), (m, other, more) = left, right
    total = n + m
    some = total + (total == 0).astype(total.dtype)
    gap = other - mean
    square = gap[..., :, None] * gap[..., None, :] if scatter.ndim > mean.ndim else gap**2
    moved = mean + gap * _widen(m / some, mean)
    return total, moved, scatter + more + square * _widen(n * m / some, square)


def _widen(n, like):
    return n.reshape(n.shape + (1,) * (like.ndim - n.ndim))


class PairwiseMerge:
    """A binary tree over numbered leaves that is filled in any order and any portions.

    Node (level, index) holds the leaves index * 2^level ... (index + 1) * 2^level - 1. Two siblings
    merge as soon as both are there, so the tree holds about log2(leaves) nodes while leaves come
    in order, and its result depends on the leaves alone.

    >>> tree = PairwiseMerge(merge_means)
    >>> x = np.array([[1.0], [2.0], [6.0]])
    >>> tree.extend(0, (np.ones(3), x, np.zeros((3, 1))))
    >>> [float(np.squeeze(part)) for part in tree.total()]
    [3.0, 3.0, 14.0]
    """

    def __init__(self, merge, nodes: dict[tuple[int, int], Any] | None = None):
        self.merge = merge
        self.nodes = dict(nodes or {})

    def extend(self, first: int, records: Any) -> None:
        """Add consecutive leaves: `records` has them on its first axis, `first` is their number."""
        level, count = 0, len(jax.tree.leaves(records)[0])
        while count > 0:
            if first % 2 == 1:
                self.put(level, first, _at(records, 0))
                records, first, count = _cut(records, 1, count), first + 1, count - 1
            if count % 2 == 1:
                self.put(level, first + count - 1, _at(records, count - 1))
                records, count = _cut(records, 0, count - 1), count - 1
            if count == 0:
                return
            even = jax.tree.map(lambda x: x[0::2], records)
            odd = jax.tree.map(lambda x: x[1::2], records)
            records = self.merge(even, odd)
            level, first, count = level + 1, first // 2, count // 2

    def put(self, level: int, index: int, item: Any) -> None:
        """Add one node, which merges with its sibling if that is there."""
        while (level, index ^ 1) in self.nodes:
            other = self.nodes.pop((level, index ^ 1))
            item = self.merge(other, item) if index % 2 else self.merge(item, other)
            level, index = level + 1, index // 2
        self.nodes[(level, index)] = item

    def total(self) -> Any:
        """All leaves together: what is left over is merged from the last to the first."""
        order = sorted(self.nodes, key=lambda node: node[1] << node[0])
        result = self.nodes[order.pop()]
        while order:
            result = self.merge(self.nodes[order.pop()], result)
        return result


def _at(records, index):
    return jax.tree.map(lambda x: x[index], records)


def _cut(records, start, stop):
    return jax.tree.map(lambda x: x[start:stop], records)
