"""Values of many statistics on draws that are in memory at once: one program, no streaming.

This is the form that is traced: it jits and vmaps, and the null laws are simulated with it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._check import as_float
from .base import AbstractSum
from .moments import moments_of, own_root, standardise
from .pair_sums import pair_sums, strata


def widened(summary: Any) -> Any:
    """Sums in the default floating type; counts stay integers."""

    def wide(leaf):
        return as_float(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(wide, summary)


def own_whitened(z: Any) -> Any:
    """Draws whitened by their own mean and covariance (over 1 / n); n > r."""
    live = jnp.ones(z.shape[0], bool)
    mean, root = own_root(widened(moments_of(z, live)), as_float(z.shape[0]))
    return standardise(z, mean, root)


def pair_values(statistics: tuple, rows: Any, fitted: bool) -> list:
    """(value, standard error) of pair statistics on the rows that they use."""
    found = {}
    for own in (False, True):
        group = tuple(s for s in statistics if (s.standardised or fitted) == own)
        if group:
            sums = pair_sums(group, own_whitened(rows) if own else rows)
            for statistic, total in zip(group, sums, strict=True):
                found[id(statistic)] = statistic.finish(total, as_float(rows.shape[0]))
    return [found[id(statistic)] for statistic in statistics]


def values(
    statistics: tuple, z: Any, fitted: bool = False
) -> tuple[Float[Array, " statistics"], Float[Array, " statistics"]]:
    """(values, standard errors) of all statistics on draws z (n, r).

    `fitted` whitens the draws by their own mean and covariance first. Jits and vmaps.

    >>> from .mean import MeanChi2
    >>> value, _ = values((MeanChi2(),), jnp.array([[1.0], [2.0]]))
    >>> value.tolist()
    [4.5]
    """
    n, r = z.shape
    live = jnp.ones(n, bool)
    sums = [s for s in statistics if isinstance(s, AbstractSum)]
    own = own_whitened(z) if fitted or any(s.standardised for s in sums) else z
    found = {}
    for s in sums:
        block = own if s.standardised or fitted else z
        found[id(s)] = s.finish(widened(s.reduce(block, live)), as_float(n))
    pairs = [s for s in statistics if not isinstance(s, AbstractSum)]
    for m in sorted({s.used(n, r).draws for s in pairs}):
        group = tuple(s for s in pairs if s.used(n, r).draws == m)
        rows = z if m == n else z[np.asarray(strata(n, m))]
        for s, pair in zip(group, pair_values(group, rows, fitted), strict=True):
            found[id(s)] = pair
    columns = [found[id(s)] for s in statistics]
    return tuple(jnp.stack([as_float(c[i]) for c in columns]) for i in (0, 1))
