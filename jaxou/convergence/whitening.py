"""Whitening by a law of any rank, on the directions that particles can resolve."""

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..laws import Gaussian
from ..linalg import eigh
from ..linalg.algebra import entries, is_elementwise
from .sample import BLOCK, Sample, sample_of

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


@dataclass(frozen=True)
class Whitening:
    """The map from deviations to a law's own units, and what it leaves out.

    `vectors` is None where the law is diagonal; `tested` marks the directions that are kept and
    `spread` holds their standard deviations; `outside` marks those in which the law is still.
    """

    centre: Float[np.ndarray, " d"]
    vectors: Float[np.ndarray, "d d"] | None
    tested: np.ndarray
    outside: np.ndarray
    spread: Float[np.ndarray, " rank"]
    noise: float

    @property
    def rank(self) -> int:
        return len(self.spread)

    @property
    def unresolved(self) -> int:
        return int((~self.tested & ~self.outside).sum())

    def draws(self, deviations: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n rank"]:
        """All particles whitened, in their own precision, block by block."""
        white = np.empty((len(deviations), self.rank), deviations.dtype)
        for start in range(0, len(white), BLOCK):
            rows = slice(start, start + BLOCK)
            gaps = deviations[rows] - self.centre[None, :]
            turned = gaps[:, self.tested] if self.vectors is None else gaps @ self.kept()
            white[rows] = turned / self.spread[None, :]
        return white

    def moments(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """(mean, covariance over 1/n) of the whitened particles, from their own moments."""
        basis = self.kept() / self.spread[None, :]
        return (sample.mean - self.centre) @ basis, basis.T @ sample.covariance @ basis

    def leak(self, sample: Sample) -> float:
        """Root mean square along the directions in which the law is still, in roundings."""
        if not self.outside.any():
            return 0.0
        basis = self._basis()[:, self.outside]
        mean = (sample.mean - self.centre) @ basis
        square = mean**2 + ((sample.covariance @ basis) * basis).sum(axis=0)
        return float(np.sqrt(max(square.mean(), 0.0))) / max(self.noise, 1e-300)

    def _basis(self):
        return np.eye(len(self.centre)) if self.vectors is None else self.vectors

    def kept(self) -> Float[np.ndarray, "d rank"]:
        """The directions that are tested, as columns."""
        return self._basis()[:, self.tested]


def whitening(
    law: Gaussian,
    sample: Sample,
    rounding: float,
    origin: Float[np.ndarray, " d"] | None = None,
) -> Whitening:
    """How `law` whitens particles of that size. Cost O(d^3), O(d) for a diagonal law.

    Particles are measured from `origin` (zero if None). `rounding` is their machine epsilon; a
    direction narrower than `SAFETY` roundings of the widest coordinate is not tested.
    """
    mean = np.asarray(law.mean)
    vectors = None
    if is_elementwise(law.operator):
        values = np.broadcast_to(np.asarray(entries(law.operator)), mean.shape)
    else:
        values, vectors = (np.asarray(x) for x in eigh(law.covariance))
    top = max(values.max(initial=0.0), 0.0)
    square = sample.mean**2 + np.diagonal(sample.covariance)
    scale = np.sqrt(square.max(initial=0.0) + top)
    noise = float(scale) * max(rounding, float(np.finfo(values.dtype).eps))
    inside = values > values.size * np.finfo(values.dtype).eps * top
    tested = inside & (values > (SAFETY * noise) ** 2)
    centre = mean if origin is None else mean - origin
    return Whitening(centre, vectors, tested, ~inside, np.sqrt(values[tested]), noise)


def whiten(
    draws: Float[np.ndarray, "n d"],
    law: Gaussian,
    rounding: float,
    origin: Float[np.ndarray, " d"] | None = None,
) -> Whitened:
    """Draws whitened by `law`; see `whitening`. Cost O(n d^2 + d^3).

    >>> import jaxou as ou
    >>> found = whiten(np.array([[2.0], [-2.0]]), ou.Gaussian([0.0], 4.0), 1e-16)
    >>> found.draws.tolist()
    [[1.0], [-1.0]]
    """
    sample = sample_of(draws)
    map_ = whitening(law, sample, rounding, origin)
    return Whitened(jnp.asarray(map_.draws(np.asarray(draws))), map_.unresolved, map_.leak(sample))
