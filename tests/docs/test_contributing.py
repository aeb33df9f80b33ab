"""The blocks of "Extending" in CONTRIBUTING.md run as they stand, and do what they say."""

import re
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "CONTRIBUTING.md"
TEXT = PATH.read_text(encoding="utf-8") if PATH.exists() else ""
BLOCKS = dict(re.findall(r"<!-- extend: (\w+) -->\n```python\n(.*?)```", TEXT, re.S))
pytestmark = pytest.mark.skipif(not TEXT, reason="needs the source tree, not only the package")


@pytest.fixture(autouse=True)
def as_a_user():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def run(name, module="__main__"):
    names = {"__name__": module}
    exec(compile(BLOCKS[name], f"CONTRIBUTING.md: {name}", "exec"), names)
    return names


def test_every_family_has_its_block_and_no_block_is_forgotten():
    assert set(BLOCKS) == {"method", "observer", "statistic", "bound", "experiment", "study"}
    assert TEXT.count("```python") == len(BLOCKS)


def test_a_method(capsys):
    names = run("method")
    ratio = np.array([float(x) for x in capsys.readouterr().out.strip(" []\n").split()])
    assert np.abs(ratio - 1).max() < 4 * (2 / 4_000) ** 0.5
    # the wrong twin: the same particles, held against the law of steps that they did not make
    euler = names["ou"].EulerMaruyama().steady_law(names["bowl"])
    own = names["Midpoint"]().steady_law(names["bowl"])
    seen = np.cov(np.asarray(names["run"].final), rowvar=False)[0, 0]
    error = seen * (2 / 4_000) ** 0.5
    assert abs(seen - own.covariance[0, 0]) < 4 * error < abs(seen - euler.covariance[0, 0])


def test_an_observer():
    names = run("observer")
    share = names["run"].observed["beyond"]
    assert share.shape == (5,) and share[0] == 1.0
    final = np.asarray(names["run"].final)
    # centred at the stage's minimum, the origin; near the edge the two roundings may differ
    assert abs(share[-1] - np.mean((final**2).sum(axis=1) > 4.0)) < 1e-3
    ou = names["ou"]
    again = ou.simulate(
        names["chain"], particles=4_000, key=jax.random.key(0), save=4, memory=2**20,
        observe=names["Beyond"](2.0),
    )  # fmt: skip
    assert again.observed["beyond"].tobytes() == share.tobytes()


def test_a_statistic(capsys):
    names = run("statistic")
    right, wrong = (float(line.split()[1]) for line in capsys.readouterr().out.splitlines())
    assert right > 1e-3 and wrong < 1e-6
    # its null law: the rate of p-values below 5 % over 400 honest samples, +- 4 standard errors
    z = np.random.default_rng(0).normal(size=(400, 200, 3))
    value = (np.sign(z).sum(axis=1) ** 2).sum(axis=-1) / 200
    null = names["Signs"]().null(200, 3)
    rate = np.mean([float(null.p_value(v)) < 0.05 for v in value])
    assert abs(rate - 0.05) < 4 * (0.05 * 0.95 / 400) ** 0.5


def test_a_bound(capsys):
    names = run("bound")
    mine, seeger = (float(line) for line in capsys.readouterr().out.split())
    assert mine == pytest.approx(0.1 + ((1.0 + np.log(40)) / 1800) ** 0.5, rel=1e-6)
    assert seeger != mine
    with pytest.raises(ValueError, match="delta=2 must lie in"):
        names["occam"](0.1, 1.0, 10, 2.0)


def relaxed(curvature, rate):
    """Steps from a point at 1 to KL < 0.01, by the recursion of mean and variance alone."""
    steady = rate / (curvature * (2 - rate * curvature))
    mean, variance = np.ones(2), np.zeros(2)
    for step in range(1, 100_000):
        mean = (1 - rate * curvature) * mean
        variance = (1 - rate * curvature) ** 2 * variance + rate**2
        ratio = variance / steady
        if np.sum(ratio - 1 - np.log(ratio) + mean**2 / steady) / 2 < 0.01:
            return step


def test_an_experiment_becomes_a_study(capsys, monkeypatch):
    from jaxou.studies import kinds

    where = "jaxou.studies.kinds.slowest"
    module = types.ModuleType(where)
    monkeypatch.setitem(sys.modules, where, module)
    exec(compile(BLOCKS["experiment"], "CONTRIBUTING.md: experiment", "exec"), module.__dict__)
    with pytest.raises(ValueError, match="slowest"):
        run("study")  # not before it is registered
    monkeypatch.setitem(kinds.MODULES, "slowest", "slowest")
    table = run("study")["table"]
    steps = table.column("steps").reshape(3, 2)
    assert np.isfinite(steps).all() and not table.failed
    assert (np.diff(steps, axis=0) > 0).all()  # worse conditioned, slower
    expected = [
        [relaxed(np.array([1.0, 1 / condition]), rate) for rate in (0.05, 0.1)]
        for condition in (1, 10, 100)
    ]
    assert np.abs(steps - expected).max() <= 1
