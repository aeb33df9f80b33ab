"""A classifier of three weights with noisy labels: what the certificates' tests certify."""

import jax
import numpy as np

D = 3


def wrong(model, x, y):
    """The 0-1 loss of one example."""
    return ((model @ x > 0) != (y > 0)).astype(float)


def logistic(model, example):
    """A loss to measure curvature with."""
    x, y = example
    return jax.nn.softplus(-y * (model @ x))


def sample(n, seed, noise=0.1):
    """n examples whose labels, -1 or 1, are flipped with probability `noise`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D))
    flip = np.where(rng.uniform(size=n) < noise, -1.0, 1.0)
    return x, np.sign(x[:, 0] + 0.3 * x[:, 1]) * flip
