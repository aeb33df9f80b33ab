"""What particles show of a stage's relaxation, with its Monte Carlo floor, at every save point."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from ...laws import Gaussian
from ...particles.methods.method import position_law
from ...particles.run import Run
from ...stages import AbstractChain
from ..resolved import resolved_whitener
from . import sampling
from .clock import Clock, clock_of, since_start, stage_rows
from .fit import Fit, fit_slope
from .lines import moments, walk


@dataclass(frozen=True)
class Series:
    """One distance at K save points: measured with its bias removed, exact, and how they agree.

    `error` is the standard deviation of `measured` under the exact law; `z` = (measured - exact) /
    error; `p_value` is two-sided, by the law of the sampling error. `floor` is the 95 % quantile
    of the raw (biased) number, and `floor_mean` its mean, for perfect draws of the steady law.
    `raw` is the number before its bias was removed. For W2 these five are of the square.
    """

    measured: np.ndarray
    exact: np.ndarray
    error: np.ndarray
    raw: np.ndarray
    p_value: np.ndarray
    floor_mean: float
    floor: float

    @property
    def z(self) -> np.ndarray:
        return (self.measured - self.exact) / np.where(self.error > 0, self.error, 1.0)


@dataclass(frozen=True)
class Points:
    """A stage's particles against the exact line of the law that moves them.

    `steps` and `times` (K,) count from the stage's start; `rows` are rows of the run. `kl`, `w2`
    (squared) and `energy` are distances to the method's own steady law, on its `rank` directions
    that particles resolve; `law_p_value` tests mean and covariance at once against the exact law
    of that moment. `fit` is the late slope of log KL; None with the reason in `no_fit`.
    """

    steps: np.ndarray
    times: np.ndarray
    rows: np.ndarray
    particles: int
    rank: int
    method: str
    kl: Series
    w2: Series
    energy: Series
    law_p_value: np.ndarray
    fit: Fit | None
    no_fit: str = ""

    @property
    def p_values(self) -> np.ndarray:
        """All p-values (4, K): KL, W2, energy, and all moments."""
        return np.stack([self.kl.p_value, self.w2.p_value, self.energy.p_value, self.law_p_value])

    def as_dict(self) -> dict:
        return dataclasses.asdict(self)


def points(process: AbstractChain, k: int, run: Run) -> Points | str:
    """The points of stage k of a run, or the reason why there are none."""
    clock, stage, d = clock_of(run.method), process.stages[k], process.dimension
    if stage.scheduled and clock.method.chain == "integrator":
        return "an integrator's steps on a schedule have no kernel in closed form; use SGD()"
    try:
        steady = clock.steady(stage)
        start = clock.enter(process, k)
        if run.moments.full is None:
            return "the run kept no covariances: simulate(..., observe=ou.Moments(covariance=True))"
    except ValueError as error:
        return str(error)
    rows = stage_rows(run, k)
    steps, times = (since_start(values, rows) for values in (run.steps, run.times))
    stretches = clock.stretches(stage, run, rows)
    means, covariances, matrices = _laws(clock, stage, start, stretches)
    rest, n = position_law(steady, d), run.particles
    white = resolved_whitener(run, rest, rows)
    rank = white.shape[0]
    if rank == 0:
        return "the steady law has no direction that the particles' rounding resolves"
    if n <= rank + 1:
        return f"{n} particles in {rank} directions: simulate more particles than directions"
    seen = [np.asarray(x, float)[rows] for x in (run.moments.mean, run.moments.covariance)]
    found = _compare((means[:, :d], covariances[:, :d, :d]), seen, n, rest, white, stage)
    kept = np.array([row is not None for row in found])
    if not kept.any():
        return "the law has another range than the steady law: KL is infinite at every save point"
    columns = list(zip(*(row for row in found if row is not None), strict=True))
    floors = _floors(rest, n, white, stage)
    kl, w2, energy = (
        _series(column, *floor) for column, floor in zip(columns[:3], floors, strict=True)
    )
    fit: Fit | str = "a schedule has no single rate"
    if matrices is not None:
        first = int(np.argmax(kept))  # a law keeps its range once it has that of the steady law
        fit = fit_slope(
            stretches[kept] * float(clock.size(stage)),
            kl.measured, kl.exact, kl.error, kl.floor, white,
            means[kept][:, :d] - np.asarray(rest.mean, float),
            covariances[kept], matrices[first + 1 :], n,
        )  # fmt: skip
    return Points(
        steps=steps[kept],
        times=times[kept],
        rows=rows[kept],
        particles=n,
        rank=rank,
        method=type(run.method).__name__,
        kl=kl,
        w2=w2,
        energy=energy,
        law_p_value=np.array(columns[3]),
        fit=None if isinstance(fit, str) else fit,
        no_fit=fit if isinstance(fit, str) else "",
    )


def _compare(laws, seen, n, rest, white, stage) -> list:
    """Per row ((raw, expected) of KL, W2^2 and energy, p of all moments), None where KL is inf."""
    origin, minimum = np.asarray(rest.mean, float), np.asarray(stage.minimum, float)
    root = sampling.symmetric_root(np.asarray(rest.covariance, float))
    hessian = np.asarray(stage.hessian.dense(), float)
    found = []
    for mean, covariance, mean_seen, covariance_seen in zip(*laws, *seen, strict=True):
        covariance_seen = covariance_seen * (n - 1) / n
        exact = white @ (mean - origin), white @ covariance @ white.T
        kl = sampling.kl_expected(*exact, n)
        if kl is None:
            found.append(None)
            continue
        measured = white @ (mean_seen - origin), white @ covariance_seen @ white.T
        # all moments at once: whiten by the exact law of this moment instead
        half = np.linalg.inv(np.linalg.cholesky(exact[1]))
        own = half @ (measured[0] - exact[0]), half @ measured[1] @ half.T
        null = sampling.kl_expected(np.zeros(len(white)), np.eye(len(white)), n)
        gap, gap_seen = mean - minimum, mean_seen - minimum
        energy = (np.sum(hessian * covariance_seen) + gap_seen @ hessian @ gap_seen) / 2
        found.append(
            (
                (sampling.kl_measured(*measured), kl),
                (
                    sampling.w2_squared(mean_seen - origin, covariance_seen, root),
                    sampling.w2_expected(mean - origin, covariance, root, n),
                ),
                (float(energy), sampling.energy_expected(gap, covariance, hessian, n)),
                sampling.two_sided(sampling.kl_measured(*own), null),
            )
        )
    return found


def _floors(rest, n, white, stage) -> list[tuple[float, float]]:
    """(mean, 95 % quantile) of what perfect draws of the steady law show."""
    covariance, r = np.asarray(rest.covariance, float), len(white)
    root = sampling.symmetric_root(covariance)
    hessian = np.asarray(stage.hessian.dense(), float)
    gap = np.asarray(rest.mean, float) - np.asarray(stage.minimum, float)
    nulls = (
        sampling.kl_expected(np.zeros(r), np.eye(r), n),
        sampling.w2_expected(np.zeros(len(covariance)), covariance, root, n),
        sampling.energy_expected(gap, covariance, hessian, n),
    )
    return [(null.mean, sampling.quantile(null, 0.95)) for null in nulls]


def _series(column, floor_mean: float, floor: float) -> Series:
    raw = np.array([value for value, _ in column])
    exact, mean, error = (np.array(x) for x in zip(*(e for _, e in column), strict=True))
    p = np.array([sampling.two_sided(value, e) for value, e in column])
    return Series(raw - (mean - exact), exact, error, raw, p, floor_mean, floor)


def _laws(clock: Clock, stage, start: Gaussian, stretches: np.ndarray):
    """The state's exact mean and covariance at the save points, and the matrices that lead to each
    from the one before (None under a schedule)."""
    if stage.scheduled:
        return *(np.asarray(x, float) for x in moments(clock, stage, start, stretches)), None
    gaps = np.diff(stretches, prepend=0.0)
    return tuple(np.asarray(x, float) for x in walk(clock, stage, start, gaps))
