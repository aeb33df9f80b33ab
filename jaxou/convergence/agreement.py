"""Where a model of training holds: direction by direction, how far the particles are from it."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._check import as_float
from .._typing import StageLike
from ..laws import Gaussian
from .claims import own_laws
from .pairing import is_finite, refuse_diverged, require_pair, require_share
from .sample import FEWEST, sample_of
from .whitening import whitening


@dataclass(frozen=True)
class Agreement:
    """Particles at a stage's end beside their model, in the model's own principal directions.

    All arrays have one entry per direction that the model moves in, widest first: `spread`, the
    model's standard deviation; `curvature`, that of the loss with its penalty; `ratio`, variance
    of the particles over that of the model, and `shift`, their mean in units of `spread`, each
    with its standard error (from the particles' own fourth moments). `trace` is the ratio of total
    variances, `frobenius` the relative error of the whole covariance, `floor` what that would be
    by chance alone; the first two are inf (or 1 and 0, if the particles are at rest too) for a
    model that does not move at all. `directions` (d, rank) holds the directions as columns.
    """

    stage: str
    tolerance: float
    confidence: float
    particles: int
    step_curvature: Float[np.ndarray, " rank"]
    spread: Float[np.ndarray, " rank"]
    curvature: Float[np.ndarray, " rank"]
    ratio: Float[np.ndarray, " rank"]
    ratio_error: Float[np.ndarray, " rank"]
    shift: Float[np.ndarray, " rank"]
    shift_error: Float[np.ndarray, " rank"]
    directions: Float[np.ndarray, "d rank"]
    trace: float
    frobenius: float
    floor: float

    @property
    def holds(self) -> np.ndarray:
        """Where the model is shown to be right within the tolerance (rank,)."""
        z = self._quantile()
        near = np.abs(self.ratio - 1) + z * self.ratio_error <= self.tolerance
        return near & (np.abs(self.shift) + z * self.shift_error <= self.tolerance)

    @property
    def fails(self) -> np.ndarray:
        """Where it is shown to be wrong by more than the tolerance; elsewhere: undecided."""
        z = self._quantile()
        far = np.abs(self.ratio - 1) - z * self.ratio_error > self.tolerance
        return far | (np.abs(self.shift) - z * self.shift_error > self.tolerance)

    def _quantile(self) -> float:
        # two numbers per direction, all of them right at once
        count = max(1, 2 * len(self.ratio))
        return NormalDist().inv_cdf(1 - (1 - self.confidence) / (2 * count))

    def sentence(self) -> str:
        """What was found, in one sentence."""
        rank, good, bad = len(self.ratio), int(self.holds.sum()), int(self.fails.sum())
        if rank == 0:
            return "the quadratic model moves in no direction that the particles resolve"
        worst = int(np.argmax(np.maximum(np.abs(self.ratio - 1), np.abs(self.shift))))
        return (
            f"the quadratic model of SGD is right within {100 * self.tolerance:g} % in {good} of "
            f"{rank} directions, wrong in {bad}, undecided in {rank - good - bad}; farthest off "
            f"where learning rate x curvature = {self.step_curvature[worst]:.2g}: variance "
            f"{self.ratio[worst]:.3g} (± {self.ratio_error[worst]:.1g}) of the model's, centre off "
            f"by {self.shift[worst]:.2g} (± {self.shift_error[worst]:.1g}) standard deviations; "
            f"total variance {self.trace:.3g} of the model's"
        )

    def __str__(self) -> str:
        lines = [f"{self.stage}: {self.sentence()}", ""]
        if not len(self.ratio):
            return lines[0]
        lines.append("  eta x curvature   spread      variance ratio      shift / spread")
        words = np.where(self.holds, "holds", np.where(self.fails, "FAILS", "undecided"))
        for k, word in enumerate(words[:20]):
            lines.append(
                f"  {self.step_curvature[k]:<16.3g}  {self.spread[k]:<10.3g}  "
                f"{self.ratio[k]:.3f} ± {self.ratio_error[k]:.3f}     "
                f"{self.shift[k]:+.3f} ± {self.shift_error[k]:.3f}    {word}"
            )
        if len(words) > 20:
            lines.append(f"  and {len(words) - 20} more directions")
        lines.append(
            f"  covariance: {100 * self.frobenius:.2g} % off in all (by chance "
            f"{100 * self.floor:.2g} %)"
        )
        return "\n".join(lines)


def agreement(
    run: Any,
    process: Any,
    *,
    stage: StageLike = -1,
    tolerance: Any = 0.1,
    confidence: Any = 0.99,
    directions: Any = None,
) -> Agreement:
    """How far a run's particles are from their model at a stage's end, direction by direction.

    For a run of `RealSGD` the model is SGD on the quadratic loss with Gaussian noise. A verdict
    says whether particles and law differ at all, which with enough particles they do; this says
    where, and whether it is by more than `tolerance` (relative for variances, in standard
    deviations for the centre), with `confidence` in all directions at once.

    `directions` (d, k), orthonormal columns such as the leading eigenvectors of a network's
    Hessian, asks about their span alone: cost O(particles d k), else O(particles d^2 + d^3).
    Raises `ValueError` for fewer than 100 particles, a process that the run cannot be of, a model
    that diverges, and directions that are not orthonormal.

    >>> import jax, jaxou as ou
    >>> stage = ou.Stage(hessian=[1.0, 2.0], noise=1.0, minimum=0.0, learning_rate=0.1,
    ...                  batch_size=4, steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0, 0.0], 0.0))
    >>> run = ou.simulate(chain, particles=20_000, key=jax.random.key(0))
    >>> agreement(run, chain).holds.tolist()
    [True, True]
    """
    require_pair(run, process, "agreement")
    index = process.index(stage)
    if run.particles < FEWEST:
        raise ValueError(
            f"{run.particles} particles say too little about variances: simulate at least {FEWEST}"
        )
    if not tolerance > 0:
        raise ValueError(f"tolerance={tolerance} must be positive: a share, such as 0.1")
    require_share(confidence, "confidence", "the probability that all directions are right")
    refuse_diverged(run.ends[index])
    law = own_laws(run.method, process)[index]
    if not is_finite(law):
        raise ValueError(
            "the model itself diverges: a learning rate above 2 / lambda_max of its Hessian? Lower "
            "it, or compare fewer steps"
        )
    span = None if directions is None else _orthonormal(directions, law.dimension)
    return compare(
        process.stages[index],
        run.names[index],
        law,
        np.asarray(run.ends[index]),
        np.asarray(run.centres[index]),
        tolerance,
        confidence,
        span,
    )


def _orthonormal(directions: Any, dimension: int) -> Float[Array, "d k"]:
    span = as_float(directions, "directions")
    if span.ndim != 2 or span.shape[0] != dimension or not 1 <= span.shape[1] <= dimension:
        raise ValueError(
            f"directions has shape {span.shape}: it must hold 1 to {dimension} directions as the "
            f"columns of an array ({dimension}, k)"
        )
    gap = float(jnp.abs(span.T @ span - jnp.eye(span.shape[1])).max())
    if not gap < 1e-6:
        raise ValueError(
            f"directions are not orthonormal (off by {gap:.2g}): take the first factor of "
            "jnp.linalg.qr(directions)"
        )
    return span


def compare(
    stage: Any,
    name: str,
    law: Gaussian,
    deviations: np.ndarray,
    origin: np.ndarray,
    tolerance: float = 0.1,
    confidence: float = 0.99,
    span: Float[Array, "d k"] | None = None,
) -> Agreement:
    """`agreement` for particles (n, d), measured from `origin`, or for their part in `span`."""
    bowl = stage.effective_hessian
    if span is not None:
        law = Gaussian(span.T @ law.mean, span.T @ law.operator.matmat(span))
        deviations = deviations @ np.asarray(span, deviations.dtype)
        origin = np.asarray(span.T @ origin)
    sample = sample_of(deviations)
    map_ = whitening(law, sample, float(jnp.finfo(deviations.dtype).eps), origin)
    draws = np.asarray(map_.draws(deviations), np.float64)
    n = len(draws)
    shift = draws.mean(axis=0)
    centred = draws - shift[None, :]
    ratio = (centred**2).sum(axis=0) / (n - 1)
    fourth = (centred**4).mean(axis=0)
    order = np.argsort(-map_.spread, kind="stable")
    basis = map_.kept()[:, order]
    directions = basis if span is None else np.asarray(span) @ basis
    curvature = np.sum(directions * np.asarray(bowl.matmat(jnp.asarray(directions))), axis=0)
    rate = float(np.asarray(stage.learning_rate).max())
    model, found = np.asarray(law.covariance), sample.covariance * n / (n - 1)
    size = np.linalg.norm(model)
    # E |S - C|^2 = (|C|^2 + tr(C)^2) / n for normal draws
    floor = _over(np.sqrt((size**2 + np.trace(model) ** 2) / n), size, 0.0)
    return Agreement(
        stage=name,
        tolerance=float(tolerance),
        confidence=float(confidence),
        particles=n,
        step_curvature=rate * curvature,
        spread=map_.spread[order],
        curvature=curvature,
        ratio=ratio[order],
        ratio_error=np.sqrt(np.maximum(fourth - ratio**2, 0.0) / n)[order],
        shift=shift[order],
        shift_error=np.sqrt(ratio / n)[order],
        directions=directions,
        trace=_over(np.trace(found), np.trace(model), 1.0),
        frobenius=_over(np.linalg.norm(found - model), size, 0.0),
        floor=floor,
    )


def _over(top: Any, bottom: Any, nothing: float) -> float:
    """top / bottom; `nothing` where both are zero, inf where the bottom alone is."""
    if bottom > 0:
        return float(top / bottom)
    return float("inf") if top > 0 else nothing
