"""One cell by the public functions: slower, and right where a Cholesky factor does not exist."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from .... import bounds
from ...._status import Status, first_failure, status_if
from ....linalg.spectrum import extreme_eigenvalues
from ..base import Outcome
from .config import TheoryConfig
from .problem import process_of
from .quantities import ROWS

LEAST_EXAMPLES = {"harel_simplified": 8, "mcallester_2003": 2}
"""Rows that refuse fewer examples; the others need one."""


def evaluate_one(config: TheoryConfig, quantities: tuple[str, ...]) -> Outcome:
    """What the batched program computes, through `two_stage_bound` and its neighbours.

    KL between singular laws is the one on their range, or infinite.
    """
    from .program import words

    with jax.enable_x64(True):
        found, status = _evaluate(config)
    values = {
        name: float(np.where(bool(status == Status.ok), found[name], np.nan)) for name in quantities
    }
    return Outcome(values, words(values, Status[status]))


def _evaluate(config: TheoryConfig):
    process, about = process_of(config), config.bound
    source, target = process.stages
    risks = [
        bounds.SaturatedRisk(s.hessian, s.minimum, floor=about.floor, scale=about.scale)
        if about.risk == "saturated"
        else about.floor
        for s in process.stages
    ]
    sizes = dict(n_source=about.n_source, n_target=about.n_target, delta=about.delta)
    both = bounds.two_stage_bound(
        process,
        **sizes,
        risk=risks[1],
        source_risk=risks[0],
        law=config.law,
        bound=about.row,
        throw=False,
    )
    found = bounds.discrepancy(process, law=config.law, throw=False)
    losses = bounds.expected_losses(process, law=config.law, throw=False)
    scratch = found.target.kl(process.initial)
    status = first_failure(*(_stability(s, config.law) for s in process.stages), both.status)
    half = about.delta / 2
    good = bool(status == Status.ok) and not bool(jnp.isnan(both.target.kl))
    kl, risk = (both.target.kl, both.target.risk) if good else (0.0, 0.0)
    left = _left(target, config.law)
    noise, hessian = target.noise.dense(), target.effective_hessian.dense()
    tilted = jnp.linalg.solve(hessian, noise)
    values = {
        "discrepancy": found.value,
        "discrepancy_trace": found.trace,
        "discrepancy_logdet": found.logdet,
        "discrepancy_shift": found.shift,
        "discrepancy_covariance": found.value - found.shift,
        "kl": both.target.kl,
        "kl_source": both.source.kl,
        "kl_scratch": scratch,
        "transfer_gain": both.transfer_gain,
        "risk": both.target.risk,
        "source_risk": both.source.risk,
        "target_bound": both.target.value,
        "gap": both.target.gap,
        "source_bound": both.source.value,
        "gap_source": both.source.gap,
        "gap_sum": both.gap_sum,
        "excess_loss": losses.target,
        "excess_loss_source": losses.source,
        "zero_shot": losses.zero_shot,
        "forgetting": losses.forgetting,
        "expected_gap": jnp.trace((jnp.eye(process.dimension) - left) @ tilted) / about.n_target,
        "relaxation_steps": _slowest(target, config.law),
        "relaxation_steps_source": _slowest(source, config.law),
        "temperature": target.temperature / (1 - target.momentum),
        **{
            f"target_bound.{row}": bounds.find_row(row)(risk, kl, about.n_target, half)
            for row in ROWS
            if about.n_target >= LEAST_EXAMPLES.get(row, 1)
        },
    }
    return {f"target_bound.{row}": np.nan for row in ROWS} | values, status


def _stability(stage, law: str):
    if law == "gibbs":
        return stage.status
    high = extreme_eigenvalues(stage.effective_hessian)[1]
    unstable = stage.learning_rate * high >= 2 * (1 + stage.momentum)
    return first_failure(stage.status, status_if(unstable, Status.unstable))


def _left(stage, law: str):
    """What is left of a start in the mean, on the position."""
    d = stage.dimension
    if law != "finite":
        return jnp.zeros((d, d))
    return stage.kernel(stage.steps).matrix.dense()[:d, :d]


def _slowest(stage, law: str) -> float:
    """Steps in which the slowest mode falls by e, from the eigenvalues of one step (or the SDE)."""
    if law == "gibbs":
        drift = np.asarray(stage.sde().drift.dense())
        return float(1 / (np.linalg.eigvals(drift).real.min() * float(stage.learning_rate)))
    radius = np.abs(np.linalg.eigvals(np.asarray(stage.kernel(1).matrix.dense()))).max()
    return float(-1 / np.log(radius)) if radius < 1 else np.inf
