"""Bounds for losses without an upper end: they ask for a moment of the loss instead.

The moment belongs to the data's law. It must be assumed or bounded, never replaced by its
empirical value. `risk` is then any number >= 0 (any finite one for `sub_gaussian`, `chi_square`).
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from ..bernoulli import log1p_remainder
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

    Source: Alquier 2024, arXiv:2110.11216 (unbounded losses).

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

    Derived in the module from E exp(-t loss) <= exp(-t E loss + t^2 E loss^2 / 2), t >= 0.

    >>> f"{second_moment(1.5, 20.0, 5000, 0.05, catoni_lambda=500, moment=4.0):.5f}"
    '1.74599'
    """
    lam = parameter(catoni_lambda, "catoni_lambda", _FIXED)
    moment = parameter(moment, "moment", "it is the mean squared loss")
    a = arguments(risk, kl, n, delta, largest_risk=jnp.inf)

    def bound(a, lam, moment):
        return a.risk + lam * moment / (2.0 * a.n) + catoni_budget(a) / lam

    return a.close(bound, lam, moment)


def gaussian_residual(
    risk: ArrayLike,
    kl: ArrayLike,
    n: ArrayLike,
    delta: ArrayLike,
    *,
    catoni_lambda: ArrayLike,
    residual_variance: ArrayLike,
) -> Array:
    """risk + (n / 2 lambda) (u - log(1 + u)) + (kl + log(1/delta)) / lambda, u = lambda s^2 / n.

    For half of a squared residual that is N(0, s^2) under the data's law: its exponential moment
    E exp(-t residual^2 / 2) = (1 + t s^2)^(-1/2) is exact, so this is below `second_moment` (whose
    moment is 3/4 s^4). `residual_variance` = s^2 bounds the variance for *every* parameter: the
    exponent is convex in s^2, and its mean over the posterior would not do.

    Derived in the module from the exact exponent of a Gaussian residual's square.

    >>> f"{gaussian_residual(1.5, 20.0, 5000, 0.05, catoni_lambda=500, residual_variance=3.0):.5f}"
    '1.73417'
    """
    lam = parameter(catoni_lambda, "catoni_lambda", _FIXED)
    variance = parameter(
        residual_variance, "residual_variance", "it is the largest variance of the residual"
    )
    a = arguments(risk, kl, n, delta, largest_risk=jnp.inf)

    def bound(a, lam, variance):
        price = a.n / (2.0 * lam) * log1p_remainder(lam * variance / a.n)
        return a.risk + price + catoni_budget(a) / lam

    return a.close(bound, lam, variance)


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

    Source: Alquier and Guedj 2018, arXiv:1610.07193.

    >>> f"{chi_square(0.05, 3.0, 5000, 0.05):.5f}"
    '0.11325'
    """
    variance = parameter(variance, "variance", "it bounds the variance of the loss")
    a = arguments(risk, kl, n, delta, smallest_risk=-jnp.inf, largest_risk=jnp.inf)

    def bound(a, variance):
        return a.risk + jnp.sqrt(variance * (1.0 + a.kl) / (a.n * a.delta))

    return a.close(bound, variance)
