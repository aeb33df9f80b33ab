"""A progress bar for the host's loop: rate and time left, silent where nobody looks."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

PATIENCE = 1.0
"""Seconds before a bar appears: what is over sooner needs none."""


@contextlib.contextmanager
def reporter(wanted: Any) -> Iterator[Callable[[int, int], None] | None]:
    """What to call with (particles done, particles) after every chunk, or None.

    `wanted` is None (a bar if standard error is a terminal), True, False, or a function.
    """
    if wanted is None:
        wanted = sys.stderr.isatty()
    if wanted is False:
        yield None
    elif callable(wanted):
        yield wanted
    elif wanted is True:
        with _bar() as report:
            yield report
    else:
        raise TypeError(f"progress={wanted!r} must be True, False, None or a function")


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("particles"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.completed:,.0f}  {task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    start, task = time.monotonic(), None

    def report(done: int, total: int) -> None:
        nonlocal task
        elapsed = time.monotonic() - start
        if task is None:
            if elapsed < PATIENCE or done == total:
                return
            bar.start()
            task = bar.add_task("", total=total, rate="")
        bar.update(task, completed=done, rate=f"{done / elapsed:,.0f} particles/s")

    try:
        yield report
    finally:
        bar.stop()
