"""What the theory says at every snapshot, and what particles and real SGD do beside it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ...config import RunConfig
from ...laws import Gaussian
from ...particles import SGD, Moments, Paths, simulate
from ...stages import TwoStage
from .cache import Arrays, Numbers
from .models import STAGES, snapshot_steps, stream

_PARTICLES = 3
PATHS = 1000
"""Particles whose whole paths are kept, for the bands of the trajectory figure."""
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def directions(arrays: Arrays) -> np.ndarray:
    """Two directions to watch, (d, 2): source to target optimum, and the target's steepest."""
    shift = arrays["finetune.point"] - arrays["pretrain.point"]
    return np.stack([shift / np.linalg.norm(shift), arrays["finetune.basis"][:, 0]], axis=1)


def theory(config: RunConfig, training: TwoStage, arrays: Arrays) -> tuple[Numbers, Arrays]:
    """The chain's law at every snapshot, seen in the tracked directions and along `directions`."""
    watch, origin = directions(arrays), arrays["pretrain.point"]
    numbers: Numbers = {}
    out: Arrays = {}
    for name in STAGES:
        basis = arrays[f"{name}.basis"]
        laws = laws_at(training, name, snapshot_steps(config, name))
        gibbs = getattr(training, name).gibbs()
        steady = getattr(training, name).stationary()
        projected = [project(law, basis) for law in laws]
        target = project(gibbs, basis)
        out[f"{name}.kl"] = np.array([float(law.kl(target)) for law in projected])
        out[f"{name}.w2"] = np.array([float(law.w2(target)) for law in projected])
        out[f"{name}.mean"] = np.stack([np.asarray(law.mean) for law in projected])
        out[f"{name}.covariance"] = np.stack([np.asarray(law.covariance) for law in projected])
        out[f"{name}.gibbs_mean"] = np.asarray(target.mean)
        out[f"{name}.gibbs_covariance"] = np.asarray(target.covariance)
        out[f"{name}.watch_mean"] = np.stack([(np.asarray(q.mean) - origin) @ watch for q in laws])
        out[f"{name}.watch_sd"] = np.stack(
            [
                np.sqrt(np.einsum("ij,ik,kj->j", watch, np.asarray(q.covariance), watch))
                for q in laws
            ]
        )
        numbers[name] = {
            "kl_to_gibbs": float(laws[-1].kl(gibbs)),
            "w2_to_gibbs": float(laws[-1].w2(gibbs)),
            "w2_to_gibbs_at_start": float(laws[0].w2(gibbs)),
            "kl_to_gibbs_tracked": float(out[f"{name}.kl"][-1]),
            "w2_to_gibbs_tracked": float(out[f"{name}.w2"][-1]),
            "w2_discretisation": float(steady.w2(gibbs)),
            "spread_now": float(jnp.trace(laws[-1].covariance)),
            "spread_gibbs": float(jnp.trace(gibbs.covariance)),
            "spread_sgd_steady": float(jnp.trace(steady.covariance)),
        }
    return numbers, out


def laws_at(training: TwoStage, name: str, steps: list[int]) -> list[Gaussian]:
    """The chain's position laws after the given steps of a stage, each from the one before it.

    Kernels compose, so equal gaps need one kernel between them: O(d^3) for each different gap.
    """
    index = training.index(name)
    stage = training.stages[index]
    before = training.initial
    if index:
        before = training.state_law(index - 1, step=training.stages[index - 1].steps)
    state, kernels = training.enter(index, before), {}
    laws = []
    for start, end in zip([0, *steps], steps, strict=False):
        gap = end - start
        if gap and gap not in kernels:
            kernels[gap] = stage.kernel(gap)
        state = kernels[gap](state) if gap else state
        laws.append(training.position(state))
    return laws


def project(law: Gaussian, basis: np.ndarray) -> Gaussian:
    """The marginal law of basis^T x, for orthonormal columns (d, k)."""
    u = jnp.asarray(basis)
    covariance = u.T @ law.covariance @ u
    return Gaussian(u.T @ law.mean, (covariance + covariance.T) / 2)


def simulate_particles(config: RunConfig, training: TwoStage) -> Any:
    """All particles through both stages, by SGD's own kernel."""
    return simulate(
        training,
        particles=config.particles,
        key=stream(config, _PARTICLES),
        method=SGD(),
        save=config.snapshots,
        observe=(Moments(covariance=True), Paths(min(PATHS, config.particles))),
    )


