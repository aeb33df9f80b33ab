"""Thiemann's bound with a free lambda: it holds for every lambda in (0, 2) at once.

Source: Thiemann, Igel, Wintenberger, Seldin 2017 (arXiv 1608.05610).
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from .arguments import arguments, maurer_budget, parameter


def thiemann(
    risk: ArrayLike,
    kl: ArrayLike,
    n: ArrayLike,
    delta: ArrayLike,
    *,
    lam: ArrayLike | None = None,
) -> Array:
    """risk / (1 - lam/2) + c / (lam (1 - lam/2)), c = (kl + log(2 sqrt(n)/delta)) / n.

    `lam` may be chosen after looking at the data, at no cost; None takes the best one,
    `thiemann_lambda`, where the bound equals `quadratic`.

    Source: Thiemann, Igel, Wintenberger, Seldin 2017, arXiv:1608.05610.

    >>> f"{thiemann(0.05, 120.5, 5000, 0.05):.5f}"
    '0.13251'
    """
    a = arguments(risk, kl, n, delta)
    if lam is None:
        lam = thiemann_lambda(risk, kl, n, delta)
    else:
        lam = parameter(lam, "lam", "the bound holds for lam in (0, 2)", below=2.0)

    def bound(a, lam):
        return (a.risk + maurer_budget(a) / lam) / (1.0 - lam / 2.0)

    return a.close(bound, lam)


def thiemann_lambda(risk: ArrayLike, kl: ArrayLike, n: ArrayLike, delta: ArrayLike) -> Array:
    """lambda* = 2 / (sqrt(2 risk / c + 1) + 1), in (0, 1]: the minimiser of `thiemann`.

    Source: Thiemann, Igel, Wintenberger, Seldin 2017, arXiv:1608.05610.

    >>> f"{thiemann_lambda(0.05, 120.5, 5000, 0.05):.5f}"
    '0.62268'
    """
    a = arguments(risk, kl, n, delta)
    return a.seal(2.0 / (jnp.sqrt(2.0 * a.risk / maurer_budget(a) + 1.0) + 1.0))
