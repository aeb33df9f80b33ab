"""Sums over the eigenvalues of a large sample covariance: mean and variance under the claim.

For f smooth on the support, y = r / nu, and f(1 + y + 2 sqrt(y) cos t) = sum_k a_k cos(k t),

    E sum_i f(s_i)   = r int f dMP_y + (a_2 + a_4 + ...) / 2,
    Var sum_i f(s_i) = (1 a_1^2 + 2 a_2^2 + 3 a_3^2 + ...) / 2

up to O(1 / r). Source: Bai and Silverstein 2004, doi:10.1214/aop/1078415845.
"""

from collections.abc import Callable

import numpy as np


def eigenvalue_sum(f: Callable, r: int, nu: float, nodes: int = 512) -> tuple[float, float]:
    """(mean, variance) of sum_i f(s_i) for r eigenvalues with nu degrees of freedom, r < nu.

    >>> mean, variance = eigenvalue_sum(lambda x: x, 50, 200.0)
    >>> round(mean, 9), round(variance, 9)  # r and 2 r / nu
    (50.0, 0.5)
    """
    y = r / nu
    if not 0 < y < 1:
        raise ValueError(f"need more degrees of freedom than dimensions, got {nu} for {r}")
    t = (np.arange(nodes) + 0.5) * np.pi / nodes
    x = 1 + y + 2 * np.sqrt(y) * np.cos(t)
    values = f(x)
    # MP's density times dx is (2 / pi) sin^2(t) / x dt on (0, pi)
    bulk = r * 2 * np.mean(np.sin(t) ** 2 / x * values)
    k = np.arange(1, nodes // 2)
    a = 2 * np.cos(k[:, None] * t[None, :]) @ values / nodes
    return float(bulk + a[1::2].sum() / 2), float((k * a**2).sum() / 2)