def watch_particles(
    config: RunConfig, run: Any, arrays: Arrays, law: Arrays
) -> tuple[Numbers, Arrays]:
    """Particles in the tracked directions: moments, distances, clouds."""
    watch, origin = directions(arrays), arrays["pretrain.point"]
    owner = np.asarray(run.stages)
    mean = np.asarray(run.moments.mean, dtype=float)
    covariance = np.asarray(run.moments.covariance, dtype=float)
    paths = np.asarray(run.paths, dtype=float)
    numbers: Numbers = {"particles": config.particles}
    out: Arrays = {}
    for index, name in enumerate(STAGES):
        basis = arrays[f"{name}.basis"]
        rows = np.flatnonzero(owner == index)[-config.snapshots :]
        rows = np.concatenate([[rows[0] - 1], rows])  # the stage's start is the end of the last
        target = Gaussian(law[f"{name}.gibbs_mean"], law[f"{name}.gibbs_covariance"])
        seen = [_fitted(basis, mean[row], covariance[row]) for row in rows]
        out[f"{name}.kl"] = np.array([float(q.kl(target)) for q in seen])
        out[f"{name}.w2"] = np.array([float(q.w2(target)) for q in seen])
        along = (paths[rows] - origin) @ watch  # (saves, paths, 2)
        out[f"{name}.quantiles"] = np.moveaxis(np.quantile(along, LEVELS, axis=1), 0, 1)
        ends = np.asarray(run.stage_ends[index], dtype=float) @ basis
        out[f"{name}.cloud"] = ends[:4000]
        own = (law[f"{name}.mean"][-1], law[f"{name}.covariance"][-1])
        out[f"{name}.mahalanobis"] = squared_mahalanobis(ends, *own)
        count, k = config.particles, basis.shape[1]
        numbers[name] = {
            "kl_to_gibbs_tracked": float(out[f"{name}.kl"][-1]),
            "kl_floor_tracked": k * (k + 3) / (4 * count),
            "w2_to_gibbs_tracked": float(out[f"{name}.w2"][-1]),
            "w2_floor_tracked": w2_floor(law[f"{name}.gibbs_covariance"], count),
        }
    return numbers, out


def watch_sgd(sgd: Arrays, arrays: Arrays, law: Arrays) -> tuple[Numbers, Arrays]:
    """Real SGD runs in the same directions, and how far their law is from the model's."""
    watch, origin = directions(arrays), arrays["pretrain.point"]
    numbers: Numbers = {}
    out: Arrays = {}
    for name in STAGES:
        basis, paths = arrays[f"{name}.basis"], sgd[f"{name}.paths"]
        target = Gaussian(law[f"{name}.gibbs_mean"], law[f"{name}.gibbs_covariance"])
        seen = [
            Gaussian(x.mean(axis=0), np.cov(x, rowvar=False), check=False) for x in paths @ basis
        ]
        ends, count = sgd[f"{name}.final"], len(sgd[f"{name}.final"])
        own_mean, own = law[f"{name}.mean"][-1], law[f"{name}.covariance"][-1]
        out[f"{name}.w2"] = np.array([float(q.w2(target)) for q in seen])
        out[f"{name}.watch"] = (paths - origin) @ watch
        out[f"{name}.cloud"] = ends @ basis
        out[f"{name}.mahalanobis"] = squared_mahalanobis(ends @ basis, own_mean, own)
        measured = np.var(ends @ basis, axis=0, ddof=1)
        gap = (ends @ basis).mean(axis=0) - own_mean
        numbers[name] = {
            "variance_tracked": float(measured.sum()),
            "variance_tracked_standard_error": float(
                np.sqrt(2 * np.sum(np.cov(ends @ basis, rowvar=False) ** 2) / (count - 1))
            ),
            "variance_tracked_theory": float(np.trace(own)),
            "mean_gap_tracked": float(np.linalg.norm(gap)),
            "mean_gap_floor_tracked": float(np.sqrt(measured.sum() / count)),
            "w2_to_gibbs_tracked": float(out[f"{name}.w2"][-1]),
            "w2_floor_tracked": w2_floor(law[f"{name}.gibbs_covariance"], count),
        }
    return numbers, out


def _fitted(basis: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> Gaussian:
    """The Gaussian with the particles' moments, in the directions of `basis`."""
    inner = basis.T @ covariance @ basis
    return Gaussian(basis.T @ mean, (inner + inner.T) / 2, check=False)


def squared_mahalanobis(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """(x - mean)^T covariance^-1 (x - mean) of each row, by a Cholesky factor."""
    white = np.linalg.solve(np.linalg.cholesky(covariance), (x - mean).T)
    return np.sum(white**2, axis=0)


def w2_floor(covariance: np.ndarray, count: int) -> float:
    """Root mean square of W2 between N(m, S) and the Gaussian fitted to n of its draws.

    E W2^2 = tr S / n + (1/2n) [sum_ij l_i l_j / (l_i + l_j) + (1/2) sum l_i] to first order in 1/n.

    >>> w2_floor(np.eye(1), 100) ** 2 * 100  # 1 for the mean, 1/2 for the standard deviation
    1.5
    """
    values = np.clip(np.linalg.eigvalsh(covariance), 0.0, None)
    total = values[:, None] + values[None, :]
    pairs = np.divide(np.outer(values, values), total, out=np.zeros_like(total), where=total > 0)
    return float(np.sqrt((values.sum() + 0.5 * (pairs.sum() + 0.5 * values.sum())) / count))
