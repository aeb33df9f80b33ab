"""report.html of a study: what was asked, the figures, the cells, the settings."""

from __future__ import annotations

import html
from collections import Counter
from pathlib import Path

from ..report.page import bullets, cards, figure, folded, page, paragraph, section, table
from .cells import write_whole
from .collect import Table
from .drawing import draw
from .figure import Figure

LONGEST = 500
"""Rows of the table that the page shows; the CSV file has them all."""


def write_report(results: Table, out: Path | str) -> Path:
    """Draw the study's figures and write `out`/report.html, self-contained; its path.

    Raises `ImportError` that names the extra if matplotlib is missing.
    """
    study, pictures = results.study, draw(results, out)
    sections = [_answer(results)]
    if study.reading.strip():
        sections.append(section("How to read it", paragraph(html.escape(study.reading.strip()))))
    drawn = [
        figure(path.read_bytes(), path.stem, html.escape(_caption(path, results)))
        for path in pictures
    ]
    if drawn:
        sections.append(section("Figures", *drawn))
    sections.append(_cells(results))
    sections.append(
        section("Settings", folded("study.toml", f"<pre>{html.escape(study.to_toml())}</pre>"))
    )
    lead = (
        f"{len(results):,} cells of the experiment {html.escape(study.experiment)}: "
        f"{html.escape(', '.join(study.quantities))} over {html.escape(', '.join(study.axes))}."
    )
    foot = "All numbers: table.csv. The same study again: jaxou study run study.toml."
    path = Path(out) / "report.html"
    write_whole(path, page(f"Study: {study.name}", lead, sections, foot).encode())
    return path


def _answer(results: Table) -> str:
    failed, missing = len(results.failed), len(results.missing)
    done = len(results) - failed - missing
    items = [(f"{done:,}", "cells computed", f"of {len(results):,}")]
    if missing:
        items.append((f"{missing:,}", "cells missing", "run the study again to compute them"))
    if failed:
        items.append((f"{failed:,}", "cells failed", "their errors are listed below"))
    other = {*results.failed, *results.missing}
    words = (w for row, w in enumerate(results.columns["status"]) if row not in other)
    odd = Counter(word for word in words if word)  # nothing to say of a cell that is fine
    notes = [f"{count:,} cells have no such number: {html.escape(s)}" for s, count in odd.items()]
    errors = Counter(e for e in results.columns["error"] if e)
    notes += [f"{count:,} failed: {html.escape(e)}" for e, count in errors.most_common(10)]
    return section("The study", cards(items), bullets(notes) if notes else "")


def _caption(path: Path, results: Table) -> str:
    """What is drawn, and over which axes it is a mean."""
    name = path.stem.partition("-")[2]
    found: Figure | None = next((f for f in results.study.figures if f.name == name), None)
    if found is None:
        return name.replace("_", " ")
    parts = [", ".join((found.quantity, *found.beside)), f"over {found.x}"]
    return " ".join(parts) + (f", by {found.by}" if found.by else "") + "."


def _cells(results: Table) -> str:
    names = [n for n in results.columns if n != "error" or results.failed]
    rows = list(zip(*(results.columns[name][:LONGEST] for name in names), strict=True))
    shown = "" if len(results) <= LONGEST else f" The first {LONGEST} of {len(results):,} rows."
    words = f"A click on a column's head sorts.{shown}"
    return section("Cells", paragraph(words), table(names, [_plain(row) for row in rows]))


def _plain(row: tuple) -> list:
    """Truth values as words."""
    return [str(cell) if isinstance(cell, bool) else cell for cell in row]
