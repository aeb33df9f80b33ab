"""The kl family: Seeger's bound and its two relaxations in closed form.

With c = (KL + log(2 sqrt(n)/delta)) / n, all three follow from kl(risk || true risk) <= c.
Source: Seeger 2002; Maurer 2004; Tolstikhin, Seldin 2013; Rivasplata, Perez-Ortiz et al. 2021.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from ..inversion import kl_inverse
from .arguments import arguments, maurer_budget, outward


def seeger(risk: ArrayLike, kl: ArrayLike, n: ArrayLike, delta: ArrayLike) -> Array:
    """sup {p : kl(risk || p) <= c}, the tightest of its family; rounded up, at most 1.

    Source: Seeger 2002 (JMLR 3, 233-269); with log(2 sqrt(n)): Maurer 2004, arXiv:cs/0411099.

    >>> f"{seeger(0.05, 120.5, 5000, 0.05):.5f}"
    '0.11501'
    """
    a = arguments(risk, kl, n, delta)
    return a.seal(kl_inverse(a.risk, outward(maurer_budget(a))))


def quadratic(risk: ArrayLike, kl: ArrayLike, n: ArrayLike, delta: ArrayLike) -> Array:
    """(sqrt(risk + c/2) + sqrt(c/2))^2: of order 1/n where the risk is near 0.

    Source: Perez-Ortiz, Rivasplata, Shawe-Taylor, Szepesvari 2021, arXiv:2007.12911.

    >>> f"{quadratic(0.05, 120.5, 5000, 0.05):.5f}"
    '0.13251'
    """
    a = arguments(risk, kl, n, delta)
    c = maurer_budget(a)
    return a.seal(a.risk + c + jnp.sqrt(c * (2.0 * a.risk + c)))


def tolstikhin_seldin_simple(
    risk: ArrayLike, kl: ArrayLike, n: ArrayLike, delta: ArrayLike
) -> Array:
    """risk + sqrt(2 risk c) + 2c, never below `quadratic`.

    Source: Tolstikhin and Seldin 2013 (NeurIPS 26).

    >>> f"{tolstikhin_seldin_simple(0.05, 120.5, 5000, 0.05):.5f}"
    '0.15206'
    """
    a = arguments(risk, kl, n, delta)
    c = maurer_budget(a)
    product = a.risk * c
    # the square root has no slope at risk = 0: keep 0 * inf out of the gradient
    root = jnp.where(product > 0, jnp.sqrt(2.0 * jnp.where(product > 0, product, 1.0)), 0.0)
    return a.seal(a.risk + root + 2.0 * c)
