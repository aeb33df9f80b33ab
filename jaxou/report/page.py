"""Pieces of a self-contained HTML page: images inside, no address, one small script that sorts.

Sections are listed at the top, a figure fills the window when it is clicked, and a click on a
column's head sorts its table. Without scripts all of it can still be read.
"""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

TEMPLATE = Path(__file__).with_name("page.html")


def page(title: str, lead: str, sections: Iterable[str], foot: str) -> str:
    """The whole page; every part is HTML already, except `title`."""
    body = "\n".join(sections)
    places = re.findall(r'<section id="([^"]*)"><h2>(.*?)</h2>', body)
    links = "".join(f'<a href="#{place}">{words}</a>' for place, words in places)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=html.escape(title), lead=lead, links=links, body=body, foot=foot
    )


def section(title: str, *parts: str) -> str:
    """A heading and what follows it."""
    place = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    start = f'<section id="{place}"><h2>{html.escape(title)}</h2>\n'
    return start + "\n".join(parts) + "\n</section>"


def paragraph(text: str) -> str:
    """Text that may hold inline tags of ours."""
    return f"<p>{text}</p>"


def bullets(items: Iterable[str]) -> str:
    """A list of findings."""
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def cards(items: Iterable[tuple[str, str, str]]) -> str:
    """Headline numbers: (number, what it is, a remark)."""
    inner = "".join(
        f'<div class="card"><b>{html.escape(number)}</b><span>{html.escape(what)}</span>'
        f"<small>{html.escape(remark)}</small></div>"
        for number, what, remark in items
    )
    return f'<div class="cards">{inner}</div>'


def figure(png: bytes | None, alt: str, caption: str) -> str:
    """An inline picture that a click enlarges, with its caption; nothing if it was not drawn."""
    if png is None:
        return ""
    data = base64.b64encode(png).decode()
    return (
        f'<figure><label><input type="checkbox" aria-label="enlarge: {html.escape(alt)}">'
        f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}"></label>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    """A table that scrolls sideways on a narrow screen; numbers are set to the right."""
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in header)
    body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
    title = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table>{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def glossary(words: Iterable[tuple[str, str]]) -> str:
    """Terms and their meaning."""
    inner = "".join(f"<dt>{html.escape(word)}</dt><dd>{meaning}</dd>" for word, meaning in words)
    return f"<dl>{inner}</dl>"


def folded(summary: str, content: str) -> str:
    """Content that opens on demand."""
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def number(value: Any, digits: int = 3) -> str:
    """A number for people: three significant digits, no exponent where none is needed.

    >>> number(0.12345), number(1234567.0), number(12345), number(float("inf")), number(0.0)
    ('0.123', '1.23e+06', '12,345', 'infinite', '0')
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    value = float(value)
    if not math.isfinite(value):
        return (
            "not defined" if math.isnan(value) else ("infinite" if value > 0 else "minus infinite")
        )
    return f"{value:.{digits}g}" if abs(value) < 1000 or abs(value) >= 1e6 else f"{value:,.0f}"


def percent(value: Any, digits: int = 1) -> str:
    """A fraction as a percentage.

    >>> percent(0.1234)
    '12.3 %'
    """
    return f"{100 * float(value):.{digits}f} %"


def _cell(cell: Any) -> str:
    if isinstance(cell, str) or cell is None:
        return f"<td>{html.escape(cell or '–')}</td>"
    return f'<td class="n" data-value="{float(cell)!r}">{html.escape(number(cell))}</td>'
