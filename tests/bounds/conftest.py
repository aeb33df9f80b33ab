"""The worked two-stage cases P07 and P10 as processes."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxou import Gaussian, Stage, TwoStage


def make_p07() -> TwoStage:
    pretrain = Stage(
        hessian=[[2, 0.5], [0.5, 1]],
        noise=[[1, 0.3], [0.3, 0.8]],
        minimum=[1.0, -0.5],
        learning_rate=0.1,
        batch_size=64,
        steps=400,
    )
    finetune = Stage(
        hessian=[[1.2, -0.2], [-0.2, 1.8]],
        noise=[[0.9, -0.1], [-0.1, 1.1]],
        minimum=[1.02, -0.46],
        learning_rate=0.05,
        batch_size=32,
        steps=300,
    )
    return TwoStage(pretrain, finetune, Gaussian([0.0, 0.0], 1.0))


def make_p10() -> TwoStage:
    d = 50
    laplacian = 2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1)
    distance = np.abs(np.arange(d)[:, None] - np.arange(d)[None, :])
    pretrain = Stage(
        hessian=0.1 * np.eye(d) + laplacian,
        noise=0.5**distance,
        minimum=jnp.zeros(d),
        learning_rate=0.1,
        batch_size=64,
        steps=100,
    )
    finetune = Stage(
        hessian=0.3 * np.eye(d) + laplacian,
        noise=(-0.2) ** distance,
        minimum=jnp.sin(jnp.arange(1, d + 1)) / 10,
        learning_rate=0.05,
        batch_size=32,
        steps=100,
    )
    return TwoStage(pretrain, finetune, Gaussian(jnp.zeros(d), 1.0))


@pytest.fixture
def p07() -> TwoStage:
    return make_p07()


@pytest.fixture
def p10() -> TwoStage:
    return make_p10()
