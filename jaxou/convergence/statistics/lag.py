"""Is the dynamics right? Covariances between two times against the law's regression.

Whitened draws z_0 and z_u of the same particles at two times obey, if the law is right,

    z_u = M z_0 + e,   e ~ N(0, N) independent of z_0,   N = I - M M^T,

with M = S_u^(-1/2) e^(-A u) S_0^(1/2) for a flow (M^n for a chain) in the coordinates in which they
were whitened.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..._check import as_float
from ...linalg import eigh, solve
from .base import AbstractSum
from .moments import moments_of
from .nulls import Chi2

LARGEST = 48
"""Dimensions up to which the antisymmetric part is tested: its covariance is r^2/2 x r^2/2."""


class AbstractLag(AbstractSum):
    """Statistics of pairs: the rows given to `evaluate` are [z_0, z_u], shape (n, 2 r)."""

    regression: eqx.AbstractVar[tuple]

    def reduce(self, block, live):
        return moments_of(block, live)

    def fewest(self, r):
        return r // 2 + 2

    def _parts(self, summary, n):
        """(N^1/2, N^-1/2, S_0, sqrt(n) (L - M S_0)) with L = mean z_u z_0^T."""
        regression = jnp.asarray(self.regression, summary.outer.dtype)
        r = regression.shape[0]
        if summary.outer.shape[0] != 2 * r:
            raise ValueError(
                f"lag statistics take rows [z_0, z_u] of width {2 * r}, got width "
                f"{summary.outer.shape[0]}"
            )
        start, cross = summary.outer[:r, :r] / n, summary.outer[r:, :r] / n
        noise, vectors = eigh(jnp.eye(r, dtype=start.dtype) - regression @ regression.T)
        root = (vectors * jnp.sqrt(noise)[None, :]) @ vectors.T
        inverse = (vectors / jnp.sqrt(noise)[None, :]) @ vectors.T
        return root, inverse, start, jnp.sqrt(n) * (cross - regression @ start)


def _regression(matrix: Any) -> tuple:
    matrix = np.asarray(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"regression must be a square matrix, got shape {matrix.shape}")
    largest = float(np.linalg.norm(matrix, 2))
    if not largest < 1 - 1e-9:
        raise ValueError(
            f"regression has singular value {largest:.6g}: between two times of a process with "
            "noise in every direction it must be below 1; take the times further apart, or only "
            "the directions that move"
        )
    return tuple(map(tuple, matrix.tolist()))


class LagCovariance(AbstractLag):
    """value: n tr(N^-1 (L - M S_0) S_0^-1 (L - M S_0)^T), exactly chi-square with r^2 degrees.

    L is the covariance of z_u with z_0 and S_0 that of z_0, both about the claimed mean. Tests all
    of the regression e^(-Au): rates, rotations and time. Cost O(n r^2).

    >>> LagCovariance([[0.5]]).null(100, 2).text
    'chi2(1)'
    """

    regression: tuple = eqx.field(static=True)
    name: ClassVar[str] = "lag covariance"
    question: ClassVar[str] = "does the motion forget at the right rates?"

    def __init__(self, regression: Any):
        self.regression = _regression(regression)

    def finish(self, summary, n):
        _, inverse, start, gap = self._parts(summary, n)
        white = inverse @ gap
        value = jnp.sum(white * solve(start, white.T).T)
        degrees = float(gap.shape[0] ** 2)
        return value, jnp.sqrt(2 * degrees + 4 * jnp.maximum(value - degrees, 0.0))

    def null(self, n, r, fitted=False, joint=None):
        return Chi2.exact((r // 2) ** 2)


class LagAntisymmetry(AbstractLag):
    """value: the antisymmetric part of L - M S_0 in units of its own covariance; exactly
    chi-square with r (r - 1) / 2 degrees of freedom.

    A reversible process has a symmetric lag covariance; a current turns it. Given z_0, L - M S_0 is
    Gaussian with covariance N (x) S_0 / n, so its antisymmetric part is too. Up to r = 48; cost
    O(n r^2 + r^6).

    >>> LagAntisymmetry([[0.5, 0.2], [-0.2, 0.5]]).null(100, 4).text
    'chi2(1)'
    """

    regression: tuple = eqx.field(static=True)
    name: ClassVar[str] = "lag antisymmetry"
    question: ClassVar[str] = "does the motion turn as it should?"

    def __init__(self, regression: Any):
        self.regression = _regression(regression)
        r = len(self.regression)
        if not 2 <= r <= LARGEST:
            raise ValueError(
                f"the antisymmetric part is tested from 2 to {LARGEST} dimensions, got {r}: choose "
                "the directions of interest, such as the slowest modes"
            )

    def finish(self, summary, n):
        root, _, start, gap = self._parts(summary, n)
        noise = root @ root
        i, j = np.triu_indices(gap.shape[0], 1)
        turn = (gap - gap.T)[i, j] / 2
        # Cov W_ab W_cd = N_ac S_bd for W = N^1/2 Y S^1/2, and its antisymmetric part
        aa, bb = np.ix_(i, i), np.ix_(j, j)
        ab, ba = np.ix_(i, j), np.ix_(j, i)
        spread = noise[aa] * start[bb] + noise[bb] * start[aa]
        spread = (spread - noise[ab] * start[ba] - noise[ba] * start[ab]) / 4
        value = turn @ solve(lax.stop_gradient(spread), turn[:, None])[:, 0]
        degrees = as_float(len(i))
        return value, jnp.sqrt(2 * degrees + 4 * jnp.maximum(value - degrees, 0.0))

    def null(self, n, r, fitted=False, joint=None):
        r = r // 2
        return Chi2.exact(r * (r - 1) / 2)
