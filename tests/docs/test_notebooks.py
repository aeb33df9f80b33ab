"""Notebooks are kept without outputs, equal to their percent scripts, and run."""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells_of(path):
    return json.loads(path.read_text())["cells"]


def cells_of_script(path):
    """(is markdown, source) of every cell of a percent script."""
    for part in path.read_text().split("\n# %%")[1:]:
        head, _, body = part.partition("\n")
        markdown, body = "[markdown]" in head, body.strip("\n")
        if markdown:
            body = "\n".join(re.sub(r"^# ?", "", line) for line in body.split("\n"))
        yield markdown, body


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_stripped_and_in_step_with_the_script(path):
    cells = cells_of(path)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    found = [(cell["cell_type"] == "markdown", "".join(cell["source"])) for cell in cells]
    assert found == list(cells_of_script(path.with_suffix(".py")))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_runs_from_top_to_bottom(path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="comes with the group `notebooks`")
    nbformat = pytest.importorskip("nbformat", reason="comes with the group `notebooks`")
    monkeypatch.setenv("JAXOU_FAST", "1")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": FOLDER}}
    ).execute()
