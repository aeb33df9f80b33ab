"""What a verdict would notice: its power against a wrong law, and how many particles it takes.

Seen from the claimed law, particles of another Gaussian law are normal with a mean m and a
covariance V in the claimed law's own units. All statistics are simulated on such draws and decided
as a verdict decides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._check import as_count, as_float, as_key
from ..laws import Gaussian
from ..linalg import sqrtm
from .pairing import require_share
from .sample import FEWEST, Sample
from .statistics import as_statistics, joint_null, smallest_p_law, standard, values
from .whitening import whitening

MOST = 10**7


@dataclass(frozen=True)
class Prediction:
    """`power`: probability that a verdict on `particles` rejects at `level`, with its standard
    error from the replicates; `best`: the statistic that rejects most often by itself."""

    particles: int
    power: float
    standard_error: float
    level: float
    best: str


def predict_power(
    claimed: Any,
    truth: Any,
    particles: Any,
    *,
    level: Any = 0.01,
    statistics: Any = None,
    replicates: Any = 400,
    key: Any = None,
) -> Prediction:
    """How often a verdict on one stage would reject `claimed` if the particles follow `truth`.

    **Arguments:** `truth`, a `Gaussian` law, or a function (key, n) -> draws (n, r) in the claimed
    law's own units for any other; `particles` of each run; `level` and `statistics` as in
    `verdict`; `replicates`, simulated runs.

    Cost: `replicates` evaluations of all statistics on `particles` draws, and the null laws. Raises
    `ValueError` or `TypeError` where no statistic exists, and for arguments that cannot be.

    >>> wide = Gaussian([0.0], 1.6)
    >>> found = predict_power(Gaussian([0.0], 1.0), wide, 400, replicates=50)
    >>> found.power > 0.9
    True
    """
    require_share(level, "level", "the probability of a false alarm")
    particles = as_count(particles, "particles", 2)
    replicates = as_count(replicates, "replicates")
    statistics = standard(pairs=False) if statistics is None else as_statistics(statistics)
    sampler, r = _sampler(claimed, truth)
    key = jax.random.key(0) if key is None else as_key(key)
    able = tuple(s for s in statistics if s.used(particles, r).draws >= s.fewest(r))
    if not able:
        raise ValueError(
            f"no statistic exists for {particles} particles in {r} directions: give more particles"
        )
    joint = joint_null(able, particles, r)
    p = _p_values(able, sampler, particles, r, joint, jax.random.split(key, replicates))
    critical = max(level / len(able), float(np.quantile(smallest_p_law(joint), level)))
    rejected = p.min(axis=1) <= critical
    share = float(rejected.mean())
    # Agresti and Coull's centre keeps the error honest at 0 and 1
    centre = (rejected.sum() + 2) / (replicates + 4)
    error = float((centre * (1 - centre) / (replicates + 4)) ** 0.5)
    best = able[int((p <= critical).sum(axis=0).argmax())].name
    return Prediction(particles, share, error, level, best)


def _sampler(claimed: Any, truth: Any) -> tuple[Callable, int]:
    _require_gaussian(claimed, "claimed")
    d = claimed.dimension
    if not isinstance(truth, Gaussian):
        if not callable(truth):
            raise TypeError(
                "truth must be a Gaussian law, or a function (key, n) -> draws in the claimed "
                f"law's units, got {type(truth).__name__}"
            )
        return truth, jax.eval_shape(lambda k: truth(k, 2), jax.random.key(0)).shape[1]
    if truth.dimension != d:
        raise ValueError(f"the laws have dimensions {d} and {truth.dimension}")
    sample = Sample(1, np.asarray(truth.mean), np.asarray(truth.covariance))
    # no rounding: predictions are about laws, not about one precision
    white = whitening(claimed, sample, 0.0)
    if not white.rank:
        raise ValueError("claimed is one point, which no statistic can be about: give it spread")
    mean, covariance = white.moments(sample)
    root = sqrtm(jnp.asarray(covariance))

    def draw(key, n):
        return as_float(mean)[None, :] + jax.random.normal(key, (n, len(mean)), root.dtype) @ root

    return draw, len(mean)


def _require_gaussian(law: Any, name: str) -> None:
    if not isinstance(law, Gaussian):
        raise TypeError(f"{name} must be a Gaussian law, got {type(law).__name__}")


def _p_values(statistics, sampler, n, r, joint, keys) -> np.ndarray:
    @eqx.filter_jit
    def run(keys):
        return lax.map(lambda k: values(statistics, sampler(k, n).astype(jnp.float32))[0], keys)

    found = run(keys)
    laws = [s.null(n, r, joint=joint) for s in statistics]
    p = [jax.jit(jax.vmap(law.p_value))(found[:, i]) for i, law in enumerate(laws)]
    return np.stack([np.asarray(x, np.float64) for x in p], axis=1)


def particles_to_notice(
    claimed: Any,
    truth: Any,
    *,
    level: Any = 0.01,
    power: Any = 0.8,
    statistics: Any = None,
    replicates: Any = 400,
) -> Prediction:
    """The fewest particles with which a verdict rejects `claimed` with probability `power`.

    Found by bisection on the simulated power, within 5 %; the `Prediction` there is returned. A
    verdict takes no fewer than 100.
    Raises `ValueError` where more than ten million would be needed (the laws are then the same for
    all purposes). Cost: about a dozen calls of `predict_power`.

    >>> import jaxou as ou
    >>> from .statistics import MeanChi2
    >>> shifted = ou.Gaussian([0.2], 1.0)
    >>> found = particles_to_notice(ou.Gaussian([0.0], 1.0), shifted, statistics=(MeanChi2(),))
    >>> 250 < found.particles < 340  # (2.58 + 0.84)^2 / 0.2^2 = 292
    True
    """
    _require_gaussian(claimed, "claimed")
    _require_gaussian(truth, "truth")
    require_share(power, "power", "the probability that a verdict rejects")
    chance = lambda n: predict_power(
        claimed, truth, n, level=level, statistics=statistics, replicates=replicates
    )
    distance = float(truth.kl(claimed))
    if not distance > 0:
        raise ValueError("the two laws are equal: no number of particles tells them apart")
    # 2 n KL is the noncentrality of the most complete test: a start within a small factor
    r = claimed.dimension
    start = (3 + (r * (r + 3) / 2) ** 0.5) / (2 * distance)
    fewest = max(2 * r + 4, FEWEST)
    low = high = max(int(start), fewest)
    found = chance(high)
    while found.power < power:
        low, high = high, 2 * high
        if high > MOST:
            raise ValueError(
                f"the laws differ by KL {distance:.2g} nats: more than {MOST:,} particles would be "
                "needed to notice"
            )
        found = chance(high)
    while low == high and low > fewest:
        low = max(low // 2, fewest)
        before = chance(low)
        if before.power >= power:
            high, found = low, before
    while high > 1.05 * low:
        middle = (low + high) // 2
        here = chance(middle)
        low, high, found = (low, middle, here) if here.power >= power else (middle, high, found)
    return found
