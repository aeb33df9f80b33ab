"""Is every projection normal? The mean W1 distance to N(0, 1) over fixed directions."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

from ...particles.random import addressed_normals
from .base import AbstractSum, masked
from .grid import below_edges, counts_on_grid, edges_of
from .simulated import simulated_null

REACH, PER_UNIT = 8.0, 64
SEED = 20140203


class SlicedW1(AbstractSum):
    """value: mean over directions u of W1(u . z, N(0, 1)) = int |F_n(x) - Phi(x)| dx.

    The directions are fixed by the counter-based generator, so that they do not look at the draws.
    F_n is counted on cells of width 1/64 and the integral taken by trapezoids; the null law is
    simulated with the same grid, so it carries no error into the p-value (beside W1 itself it is
    below 1 / (128 sqrt(n)) in the mean). Null law: sqrt(n) times the value is free of n; one
    direction has mean sqrt(2 / pi) 1.614744 = 1.288379. Slices share draws: only simulation knows
    their joint law. Cost O(n r directions).

    >>> SlicedW1().axes(3).shape
    (3, 32)
    """

    directions: int = eqx.field(static=True, default=32)
    name: ClassVar[str] = "projections (sliced W1)"
    question: ClassVar[str] = "is every projection normal?"

    def axes(self, r: int):
        """Unit vectors in the columns, (r, directions); in one dimension there is one."""
        return jnp.asarray(_axes(r, self.directions))

    def reduce(self, block, live):
        axes = self.axes(block.shape[1]).astype(block.dtype)
        x = masked(block, live)
        slices = jnp.matmul(x, axes, precision=jax.lax.Precision.HIGHEST)
        return counts_on_grid(slices.T, live, REACH, PER_UNIT)

    def each(self, summary, n):
        """W1 of every direction."""
        gap = jnp.abs(below_edges(summary, n) - ndtr(edges_of(REACH, PER_UNIT))[None, :])
        return (jnp.sum(gap, axis=1) - (gap[:, 0] + gap[:, -1]) / 2) / PER_UNIT

    def finish(self, summary, n):
        each = self.each(summary, n)
        # W1 of one direction fluctuates by 0.47 / sqrt(n); the mean of dependent ones by no more
        return jnp.mean(each), 0.47 / jnp.sqrt(n)

    def null(self, n, r, fitted=False, joint=None):
        return simulated_null(self, n, r, fitted, joint)

    def pivot(self, n, r):
        return 0.0, float(n) ** 0.5


def _axes(r: int, count: int) -> np.ndarray:
    if r == 1:
        return np.ones((1, 1))
    with jax.ensure_compile_time_eval():
        normals = addressed_normals(
            jax.random.key(SEED), particles=np.arange(count), jumps=[1], coordinates=r
        )[0]
        normals = np.asarray(normals, np.float64)
    return normals / np.sqrt((normals**2).sum(0))[None, :]
