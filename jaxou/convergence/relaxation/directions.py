"""Which directions keep a stage from rest, and how much of the distance each one carries."""

import dataclasses
from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ...laws import Gaussian
from ...stages import Stage
from .modes import Modes, modes_of

MOST = 8
"""Directions that are described one by one."""


@dataclass(frozen=True)
class Direction:
    """One eigenvector of the Hessian at a stage's end.

    - `index` in ascending order of `curvature`, and the unit `vector` (d,);
    - `mean_left`, `variance_left`: the share of the initial distance of mean and variance to the
      steady ones that is left (0 if there was none);
    - `shift`: the mean's distance in steady standard deviations; `ratio`: variance over the steady
      one;
    - `kl`: the divergence of this direction's marginal alone, in nats. It is at most that of the
      whole law; where A and C commute (and the start is diagonal in the modes) they add up to it.

    Without steady law `kl` and `shift` are inf, and `ratio` is the variance over the initial one.
    """

    index: int
    curvature: float
    vector: np.ndarray
    mean_left: float
    variance_left: float
    shift: float
    ratio: float
    kl: float

    def as_dict(self) -> dict:
        return dataclasses.asdict(self) | {"vector": np.asarray(self.vector).tolist()}


@eqx.filter_jit
def _along(modes: Modes, law: Gaussian, origin):
    spread = modes.spread(law)
    variance = spread if spread.ndim == 1 else jnp.diagonal(spread)
    return modes.vector(law.mean - origin), variance


def directions(
    stage: Stage, start: Gaussian, end: Gaussian, rest: Gaussian | None, tolerance: float
) -> tuple[Direction, ...]:
    """The directions of the Hessian that carry more than their part of `tolerance`, worst first.

    `start`, `end` and `rest` are laws of the position; at most eight are returned.
    """
    modes = modes_of(stage)
    laws = (start, end) if rest is None else (start, end, rest)
    origin = stage.effective_minimum if rest is None else rest.mean
    if not bool(jnp.isfinite(origin).all()):
        origin = stage.minimum
    found = [[np.asarray(x) for x in _along(modes, law, origin)] for law in laws]
    (mean0, var0), (mean, var) = found[:2]
    values = np.asarray(modes.curvature)
    if rest is None:
        flat = values <= values.size * np.finfo(values.dtype).eps * np.abs(values).max()
        order = [int(i) for i in np.argsort(values) if flat[i]]
        kl = shift = np.full(values.shape, np.inf)
        ratio, left = _ratio(var, var0), np.ones_like(var)
    else:
        steady = found[2][1]
        shift, ratio = _shift(mean, steady), _ratio(var, steady)
        with np.errstate(divide="ignore"):
            kl = (ratio - 1 - np.log(ratio) + shift**2) / 2
        left = _ratio(np.abs(var - steady), np.abs(var0 - steady), 0.0)
        order = [int(i) for i in np.argsort(-kl) if kl[i] > tolerance / values.size]
    rank = np.argsort(np.argsort(values))
    return tuple(
        Direction(
            index=int(rank[i]),
            curvature=float(values[i]),
            vector=np.asarray(modes.direction(i)),
            mean_left=float(_ratio(np.abs(mean[i]), np.abs(mean0[i]), 0.0)),
            variance_left=float(left[i]),
            shift=float(shift[i]),
            ratio=float(ratio[i]),
            kl=float(kl[i]),
        )
        for i in order[:MOST]
    )


def _ratio(top, bottom, nothing=1.0):
    """top / bottom; `nothing` where both are zero."""
    some = bottom > 0
    return np.where(some, top / np.where(some, bottom, 1.0), np.where(top > 0, np.inf, nothing))


def _shift(mean, variance):
    return _ratio(np.abs(mean), np.sqrt(np.maximum(variance, 0.0)), 0.0)
