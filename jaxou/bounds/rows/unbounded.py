"""Bounds for losses without an upper end: they ask for a moment of the loss instead.

The moment belongs to the data's law. It must be assumed or bounded, never replaced by its
empirical value. `risk` is then any number >= 0 (any finite one for `sub_gaussian`, `chi_square`).
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from .arguments import arguments, catoni_budget, parameter

_FIXED = "it weighs risk against KL and is fixed before seeing the data"


def sub_gaussian(
    risk: ArrayLike,
    kl: ArrayLike,
    n: ArrayLike,
    delta: ArrayLike,
    *,
    catoni_lambda: ArrayLike,
    variance_proxy: ArrayLike,
) -> Array:
    """risk + lambda s^2 / (2n) + (kl + log(1/delta)) / lambda, s^2 = `variance_proxy`.

    The proxy bounds E exp(t (E loss - loss)) <= exp(s^2 t^2 / 2) for every parameter. (A squared
    loss with a Gaussian residual has none on both sides; `second_moment` fits it.)

    >>> f"{sub_gaussian(1.5, 20.0, 5000, 0.05, catoni_lambda=500, variance_proxy=1.0):.5f}"
    '1.59599'
    """
    lam = parameter(catoni_lambda, "catoni_lambda", _FIXED)
    proxy = parameter(variance_proxy, "variance_proxy", "it is the sub-Gaussian proxy of the loss")
    a = arguments(risk, kl, n, delta, smallest_risk=-jnp.inf, largest_risk=jnp.inf)

    def bound(a, lam, proxy):
        return a.risk + lam * proxy / (2.0 * a.n) + catoni_budget(a) / lam

    return a.close(bound, lam, proxy)


def second_moment(
    risk: ArrayLike,
    kl: ArrayLike,
    n: ArrayLike,
    delta: ArrayLike,
    *,
    catoni_lambda: ArrayLike,
    moment: ArrayLike,
) -> Array:
    """risk + (lambda / 2n) m2 + (kl + log(1/delta)) / lambda for any loss >= 0.

    `moment` is m2 = E_Q E[loss^2] under the data's law, or an upper bound on it. Rests on
    E exp(-t loss) <= exp(-t E loss + t^2 E loss^2 / 2) for t >= 0.

    >>> f"{second_moment(1.5, 20.0, 5000, 0.05, catoni_lambda=500, moment=4.0):.5f}"
    '1.74599'
    """
    lam = parameter(catoni_lambda, "catoni_lambda", _FIXED)
    moment = parameter(moment, "moment", "it is the mean squared loss")
    a = arguments(risk, kl, n, delta, largest_risk=jnp.inf)

    def bound(a, lam, moment):
        return a.risk + lam * moment / (2.0 * a.n) + catoni_budget(a) / lam

    return a.close(bound, lam, moment)


def chi_square(
    risk: ArrayLike,
    kl: ArrayLike,
    n: ArrayLike,
    delta: ArrayLike,
    *,
    variance: ArrayLike = 0.25,
) -> Array:
    """risk + sqrt(variance (1 + chi2) / (n delta)), Alquier and Guedj 2018.

    `kl`, named for the place it takes in every row, is here the chi-square divergence chi2 of the
    posterior from the prior, which is at least exp(KL) - 1. `variance` bounds the variance of the
    loss; 1/4 serves every loss in [0, 1]. Between Gaussians chi2 is infinite unless
    2 S_posterior^-1 > S_prior^-1.

    >>> f"{chi_square(0.05, 3.0, 5000, 0.05):.5f}"
    '0.11325'
    """
    variance = parameter(variance, "variance", "it bounds the variance of the loss")
    a = arguments(risk, kl, n, delta, smallest_risk=-jnp.inf, largest_risk=jnp.inf)

    def bound(a, variance):
        return a.risk + jnp.sqrt(variance * (1.0 + a.kl) / (a.n * a.delta))

    return a.close(bound, variance)
