"""The synthetic problem: directions and bases drawn from a seed, and the process made of them.

In the eigenbasis of the source's Hessian everything is explicit, so that no matrix is ever
decomposed: A_S is diagonal, C_S = W_S, and the target's basis is turned by the angle `tilt` in the
planes of eigenvectors half of the spectrum apart.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .config import TheoryConfig


class Draw(NamedTuple):
    """What a seed decides: noise bases (d, d) of both stages, and two unit vectors (d,)."""

    source_basis: np.ndarray
    target_basis: np.ndarray
    start: np.ndarray
    shift: np.ndarray


@functools.lru_cache(maxsize=64)
def draw(seed: int, dimension: int) -> Draw:
    """The random parts of a problem; PCG64 streams of their own, the same on every machine."""
    vectors = [np.random.default_rng([seed, k]).standard_normal(dimension) for k in (2, 3)]
    start, shift = (x / np.sqrt(np.sum(x * x)) for x in vectors)
    return Draw(orthogonal(seed, 0, dimension), orthogonal(seed, 1, dimension), start, shift)


def orthogonal(seed: int, stream: int, dimension: int) -> np.ndarray:
    """A uniform orthogonal matrix: Gram-Schmidt of Gaussian columns, twice each.

    Without BLAS, whose last bits depend on its threads.
    """
    columns = np.random.default_rng([seed, stream]).standard_normal((dimension, dimension))
    for k in range(dimension):
        column = columns[k]
        for _ in range(2):
            overlap = np.einsum("ij,j->i", columns[:k], column)
            column = column - np.einsum("i,ij->j", overlap, columns[:k])
        columns[k] = column / np.sqrt(np.sum(column * column))
    return np.ascontiguousarray(columns.T)


def spectrum(largest, condition, dimension: int, xp: Any = np):
    """Eigenvalues from `largest` down to `largest / condition`, in equal ratios."""
    share = np.arange(dimension) / max(dimension - 1, 1)
    return largest * xp.exp(-xp.log(condition) * share)


def noise_weights(rank, condition, dimension: int, xp: Any = np):
    """Eigenvalues of the noise's random part: `rank` of them in equal ratios, of mean 1 over d."""
    place = np.arange(float(dimension))
    rank = xp.where(rank == 0, 1.0 * dimension, 1.0 * rank)
    share = place / xp.maximum(rank - 1.0, 1.0)
    weights = xp.where(place < rank, xp.exp(-xp.log(condition) * share), 0.0)
    return weights * (dimension / xp.sum(weights))


def turned_pairs(x, angle, xp: Any = np):
    """`x` (d, ...) turned by `angle` (radians) in the planes (k, k + d // 2): R x.

    Partners are half of the spectrum apart, so that a turn mixes different curvatures at any d.
    """
    d = x.shape[0]
    half = d // 2
    first, second = np.arange(d) < half, np.arange(d) < 2 * half
    partner = np.where(first, np.arange(d) + half, np.arange(d) - half)
    partner = np.where(second, partner, np.arange(d))
    sign = np.where(first, -1.0, 1.0)
    alone = ~second
    shape = (d,) + (1,) * (x.ndim - 1)
    cosine = xp.where(alone, 1.0, xp.cos(angle)).reshape(shape)
    sine = xp.where(alone, 0.0, xp.sin(angle) * sign).reshape(shape)
    return cosine * x + sine * x[partner]


def process_of(config: TheoryConfig) -> Any:
    """The `TwoStage` of public classes, dense, in the coordinates of the source's eigenbasis.

    The batched program computes the same numbers by a shorter way.
    """
    import jaxou as ou

    p, d = config.problem, config.problem.dimension
    parts = draw(p.seed, d)
    rotation = turned_pairs(np.eye(d), np.deg2rad(p.tilt))
    start = p.distance * parts.start
    minima = (start, start + p.shift * parts.shift)
    stages = []
    for stage, basis, frame, minimum in zip(
        (config.pretrain, config.finetune),
        (parts.source_basis, parts.target_basis),
        (np.eye(d), rotation),
        minima,
        strict=True,
    ):
        values = spectrum(stage.sharpness, stage.condition, d)
        weights = noise_weights(stage.noise_rank, stage.noise_condition, d)
        random = (basis * weights) @ basis.T
        aligned = np.diag(values / values.mean())
        noise = stage.noise * (stage.alignment * aligned + (1 - stage.alignment) * random)
        stages.append(
            ou.Stage(
                hessian=_symmetric(frame @ np.diag(values) @ frame.T),
                noise=_symmetric(frame @ noise @ frame.T),
                minimum=minimum,
                learning_rate=stage.learning_rate,
                batch_size=stage.batch_size,
                steps=stage.steps,
                momentum=stage.momentum,
                weight_decay=stage.weight_decay,
            )
        )
    return ou.TwoStage(*stages, initial=ou.Gaussian(np.zeros(d), p.tau**2))


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return (matrix + matrix.T) / 2
