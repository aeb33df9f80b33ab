"""A stranger's first hour: a fresh clone, the wheel alone in a new environment, every command.

Nothing of the environment that runs the tests is seen by the commands here but its packages'
index. Slow: minutes, most of them installation.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from readme import ROOT, TEXT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="needs the source tree"),
]
NOTEBOOKS = {f"notebooks/{p.name}" for p in (ROOT / "notebooks").glob("*.py")}
CLEAN = {
    key: value
    for key, value in os.environ.items()
    if not key.startswith(("PYTHON", "JAX", "PYTEST", "COV", "VIRTUAL_ENV"))
} | {"OPENBLAS_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def call(*command, cwd, code=0, timeout=900, **extra):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=CLEAN | extra,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )
    said = done.stdout + done.stderr
    if code is not None:
        assert done.returncode == code, f"{command}: {done.returncode}: {said[-3000:]}"
    assert "Traceback" not in said, said[-3000:]
    return said


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What `git clone` gives: committed files alone; without git, a copy."""
    place = tmp_path_factory.mktemp("front-door") / "clone"
    if (ROOT / ".git").exists() and shutil.which("git"):
        call("git", "clone", "-q", ROOT, place, cwd=place.parent)
    else:
        unwanted = shutil.ignore_patterns(".venv*", "__pycache__", "results", "*.egg-info")
        shutil.copytree(ROOT, place, ignore=unwanted)
    return place


@pytest.fixture(scope="module")
def environment(clone):
    """The folder of a new environment's commands, with the built wheel in it and nothing else.

    Needs a package index, as every reader of the README does: without one these tests fail.
    """
    call(sys.executable, "-m", "venv", clone.parent / "venv", cwd=clone.parent)
    bin_ = clone.parent / "venv" / ("Scripts" if os.name == "nt" else "bin")
    call(bin_ / "pip", "wheel", "-q", "--no-deps", "-w", "dist", clone, cwd=clone.parent)
    (wheel,) = (clone.parent / "dist").glob("jaxou-*.whl")
    call(bin_ / "pip", "install", "-q", wheel, cwd=clone.parent)
    return bin_


@pytest.fixture
def jaxou(environment, tmp_path):
    """The installed command, away from the source tree."""
    return lambda *words, **how: call(environment / "jaxou", *words, cwd=tmp_path, **how)


def program(environment, tmp_path, text, **how):
    return call(environment / "python", "-c", text, cwd=tmp_path, **how)


def test_the_wheel_holds_the_package_and_its_data(environment, tmp_path):
    text = """
import jaxou, pathlib
root = pathlib.Path(jaxou.__file__).parent
assert "site-packages" in str(root), root
print(jaxou.__version__)
for name in ("py.typed", "__init__.pyi", "report/page.html", "studies/ready/target_size.toml"):
    assert (root / name).exists(), name
for name in jaxou.__all__:
    if name != "plots":
        getattr(jaxou, name)
"""
    assert re.match(r"\d+\.\d+", program(environment, tmp_path, text))


def test_every_command_explains_itself(jaxou):
    usage = jaxou("--help")
    commands = re.findall(r"^  jaxou ([a-z]+) ", usage, re.M)
    assert {"run", "audit", "verify", "study"} <= set(commands)
    for command in commands:
        assert f"jaxou {command}" in jaxou(command, "--help")
    assert "jaxou" in jaxou("--version")


def test_a_study_runs_without_any_extra(jaxou, tmp_path):
    jaxou("study", "list")
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nexperiment = "theory"\nquantities = ["kl"]\n'
        'design.axes."finetune.batch_size" = [1, 8]\n'
    )
    jaxou("study", "run", "mine.toml", "--out", "mine")
    jaxou("study", "collect", "mine")
    rows = (tmp_path / "mine" / "table.csv").read_text().splitlines()
    assert rows[0].startswith("finetune.batch_size") and len(rows) == 3


def test_a_table_is_audited_without_any_extra(jaxou, tmp_path):
    (tmp_path / "claims.csv").write_text(
        "risk,kl,n,delta,bound\n0.05,120.5,5000,0.05,0.2\n0.05,120.5,5000,0.05,0.06\n"
    )
    said = jaxou("audit", "claims.csv", "--delta", "0.05", code=None)
    assert "0.06" in said


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ("plot", "import jaxou.plots"),
        ("data", "import jaxou as ou; ou.transfer.load()"),
        ("data", "from jaxou.transfer.experiment.diabetes import domains; domains()"),
        (
            "labelled",
            "from jaxou import studies; from jaxou.studies import ready; import tempfile; "
            "from jaxou.studies.collect import Table; "
            "Table(ready.load('target_size'), {'status': []}).to_xarray()",
        ),
        (
            "labelled",
            "from jaxou.studies import ready; from jaxou.studies.collect import Table; "
            "Table(ready.load('target_size'), {'status': []}).to_parquet('x')",
        ),
        (
            "cluster",
            "from jaxou import studies; from jaxou.studies import ready; "
            "studies.run(ready.load('target_size'), 'out', executor='dask=tcp://nowhere:1')",
        ),
        (
            "cluster",
            "from jaxou import studies; from jaxou.studies import ready; "
            "studies.run(ready.load('target_size'), 'out', executor='slurm')",
        ),
    ],
)
def test_a_missing_extra_is_named_in_a_sentence(environment, tmp_path, extra, text):
    text = f"""
try:
    exec({text!r})
except Exception as error:
    print(error)
else:
    raise SystemExit("nothing was refused")
"""
    said = program(environment, tmp_path, text)
    assert f"pip install 'jaxou[{extra}]'" in said, said


