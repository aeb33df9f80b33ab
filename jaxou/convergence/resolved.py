"""Which directions of a law a run's particles resolve."""

import numpy as np
from jaxtyping import Float

from ..laws import Gaussian
from ..particles.run import Run
from .whitening import SAFETY


def resolved_whitener(run: Run, law: Gaussian, rows: np.ndarray) -> Float[np.ndarray, "rank d"]:
    """W with W S W^T = I on the directions of the law that are wider than the particles' rounding.

    A direction narrower than `SAFETY` roundings of the widest coordinate that the particles have at
    these rows of the run is left out, as are directions without spread. Cost O(d^3).
    """
    values, vectors = np.linalg.eigh(np.asarray(law.covariance, float))
    top = max(values[-1], 0.0)
    scale = np.sqrt(np.asarray(run.moments.variance, float)[rows].max(initial=0.0) + top)
    noise = SAFETY * scale * np.finfo(run.dtype).eps
    inside = (values > values.size * np.finfo(float).eps * top) & (values > noise**2)
    return (vectors[:, inside] / np.sqrt(values[inside])).T
