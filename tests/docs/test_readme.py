"""The README's promises: its commands are found by CI, its links exist, its example runs."""

import re
import subprocess

import pytest
from readme import BLOCKS, ROOT
from readme import TEXT as README

pytestmark = pytest.mark.skipif(not README, reason="needs the source tree, not only the package")


def block(marker):
    """The fenced block after `<!-- marker -->`."""
    return re.search(rf"<!-- {marker} -->\n```sh\n(.*?)\n```", README, re.S).group(1)


@pytest.mark.parametrize("marker", ["main-command", "test-command"])
def test_commands_are_one_line_each_and_make_their_own_environment(marker):
    command = block(marker)
    assert "\n" not in command and command.startswith("python3 -m venv .venv")
    assert "http" not in command and "index" not in command


def test_ci_runs_the_test_command_as_it_stands(tmp_path):
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o100
    # a copy of the script beside a README whose command only says what it was given
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text(script.read_text())
    (tmp_path / ".venv-test").mkdir()
    fake = README.replace(block("test-command"), 'test ! -e .venv-test; echo "CI=$CI"; cat; exit 7')
    (tmp_path / "README.md").write_text(fake)
    done = subprocess.run(
        ["bash", str(tmp_path / ".ci" / "run")],
        capture_output=True,
        text=True,
        timeout=30,
        input="x",
    )
    assert done.returncode == 7  # the command's own exit code
    assert done.stdout == "CI=true\n"  # a fresh environment, no input


def test_links_exist():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        file, _, heading = target.partition("#")
        assert (ROOT / file).exists(), target
        titles = re.findall(r"^#+ (.+)$", (ROOT / file).read_text(), re.M) if heading else ()
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not heading or heading in anchors, target


def run_blocks(*numbers):
    names: dict = {}
    for number in numbers:
        exec(compile(BLOCKS[number], "README.md", "exec"), names)
    return names


def test_the_examples_of_a_bowl_run(capsys):
    names = run_blocks(0, 1)
    assert names["run"].final.shape == (10_000, 2)
    assert 0.1 < float(names["bound"].target.value) < 1
    said = capsys.readouterr().out
    assert "stop " in said and "elasticity" in said and "free" in said


@pytest.mark.slow
def test_the_example_of_another_loss_runs():
    run = run_blocks(0, 2)["run"]
    assert run.observed["energy"].mean.shape == (11,)
