"""The empirical Bernstein bound: better than the root of KL/n where the losses vary little."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from .arguments import arguments, parameter


def emp_bernstein(
    risk: ArrayLike,
    kl: ArrayLike,
    n: ArrayLike,
    delta: ArrayLike,
    *,
    variance: ArrayLike,
    c1: ArrayLike = 1.15,
    c2: ArrayLike = 1.15,
) -> Array:
    """Tolstikhin and Seldin's PAC-Bayes-empirical-Bernstein inequality (2013, Theorem 4).

    `variance` is E_Q of the unbiased empirical variance (1/(n-1)) of a loss in [0, 1], at most
    n / (4 (n - 1)); c1, c2 > 1 are the ratios of the two grids and are fixed in advance. With
    K_i = KL + log(2 nu_i / delta):

        V = variance + (1 + c2) sqrt(variance K_2 / (2(n-1))) + 2 c2 K_2 / (n-1)
        risk + (1 + c1) sqrt((e-2) V K_1 / n)   if K_1 <= n (e-2) variance,   else risk + 2 K_1 / n

    The grids have nu_1 = ceil(log sqrt((e-2) n / (4 log(2/delta))) / log c1) + 1 and
    nu_2 = ceil(log(sqrt((n-1) / log(1/delta)) / 2 + 3/2) / log c2) points: where printed versions
    differ, the larger size (safe). Needs n >= 2.

    >>> bool(emp_bernstein(0.05, 20.0, 5000, 0.05, variance=0.001) < 0.08)
    True
    """
    a = arguments(
        risk, kl, n, delta, smallest_n=2.0, why_n="a sample that has an empirical variance"
    )
    variance = parameter(
        variance, "variance", "it is a mean of empirical variances", closed=True, below=0.5 + 1e-9
    )
    c1 = parameter(c1, "c1", "it is the ratio of a geometric grid", above=1.0)
    c2 = parameter(c2, "c2", "it is the ratio of a geometric grid", above=1.0)

    def bound(a, variance, c1, c2):
        log_two = jnp.log(2.0 / a.delta)
        weight = jnp.e - 2.0
        nu1 = jnp.ceil(
            jnp.log(jnp.maximum(weight * a.n / (4.0 * log_two), 1.0)) / 2.0 / jnp.log(c1)
        )
        widest = 0.5 * jnp.sqrt((a.n - 1.0) / -jnp.log(a.delta)) + 1.5
        nu2 = jnp.ceil(jnp.log(widest) / jnp.log(c2))
        k1 = a.kl + jnp.log(2.0 * (nu1 + 1.0) / a.delta)
        k2 = a.kl + jnp.log(2.0 * jnp.maximum(nu2, 1.0) / a.delta)
        positive = variance > 0
        safe = jnp.where(positive, variance, 1.0)
        root = jnp.where(positive, jnp.sqrt(safe * k2 / (2.0 * (a.n - 1.0))), 0.0)
        total = variance + (1.0 + c2) * root + 2.0 * c2 * k2 / (a.n - 1.0)
        slow = (1.0 + c1) * jnp.sqrt(weight * total * k1 / a.n)
        return a.risk + jnp.where(k1 <= a.n * weight * variance, slow, 2.0 * k1 / a.n)

    return a.close(bound, variance, c1, c2)
