"""The bound along fine-tuning, and the best time to stop: against grids, limits and formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.bounds import SaturatedRisk, best_stopping, bound_path, two_stage_bound

COMMON = dict(n_source=50_000, n_target=1_000, delta=0.05)


@pytest.fixture(scope="module")
def far():
    """Diagonal, which compiles quickly, with a target minimum that fine-tuning must walk to."""
    bowl = dict(noise=[1.0, 0.6], batch_size=32)
    pretrain = ou.Stage(
        hessian=[2.0, 1.0], minimum=[1.0, -0.5], learning_rate=0.1, steps=1000, **bowl
    )
    finetune = ou.Stage(
        hessian=[1.2, 1.8], minimum=[1.6, -0.1], learning_rate=0.05, steps=500, **bowl
    )
    return ou.TwoStage(pretrain, finetune, ou.Gaussian([0.0, 0.0], 1.0))


@pytest.fixture(scope="module")
def risk(far):
    return SaturatedRisk(far.finetune.hessian, far.finetune.minimum, floor=0.05)


@pytest.fixture(scope="module")
def best(far, risk):
    return best_stopping(far, risk=risk, **COMMON)


@pytest.mark.parametrize("kind", ["far", pytest.param("p07", marks=pytest.mark.slow)])
def test_a_path_is_the_finite_bound_at_every_step(kind, request):
    process = request.getfixturevalue(kind)
    risk = SaturatedRisk(process.finetune.hessian, process.finetune.minimum, floor=0.05)
    path = bound_path(process, steps=[0, 7, 500], risk=risk, source_risk=0.02, **COMMON)
    for step, value, kl in zip((7, 500), path.value[1:], path.kl[1:], strict=True):
        one = process.with_finetune(steps=step)
        b = two_stage_bound(one, law="finite", risk=risk, source_risk=0.02, **COMMON)
        np.testing.assert_allclose([value, kl], [b.target.value, b.target.kl], rtol=1e-9)
        np.testing.assert_allclose(path.source.value, b.source.value, rtol=1e-12)
    # without fine-tuning there is nothing to pay, and the risk is that of the pre-trained law
    before = process.law("pretrain", step=1000)
    np.testing.assert_allclose(path.kl[0], 0.0, atol=1e-12)
    np.testing.assert_allclose(path.risk[0], risk(before), rtol=1e-12)
    parts = path.discrepancy
    total = parts["trace"] + parts["logdet"] + parts["dimension"] + parts["shift"]
    np.testing.assert_allclose(total, parts["value"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(path.value, path.risk + path.gap, rtol=1e-14)
    assert not path.risk_held_fixed and path.clock == "step"


def test_a_path_in_flow_time_is_another_law(far, risk):
    times = jnp.asarray([0.5, 25.0])
    flow = bound_path(far, times=times, risk=0.1, **COMMON)
    chain = bound_path(far, steps=times / 0.05, risk=0.1, **COMMON)
    source = far.law("pretrain", time=far.pretrain.duration)
    expected = [far.law("finetune", time=s).kl(source) for s in times]
    np.testing.assert_allclose(flow.kl, expected, rtol=1e-9)
    assert np.all(np.abs(chain.kl / flow.kl - 1) > 1e-3)
    assert flow.risk_held_fixed and np.all(flow.risk == 0.1)


def test_what_diverges_is_masked_not_fatal(far):
    wild = far.with_finetune(learning_rate=3.0)
    path = bound_path(wild, steps=[1, 2, 100_000], risk=0.1, **COMMON)
    assert np.isfinite(path.value[:2]).all() and np.isnan(path.value[2])
    assert (path.status == ou.Status.diverged).tolist() == [False, False, True]


@pytest.mark.slow
def test_the_best_time_is_inside_and_a_grid_confirms_it(far, risk, best):
    assert best.where == "inside" and not best.risk_held_fixed and int(best.minima) == 1
    assert abs(best.slope) < 1e-11
    fine = float(best.time) * jnp.linspace(0.99, 1.01, best.path.times.size)
    values = bound_path(far, times=fine, risk=risk, **COMMON).value
    assert best.value <= values.min() + 1e-15
    np.testing.assert_allclose(fine[jnp.argmin(values)], best.time, rtol=2e-4)
    assert best.value < best.path.value.min() < min(best.value_start, best.value_end)
    assert best.gain > 0.05
    # the wrong twin: what the risk alone would choose is later and worse
    alone = best.path.times[jnp.argmin(best.path.risk)]
    assert alone > 1.2 * best.time


@pytest.mark.slow
def test_the_best_time_moves_as_differences_say(far, risk, best):
    def time(batch):
        moved = far.with_finetune(batch_size=batch)
        return best_stopping(moved, risk=risk, **COMMON).time

    value, slope = jax.jit(jax.value_and_grad(time))(32.0)
    np.testing.assert_allclose(value, best.time, rtol=1e-9)
    h = 1e-2
    difference = (time(32 + h) - time(32 - h)) / (2 * h)
    np.testing.assert_allclose(slope, difference, rtol=1e-4)


@pytest.mark.slow
def test_whole_steps_find_the_smallest_of_all(far, risk):
    found = best_stopping(far, risk=risk, clock="step", points=9, **COMMON)
    every = bound_path(far, steps=np.arange(501), risk=risk, **COMMON).value
    assert float(found.time) == int(jnp.argmin(every))
    assert found.value == pytest.approx(float(every.min()), rel=1e-12)
    assert found.where == "inside" and np.isnan(found.slope)
    assert found.path.times.shape == found.path.value.shape
    np.testing.assert_allclose(found.value_end, every[-1], rtol=1e-12)


@pytest.mark.slow
def test_minima_at_the_two_ends(far, risk):
    fixed = best_stopping(far, risk=0.1, **COMMON)
    assert fixed.where == "at the start" and fixed.risk_held_fixed
    assert float(fixed.time) == 0 and fixed.value == fixed.value_start
    assert "risk held fixed" in str(fixed)
    short = best_stopping(far, risk=risk, horizon=0.1, **COMMON)
    assert short.where == "at the end" and short.slope < 0
    np.testing.assert_allclose(short.time, 0.1)
    assert "at the end" in str(short)


def test_refusals(far):
    for both in ({}, dict(steps=[1], times=[1.0])):
        with pytest.raises(ValueError, match="exactly one of steps"):
            bound_path(far, risk=0.1, **COMMON, **both)
    with pytest.raises(ValueError, match="whole numbers"):
        bound_path(far, steps=[0.5], risk=0.1, **COMMON)
    with pytest.raises(ValueError, match="holds -1"):
        bound_path(far, times=[-1.0], risk=0.1, **COMMON)
    with pytest.raises(ValueError, match="neither"):
        best_stopping(far, risk=0.1, clock="days", **COMMON)
    with pytest.raises(ValueError, match="horizon=0"):
        best_stopping(far, risk=0.1, horizon=0.0, **COMMON)
    with pytest.raises(ValueError, match="2 stages|needs 2"):
        bound_path(ou.Chain([far.finetune], far.initial), steps=[1], risk=0.1, **COMMON)
