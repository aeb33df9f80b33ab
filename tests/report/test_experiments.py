"""Experiments with one's own model, and those that the command line knows by name."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxou import config
from jaxou.cli import parse_experiment
from jaxou.config import ConfigError
from jaxou.report.experiments import run


def wrong(model, x, y):
    return ((model @ x > 0) != (y > 0)).astype(float)


def logistic(model, example):
    x, y = example
    return jnp.logaddexp(0.0, -y * (model @ x))


def sample(n, seed, slope):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    return x, np.where(x @ slope + 0.3 * rng.normal(size=n) > 0, 1.0, -1.0)


SETTINGS = dict(learning_rate=0.05, batch_size=8, steps=1000, weight_decay=0.1)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    slope = np.array([1.0, 0.2])
    return run(
        jnp.zeros(2), logistic, sample(300, 1, slope), sample(200, 2, slope[::-1]),
        **SETTINGS, loss01=wrong, test=sample(1000, 3, slope[::-1]), replicas=1024, draws=500,
        out=tmp_path_factory.mktemp("user"), title="Two <slopes>",
    )  # fmt: skip


def test_what_cannot_be_is_refused_before_anything_is_computed(tmp_path):
    data = sample(20, 1, np.ones(2))
    (tmp_path / "file").write_text("")
    wanted = dict(loss01=wrong, out=tmp_path, **SETTINGS)
    with jax.enable_x64(False), pytest.raises(RuntimeError, match="jax_enable_x64"):
        run(jnp.zeros(2), logistic, data, data, **wanted)
    with pytest.raises(ValueError, match="replicas=1 must be a whole number of at least 2"):
        run(jnp.zeros(2), logistic, data, data, **wanted, replicas=1)
    with pytest.raises(ConfigError, match="file: File exists"):
        run(jnp.zeros(2), logistic, data, data, **(wanted | {"out": tmp_path / "file"}))


@pytest.mark.slow
def test_a_model_of_ones_own(report):
    found = report.numbers
    assert json.loads((report.out / "result.json").read_text()) == found
    # the laws overlap little, and SGD near its optimum is what the model says
    assert found["dimension"] == 2 and found["discrepancy"]["value"] > 1
    seen = found["agreement"]
    assert seen["fails"] == 0 and abs(seen["trace"] - 1) < 0.15
    both = found["certificates"]
    assert both["source"]["test_risk"] < both["source"]["bound"] < 0.5
    assert abs(found["sgd_test_risk"]["mean"] - both["source"]["test_risk"]) < 0.1
    assert "certified risk, source prior" in str(report)


@pytest.mark.slow
def test_the_page_is_whole_and_escapes_what_it_is_told(report):
    page = (report.out / "report.html").read_text()
    assert "Two &lt;slopes&gt;" in page and "<slopes>" not in page
    for words in ("follow its quadratic model", "The two stages", "The certificate", "200 target"):
        assert words in page
    told = page.partition("<script>")[0]  # the script sorts NaN
    assert "None" not in told and "nan" not in told.lower().replace("finance", "")


def test_settings_by_name():
    settings = parse_experiment("network", ["--layers", "last", "--replicas", "100"])
    assert (settings.layers, settings.replicas) == ("last", 100)
    assert parse_experiment("diabetes", ["--quick"]).replicas < config.DiabetesConfig().replicas
    assert parse_experiment("diabetes", ["--quick", "--replicas", "700"]).replicas == 700
    for words, message in (
        (["--replicas", "3"], "replicas = 3"),
        (["--replica", "3"], "did you mean --replicas"),
        (["file.toml"], "unexpected argument 'file.toml'"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse_experiment("diabetes", words)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(config.EXPERIMENTS))
def test_built_in_experiments(name, tmp_path, capsys):
    pytest.importorskip("sklearn"), pytest.importorskip("mlxtend")
    from jaxou.cli import main

    assert main(["run", name, "--quick", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "result.json").read_text())
    assert "real SGD beside its model" in capsys.readouterr().out
    if name == "diabetes":
        exact = [each["theories"]["least squares"] for each in found["theories"]]
        assert all(abs(t["trace_error"]) < 4.5 * t["trace_uncertainty"] for t in exact)
        assert (
            "certificates" not in found
            and "Three theories" in (tmp_path / "report.html").read_text()
        )
    else:
        source = found["certificates"]["source"]
        assert source["test_risk"] < source["bound"] < 1
