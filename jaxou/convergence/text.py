"""A verdict in words, for a reader who has not read the theory."""

from .record import Detectable, Divergence, StageVerdict, Verdict


def number(value: float | None) -> str:
    """Three digits, or a dash for what does not exist."""
    return "-" if value is None else f"{value:.3g}"


ANSWERS = {
    "consistent": "CONSISTENT: no test found a difference between the particles and the law they "
    "must have.",
    "rejected": "REJECTED: the particles do not have the law they must have.",
    "untested": "UNTESTED: no law that these particles must have is known, or it leaves nothing to "
    "test.",
}


def page(verdict: Verdict) -> str:
    """The whole verdict as text."""
    count = sum(test.p_value is not None for stage in verdict.stages for test in stage.tests)
    lines = [
        ANSWERS[verdict.decision],
        f"({count} tests on particles moved by {verdict.method}; all together raise a false alarm "
        f"with probability at most {verdict.level:g})",
    ]
    if verdict.margin is not None:
        lines.append(
            f"Converged to the Gibbs law within {verdict.margin:g} nats at every stage's end: "
            + ("YES." if verdict.equivalent else "NOT SHOWN.")
        )
    for stage in verdict.stages:
        lines += ["", *_stage(stage)]
    lines += [
        "",
        "A p-value is how often a run with exactly the right law would look at least this odd. "
        "KL is a",
        "distance between laws in nats, 0 if they are equal. 'Consistent' is not 'converged': for "
        "that read",
        "the limit on KL to the Gibbs law, the law of equilibrium.",
    ]
    return "\n".join(lines)


def _stage(stage: StageVerdict) -> list[str]:
    head = f"{stage.name}: {stage.decision}"
    if stage.p_value is None:
        reasons = [stage.own.reason, *(test.reason for test in stage.tests)]
        why = next((reason for reason in reasons if reason), "no test could be made")
        return [f"{head}  ({why})", *_notes(stage)]
    lines = [
        f"{head}  ({stage.particles:,} particles against {stage.law}, "
        f"{stage.rank} of {stage.dimension} directions tested)",
        f"  all tests together     p = {number(stage.p_value)}   ({stage.family})",
    ]
    for test in stage.tests:
        if test.p_value is None:
            lines.append(f"  {test.name:<22} {test.reason}")
            continue
        part = f", {test.used:,} of them" if 0 < test.used < stage.particles else ""
        lines.append(f"  {test.name:<22} p = {number(test.p_value):<8} {test.question}{part}")
    if stage.detectable is not None:
        lines.append(_seen(stage.detectable))
    lines.append("  distance to that law:  " + _divergence(stage.own))
    budget = stage.budget
    short = lambda text: _once(text, budget.reason)
    lines.append("  to the steady law of its steps:  " + short(_divergence(stage.steady)))
    lines.append("  to the Gibbs law:  " + short(_divergence(stage.gibbs)))
    lines.append(
        f"  why the moments differ from Gibbs, in nats: finite sample {number(budget.sampling)}, "
        f"step size {number(budget.step_bias)}, not yet at rest {number(budget.distance)}"
    )
    if budget.reason:
        lines.append(f"  (*) {budget.reason}")
    return lines + _claim(stage) + _notes(stage)


def _seen(found: Detectable) -> str:
    parts = [
        f"all variances off by {100 * found.variance:.2g} %",
        f"the mean off by {number(found.shift)} standard deviations",
    ]
    if found.covariance is not None:
        parts.append(f"the covariance off by {number(found.covariance)} (Frobenius norm)")
    if found.kl is not None:
        parts.append(f"KL of {number(found.kl)} nats")
    return f"  would have seen ({100 * found.power:.0f} % sure): " + "; or ".join(parts)


def _claim(stage: StageVerdict) -> list[str]:
    claim, lines = stage.equivalence, []
    if claim.shown is not None:
        lines.append(
            f"  within {claim.margin:g} nats of the Gibbs law: "
            + ("shown" if claim.shown else "not shown")
        )
    if claim.smallest_margin is not None:
        lines.append(
            f"  the smallest margin that {stage.particles:,} particles can show: "
            f"{number(claim.smallest_margin)} nats"
        )
    if claim.margin is not None and claim.particles_needed is not None:
        lines.append(f"  particles that show {claim.margin:g}: {claim.particles_needed:,}")
    elif claim.margin is not None and claim.reason:
        why = _once(claim.reason, stage.budget.reason)
        lines.append(f"  no number of particles shows {claim.margin:g}: {why}")
    return lines


def _once(text: str, reason: str) -> str:
    # a reason for several blanks is printed once, at the mark
    return text.replace(": " + reason, " (*)") if reason else text


def _notes(stage: StageVerdict) -> list[str]:
    return [f"  note: {note}" for note in stage.notes]


def _divergence(kl: Divergence) -> str:
    if kl.estimate is None:
        return kl.reason
    return (
        f"KL = {number(kl.estimate)} nats, below {number(kl.upper)} with "
        f"{100 * kl.confidence:g} % confidence"
    )
