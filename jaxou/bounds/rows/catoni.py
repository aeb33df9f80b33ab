"""Catoni's bounds: no log n, but lambda must be fixed before the data are seen.

Source: Catoni 2003, 2007 (arXiv 0712.0248); Alquier 2024 (arXiv 2110.11216). A grid of K values of
lambda costs log K: give delta / K.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from .arguments import arguments, catoni_budget, parameter

_FIXED = "it weighs risk against KL and is fixed before seeing the data; sqrt(8 n kl) is a scale"


def catoni_linear(
    risk: ArrayLike,
    kl: ArrayLike,
    n: ArrayLike,
    delta: ArrayLike,
    *,
    catoni_lambda: ArrayLike,
    scale: ArrayLike = 1.0,
) -> Array:
    """risk + lambda M^2 / (8n) + (kl + log(1/delta)) / lambda for a loss in [0, M], M = `scale`.

    Source: Catoni 2003; Alquier 2024, arXiv:2110.11216, Theorem 2.1.

    >>> f"{catoni_linear(0.05, 120.5, 5000, 0.05, catoni_lambda=2000):.5f}"
    '0.16175'
    """
    scale = parameter(scale, "scale", "it is the largest value that the loss can take")
    lam = parameter(catoni_lambda, "catoni_lambda", _FIXED)
    a = arguments(risk, kl, n, delta, largest_risk=scale)
    return a.close(
        lambda a, m, lam: a.risk + lam * m**2 / (8.0 * a.n) + catoni_budget(a) / lam, scale, lam
    )


def catoni_phi(
    risk: ArrayLike,
    kl: ArrayLike,
    n: ArrayLike,
    delta: ArrayLike,
    *,
    catoni_lambda: ArrayLike,
) -> Array:
    """(1 - exp(-(lambda/n) risk - (kl + log(1/delta))/n)) / (1 - exp(-lambda/n)).

    Source: Catoni 2007, arXiv:0712.0248.

    >>> f"{catoni_phi(0.05, 120.5, 5000, 0.05, catoni_lambda=2000):.5f}"
    '0.13260'
    """
    lam = parameter(catoni_lambda, "catoni_lambda", _FIXED)
    a = arguments(risk, kl, n, delta)

    def bound(a, lam):
        return jnp.expm1(-(lam * a.risk + catoni_budget(a)) / a.n) / jnp.expm1(-lam / a.n)

    return a.close(bound, lam)
