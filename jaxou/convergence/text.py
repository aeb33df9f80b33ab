"""A verdict in words, for a reader who has not read the theory."""

from .record import Divergence, StageVerdict, Verdict


def number(value: float | None) -> str:
    """Three digits, or a dash for what does not exist."""
    return "-" if value is None else f"{value:.3g}"


def page(verdict: Verdict) -> str:
    """The whole verdict as text."""
    count = sum(test.p_value is not None for stage in verdict.stages for test in stage.tests)
    answer = {
        "consistent": "CONSISTENT: no test found a difference between the particles and the law "
        "they must have.",
        "rejected": "REJECTED: the particles do not have the law they must have.",
    }[verdict.decision]
    lines = [
        answer,
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
    lines = [
        f"{stage.name}: {stage.decision}  ({stage.particles} particles against {stage.law}, "
        f"{stage.rank} of {stage.dimension} directions tested)"
    ]
    for test in stage.tests:
        if test.p_value is None:
            lines.append(f"  {test.name:<22} {test.reason}")
            continue
        lines.append(
            f"  {test.name:<22} p = {number(test.p_value)}, corrected {number(test.adjusted)}"
            f"   {test.question}"
        )
    found = stage.detectable
    parts = [
        f"all variances off by {100 * found.variance:.2g} %",
        f"the mean off by {number(found.shift)} standard deviations",
    ]
    if found.kl is not None:
        parts.append(f"KL of {number(found.kl)} nats")
    lines.append(f"  would have seen ({100 * found.power:.0f} % sure): " + "; or ".join(parts))
    lines.append("  distance to that law:  " + _divergence(stage.own))
    lines.append("  distance to the Gibbs law:  " + _divergence(stage.gibbs))
    budget = stage.budget
    lines.append(
        f"  why the moments differ from Gibbs, in nats: finite sample {number(budget.sampling)}, "
        f"step size {number(budget.step_bias)}, not yet at rest {number(budget.distance)}"
    )
    if budget.reason:
        lines.append(f"    ({budget.reason})")
    if stage.equivalent is not None:
        shown = "shown" if stage.equivalent else "not shown"
        lines.append(f"  within the margin of the Gibbs law: {shown}")
    return lines + [f"  note: {note}" for note in stage.notes]


def _divergence(kl: Divergence) -> str:
    if kl.estimate is None:
        return kl.reason
    return (
        f"KL = {number(kl.estimate)} nats, below {number(kl.upper)} with "
        f"{100 * kl.confidence:g} % confidence"
    )
