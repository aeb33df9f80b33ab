"""Is it Gaussian? Squared Mahalanobis distances against chi-square, by Kolmogorov and Smirnov."""

import functools
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammainc
from jaxtyping import Array, Float

from ..._typing import Scalar
from .base import AbstractSum
from .grid import below_edges, counts_on_grid
from .nulls import Kolmogorov
from .simulated import simulated_null

REACH, PER_UNIT = 8.0, 4096


class MahalanobisKS(AbstractSum):
    """value: the distance sup |F_n - F| of |z|^2 from chi-square with r degrees of freedom.

    F_n is counted on 65,536 cells that are equally wide in the cube-root normal score of |z|^2
    (Wilson and Hilferty 1931); F at their edges is exact. The counted distance is below the true
    one by at most the largest probability of a cell, 1e-4, and in the mean by 0.006 / sqrt(n).
    Null law: Kolmogorov's with Stephens' correction; on draws that were whitened by their own
    moments, for which that law would reject next to nothing, a simulated one. Cost O(n r).

    >>> MahalanobisKS().null(1_000, 5).text
    'Kolmogorov'
    """

    name: ClassVar[str] = "shape (Mahalanobis)"
    question: ClassVar[str] = "is it Gaussian?"

    def reduce(self, block, live):
        r = block.shape[1]
        scores = _score(jnp.sum(block**2, axis=1), r)
        # nothing is summed in the second record: its length carries the dimension
        return counts_on_grid(scores[None], live, REACH, PER_UNIT), jnp.zeros(r, jnp.int32)

    def finish(self, summary, n):
        counts, dimension = summary
        below = below_edges(counts, n)[0]
        exact = jnp.asarray(_chi2_at_edges(dimension.shape[0]), below.dtype)
        # sqrt(n) (F_n - F) has standard deviation at most 1 / 2
        return jnp.max(jnp.abs(below - exact)), 0.5 / jnp.sqrt(n)

    def null(self, n, r, fitted=False, joint=None):
        if fitted:
            return simulated_null(self, n, r, True, joint)
        return Kolmogorov(n)

    def pivot(self, n, r):
        return 0.0, float(n) ** 0.5


@functools.lru_cache(maxsize=32)
def _chi2_at_edges(r: int) -> np.ndarray:
    from scipy.special import gammainc  # scipy comes with jax

    spread = 2 / (9 * r)
    edges = np.linspace(-REACH, REACH, round(2 * REACH * PER_UNIT) + 1)
    root = np.maximum(1 - spread + edges * spread**0.5, 0.0)
    exact = gammainc(r / 2, r * root**3 / 2)
    exact[-1] = 1.0  # the last cell reaches to infinity
    return exact


def _score(squares, r: int):
    spread = 2 / (9 * r)
    return (jnp.cbrt(squares / r) - (1 - spread)) / spread**0.5


def mahalanobis_ks(whitened: Float[Array, "n rank"]) -> tuple[Scalar, Scalar]:
    """(KS distance of |z|^2 from chi-square_rank, p-value): sees wrong shapes as well as scales.

    Null law: `MahalanobisKS`'s, Kolmogorov's with Stephens' correction. Sorts the draws.

    >>> import jax
    >>> z = jax.random.normal(jax.random.key(0), (1000, 2))
    >>> float(mahalanobis_ks(z)[1]) > 1e-4 > float(mahalanobis_ks(1.2 * z)[1])
    True
    """
    n, rank = whitened.shape
    squares = jnp.sort(jnp.sum(whitened**2, axis=1))
    below = gammainc(rank / 2, squares / 2)
    index = jnp.arange(n, dtype=below.dtype)
    distance = jnp.max(jnp.maximum((index + 1) / n - below, below - index / n))
    return distance, Kolmogorov(n).p_value(distance)
