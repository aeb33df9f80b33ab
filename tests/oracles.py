"""Independent routes: none of them shares a formula with the package."""

import numpy as np
import scipy.integrate
import scipy.linalg


def kronecker_lyapunov(a, c):
    """A S + S A^T = C as one linear system of d^2 unknowns."""
    d = len(a)
    eye = np.eye(d)
    return np.linalg.solve(np.kron(a, eye) + np.kron(eye, a), np.ravel(c)).reshape(d, d)


def kronecker_stein(m, q):
    """X = M X M^T + Q as one linear system of d^2 unknowns."""
    d = len(m)
    return np.linalg.solve(np.eye(d * d) - np.kron(m, m), np.ravel(q)).reshape(d, d)


def van_loan(f, noise, time):
    """(E, G) of dz = -F z + noise from one exponential of a 2d x 2d matrix."""
    d = len(f)
    block = np.block([[np.asarray(f), np.asarray(noise)], [np.zeros((d, d)), -np.asarray(f).T]])
    block = scipy.linalg.expm(block * time)
    e = block[d:, d:].T
    return e, e @ block[:d, d:]


def quadrature(f, noise, time):
    """G = int_0^s exp(-F u) N exp(-F^T u) du by adaptive quadrature."""

    def integrand(u):
        e = scipy.linalg.expm(-np.asarray(f) * u)
        return (e @ noise @ e.T).ravel()

    return scipy.integrate.quad_vec(integrand, 0, time, epsrel=1e-12)[0].reshape(np.shape(noise))


def gaussian_kl(m1, s1, m0, s0):
    """KL by explicit inverse and determinants: fine for small, well-conditioned matrices."""
    inverse = np.linalg.inv(s0)
    delta = np.asarray(m1) - np.asarray(m0)
    ratio = np.linalg.det(s0) / np.linalg.det(s1)
    return (np.trace(inverse @ s1) - len(delta) + delta @ inverse @ delta + np.log(ratio)) / 2


def gaussian_w2(m1, s1, m0, s0):
    """W2 by scipy's Schur square root."""
    cross = scipy.linalg.sqrtm(np.asarray(s1) @ np.asarray(s0))
    square = np.sum((np.asarray(m1) - m0) ** 2) + np.trace(s1 + s0 - 2 * cross.real)
    return np.sqrt(square)


def random_spd(rng, d, low=0.3, high=3.0):
    """A symmetric matrix with eigenvalues drawn from [low, high] and a random basis."""
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return basis @ np.diag(rng.uniform(low, high, d)) @ basis.T


def random_psd(rng, d, rank):
    """A covariance of the given rank."""
    factor = rng.normal(size=(d, rank))
    return factor @ factor.T


def symmetric_difference(function, matrix, step=1e-5):
    """df/dM along symmetric changes: df = tr(gradient dM), by central differences."""
    matrix = np.asarray(matrix)
    d = len(matrix)
    gradient = np.zeros((d, d))
    for i in range(d):
        for j in range(i, d):
            e = np.zeros((d, d))
            e[i, j] += step / 2
            e[j, i] += step / 2
            slope = (function(matrix + e) - function(matrix - e)) / (2 * step)
            gradient[i, j] = gradient[j, i] = slope
    return gradient
