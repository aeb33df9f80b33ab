"""Is the law right, from its score alone? Kernel Stein discrepancy with an inverse multiquadric.

    h(x, y) = x.y phi + 2 phi' |x - y|^2 - 2 r phi' - 4 phi'' |x - y|^2,   score(x) = -x,
    phi(t) = (c^2 + t)^(-1/2) at t = |x - y|^2,   c^2 = r

This kernel sees a failure to converge in the tails, which Gaussian kernels miss. Source: Gorham and
Mackey 2017, "Measuring sample quality with kernels", arXiv:1703.01717.
"""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax

from .pairs import PAIRS, AbstractPairs


class SteinDiscrepancy(AbstractPairs):
    """value: the unbiased estimate of KSD^2, zero in the mean under the claim.

    Null law: simulated; a weighted sum of chi-squares. The V-statistic has null mean
    r (1 / c + 1 / c^3) / n. Cost O(n^2 r) up to 20,000 draws (`pairs.py`).

    >>> SteinDiscrepancy().used(1_000).draws
    1000
    """

    width: float = eqx.field(static=True, default=1.0)
    pairs: int = eqx.field(static=True, default=PAIRS)
    name: ClassVar[str] = "Stein discrepancy"
    question: ClassVar[str] = "is the law right as a whole (tails included)?"

    def kernel(self, dot, left, right, r):
        distance = jnp.maximum(left + right - 2 * dot, 0.0)
        inverse = lax.rsqrt(self.width * r + distance)
        # phi = v, phi' = -v^3 / 2, phi'' = 3 v^5 / 4 with v the inverse root
        square = inverse * inverse
        return inverse * (dot + square * (r - distance * (1 + 3 * square)))

    def centre(self, squares, r):
        return jnp.zeros_like(squares)

    def diagonal(self, squares, r):
        c = (self.width * r) ** 0.5
        return squares / c + r / c**3
