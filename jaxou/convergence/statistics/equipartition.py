"""Does every mode have its mean and its energy? The worst of 2 r exact tests.

In the law's eigenbasis equipartition says that every whitened coordinate has mean 0 and variance 1.
Under the claim sqrt(n) mean_j is N(0, 1) and (n - 1) variance_j is chi-square with n - 1 degrees of
freedom, and all 2 r of them are independent.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from ..._check import as_float
from ..null_laws import chi2_tail
from .base import AbstractSum, masked
from .nulls import Largest, chi2_below


class Equipartition(AbstractSum):
    """value: the largest |N(0, 1)| score among the means and the variances of all modes.

    Null law: exact, by Sidak's product for independent tests. Cost O(n r).

    >>> Equipartition().null(100, 3).text
    'largest of 6 |N(0, 1)|'
    """

    name: ClassVar[str] = "equipartition"
    question: ClassVar[str] = "does every mode have its mean and its energy?"
    about_moments: ClassVar[bool] = True

    def reduce(self, block, live):
        x = masked(block, live)
        return jnp.sum(x, axis=0), jnp.sum(x**2, axis=0)

    def scores(self, summary, n):
        """|N(0, 1)| scores of the means and of the variances, each (r,)."""
        total, square = summary
        mean = total / n
        spread = jnp.maximum(square - n * mean**2, 0.0)

        def p_value(x):
            return jnp.minimum(2 * jnp.minimum(chi2_tail(x, n - 1), chi2_below(x, n - 1)), 1.0)

        p = jax.vmap(p_value)(spread)
        return jnp.abs(jnp.sqrt(n) * mean), two_sided_score(p)

    def finish(self, summary, n):
        value = jnp.max(jnp.concatenate(self.scores(summary, n)))
        return value, as_float(1.0)

    def null(self, n, r, fitted=False, joint=None):
        return Largest(2 * r)


def two_sided_score(p):
    """|z| with P(|N(0, 1)| >= |z|) = p; infinite for p = 0.

    >>> round(float(two_sided_score(jnp.asarray(0.05))), 4)
    1.96
    """
    return -ndtri(p / 2)
