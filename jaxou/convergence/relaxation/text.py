"""A relaxation in words."""

import math

import numpy as np

from ..text import number
from .relaxation import Path, Relaxation, StageRelaxation


def page(found: Relaxation) -> str:
    """All stages, then what particles say of the lines."""
    lines = []
    for stage in found.stages:
        lines += [*_stage(stage), ""]
    if found.p_value is not None:
        verdict = {
            "on the line": "The particles are on the exact lines",
            "off the line": "The particles are NOT on the exact lines",
        }[found.decision]
        lines.append(f"{verdict}: p = {number(found.p_value)} for all points together.")
    lines.append(
        "KL in nats, 0 if two laws are equal; W2 in the units of the parameters; energy is "
        "E[L - L*]."
    )
    return "\n".join(lines)


def _stage(stage: StageRelaxation) -> list[str]:
    lines = [f"{stage.name}: {stage.steps:g} steps, flow time {stage.duration:.4g}"]
    lines += [
        "  SGD's chain:  " + _path(stage.chain, "steps"),
        "  the SDE:      " + _path(stage.sde, "flow"),
    ]
    r = stage.rates
    lines.append(
        f"  rates: KL falls at least like exp(-2 kappa s), kappa = {number(float(r.kappa))}; "
        f"slowest mode {number(float(r.slowest))} per flow time; SGD contracts by "
        f"{float(r.contraction):.6g} per step"
    )
    late = r.late
    cause = (
        f"the mean's shift along direction {int(late.mode)}"
        if bool(late.by_mean)
        else f"the covariance of directions {int(late.mode)} and {int(late.partner)}"
    )
    slope = float(late.slope)
    if math.isfinite(slope):
        lines.append(f"  late slope of log KL: {number(slope)} per flow time, set by {cause}")
    lines += [f"  {line}" for line in why_not(stage)]
    return lines + _points(stage)


def _path(path: Path, unit: str) -> str:
    if path.line is None:
        return f"no steady law to relax to: {path.reason}"
    text = f"KL {number(float(path.line.state_kl[0]))} -> {number(path.final_kl)} nats"
    if path.tolerance_steps is None or path.tolerance_time is None:
        return text + ", to the steady law of the last step's numbers"
    if not math.isfinite(path.tolerance_steps):
        return text + "; the tolerance is never reached"
    if unit == "steps":
        return text + f"; within the tolerance from step {path.tolerance_steps:.6g} on"
    return text + f"; within the tolerance from flow time {path.tolerance_time:.4g} on"


def why_not(stage: StageRelaxation) -> list[str]:
    """Whether a stage is at rest at its end; if not, why, direction by direction."""
    if stage.reached():
        return [f"at rest: KL is below {stage.tolerance:g} nats at the end"]
    kl = stage.chain.final_kl
    if stage.chain.line is None:
        lines = ["NOT at rest: there is no steady law"]
    else:
        lines = [f"NOT at rest: KL is {number(kl)} nats at the end, more than {stage.tolerance:g}"]
    for direction in stage.directions:
        if math.isinf(direction.kl) and math.isinf(direction.shift):
            lines.append(
                f"  direction {direction.index} is flat (curvature "
                f"{number(direction.curvature)}): nothing pulls it back, its variance grew "
                f"{number(direction.ratio)} times; weight decay gives it a steady law"
            )
            continue
        lines.append(
            f"  direction {direction.index} (curvature {number(direction.curvature)}) keeps "
            f"{100 * direction.mean_left:.3g} % of its mean's shift (now "
            f"{number(direction.shift)} standard deviations) and "
            f"{100 * direction.variance_left:.3g} % of its variance's gap (now "
            f"{number(direction.ratio)} times the steady one): {number(direction.kl)} nats"
        )
    return lines


def _points(stage: StageRelaxation) -> list[str]:
    points = stage.points
    if points is None:
        return [] if stage.no_points == "no run was given" else [f"  no points: {stage.no_points}"]
    worst = float(np.abs(points.kl.z).max())
    lines = [
        f"  {points.particles} particles ({points.method}) at {len(points.times)} save points, in "
        f"{points.rank} directions: KL within {worst:.2g} standard errors of the line, smallest "
        f"p = {number(float(points.p_values.min()))} of {points.p_values.size}; Monte Carlo floor "
        f"{number(points.kl.floor_mean)} nats (95 %: {number(points.kl.floor)})"
    ]
    fit = points.fit
    if fit is None:
        return [*lines, f"  no fitted rate: {points.no_fit}"]
    return [
        *lines,
        f"  fitted late slope {number(fit.slope)} +- {number(fit.error)} per flow time; the exact "
        f"line has {number(fit.line)} over the same {fit.points} points, its limit is "
        f"{number(float(stage.rates.late.slope))}",
    ]
