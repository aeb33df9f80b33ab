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
    draws: Float[Array, "n d"], law: Gaussian, rounding: float, spread: float = 0.0
) -> Whitened:
    """Draws whitened by `law`; both measured from one point. Cost O(n d^2 + d^3), O(n d) diagonal.

    `rounding` is the particles' machine epsilon; a direction narrower than `SAFETY` roundings of
    the widest coordinate (or of `spread`, if that is larger) cannot be tested.
    """
    deviations = draws - law.mean[None, :]
    if is_elementwise(law.operator):
        values = np.broadcast_to(np.asarray(entries(law.operator)), law.mean.shape)
        turned = np.asarray(deviations)
    else:
        spectrum, vectors = eigh(law.covariance)
        values, turned = np.asarray(spectrum), np.asarray(deviations @ vectors)
    top = max(values.max(initial=0.0), 0.0)
    scale = np.sqrt(np.mean(np.asarray(draws) ** 2, axis=0).max(initial=0.0) + top)
    noise = max(scale, spread) * max(rounding, np.finfo(values.dtype).eps)
    inside = values > values.size * np.finfo(values.dtype).eps * top
    tested = inside & (values > (SAFETY * noise) ** 2)
    outside = turned[:, ~inside]
    leak = float(np.sqrt(np.mean(outside**2))) / max(noise, 1e-300) if outside.size else 0.0
    white = turned[:, tested] / np.sqrt(values[tested])[None, :]
    return Whitened(jnp.asarray(white), int((inside & ~tested).sum()), leak)
