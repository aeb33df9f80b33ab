"""Notebooks are kept without outputs, equal to their percent scripts, and run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
SCRIPTS = sorted(FOLDER.glob("*.py"))
TOPICS = {
    "01_one_stage",
    "02_two_stages",
    "03_not_gibbs",
    "04_is_the_sde_right",
    "05_bounds",
    "06_your_network",
    "07_large_studies",
}
QUICK = {"07_large_studies"}
"""Those that every run of the suite executes; the others are marked slow."""

NEEDS = {"04_is_the_sde_right": "sklearn", "06_your_network": "sklearn"}
pytestmark = pytest.mark.skipif(not SCRIPTS, reason="needs the source tree, not only the package")
each = pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
executed = pytest.mark.parametrize(
    "script",
    [pytest.param(p, marks=() if p.stem in QUICK else pytest.mark.slow) for p in SCRIPTS],
    ids=lambda p: p.stem,
)


def notebook_of(script):
    return json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))


def cells_of_script(text):
    """(is markdown, source) of every cell of a percent script."""
    for part in text.split("\n# %%")[1:]:
        head, _, body = part.partition("\n")
        markdown, body = "[markdown]" in head, body.strip("\n")
        if markdown:
            body = "\n".join(re.sub(r"^# ?", "", line) for line in body.split("\n"))
        yield markdown, body


def test_every_topic_has_its_pair():
    assert {p.stem for p in SCRIPTS} == TOPICS
    assert {p.stem for p in FOLDER.glob("*.ipynb")} == TOPICS


@each
def test_stripped_and_in_step_with_the_script(script):
    notebook = notebook_of(script)
    cells = notebook["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert not any(cell["metadata"] for cell in cells)
    assert set(notebook["metadata"]) <= {"jupytext", "kernelspec", "language_info"}
    found = [(cell["cell_type"] == "markdown", "".join(cell["source"])) for cell in cells]
    assert found == list(cells_of_script(script.read_text(encoding="utf-8")))


def test_a_changed_word_is_noticed():
    """The wrong twin: a script that moved on without its notebook."""
    text = SCRIPTS[0].read_text(encoding="utf-8")
    changed = text.replace("steady", "stationary", 1)
    assert changed != text and list(cells_of_script(changed)) != list(cells_of_script(text))


@each
def test_begins_with_a_title_and_ends_with_where_to_go(script):
    cells = list(cells_of_script(script.read_text(encoding="utf-8")))
    (first, title), (last, end) = cells[0], cells[-1]
    assert first and title.startswith("# ")
    assert last and "What you have seen" in end and "Where to go next" in end
    # every neighbour that is named exists, and text is never far away from code
    assert set(re.findall(r"`(\d\d_\w+)`", end)) <= TOPICS
    runs = re.findall(r"c+", "".join("m" if markdown else "c" for markdown, _ in cells))
    assert max(map(len, runs)) <= 3


@each
def test_names_no_place_on_somebodys_machine(script):
    for path in (script, script.with_suffix(".ipynb")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(home|Users|root|tmp|work)/|[A-Z]:\\\\", text), path.name


@executed
def test_the_script_runs_from_top_to_bottom(script, tmp_path):
    pytest.importorskip("matplotlib", reason="notebooks draw: pip install 'jaxou[plot]'")
    if script.stem in NEEDS:
        pytest.importorskip(NEEDS[script.stem], reason="its data: pip install 'jaxou[data]'")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        cwd=tmp_path,
        env={**os.environ, "JAXOU_FAST": "1", "MPLBACKEND": "agg", "JAX_ENABLE_X64": "0"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # a number that could not be computed has no place in a text; "nan" may be part of a word
    assert not re.search(r"(?<![\w.])(nan|inf)(?!\w)", done.stdout), done.stdout
    assert not list(tmp_path.iterdir()), "it left files where it ran"


@pytest.mark.slow
@each
def test_the_notebook_runs_in_jupyter(script, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="comes with the group `notebooks`")
    nbformat = pytest.importorskip("nbformat", reason="comes with the group `notebooks`")
    pytest.importorskip("ipykernel", reason="comes with the group `notebooks`")
    if script.stem in NEEDS:
        pytest.importorskip(NEEDS[script.stem], reason="its data: pip install 'jaxou[data]'")
    monkeypatch.setenv("JAXOU_FAST", "1")
    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": FOLDER}}
    )
    client.execute()
    drawn = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert drawn, "no figure was drawn"
