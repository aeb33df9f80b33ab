"""What a sample's moments say of a distance to a steady law: exact bias, variance, tail.

A sample of n draws of N(m, V) has mean m^ and covariance S^ (over 1/n). In coordinates in which the
steady law is N(0, I):

- KL^ = (tr S^ - r - log det S^ + |m^|^2) / 2 has mean KL + E0 and variance
  (2 tr V^2 - 4 tr V + 4 m^T V m) / 4n + Var(log det) / 4, exactly up to O(1/n^2);
- the squared W2^ of the moments to N(m0, S) has gradient 2 (m - m0) in the mean and I - T in the
  covariance, T the optimal map's matrix, and, with nu the eigenvalues of S^1/2 V S^1/2, bias

      tr V / n + (1 / 2n) [sum_ij sqrt(nu_i nu_j) / (sqrt nu_i + sqrt nu_j) + sum_i sqrt(nu_i) / 2],

  which at V = S is the null mean of the Bures distance;
- the mean energy has no bias and variance (tr(A V A V) / 2 + g^T V g) / n, g = A (m - minimum).

Each is positive; its tail is that of the multiple of chi-square that has its mean and variance,
which is right both near the floor (a weighted chi-square) and far above it (normal).
"""

from typing import NamedTuple

import numpy as np

from ..plug_in_kl import null_moments


class Expected(NamedTuple):
    """Mean and standard deviation of a measured number, and the exact one that it estimates."""

    exact: float
    mean: float
    deviation: float


def kl_expected(mean: np.ndarray, covariance: np.ndarray, n: int) -> Expected | None:
    """Of KL^ for draws of N(mean, covariance), whitened by the steady law; None where KL is inf."""
    r = mean.size
    values = np.linalg.eigvalsh(covariance)
    if values[0] <= r * np.finfo(float).eps * values[-1]:
        return None
    exact = (np.sum((values - 1) - np.log(values)) + mean @ mean) / 2
    bias, deviation = (float(x) for x in null_moments(n, r))
    # 2 tr V^2 - 4 tr V exceeds its value at V = I by 2 tr (V - I)^2
    excess = 2 * np.sum((values - 1) ** 2) + 4 * mean @ covariance @ mean
    spread = np.sqrt(deviation**2 + excess / (4 * n))
    return Expected(float(exact), float(exact + bias), float(spread))


def kl_measured(mean: np.ndarray, covariance: np.ndarray) -> float:
    """KL^ of whitened moments, `covariance` over 1/n."""
    values = np.linalg.eigvalsh(covariance)
    return float((np.sum((values - 1) - np.log(values)) + mean @ mean) / 2)


def w2_squared(mean: np.ndarray, covariance: np.ndarray, root: np.ndarray) -> float:
    """W2^2 of N(mean, covariance) to N(0, root root), as min over rotations |V^1/2 - root O|^2."""
    other = symmetric_root(covariance)
    left, _, right = np.linalg.svd(root @ other)
    return float(np.sum((other - root @ left @ right) ** 2) + mean @ mean)


def w2_expected(mean: np.ndarray, covariance: np.ndarray, root: np.ndarray, n: int) -> Expected:
    """Of the squared W2^ to the steady law N(0, root root), for draws of N(mean, covariance)."""
    exact = w2_squared(mean, covariance, root)
    nu, basis = np.linalg.eigh(root @ covariance @ root)
    nu = np.maximum(nu, 0.0)
    s = np.sqrt(nu)
    total = s[:, None] + s[None, :]
    pair = np.where(total > 0, np.outer(s, s) / np.where(total > 0, total, 1.0), 0.0)
    bias = (np.trace(covariance) + (pair.sum() + s.sum() / 2) / 2) / n
    inside = nu > nu.size * np.finfo(float).eps * nu.max(initial=0.0)
    inverse = np.where(inside, 1 / np.sqrt(np.where(inside, nu, 1.0)), 0.0)
    half = root @ basis
    slope = np.eye(mean.size) - (half * inverse) @ half.T
    first = 4 * mean @ covariance @ mean + 2 * np.sum((slope @ covariance) * (covariance @ slope).T)
    # weights of chi-square: spectrum / n, s_i / 2n, and s_i s_j / (s_i + s_j) n for i < j
    upper = np.triu(pair, 1)
    second = np.sum(np.linalg.eigvalsh(covariance) ** 2) + np.sum((s / 2) ** 2) + np.sum(upper**2)
    return Expected(exact, exact + bias, float(np.sqrt(first / n + 2 * second / n**2)))


def energy_expected(
    gap: np.ndarray, covariance: np.ndarray, hessian: np.ndarray, n: int
) -> Expected:
    """Of the mean of x^T A x / 2 over n draws of N(gap, covariance)."""
    push, turned = hessian @ gap, hessian @ covariance
    exact = float((np.trace(turned) + gap @ push) / 2)
    single = np.sum(turned * turned.T) / 2 + push @ covariance @ push
    return Expected(exact, exact, float(np.sqrt(max(single, 0.0) / n)))


def two_sided(value: float, expected: Expected) -> float:
    """p-value of `value`, by the multiple of chi-square with the expected mean and variance.

    >>> round(two_sided(2.0, Expected(1.0, 1.0, 2.0**0.5)), 4)  # chi-square with one degree
    0.3146
    """
    from scipy.special import gammainc, gammaincc  # scipy comes with jax

    if expected.deviation <= 0:
        return float(np.isclose(value, expected.mean))
    half = (expected.mean / expected.deviation) ** 2
    x = max(value, 0.0) / expected.mean * half
    return float(min(1.0, 2 * min(gammainc(half, x), gammaincc(half, x))))


def quantile(expected: Expected, p: float) -> float:
    """The p-quantile of the same multiple of chi-square."""
    from scipy.special import gammaincinv

    half = (expected.mean / expected.deviation) ** 2
    return float(gammaincinv(half, p) / half * expected.mean)


def symmetric_root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root of a covariance, negative rounding cut off."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
