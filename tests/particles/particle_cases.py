"""Processes that the tests of particles share."""

import jax.numpy as jnp
import numpy as np

import jaxou as ou

LIMIT = 4.5
"""Standard errors beyond which a fixed seed counts as a failure: 7e-6 per comparison."""


def two_stages(steps=(30, 43), batch=8, hessian=((2.0, 0.6), (0.6, 1.0))):
    """Two stages whose Hessian and noise do not commute (P03), from a broad start."""
    a, c = jnp.asarray(hessian), jnp.asarray([[1.0, -0.4], [-0.4, 0.5]])
    first = ou.Stage(
        hessian=a, noise=c, minimum=[1.0, -1.0], learning_rate=0.1, batch_size=batch, steps=steps[0]
    )
    second = ou.Stage(
        hessian=a[::-1, ::-1],
        noise=c,
        minimum=[0.0, 0.5],
        learning_rate=0.05,
        batch_size=4,
        steps=steps[1],
    )
    start = ou.Gaussian([3.0, 0.0], [[1.0, 0.2], [0.2, 0.5]])
    return ou.TwoStage(first, second, initial=start)


def worst(run, row, law) -> float:
    """The largest deviation of a row's moments from a law, in standard errors of the law."""
    n, covariance = run.moments.count, np.asarray(law.covariance)
    variance = np.diag(covariance)
    mean = (np.asarray(run.moments.mean[row]) - np.asarray(law.mean)) / np.sqrt(variance / n)
    error = np.sqrt((covariance**2 + np.outer(variance, variance)) / n)
    spread = (np.asarray(run.moments.covariance[row]) - covariance) / error
    return float(max(np.abs(mean).max(), np.abs(spread).max()))
