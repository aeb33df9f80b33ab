"""`jaxou study`: what it prints, its exit codes, and one line for whatever is wrong."""

import subprocess
import sys

import pytest

from jaxou.cli import main
from jaxou.studies import ready
from jaxou.studies.cells import Folder
from jaxou.studies.engine import batches_of


@pytest.fixture
def study(capsys):
    """(exit code, stdout, stderr) of one call."""

    def call(*arguments):
        code = main(["study", *map(str, arguments)])
        return (code, *capsys.readouterr())

    return call


def test_from_run_to_figures(reference, tmp_path, study):
    asked, table = reference
    file, out = tmp_path / "s.toml", tmp_path / "out"
    file.write_text(asked.to_toml())
    code, said, _ = study("run", file, "--out", out, "--shard", "1/2", "--quiet")
    assert code == 0 and "75 cells" in said and "75 of 150 cells are still missing" in said
    assert not (out / "table.csv").exists()

    code, said, _ = study("status", out)
    assert code == 0 and "computed  75" in said and "jaxou study resume" in said

    code, said, _ = study("resume", out, "--quiet")
    assert code == 0 and "75 were there, 75 computed" in said
    assert (out / "table.csv").read_text() == table

    code, said, _ = study("status", out)
    assert "missing   0" in said and "the learning rate is unstable" in said
    code, said, _ = study("plot", out)
    assert code == 0 and all(p.exists() for p in map(type(out), said.split()))


def test_ready_studies_are_listed_and_shown(study):
    code, said, _ = study("list")
    assert code == 0 and [line.split()[0] for line in said.splitlines()] == ready.names()
    code, said, _ = study("show", "momentum")
    assert code == 0 and said == ready.text("momentum")
    for name, line in (
        ("theory", "  kl_source: KL(Q_S || P0) of the source law from the prior, nats"),
        ("digits", '  data.target = "digits"    # one of digits, mnist'),
        ("run", "      Particles of the OU model that go through both stages."),
    ):
        code, said, _ = study("show", name)
        assert code == 0 and line in said.splitlines(), said
        assert "seed =" not in said  # a study has its own


WRONG = [
    (["rum"], "did you mean run?"),
    ([], "no action"),
    (["run"], "required: STUDY"),
    (["run", "nothing"], "there is no ready study 'nothing'"),
    (["run", "momentun"], "did you mean momentum?"),
    (["run", "none.toml"], "no such file"),
    (["run", "momentum", "--shard", "2/2"], "0 <= I < N"),
    (["run", "momentum", "--shart", "0/2"], "did you mean --shard?"),
    (["run", "momentum", "--devices", "x"], "invalid int value"),
    (["resume", "."], "holds no study"),
    (["show", "momentun"], "did you mean momentum?"),
    (["run", "momentum", "--executor", "slurn"], "did you mean slurm?"),
]


@pytest.mark.parametrize("arguments, words", WRONG, ids=[w for _, w in WRONG])
def test_what_is_wrong_is_one_line_and_exit_code_2(arguments, words, study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = study(*arguments)
    assert code == 2 and out == "" and words in err
    assert err.count("\n") == 1 and err.startswith("jaxou study: ")
    assert not list(tmp_path.iterdir())


def test_a_disk_error_is_one_line_and_exit_code_1(reference, study, tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(reference[0].to_toml())
    code, _, err = study("run", file, "--out", file / "below", "--quiet")
    assert code == 1 and err.count("\n") == 1 and "Not a directory" in err


def test_help_and_lists_need_no_jax():
    program = """
import sys
from jaxou.cli import main
try:
    main(["study", "run", "--help"])
except SystemExit:
    pass
main(["study", "list"])
assert "jax" not in sys.modules and "matplotlib" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True)


def test_batches_depend_on_shape_alone(tmp_path):
    asked = ready.load("dimension")
    batches = batches_of(asked, asked.cells(), 1)
    for batch in batches:
        assert len({asked.kind.shape(config) for config in batch.configs}) == 1
        assert len(batch.configs) <= asked.kind.batch(asked.kind.shape(batch.configs[0]))
    assert sum(len(batch.index) for batch in batches) == len(asked.cells())
    assert Folder(tmp_path).present() == set()
