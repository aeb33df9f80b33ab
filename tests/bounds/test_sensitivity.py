"""Slopes, elasticities and curvatures: closed forms of P07, differences, batches, words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.bounds import SaturatedRisk, TargetBound, sensitivities
from jaxou.bounds.parameters import FACTORS, NUMBERS, find_places
from jaxou.bounds.sensitivity import _derivatives


def kl(process):
    return process.finetune.gibbs().kl(process.pretrain.gibbs())


@pytest.fixture(scope="module")
def found():
    import problems

    names = "pretrain.learning_rate finetune.learning_rate finetune.batch_size finetune.shift"
    names += " finetune.noise"
    return sensitivities(kl, problems.p07(), over=tuple(names.split()))


def test_slopes_are_those_of_p07(found):
    trace, shift, d = 2.25650693975762, 3.64292379471229, 2
    ratio = 0.05 / 32
    expected = [-1247.81783503037 / 64, 82.082220722439 / 32, -ratio / 32 * 82.082220722439]
    expected += [shift, (trace - d) / 2]
    np.testing.assert_allclose(found.gradient, expected, rtol=1e-8)
    np.testing.assert_allclose(found.value, 1.88756917650183, rtol=1e-8)
    np.testing.assert_allclose(found["finetune.shift"], shift, rtol=1e-8)
    elasticity = found.at * np.asarray(expected) / 1.88756917650183
    np.testing.assert_allclose(found.elasticity, elasticity, rtol=1e-8)


def test_curvatures_are_those_of_p07(found):
    # 2 KL = tr e_T/e_S - d log(e_T/e_S) + shift f^2 / e_S + ..., each e in units of its value
    trace, shift, d = 2.25650693975762, 3.64292379471229, 2
    h = found.hessian * found.at[:, None] * found.at[None, :]
    np.testing.assert_allclose(h[0, 0], trace + shift - d / 2, rtol=1e-8)
    np.testing.assert_allclose(h[1, 1], d / 2, rtol=1e-7)
    np.testing.assert_allclose(h[0, 1], -trace / 2, rtol=1e-8)
    np.testing.assert_allclose(h[0, 3], -shift, rtol=1e-8)
    np.testing.assert_allclose(h[3, 3], shift, rtol=1e-8)
    np.testing.assert_allclose(h[2, 2], trace - d / 2, rtol=1e-7)  # in b: e goes like 1/b
    np.testing.assert_allclose(h[1, 3], 0.0, atol=1e-8)
    assert found.hessian.tolist() == found.hessian.T.tolist()
    log_log = found.elasticity_hessian[3, 3]  # value v0 + shift f^2 / 2: e (2 - e) at f = 1
    e = shift / 1.88756917650183
    np.testing.assert_allclose(log_log, e * (2 - e), rtol=1e-7)


@pytest.fixture(scope="module")
def rich():
    """Two diagonal stages in which everything is switched on."""
    common = dict(noise=[1.0, 0.6], batch_size=32, momentum=0.5, weight_decay=0.05, steps=100)
    common |= dict(langevin_temperature=1e-3)
    pretrain = ou.Stage(hessian=[2.0, 1.0], minimum=[1.0, -0.5], learning_rate=0.1, **common)
    finetune = ou.Stage(hessian=[1.2, 1.8], minimum=[1.1, -0.4], learning_rate=0.05, **common)
    return ou.TwoStage(pretrain, finetune, ou.Gaussian([0.0, 0.0], 1.0))


@pytest.fixture(scope="module")
def target(rich):
    risk = SaturatedRisk(rich.finetune.hessian, rich.finetune.minimum, floor=0.05)
    return TargetBound(n_source=5e4, n_target=1e3, risk=risk, delta=0.05, law="stationary")


@pytest.mark.slow
def test_every_hyper_parameter_against_differences(rich, target):
    found = sensitivities(target, rich)
    fields = "learning_rate batch_size weight_decay momentum langevin_temperature"
    fields = (fields + " hessian noise shift").split()
    assert found.names == tuple(f"{s}.{f}" for s in rich.names for f in fields)
    assert found.risk_held_fixed is False and "risk held fixed" not in str(found)
    np.testing.assert_allclose(found.value, target(rich), rtol=1e-13)

    places = find_places(rich, found.names, NUMBERS + FACTORS, "")
    at = np.asarray(found.at)
    scale = np.max(np.abs(at * found.gradient))
    for i, x in enumerate(at):
        h = np.zeros_like(at)
        h[i] = 1e-4 * x
        # the same program at other numbers: (value, gradient, hessian)
        (up, slopes_up, _), (down, slopes_down, _) = (
            _derivatives(target, rich, tuple(places), jnp.asarray(y)) for y in (at + h, at - h)
        )
        np.testing.assert_allclose(x * found.gradient[i], (up - down) / 2e-4, atol=1e-7 * scale)
        second = (slopes_up - slopes_down) / 2e-4 * at
        row = found.hessian[i] * x * at
        np.testing.assert_allclose(row, second, atol=1e-6 * np.max(np.abs(row)))


def test_batches_without_a_loop():
    stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=8, steps=9)
    process = ou.TwoStage(stage, stage, ou.Gaussian(0.0, 1.0))
    over = ("finetune.learning_rate", "pretrain.shift")
    f = lambda rate: sensitivities(kl, process.with_finetune(learning_rate=rate), over)
    batch = jax.jit(jax.vmap(f))(jnp.asarray([0.02, 0.05]))
    assert batch.gradient.shape == (2, 2) and batch.hessian.shape == (2, 2, 2)
    one = f(0.05)
    np.testing.assert_allclose(batch.gradient[1], one.gradient, rtol=1e-10)
    np.testing.assert_allclose(batch.hessian[1], one.hessian, rtol=1e-10)


def test_a_slope_at_zero_is_the_one_sided_one():
    stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=8, steps=9)
    process = ou.TwoStage(stage, stage, ou.Gaussian(0.0, 1.0))
    loss = lambda p: p.finetune.excess_loss(p.finetune.gibbs())
    found = sensitivities(loss, process, over="finetune.weight_decay")
    # S = eps C / (2 (A + w)), m = A / (A + w): L = A S / 2 + A (m - 1)^2 / 2, d/dw at 0
    np.testing.assert_allclose(found.gradient, [-0.1 / 8 / (4 * 2.0)], rtol=1e-12)
    assert found.names == ("finetune.weight_decay",) and float(found.at[0]) == 0


def test_words_and_refusals(rich):
    stage = rich.finetune.replace(momentum=0.0, weight_decay=0.0, langevin_temperature=0.0)
    plain = ou.TwoStage(stage, stage.replace(minimum=[1.2, -0.3]), rich.initial)
    fixed = TargetBound(n_source=5e4, n_target=1e3, risk=0.1, delta=0.05)
    found = sensitivities(fixed, plain, over=("finetune.learning_rate",))
    assert found.risk_held_fixed and "risk held fixed" in str(found)
    assert "finetune.learning_rate" in str(found).splitlines()[2]
    with pytest.raises(ValueError, match="finetune.rate.*differentiable.*finetune.shift"):
        sensitivities(fixed, plain, over="finetune.rate")
    with pytest.raises(ValueError, match="names no hyper-parameter"):
        sensitivities(fixed, plain, over=())
    point = ou.TwoStage(stage, stage.replace(noise=0.0), rich.initial)
    with pytest.raises(ValueError, match="objective is inf"):
        sensitivities(kl, point, over="finetune.learning_rate")
