"""McAllester's family: risk + sqrt((KL + log terms) / 2n), loosest and oldest.

Source: McAllester 1999 (COLT), 2003; Maurer 2004 (cs/0411099); Alquier 2024 (arXiv 2110.11216).
Each takes (risk, kl, n, delta) - empirical risk in [0, 1], KL in nats, examples, failure
probability - elementwise and broadcasting, and returns the raw bound, which may exceed 1.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from .arguments import arguments, maurer_budget


def mcallester_he(risk: ArrayLike, kl: ArrayLike, n: ArrayLike, delta: ArrayLike) -> Array:
    """risk + sqrt((kl + log(1/delta) + log n + 2) / (2n - 1)): the form of He, Liu, Tao 2019.

    Source: McAllester 2003, doi:10.1023/A:1021840411064; used by He, Liu and Tao 2019 (NeurIPS 32).

    >>> f"{mcallester_he(0.05, 120.5, 5000, 0.05):.5f}"
    '0.16577'
    """
    a = arguments(risk, kl, n, delta)
    numerator = a.kl - jnp.log(a.delta) + jnp.log(a.n) + 2.0
    return a.seal(a.risk + jnp.sqrt(numerator / (2.0 * a.n - 1.0)))


def mcallester_loose(risk: ArrayLike, kl: ArrayLike, n: ArrayLike, delta: ArrayLike) -> Array:
    """risk + sqrt((kl + log(1/delta) + (5/2) log n + 8) / (2n - 1)): Alquier's Theorem 3.1.

    Source: McAllester 1999, doi:10.1145/307400.307435; Alquier 2024, arXiv:2110.11216.

    >>> f"{mcallester_loose(0.05, 120.5, 5000, 0.05):.5f}"
    '0.17361'
    """
    a = arguments(risk, kl, n, delta)
    numerator = a.kl - jnp.log(a.delta) + 2.5 * jnp.log(a.n) + 8.0
    return a.seal(a.risk + jnp.sqrt(numerator / (2.0 * a.n - 1.0)))


def mcallester_2003(risk: ArrayLike, kl: ArrayLike, n: ArrayLike, delta: ArrayLike) -> Array:
    """risk + sqrt((kl + log(n/delta)) / (2(n - 1))), the textbook form; inf at n = 1.

    Source: Shalev-Shwartz and Ben-David 2014, doi:10.1017/CBO9781107298019, Theorem 31.1.

    >>> f"{mcallester_2003(0.05, 120.5, 5000, 0.05):.5f}"
    '0.16491'
    """
    a = arguments(risk, kl, n, delta)
    return a.seal(a.risk + jnp.sqrt((a.kl + jnp.log(a.n / a.delta)) / (2.0 * (a.n - 1.0))))


def maurer_pinsker(risk: ArrayLike, kl: ArrayLike, n: ArrayLike, delta: ArrayLike) -> Array:
    """risk + sqrt((kl + log(2 sqrt(n)/delta)) / 2n): `seeger` relaxed by Pinsker's inequality.

    Source: Maurer 2004, arXiv:cs/0411099.

    >>> f"{maurer_pinsker(0.05, 120.5, 5000, 0.05):.5f}"
    '0.16333'
    """
    a = arguments(risk, kl, n, delta)
    return a.seal(a.risk + jnp.sqrt(maurer_budget(a) / 2.0))


def harel_simplified(risk: ArrayLike, kl: ArrayLike, n: ArrayLike, delta: ArrayLike) -> Array:
    """risk + sqrt((kl + log(n/delta)) / 2n), from `maurer_pinsker` by 2 sqrt(n) <= n: n >= 8 only.

    Source: Harel et al. 2025.

    >>> f"{harel_simplified(0.05, 120.5, 5000, 0.05):.5f}"
    '0.16490'
    """
    why = "what makes 2 sqrt(n) <= n, without which this row is no bound; use maurer_pinsker"
    a = arguments(risk, kl, n, delta, smallest_n=8.0, why_n=why)
    return a.seal(a.risk + jnp.sqrt((a.kl + jnp.log(a.n / a.delta)) / (2.0 * a.n)))
