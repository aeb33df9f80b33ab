"""What benchmarks rest on: frozen peers that exist, references that are right, honest clocks."""

import ast
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
HERE = ROOT / "benchmarks"
pytestmark = pytest.mark.skipif(not HERE.exists(), reason="needs the source tree")
sys.path.insert(0, str(HERE))


def test_every_peer_has_its_code_its_cases_and_a_way_to_be_installed():
    import cases
    import peers

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["peers"]
    known = {name.split(">=")[0] for name in wanted} | {"jaxou", "numpy"}
    names = [peer.name for peer in peers.load()]
    assert len(names) == len(set(names)) and set(peers.ENGINE) <= set(names)
    for peer in peers.load():
        tree = ast.parse((HERE / "peers" / f"{peer.module}.py").read_text())
        assert peer.build in [node.name for node in tree.body if hasattr(node, "name")]
        assert set(peer.cases) <= set(cases.SIZES) == set(cases.QUICK) == set(cases.DEFAULTS)
        assert peer.package in known and peer.limit >= 1e6


def test_references_are_those_of_the_recursion():
    import cases

    made = cases.problem("jumps", particles=1, dimension=2, steps=30, saves=1)
    drift = made.drift.astype(np.float64)
    forward = np.eye(2) - made.step * drift
    by_steps, finer = np.zeros((2, 2)), np.zeros((2, 2))
    for _ in range(30):
        by_steps = forward @ by_steps @ forward.T + made.step**2 * made.covariance
    np.testing.assert_allclose(cases.sgd_covariance(made, 30), by_steps, rtol=1e-12)
    h = made.step / 500
    forward = np.eye(2) - h * drift
    for _ in range(30 * 500):
        finer = forward @ finer @ forward.T + h * made.step * made.covariance
    flow = cases.flow_covariance(made, 30 * made.step)
    np.testing.assert_allclose(flow, finer, rtol=3 * h)  # h max(A) is its relative step bias
    assert abs(flow / by_steps - 1).max() > 6 * h  # the chain's law is another one


def deviation(problem, simulated) -> float:
    """How many standard errors a simulation's statistic is away from what the problem expects."""
    from peers.numpy_loop import loop

    seen = problem.statistic(loop(simulated)(0))
    return abs(seen.mean() - problem.expected()) / (seen.std() / len(seen) ** 0.5)


WRONG = {"ou": dict(step=0.13), "well": dict(temperature=0.35), "dense": dict(step=0.065)}


@pytest.mark.parametrize("kind", WRONG)
def test_a_peer_makes_the_chain_it_is_compared_with(kind):
    import cases

    d = 4 if kind == "dense" else 1
    made = cases.problem(kind, particles=20_000, steps=100, dimension=d)
    # two-sided normal tails: 5 standard errors have p = 6e-7
    assert deviation(made, made) < 5
    assert deviation(made, replace(made, **WRONG[kind])) > 5


def test_slow_engines_get_less_work_and_never_more():
    import cases

    made = cases.problem("ou", particles=1_000, steps=100)
    assert made.at_most(float("inf")).steps == 100
    small, tiny = made.at_most(2e4), made.at_most(1e3)
    assert (small.particles, small.steps) == (1_000, 20)
    assert (tiny.particles, tiny.steps) == (100, 10)


def test_a_race_interleaves_and_keeps_the_first_call_apart():
    import time

    import timing

    order = []

    def engine(name, seconds):
        def call(seed):
            order.append((name, seed))
            time.sleep(seconds[min(seed, 1)])
            return name

        return call

    engines = {"a": engine("a", (0.03, 0.0)), "b": engine("b", (0.0, 0.01))}
    seen = timing.race(engines, 2)
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("b", 2), ("a", 2)]
    assert seen["a"]["first"] >= 0.03 and seen["b"]["best"] >= 0.01
    assert seen["a"]["result"] == "a" and seen["a"]["best"] <= seen["a"]["median"]
