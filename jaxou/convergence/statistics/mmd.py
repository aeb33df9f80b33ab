"""Is the law right as a whole? Maximum mean discrepancy with a Gaussian kernel, known target.

    k(x, y) = exp(-|x - y|^2 / 2 h^2),   h^2 = c r  fixed before the draws are seen
    E k(x, Z) = (h^2 / (h^2 + 1))^(r/2) exp(-|x|^2 / (2 (h^2 + 1)))
    E k(Z, Z') = (h^2 / (h^2 + 2))^(r/2)

The target's expectations are exact, so there is no second sample. Source: Gretton, Borgwardt,
Rasch, Schoelkopf and Smola 2012, JMLR 13, 723-773.
"""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from .pairs import PAIRS, AbstractPairs


class MMD(AbstractPairs):
    """value: the unbiased estimate of MMD^2, zero in the mean under the claim.

    `bandwidth`: c in h^2 = c r. The usual median of the draws' distances would look at the draws.
    The V-statistic, which counts the pairs (i, i), has null mean (1 - E k(Z, Z')) / n. Null law:
    simulated; a weighted sum of chi-squares. Cost O(n^2 r) up to 20,000 draws (`pairs.py`).

    >>> MMD().used(50_000).draws
    20000
    """

    bandwidth: float = eqx.field(static=True, default=1.0)
    pairs: int = eqx.field(static=True, default=PAIRS)
    name: ClassVar[str] = "MMD"
    question: ClassVar[str] = "is the law right as a whole (smooth differences)?"

    def kernel(self, dot, left, right, r):
        distance = jnp.maximum(left + right - 2 * dot, 0.0)
        return jnp.exp(distance * (-0.5 / (self.bandwidth * r)))

    def centre(self, squares, r):
        h2 = self.bandwidth * r
        own = (h2 / (h2 + 1)) ** (r / 2) * jnp.exp(squares * (-0.5 / (h2 + 1)))
        return own - 0.5 * (h2 / (h2 + 2)) ** (r / 2)

    def diagonal(self, squares, r):
        return 1 - 2 * self.centre(squares, r)
