"""Time reversal seen by particles: the antisymmetric part of the lag covariance."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...laws import Gaussian
from ...particles.run import Run
from ...stages import AbstractChain, Stage
from ..pairing import refuse_diverged
from ..relaxation import clock_of, stage_rows
from ..relaxation.lines import walk
from ..relaxation.modes import modes_of
from ..resolved import resolved_whitener
from ..sample import FEWEST
from .pairs import pair_divergence, reversal_divergence

FLIPS = 999
ENTRIES = 2**24
"""Numbers (particles x pairs of coordinates) up to which sign flips are drawn."""
ERRORS_TO = 64
"""Largest dimension for which R's entries get standard errors."""
AT_REST = 0.05
"""Largest KL(law || steady law) x particles of the save points that are used."""


@dataclass(frozen=True)
class Reversal:
    """What particles at rest say of the current; `lag` apart in flow time, over `rows` of the run.

    Against reversibility (reading paths backwards is then an exact symmetry):

    - `p_reversible`: all entries of the antisymmetric part of the lag covariance together, by
      `null`: flips of whole paths in time, or chi-square;
    - `amplitude` +- `amplitude_error`: the current in units of the predicted one, in the direction
      where it is best seen: 1 if the law is right, 0 without current, -1 if it turns the other
      way. None where no current is predicted. `p_direction` tests amplitude 0 against both signs.

    Against the law: `p_law`, all entries against the predicted ones (chi-square).

    `current` (d, d) estimates R (with the Hessian known, the lag costs no bias), `current_error`
    its standard errors (None above 64 dimensions), `current_exact` what it estimates: (A S - S A)/2
    with the method's own S. `production` +- `production_error`: KL(pair || reversed pair) per unit
    flow time, from the pairs alone and without bias; `production_exact` is its exact value, which
    grows to the entropy production as the lag shrinks.
    """

    method: str
    particles: int
    rows: np.ndarray
    lag: float
    rank: int
    p_reversible: float
    null: str
    amplitude: float | None
    amplitude_error: float | None
    p_direction: float | None
    p_law: float
    current: np.ndarray
    current_error: np.ndarray | None
    current_exact: np.ndarray
    production: float
    production_error: float
    production_exact: float


def reversal(stage: Stage, run: Run, which: int, process: AbstractChain | None, key) -> Any:
    """A `Reversal`, or the reason why there is none."""
    if run.paths is None:
        return "the run kept no paths: simulate(..., save=K, observe=ou.Paths(particles))"
    count, d = run.paths.shape[1:]
    if count < FEWEST:
        return f"only {count} paths were kept, {FEWEST} are needed: observe=ou.Paths(10_000)"
    refuse_diverged(run.paths)
    clock = clock_of(run.method)
    try:
        steady = clock.steady(stage)
    except ValueError as error:
        return str(error)
    if steady.dimension != d:
        return "the method gives particles a velocity, which reverses with time"
    rows = stage_rows(run, which)
    stretches = clock.stretches(stage, run, rows)
    white = resolved_whitener(run, steady, rows)
    r = white.shape[0]
    if r < 2:
        return f"a current needs two directions with spread, the steady law has {r}"
    if count <= 4 * r + 8:
        return f"{count} paths in {r} directions: keep more than {4 * r + 8}"
    start = clock.enter(process, which) if process is not None else _seen(run, int(rows[0]))
    at_rest = _at_rest(clock, stage, start, stretches, steady, white, run.particles)
    rows, stretches = rows[at_rest:], stretches[at_rest:]
    if len(rows) < 2:
        return (
            "fewer than two save points are at rest: start at the method's steady law, initial="
            "stage.stationary() for SGD and stage.gibbs() for Exact, run longer, or save more often"
        )
    gaps = np.diff(stretches)
    if np.ptp(gaps) > 1e-9 * gaps[0]:
        return (
            "save points at rest are not equally spaced: choose save= so that it divides the steps"
        )
    matrix = np.asarray(clock.kernel(stage, float(gaps[0])).matrix.dense(), float)
    lag = float(gaps[0]) * float(clock.size(stage))
    points = np.asarray(run.paths, float)[rows] - np.asarray(steady.mean, float)
    found = _Statistics(points, white, matrix, np.asarray(steady.covariance, float), key)
    current = _current(stage, steady, matrix, points)
    if isinstance(current, str):
        return current
    divergence = pair_divergence(jnp.asarray(points @ white.T))
    return Reversal(
        method=type(run.method).__name__,
        particles=count,
        rows=rows,
        lag=lag,
        rank=r,
        p_reversible=found.p_reversible,
        null=found.null,
        amplitude=found.amplitude,
        amplitude_error=found.amplitude_error,
        p_direction=found.p_direction,
        p_law=found.p_law,
        current=current[0],
        current_error=current[1],
        current_exact=current[2],
        production=float(divergence.estimate) / lag,
        production_error=float(divergence.standard_error) / lag,
        production_exact=float(reversal_divergence(jnp.asarray(found.exact_lag))) / lag,
    )


