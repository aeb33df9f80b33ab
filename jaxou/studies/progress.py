"""How far a study is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

EVERY = 10.0
"""Seconds between two plain lines."""

Report = Callable[[int, int], None]


@contextlib.contextmanager
def reporter(wanted: Any, total: int, noun: str = "cells") -> Iterator[Report]:
    """What to call with (cells done, cells that failed).

    `wanted` is None (a bar on a terminal, nothing elsewhere), True (plain lines where there is no
    terminal), False, or a function that is called itself.
    """
    if callable(wanted):
        yield wanted
    elif wanted is False or not total or (wanted is None and not sys.stderr.isatty()):
        yield lambda done, failed: None
    elif sys.stderr.isatty():
        with _bar(total, noun) as report:
            yield report
    else:
        yield _lines(total, noun)


def _lines(total: int, noun: str) -> Report:
    start = last = time.monotonic()

    def report(done: int, failed: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < EVERY and done < total:
            return
        last = now
        rate = done / max(now - start, 1e-9)
        left = (total - done) / rate if rate else 0.0
        words = f", {failed} failed" if failed else ""
        print(
            f"{done:,} of {total:,} {noun}{words}, {rate:,.3g} per second, {_time(left)} left",
            file=sys.stderr,
            flush=True,
        )

    return report


def _time(seconds: float) -> str:
    """
    >>> _time(75.0), _time(5.0), _time(4000.0)
    ('1 min 15 s', '5 s', '1 h 6 min')
    """
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextlib.contextmanager
def _bar(total: int, noun: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn(noun),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total, words="")

        def report(done: int, failed: int) -> None:
            rate = done / max(time.monotonic() - start, 1e-9)
            words = f"{rate:,.3g}/s" + (f"  {failed} failed" if failed else "")
            bar.update(task, completed=done, words=words)

        yield report
