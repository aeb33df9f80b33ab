"""`jaxou claims`: flags, files, resuming, the page; the experiments replaced by a small one."""

import json

import numpy as np
import pytest

from jaxou import cli, cli_claims
from jaxou.claims import Claim, ClaimsConfig, run_claims
from jaxou.claims import run as run_
from jaxou.config import ConfigError


def small(name, config, folder):
    table = ("Some numbers", ("a", "b "), [(1, 2.5), ("x", None)])
    return Claim(
        number=3, name=name, sentence="It is so & not < otherwise.", experiment="none",
        headline="one", verdict="holds", condition="nowhere", numbers={"x": np.float64(0.1)},
        tables={name: table}, arrays={"a/b": np.arange(3.0)},
    )  # fmt: skip


@pytest.fixture
def counted(monkeypatch):
    calls = []

    def examine(name, *rest):
        calls.append(name)
        return small(name, *rest)

    monkeypatch.setattr(run_, "examine", examine)
    return calls


def test_files_page_and_resuming(tmp_path, counted):
    config = ClaimsConfig(only=("rate", "dominance"), out=tmp_path, figures=False)
    shown = []

    from contextlib import nullcontext

    text = run_claims(config, lambda title: shown.append(title) or nullcontext())
    assert shown == ["Claim 3: rate", "Claim 4: dominance"] and "HOLDS" in text
    found = json.loads((tmp_path / "claims.json").read_text())
    assert [claim["name"] for claim in found["claims"]] == ["rate", "dominance"]
    assert (tmp_path / "tables" / "rate.csv").read_text() == "a,b\n1,2.5\nx,\n"
    page = (tmp_path / "claims.html").read_text()
    assert "It is so &amp; not &lt; otherwise." in page and "http" not in page
    before = (tmp_path / "claims.json").read_bytes()
    run_claims(config)
    assert counted == ["rate", "dominance"]  # nothing was computed again
    assert (tmp_path / "claims.json").read_bytes() == before
    run_claims(ClaimsConfig(only=("rate",), out=tmp_path, figures=False, seed=1))
    assert counted == ["rate", "dominance", "rate"]


def test_a_claim_comes_back_from_disk_as_it_was(tmp_path, counted):
    config = ClaimsConfig(only=("rate",), out=tmp_path, figures=False)
    cache = run_.Cache(tmp_path)
    first = run_._from_cache(cache, "rate", config, tmp_path)
    second = run_._from_cache(cache, "rate", config, tmp_path)
    assert cache.reused == ["rate"] and first.tables == second.tables
    np.testing.assert_array_equal(second.arrays["a/b"], np.arange(3.0))


def test_flags():
    found = cli_claims.parse(["--quick", "--image-pairs", "25", "--out", "here", "--no-figures"])
    assert found.quick and found.image_pairs == 25 and not found.figures
    assert found.pairs == ClaimsConfig.defaults(quick=True).pairs


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--only", "rates"], "did you mean rate?"),
        (["--pair", "40"], "did you mean --pairs?"),
        (["--level", "2"], "level = 2.0: it must be strictly between 0 and 1"),
        (["--pairs", "many"], "invalid int value"),
    ],
)
def test_wrong_flags_are_named(arguments, words):
    with pytest.raises(ConfigError, match=".*") as caught:
        cli_claims.parse(arguments)
    assert words in str(caught.value)


def test_the_command_says_it_in_one_line(capsys):
    assert cli.main(["claims", "--only", "rates"]) == 2
    assert capsys.readouterr().err.startswith("jaxou claims: only = 'rates'")
    assert "claims" in cli._overview()
