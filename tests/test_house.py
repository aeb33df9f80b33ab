"""Rules of the house that a machine can check: imports go one way, importing changes nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxou

ROOT = Path(jaxou.__file__).parent
# a module may import from its own layer and from those before it
LAYERS = [
    ("_typing", "_check", "_status", "_table", "_claims", "config"),
    ("linalg",),
    ("laws",),
    ("kernels",),
    ("stages",),
    ("particles",),
    ("convergence",),
    ("bounds",),
    ("curvature",),
    ("transfer",),
    ("plots",),
    ("report",),
    ("studies",),
    ("claims",),
    ("cli", "cli_audit", "cli_claims", "cli_parser", "cli_study", "cli_verify", "__main__"),
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imported_layers(path: Path):
    """Top-level parts of jaxou that a file imports, anywhere in it."""
    here = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = list(here[: len(here) - node.level])
            target = base + (node.module.split(".") if node.module else [])
            names = [target[0]] if target else [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxou"):
            names = (node.module.split(".")[1:2]) or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name.split(".")[1] for a in node.names if a.name.startswith("jaxou.")]
        else:
            continue
        yield from (name for name in names if name in LEVEL)


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def test_imports_go_one_way():
    upward = []
    for path in ROOT.rglob("*.py"):
        layer = layer_of(path)
        if layer == "__init__":
            continue
        assert layer in LEVEL, f"{layer} is in no layer: add it to LAYERS"
        for other in imported_layers(path):
            if LEVEL[other] > LEVEL[layer]:
                upward.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not upward, upward


def test_files_stay_small():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in ROOT.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert not long, long


def test_import_changes_no_global_state_and_loads_nothing_heavy():
    program = """
import sys
import jax, numpy, os, warnings, random
before = (dict(jax.config.values), numpy.geterr(), dict(os.environ), list(warnings.filters))
import pytest

import jaxou
assert (dict(jax.config.values), numpy.geterr(), dict(os.environ), list(warnings.filters)) == before
jaxou.Stage, jaxou.simulate, jaxou.verdict, jaxou.two_stage_bound
assert dict(jax.config.values) == before[0]
heavy = [name for name in ("matplotlib", "tyro", "sklearn", "mlxtend") if name in sys.modules]
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_the_root_lists_every_name_once_and_help_finds_them():
    assert len(jaxou.__all__) == len(set(jaxou.__all__)) and set(jaxou.__all__) <= set(dir(jaxou))
    for name in jaxou.__all__:
        getattr(jaxou, name)


def test_the_stub_lists_the_same_names():
    tree = ast.parse((ROOT / "__init__.pyi").read_text())
    names = [a.asname for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names]
    assert sorted(names) == sorted(jaxou.__all__)


@pytest.mark.slow
@pytest.mark.skipif(
    not (ROOT.parent / "pyproject.toml").exists(), reason="its settings are in the source tree"
)
def test_the_type_checker_is_content():
    pytest.importorskip("pyrefly", reason="the type checker is in the group `dev`")
    command = ["pyrefly", "check", "--python-interpreter-path", sys.executable]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
