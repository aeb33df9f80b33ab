"""The page of an experiment: what was asked, what was found, in words, cards and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import files
from ..page import bullets, cards, number, page, paragraph, percent, section, table


def write_page(path: Path, numbers: dict[str, Any]) -> None:
    """A self-contained report.html of `numbers`; sections that do not apply are left out."""
    sections = [_headline(numbers), _model(numbers), _laws(numbers)]
    if "theories" in numbers:
        sections.append(_theories(numbers["theories"]))
    if "certificates" in numbers:
        sections.append(_certificates(numbers))
    settings = ", ".join(f"{k} = {number(v)}" for k, v in numbers["settings"].items())
    examples = numbers["examples"]
    lead = (
        f"{examples['source']:,} source and {examples['target']:,} target examples, "
        f"{numbers['dimension']:,} parameters; fine-tuning by SGD: {settings}."
    )
    files.write_text(path, page(numbers["title"], lead, sections, "Numbers: result.json."))


def _headline(numbers: dict[str, Any]) -> str:
    seen, items = numbers["agreement"], []
    items.append(
        (
            f"{seen['holds']} of {seen['directions']}",
            "directions in which SGD follows its model",
            f"within {100 * seen['tolerance']:g} %; {seen['fails']} are shown not to",
        )
    )
    items.append((number(seen["trace"]), "total variance, SGD over model", "1 is perfect"))
    if "certificates" in numbers:
        best = numbers["certificates"]["source"]
        items.append(
            (percent(best["bound"]), "certified risk, at most", f"delta = {best['delta']:g}")
        )
    return section("The answer", cards(items)) + paragraph(numbers.get("not_certified", ""))


def _model(numbers: dict[str, Any]) -> str:
    seen, judged = numbers["agreement"], numbers["verdict"]
    rows = [
        (
            w["curvature"], w["spread"], f"{w['ratio']:.3f} ± {w['ratio_error']:.3f}",
            f"{w['shift']:+.3f} ± {w['shift_error']:.3f}",
        )
        for w in seen["widest"]
    ]  # fmt: skip
    header = ("curvature", "spread of the model", "variance, SGD / model", "centre off, in spreads")
    return section(
        "Does real SGD follow its quadratic model?",
        paragraph(seen["sentence"][0].upper() + seen["sentence"][1:] + "."),
        paragraph(_verdict(judged, seen["directions"])),
        table(header, rows),
        paragraph(_nearby(numbers["agreement_at_optimum"])),
    )


def _nearby(seen: dict[str, Any]) -> str:
    return (
        "Started at the target's optimum instead, so that no way has to be gone and only the "
        f"fluctuations are compared: {seen['sentence']}."
    )


def _verdict(judged: dict[str, Any] | None, directions: int) -> str:
    if judged is None:
        return (
            f"Judged along the {directions} directions of largest curvature; a verdict on the "
            "whole law takes dense matrices, too large here."
        )
    p = judged["p_value"]
    tested = "not tested" if p is None else f"{judged['decision']} (p = {p:.2g})"
    return (
        f"Verdict on equality of the two laws: <b>{tested}</b>. With enough runs every model "
        "is rejected; the table says by how much it is wrong, in the widest directions."
    )


def _laws(numbers: dict[str, Any]) -> str:
    header = ("", "source", "target")
    words = {
        "largest_curvature": "largest curvature",
        "smallest_curvature": "smallest curvature",
        "negative_curvatures": "negative curvatures (set to 0 in the model)",
        "noise_rank": "rank of the gradient noise",
        "commutator": "how far curvature and noise are from commuting",
        "gradient": "length of the penalised gradient (0 at an optimum)",
        "learning_rate_limit": "learning rate at which SGD becomes unstable",
    }
    stages = numbers["stages"]
    rows = [(text, stages["source"][key], stages["target"][key]) for key, text in words.items()]
    gap = numbers["discrepancy"]
    return section(
        "The two stages",
        table(header, rows),
        bullets(
            [
                f"Discrepancy 2 KL between the steady laws: {number(gap['value'])} nats "
                f"(from the shift of the optimum: {number(gap['shift'])}).",
                f"Wasserstein distance between them: {number(gap['w2'])}.",
            ]
        ),
    )


def _theories(found: list[dict[str, Any]]) -> str:
    rows = []
    for each in found:
        for name, t in each["theories"].items():
            rows.append(
                (
                    f"{each['learning_rate']:g}", each["steps"], name,
                    f"{100 * t['trace_error']:+.1f} % (± {100 * t['trace_uncertainty']:.1f} %)",
                    f"{100 * t['frobenius']:.1f} % ({100 * each['chance']:.1f} %)",
                )
            )  # fmt: skip
    return section(
        "Three theories at three learning rates",
        paragraph(
            "The Ornstein-Uhlenbeck process, SGD's chain with noise frozen at the optimum, and the "
            "exact second moments of least squares, each against real SGD at its last step."
        ),
        table(
            ("learning rate", "steps", "theory", "total variance", "covariance (by chance)"), rows
        ),
    )


def _certificates(numbers: dict[str, Any]) -> str:
    both = numbers["certificates"]
    words = {
        "bound": "risk on the target domain, at most",
        "risk_mc": "risk on the target examples",
        "test_risk": "risk on test examples",
        "kl": "KL from the prior (nats)",
        "n": "target examples",
    }
    rows = [(text, both["source"].get(k), both["zero"].get(k)) for k, text in words.items()]
    parts = [table(("", "prior from the source", "prior that knows nothing"), rows)]
    if "sgd_test_risk" in numbers:
        risk = numbers["sgd_test_risk"]
        parts.append(
            paragraph(
                f"Mean test risk of {risk['runs']:,} runs of SGD: {percent(risk['mean'])} "
                f"(± {percent(risk['standard_error'], 2)})."
            )
        )
    return section("The certificate", *parts)