def _seen(run: Run, row: int) -> Gaussian:
    mean, covariance = run.moments.mean[row], run.moments.covariance[row]
    return Gaussian(jnp.asarray(mean, float), jnp.asarray(covariance, float), check=False)


def _at_rest(clock, stage, start, stretches, steady, white, particles) -> int:
    """The first row from which on the law differs from the steady one by less than can be seen."""
    means, covariances, _ = walk(clock, stage, start, np.diff(stretches, prepend=0.0))
    shift = (np.asarray(means, float) - np.asarray(steady.mean, float)) @ white.T
    spread = white @ np.asarray(covariances, float) @ white.T
    values = np.linalg.eigvalsh(spread)
    safe = np.maximum(values, np.finfo(float).tiny)
    kl = (np.sum(values - 1 - np.log(safe), axis=1) + np.sum(shift**2, axis=1)) / 2
    moving = np.flatnonzero(kl * particles > AT_REST)
    return 0 if moving.size == 0 else int(moving[-1]) + 1


class _Statistics:
    """Tests of the antisymmetric part of the lag covariance, in coordinates in which its entries
    are uncorrelated for a reversible process: whitened, and turned into the basis of the symmetric
    part."""

    def __init__(self, points, white, matrix, covariance, key):
        self.exact_lag = white @ matrix @ covariance @ white.T
        _, basis = np.linalg.eigh((self.exact_lag + self.exact_lag.T) / 2)
        turned = basis.T @ self.exact_lag @ basis
        upper = np.triu_indices(len(white), 1)
        exact = ((turned - turned.T) / 2)[upper]
        n = points.shape[1]
        z = points @ (white.T @ basis)
        mean, second = np.zeros(exact.size), np.zeros(exact.size)
        keep = n * exact.size <= ENTRIES
        kept = []
        block = max(1, ENTRIES // (4 * exact.size))
        for first in range(0, n, block):
            each = _antisymmetric(z[:, first : first + block], upper)
            mean += each.sum(axis=0) / n
            second += (each**2).sum(axis=0) / n
            if keep:
                kept.append(each)
        each = np.concatenate(kept) if keep else None
        # under reversal every entry changes sign, so its mean square is what does not change
        null_error = np.sqrt(second / n)
        self.null, self.p_reversible = self._omnibus(mean, null_error, each, key)
        self.p_law = self._against(mean - exact, np.maximum(second - mean**2, 0) / n, each)
        self.amplitude = self.amplitude_error = self.p_direction = None
        scale = np.sqrt(np.sum(np.diag(turned) ** 2))
        if np.sqrt(np.sum(exact**2)) > 1e-9 * scale:
            self._directed(mean, exact, null_error, z, upper, block)

    def _against(self, gap, variance, each):
        """All entries against the law's; with their covariance where there are draws enough."""
        if each is None or len(each) < 20 * gap.size:
            return _chi2(gap**2 / variance)
        covariance = np.atleast_2d(np.cov(each.T)) / len(each)
        return _chi2(np.array([gap @ np.linalg.solve(covariance, gap)]), gap.size)

    def _omnibus(self, mean, null_error, each, key):
        statistic = np.sum((mean / null_error) ** 2)
        if each is None:
            return f"chi2({mean.size})", _chi2((mean / null_error) ** 2)
        exceed, scaled = 0, each / null_error / len(each)
        for k in range(0, FLIPS, 111):
            signs = jax.random.rademacher(jax.random.fold_in(key, k), (111, len(each)), dtype=float)
            flipped = np.asarray(signs, float) @ scaled
            exceed += int(np.sum(np.sum(flipped**2, axis=1) >= statistic))
        return f"{FLIPS} flips of time", (1 + exceed) / (1 + FLIPS)

    def _directed(self, mean, exact, null_error, z, upper, block):
        from scipy.special import ndtr  # scipy comes with jax

        weights = exact / null_error**2
        weights = weights / np.sum(weights * exact)
        total, n = 0.0, z.shape[1]
        for first in range(0, n, block):
            each = _antisymmetric(z[:, first : first + block], upper) @ weights
            total += float(np.sum(each**2))
        self.amplitude = float(weights @ mean)
        self.amplitude_error = float(np.sqrt(max(total / n - self.amplitude**2, 0.0) / n))
        self.p_direction = float(2 * ndtr(-abs(self.amplitude) / np.sqrt(total / n**2)))


def _antisymmetric(z: np.ndarray, upper) -> np.ndarray:
    """(n, pairs of coordinates): (z'_i z_j - z'_j z_i) / 2, averaged over successive times."""
    i, j = upper
    total = 0.0
    for before, after in zip(z[:-1], z[1:], strict=True):
        total = total + after[:, i] * before[:, j] - after[:, j] * before[:, i]
    return total / (2 * (len(z) - 1))


def _chi2(squares: np.ndarray, degrees: int | None = None) -> float:
    from scipy.special import gammaincc

    return float(gammaincc((degrees or squares.size) / 2, np.sum(squares) / 2))


def _current(stage: Stage, steady: Gaussian, matrix: np.ndarray, points: np.ndarray):
    """R from the lag covariance: in the modes its antisymmetric part is (m_i - m_j) S_ij / 2, and R
    is (a_i - a_j) S_ij / 2. (estimate, standard errors or None, exact), or why not."""
    modes, d = modes_of(stage), stage.dimension
    a = np.asarray(modes.curvature, float)
    basis = np.eye(d) if modes.basis is None else np.asarray(modes.basis, float)
    root = np.eye(d) if modes.root is None else np.asarray(modes.root.dense(), float)
    out, into = root @ basis, basis.T @ np.linalg.inv(root)
    factors = np.diag(into @ matrix @ out)
    gap, change = a[:, None] - a[None, :], factors[:, None] - factors[None, :]
    blind = (np.abs(change) <= 1e-12) & (np.abs(gap) > 1e-9 * np.abs(a).max())
    if blind.any():
        i, j = np.argwhere(blind)[0]
        return (
            f"over this lag directions {i} and {j} look alike (their factors are equal), which "
            "hides a current between them: save at another distance, an odd number of steps"
        )
    gain = np.where(blind | (change == 0), 0.0, gap / np.where(change == 0, 1.0, change))
    modal = points @ into.T
    spread = into @ np.asarray(steady.covariance, float) @ into.T
    exact = out @ (gap * spread / 2) @ out.T

    n = points.shape[1]
    lagged = np.einsum("tni,tnj->ij", modal[1:], modal[:-1]) / ((len(modal) - 1) * n)
    estimate = out @ (gain * (lagged - lagged.T) / 2) @ out.T
    if d > ERRORS_TO:
        return estimate, None, exact
    square = np.zeros((d, d))
    block = max(1, 2**22 // d**2)
    for first in range(0, n, block):
        z = modal[:, first : first + block]
        each = np.einsum("tni,tnj->nij", z[1:], z[:-1]) / (len(z) - 1)
        each = gain * (each - each.transpose(0, 2, 1)) / 2
        square += np.sum((out @ each @ out.T) ** 2, axis=0) / n
    return estimate, np.sqrt(np.maximum(square - estimate**2, 0.0) / n), exact
