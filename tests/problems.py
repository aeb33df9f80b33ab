"""The worked cases of the theory, P01-P10, as data: inputs and 15-digit answers.

The answers were computed with mpmath at 50 digits from the defining formulas, by none of the
routes of the package. Tolerances in float64: rtol 1e-10 for covariances and bounds, rtol 1e-8 plus
atol 1e-13 for KL values.
"""

import jax.numpy as jnp
import numpy as np

import jaxou as ou

LAW = dict(rtol=1e-10, atol=0.0)
LAW_ENTRY = dict(rtol=1e-10, atol=1e-15)
KL = dict(rtol=1e-8, atol=1e-13)


def close(actual, expected, *, rtol, atol):
    """Assert equality within tolerance, with the numbers in the message."""
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=rtol, atol=atol)


def p01():
    return ou.Stage(hessian=2.5, noise=0.8, minimum=0.7, learning_rate=0.1, batch_size=16, steps=12)


def p02():
    return ou.Stage(
        hessian=[1.0, 4.0],
        noise=[2.0, 0.5],
        minimum=[0.0, 0.0],
        learning_rate=0.05,
        batch_size=32,
        steps=1,
    )


P03_A = [[2.0, 0.6], [0.6, 1.0]]
P03_C = [[1.0, -0.4], [-0.4, 0.5]]


def p03(**changes):
    arguments = dict(
        hessian=P03_A, noise=P03_C, minimum=0.0, learning_rate=0.1, batch_size=8, steps=1
    )
    return ou.Stage(**(arguments | changes))


def p04():
    stage = ou.Stage(
        hessian=[[1.5, 0.7], [0.7, 0.9]],
        noise=[[0.6, 0.2], [0.2, 1.4]],
        minimum=[0.3, -0.2],
        learning_rate=0.2,
        batch_size=4,
        steps=1,
    )
    return ou.Chain([stage], initial=ou.Gaussian([1.0, 0.5], 0.25))


def p05():
    stage = ou.Stage(
        hessian=[[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]],
        noise=[[1.0, 0.2, -0.3], [0.2, 0.7, 0.1], [-0.3, 0.1, 0.9]],
        minimum=[0.0, 0.0, 0.0],
        learning_rate=0.5,
        batch_size=10,
        steps=25,
    )
    return ou.Chain([stage], initial=ou.Gaussian([1.0, -1.0, 2.0], 0.1))


def p07():
    pretrain = ou.Stage(
        hessian=[[2.0, 0.5], [0.5, 1.0]],
        noise=[[1.0, 0.3], [0.3, 0.8]],
        minimum=[1.0, -0.5],
        learning_rate=0.1,
        batch_size=64,
        steps=1000,
    )
    finetune = ou.Stage(
        hessian=[[1.2, -0.2], [-0.2, 1.8]],
        noise=[[0.9, -0.1], [-0.1, 1.1]],
        minimum=[1.02, -0.46],
        learning_rate=0.05,
        batch_size=32,
        steps=500,
    )
    return ou.TwoStage(pretrain, finetune, initial=ou.Gaussian([0.0, 0.0], 1.0))


def p09():
    diagonal0 = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    factor0 = [[1.0, 0.0], [0.5, -0.5], [0.0, 0.3], [-0.2, 0.1], [0.4, 0.0], [0.0, 0.6]]
    diagonal1 = [0.4, 0.5, 0.9, 1.1, 0.6, 0.7]
    factor1 = [[0.2, 0.1], [0.0, 0.8], [-0.3, 0.0], [0.1, 0.1], [0.0, -0.4], [0.5, 0.2]]
    shift = [0.1, -0.2, 0.3, 0.0, 0.05, -0.1]
    return (
        ou.Gaussian(jnp.zeros(6), ou.LowRankPlusDiagonal(diagonal0, factor0)),
        ou.Gaussian(shift, ou.LowRankPlusDiagonal(diagonal1, factor1)),
    )


def p10():
    d = 50
    i = np.arange(d)
    laplacian = 2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1)
    lag = np.abs(i[:, None] - i[None, :])
    pretrain = ou.Stage(
        hessian=0.1 * np.eye(d) + laplacian,
        noise=0.5**lag,
        minimum=0.0,
        learning_rate=0.1,
        batch_size=64,
        steps=1000,
    )
    finetune = ou.Stage(
        hessian=0.3 * np.eye(d) + laplacian,
        noise=(-0.2) ** lag,
        minimum=np.sin(i + 1) / 10,
        learning_rate=0.05,
        batch_size=32,
        steps=500,
    )
    return ou.TwoStage(pretrain, finetune, initial=ou.Gaussian(jnp.zeros(d), 1.0))
