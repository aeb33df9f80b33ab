"""Real minibatch SGD on the diabetes data, from one sex to the other."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..laws import Gaussian
from ..particles import simulate
from ..stages import Chain, Stage
from ..transfer import RealSGD, least_squares_moments
from ..transfer.experiment.diabetes import WEIGHT_DECAY, domains, squared_error
from .bowls import BATCH

_data = functools.cache(domains)


def stages(learning_rate: float) -> tuple[Stage, Stage]:
    """SGD's quadratic model on either sex, of one step; the duration is for `chain` to say."""
    source, target = (
        least_squares_moments(
            *one, learning_rate=learning_rate, batch_size=BATCH, weight_decay=WEIGHT_DECAY
        ).stage(1)
        for one in _data()
    )
    return source, target


def curvatures(stage: Stage) -> tuple[float, float]:
    """(smallest, largest) curvature of the penalised loss."""
    values = np.linalg.eigvalsh(np.asarray(stage.effective_hessian.dense()))
    return float(values[0]), float(values[-1])


def steps(stage: Stage, relaxations: float | int) -> int:
    """So many relaxation times of the slowest direction, in steps."""
    return round(relaxations / (float(stage.learning_rate) * curvatures(stage)[0]))


def chain(both: tuple[Stage, Stage], initial: Gaussian, first: int, second: int) -> Chain:
    """So many steps on the source, then so many on the target."""
    return Chain(
        [stage.replace(steps=count) for stage, count in zip(both, (first, second), strict=True)],
        initial=initial,
    )


def followed(process: Chain, replicas: int, key: Any) -> Any:
    """Real minibatch runs through both stages."""
    source, target = _data()
    method = RealSGD(jnp.zeros(source.x.shape[1]), squared_error, [tuple(source), tuple(target)])
    return simulate(process, particles=replicas, key=key, method=method, progress=False)
