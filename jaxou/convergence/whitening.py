"""Whitening by a law of any rank, on the directions that particles can resolve."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..laws import Gaussian
from ..linalg import eigh
from ..linalg.algebra import entries, is_elementwise

SAFETY = 100.0
"""Directions narrower than this many roundings of a particle are not tested."""


class Whitened(eqx.Module):
    """Draws in the law's own units: independent standard normals if the law is right.

    `rank` directions are tested; `unresolved` ones have spread in the law, but less than the
    particles' rounding; `leak` is the root mean square of the draws along directions in which the
    law does not move at all, in units of the rounding (so a number above `SAFETY` is a leak).
    """

    draws: Float[Array, "n rank"]
    unresolved: int
    leak: float

    @property
    def rank(self) -> int:
        return self.draws.shape[1]


def whiten(
    draws: Float[np.ndarray, "n d"],
    law: Gaussian,
    rounding: float,
    origin: Float[np.ndarray, " d"] | None = None,
) -> Whitened:
    """Draws whitened by `law`. Cost O(n d^2 + d^3), O(n d) for a diagonal law.

    `draws` are measured from `origin` (zero if None). `rounding` is the particles' machine
    epsilon; a direction narrower than `SAFETY` roundings of the widest coordinate is not tested.
    """
    mean = np.asarray(law.mean)
    deviations = draws - (mean if origin is None else mean - origin)[None, :]
    if is_elementwise(law.operator):
        values = np.broadcast_to(np.asarray(entries(law.operator)), mean.shape)
        turned = deviations
    else:
        values, vectors = (np.asarray(x) for x in eigh(law.covariance))
        turned = deviations @ vectors
    top = max(values.max(initial=0.0), 0.0)
    scale = np.sqrt(np.mean(draws**2, axis=0).max(initial=0.0) + top)
    noise = scale * max(rounding, np.finfo(values.dtype).eps)
    inside = values > values.size * np.finfo(values.dtype).eps * top
    tested = inside & (values > (SAFETY * noise) ** 2)
    outside = turned[:, ~inside]
    leak = float(np.sqrt(np.mean(outside**2))) / max(noise, 1e-300) if outside.size else 0.0
    white = turned[:, tested] / np.sqrt(values[tested])[None, :]
    return Whitened(jnp.asarray(white), int((inside & ~tested).sum()), leak)