def test_the_main_command_names_what_it_needs(jaxou):
    done = jaxou("run", "--quick", code=None)
    assert "jaxou[data]" in done


@pytest.fixture(scope="module")
def at_home(clone):
    """The README's first command to the letter, but for the size that it ends with."""
    command = re.search(r"<!-- main-command -->\n```sh\n(.*?)\n```", TEXT, re.S).group(1)
    assert command.endswith("jaxou run")
    said = call("bash", "-c", command + " --quick", cwd=clone, timeout=1800)
    (clone / "my.toml").write_text((clone / "jaxou-run" / "config.toml").read_text())
    (clone / "my_study.toml").write_text(STUDY)
    (clone / "table.csv").write_text("risk,kl,n,delta,bound\n0.05,120.5,5000,0.05,0.2\n")
    return said


def test_the_readme_main_command_at_its_quick_size(at_home, clone):
    assert "certified error" in at_home
    result = json.loads((clone / "jaxou-run" / "result.json").read_text())
    assert result and (clone / "jaxou-run" / "report.html").stat().st_size > 10_000


def test_the_readme_test_command_on_a_part_of_the_tests(clone):
    """To the letter as well: its environment has what every tier of the tests needs."""
    command = re.search(r"<!-- test-command -->\n```sh\n(.*?)\n```", TEXT, re.S).group(1)
    assert command.endswith("pytest -n 2")
    said = call("bash", "-c", f"{command} tests/test_worked_cases.py", cwd=clone, timeout=1800)
    assert re.search(r"\d+ passed", said) and "failed" not in said and "skipped" not in said
    needed = "import nbclient, nbformat, ipykernel, pdoc, pyrefly, distributed, submitit, pyarrow"
    call(clone / ".venv-test" / "bin" / "python", "-c", needed, cwd=clone)


PAGES = ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", *sorted(NOTEBOOKS))
STUDY = """name = "mine"
experiment = "theory"
quantities = ["kl"]
design.axes."finetune.batch_size" = [1, 2, 3, 4, 5, 6, 7, 8]
"""
SMALLER = {
    # as it is written -> what is run of it, in this order and in one folder
    "jaxou run": None,  # the fixture
    "jaxou run --quick": None,
    "jaxou run --help": "",
    "jaxou run my.toml": "--out again --no-figures --finetune.learning-rate 0.02",
    "jaxou run diabetes": "--quick",
    "jaxou run network": "--quick",
    "jaxou verify jaxou-run/certificate": "",
    "jaxou audit table.csv --delta 0.05": "",
    "jaxou study list": "",
    "jaxou study run learning_rate_batch --out rates": "",
    "jaxou study plot rates": "",
    "jaxou study run my.toml --out cells --shard 0/8": (
        "jaxou study run my_study.toml --out cells --shard 0/8"
    ),
    "jaxou study run target_size --out results": "",
    "jaxou study run my_study.toml --out results --shard 3/64": (
        "jaxou study run my_study.toml --out mine --shard 3/64"
    ),
    "jaxou study run my_study.toml --out results --executor slurm": (
        "jaxou study run my_study.toml --out mine --executor slurm"
    ),
    "jaxou study resume results": "",
    "jaxou study collect results": "",
    "jaxou claims": "--quick",
}
NEEDS_A_CLUSTER = {"jaxou study run my_study.toml --out results --executor slurm"}


def documented():
    """Every command in a block of its own line, or between backticks, without its comment."""
    found = set()
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        found |= {m.split("  #")[0].strip() for m in re.findall(r"`(jaxou [^`]*)`", text)}
        lines = re.findall(r"^(?:#? {4,5})?(jaxou [a-z]+ .*|jaxou run)$", text, re.M)
        found |= {line.split("  #")[0].strip() for line in lines}
    return {re.sub(r" +", " ", command) for command in found}


def test_every_documented_command_is_one_of_these():
    assert documented() == SMALLER.keys()


@pytest.mark.parametrize("command", [k for k, v in SMALLER.items() if v is not None])
def test_a_documented_command_runs(at_home, clone, command):
    small = SMALLER[command]
    words = (small if small.startswith("jaxou ") else f"{command} {small}").split()
    code = 2 if command in NEEDS_A_CLUSTER else 0
    said = call(clone / ".venv" / "bin" / words[0], *words[1:], cwd=clone, code=code)
    assert said.strip()
    if code:  # one sentence, with the remedy
        assert "jaxou[cluster]" in said, said


@pytest.mark.parametrize("page", PAGES)
def test_every_script_that_is_named_explains_itself(at_home, clone, page):
    for script in set(re.findall(r"python (benchmarks/\w+\.py)", (clone / page).read_text())):
        assert "usage" in call(clone / ".venv" / "bin" / "python", script, "--help", cwd=clone)


@pytest.mark.parametrize("extra", ["plot", "data", "labelled", "cluster", "cuda", "peers"])
def test_every_extra_can_be_resolved(environment, clone, extra):
    call(environment / "pip", "install", "-q", "--dry-run", f"{clone}[{extra}]", cwd=clone.parent)


def test_the_api_pages_are_made_without_a_warning(tmp_path):
    pytest.importorskip("pdoc", reason="comes with the group `docs`")
    pytest.importorskip("matplotlib", reason="jaxou.plots draws with it")
    said = call(sys.executable, "-m", "pdoc", "jaxou", "-o", tmp_path, "--math", cwd=ROOT)
    # annotations of other packages' base classes are not ours to repair
    warnings = [line for line in said.splitlines() if line.startswith("Warn") and "jaxou" in line]
    assert not warnings, warnings
    for page in ("jaxou.html", "jaxou/bounds.html", "jaxou/particles.html", "jaxou/plots.html"):
        assert (tmp_path / page).exists(), page
