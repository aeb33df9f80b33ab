"""The verdict on each stage, with the sentences that say what it means."""

from __future__ import annotations

import math
from typing import Any

from ...config import RunConfig
from ...convergence import verdict
from ...convergence.statistics import (
    Covariance,
    Equipartition,
    MahalanobisKS,
    MeanChi2,
    MomentsKL,
    TotalVariance,
)
from ...stages import TwoStage
from .cache import Numbers

SETTLED = 0.05
"""KL to the Gibbs law, in nats, below which a set of directions is called settled."""

STATISTICS = (
    MeanChi2(),
    TotalVariance(),
    Covariance(),
    MomentsKL(),
    Equipartition(),
    MahalanobisKS(),
)
"""Those whose null laws need no simulation in hundreds of dimensions."""


def judge(config: RunConfig, run: Any, training: TwoStage, theory: Numbers) -> Numbers:
    """Test the particles at the end of each stage, and say what was found in words."""
    found = verdict(run, training, statistics=STATISTICS)
    numbers: Numbers = {}
    for stage, full in zip(found.stages, found.as_dict()["stages"], strict=True):
        steep = theory[stage.name]["kl_to_gibbs_tracked"]
        everywhere = theory[stage.name]["kl_to_gibbs"]
        numbers[stage.name] = {
            **full,
            "sentence": _law(stage, found.level) + " " + _rest(everywhere, steep),
            "detail": _detail(stage),
            "plain": _plain(stage, everywhere, steep),
        }
    return numbers


def _law(stage: Any, level: float) -> str:
    if stage.decision == "rejected":
        worst = min((t for t in stage.tests if t.adjusted is not None), key=lambda t: t.adjusted)
        return (
            "The particles do <b>not</b> have the law that theory gives them: the test of the "
            f"{worst.name} objects most (all tests together: p = {stage.p_value:.2g})."
        )
    if stage.decision == "untested":
        return "No direction could be tested: see the settings of this stage."
    seen = stage.detectable
    return (
        f"The particles have the law that theory gives them for {stage.law}: no test objects at "
        f"the {100 * level:g} % level, and variances {100 * seen.variance:.2g} % off or a centre "
        f"{seen.shift:.2g} standard deviations off would have shown."
    )


def _rest(everywhere: float, steep: float) -> str:
    settled = "have settled" if steep < SETTLED else "have not settled"
    where = (
        f"Its steepest directions {settled} into the steady law (KL {steep:.2g} nats, "
        f"called settled below {SETTLED:g})"
    )
    if everywhere < SETTLED:
        return where + ", and so have all the others."
    far = "infinitely far" if math.isinf(everywhere) else f"{everywhere:.3g} nats away"
    return where + f"; as a whole the weights are still {far} from it."


def _detail(stage: Any) -> str:
    tests = "; ".join(
        f"{t.name}: {t.reason}" if t.p_value is None else f"{t.name}: p = {t.p_value:.2g}"
        for t in stage.tests
    )
    budget = stage.budget
    gibbs = stage.gibbs
    distance = (
        gibbs.reason
        if gibbs.estimate is None
        else f"{gibbs.estimate:.3g} nats, below {gibbs.upper:.3g} with "
        f"{100 * gibbs.confidence:g} % confidence"
    )
    parts = {
        "finite sample": budget.sampling,
        "step size": budget.step_bias,
        "not yet at rest": budget.distance,
    }
    reasons = ", ".join(
        f"{name} {'not available' if value is None else f'{value:.3g}'}"
        for name, value in parts.items()
    )
    return (
        f"{stage.particles:,} particles against {stage.law}, in {stage.rank} of "
        f"{stage.dimension} directions. All tests together: p = {stage.p_value:.2g} "
        f"({stage.family}). Each test: {tests}. Distance to the Gibbs law, in all directions: "
        f"{distance}. Why their moments differ from the Gibbs law, in nats: {reasons}. "
        + _smallest(stage)
    )


def _smallest(stage: Any) -> str:
    claim = stage.equivalence
    if claim.smallest_margin is None:
        return f"No distance to the Gibbs law can be claimed: {claim.reason}."
    return (
        f"The smallest distance to the Gibbs law that {stage.particles:,} particles can be shown "
        f"to keep within is {claim.smallest_margin:.3g} nats."
    )


def _plain(stage: Any, everywhere: float, steep: float) -> str:
    law = "particles as theory says" if stage.decision == "consistent" else "particles REJECTED"
    rest = "at rest" if everywhere < SETTLED else "not at rest"
    return f"{law}; {rest} in all directions (KL {everywhere:.3g}), in the steepest {steep:.2g}"
