"""The small study's table, computed once, and its command line."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from study_cases import small

from jaxou.studies import collect, run


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """(the small study, the CSV of an uninterrupted run)."""
    out = tmp_path_factory.mktemp("reference")
    study = small()
    summary = run(study, out, progress=False)
    assert summary.computed == summary.total == 150 and not summary.failed
    return study, collect(out).to_csv()


@pytest.fixture
def command(tmp_path):
    """Start `jaxou study ...` in a process of its own."""
    started = []

    def start(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxou", "study", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def ax():
    """Axes that are rendered once at the end."""
    from matplotlib.figure import Figure

    ax = Figure(figsize=(4, 3)).add_subplot()
    yield ax
    ax.figure.canvas.draw()
