"""Experiment A: real SGD on real data beside three theories of it."""

import pytest

pytest.importorskip("sklearn")

from jaxou.transfer.experiment import diabetes


@pytest.fixture(scope="module")
def data():
    return diabetes.domains()


def test_the_domains_are_the_two_sexes(data):
    assert [len(part.y) for part in data] == [235, 207]
    assert all(len(set(part.x[:, 1])) == 1 for part in data)


def exact(found):
    """Whether the exact moments agree within Monte Carlo error (4.5 standard errors)."""
    theory = found["theories"]["least squares"]
    near = abs(theory["trace_error"]) < 4.5 * theory["trace_uncertainty"]
    return near and theory["frobenius"] < 2 * found["chance"] and theory["mean"] < 4.5


@pytest.mark.slow
def test_large_steps_need_the_exact_moments(data):
    found = diabetes.compare(data, 0.2, runs=2000)
    assert exact(found)
    chain, flow = found["theories"]["chain"], found["theories"]["OU"]
    # the noise of large steps is larger than at the optimum, and the flow misses more than that
    assert -0.3 < chain["trace_error"] < -0.1
    assert flow["trace_error"] < chain["trace_error"] - 0.05
    assert min(chain["frobenius"], flow["frobenius"]) > 2 * found["chance"]


@pytest.mark.slow
def test_three_theories_at_three_learning_rates(data):
    """At 0.01 every theory is right within 3 % of the trace and 6 % of the covariance."""
    found = {rate: diabetes.compare(data, rate) for rate in diabetes.LEARNING_RATES}
    small = found[0.01]["theories"]
    assert all(abs(t["trace_error"]) < 0.03 and t["frobenius"] < 0.06 for t in small.values())
    assert all(exact(each) for each in found.values())
    for name in ("OU", "chain"):
        errors = [-found[rate]["theories"][name]["trace_error"] for rate in (0.05, 0.2)]
        uncertain = found[0.05]["theories"][name]["trace_uncertainty"]
        assert errors[0] > 1.5 * uncertain and errors[1] > 2 * errors[0]
