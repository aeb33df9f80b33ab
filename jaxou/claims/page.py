"""claims.html: each sentence, its verdict, its number, its figure and its table."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..report import files
from ..report.page import bullets, cards, figure, folded, page, paragraph, section, table
from .claim import Claim

LONGEST = 60
"""Rows of a table that the page shows; the CSV file has them all."""

CAPTIONS = {
    "convergence": "KL to the Gibbs law, with confidence limits: points are particles, the dashed "
    "line is exact.",
    "transport": "The same particles before and during fine-tuning: KL to either stage's law.",
    "rate": "Left: gaps against N. Right: the local slope of the seeger row over N and the risk.",
    "dominance": "Every point is one synthetic problem with exact Gibbs laws.",
    "discrepancy": "Left: measured gaps, with their standard errors. Right: rank correlations with "
    "confidence limits, N held fixed.",
}


def write_page(
    path: Path,
    claims: Sequence[Claim],
    pictures: dict[str, bytes],
    content: dict[str, Any],
    seconds: dict[str, float],
) -> None:
    """A self-contained page of the claims that were examined."""
    items = [(claim.verdict, f"{claim.number}. {claim.sentence}", "") for claim in claims]
    sections = [section("The verdicts", cards(items)), _rules(content["settings"])]
    sections += [_section(claim, pictures.get(claim.name)) for claim in claims]
    lead = (
        "The abstract of He and Tao (2022), sentence by sentence: what was done to test it, what "
        "was found, and under which conditions it fails."
    )
    took = ", ".join(f"{name} {time:.0f} s" for name, time in seconds.items())
    settings = ", ".join(f"{k} = {v}" for k, v in content["settings"].items())
    foot = html.escape(f"Settings: {settings}. Time: {took}. Numbers: claims.json, tables/*.csv.")
    files.write_text(path, page("The claims of the paper, tested", lead, sections, foot))


def _rules(settings: dict[str, Any]) -> str:
    return section(
        "How verdicts are made",
        bullets(
            [
                f"<b>Same law</b>: the upper confidence limit of the KL is below "
                f"{settings['margin']:g} nats; <b>another law</b>: the lower limit is above. In "
                "between nothing is said.",
                "<b>Holds with conditions</b>: shown under the claim's own assumptions, refuted "
                "in a case beyond them. <b>Fails</b>: refuted under its own assumptions.",
                f"<b>Decides</b>: a rank correlation shown to be above {settings['strength']:g}.",
                f"All statements of one claim together are wrong with probability at most "
                f"{settings['level']:g} (Bonferroni).",
            ]
        ),
    )


def _section(claim: Claim, png: bytes | None) -> str:
    parts = [
        paragraph(f"<b>{html.escape(claim.verdict)}</b>: {html.escape(claim.headline)}."),
        paragraph(f"Experiment: {html.escape(claim.experiment)}."),
        paragraph(f"Conditions: {html.escape(claim.condition)}."),
        figure(png, claim.name, CAPTIONS[claim.name]),
    ]
    for name, (caption, header, rows) in claim.tables.items():
        more = "" if len(rows) <= LONGEST else f" (the first {LONGEST} of {len(rows):,})"
        shown = table(header, rows[:LONGEST])
        parts.append(folded(f"{caption}{more}: tables/{name}.csv", shown))
    return section(f"{claim.number}. {claim.sentence}", *parts)
