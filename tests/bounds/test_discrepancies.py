"""The discrepancy: P07 and P10, its parts, invariance, laws and refusals, large structured d."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.bounds import discrepancy

KL = dict(rtol=1e-8, atol=1e-13)


def test_p07(p07):
    d = discrepancy(p07)
    np.testing.assert_allclose(d.trace, 2.25650693975762, **KL)
    np.testing.assert_allclose(d.logdet, -0.124292381466249, **KL)
    np.testing.assert_allclose(d.shift, 3.64292379471229, **KL)
    assert d.dimension == -2
    np.testing.assert_allclose(d.covariance_part, 0.132214558291373, **KL)
    np.testing.assert_allclose(d.value, 3.77513835300366, **KL)
    np.testing.assert_allclose(d.kl, 1.88756917650183, **KL)
    np.testing.assert_allclose(d.reverse_kl, 2.01449146823917, **KL)
    np.testing.assert_allclose(d.jeffreys, 3.902060644741, **KL)
    np.testing.assert_allclose(d.w2, 0.0450683562203371, **KL)


def test_p10(p10):
    d = discrepancy(p10)
    np.testing.assert_allclose(d.trace, 88.1916909725629, **KL)
    np.testing.assert_allclose(d.shift, 306.612829171045, **KL)
    np.testing.assert_allclose(d.logdet, -388.317464072282 + 387.199516067745, rtol=1e-8)
    np.testing.assert_allclose(d.value, 343.68657213907, **KL)
    np.testing.assert_allclose(d.trace + d.logdet + d.dimension + d.shift, d.value, rtol=1e-12)


def test_equal_stages_have_no_discrepancy(p07):
    same = ou.TwoStage(p07.pretrain, p07.pretrain, p07.initial)
    d = discrepancy(same)
    for zero in (d.value, d.reverse_kl, d.w2):
        np.testing.assert_allclose(zero, 0.0, atol=1e-7)
    assert discrepancy(p07, law="finite").value > 0


def test_scaling_both_noise_ratios(p07):
    # V: multiplying both eps by x leaves the covariance part and divides the shift by x
    scaled = p07.with_pretrain(learning_rate=0.3).with_finetune(learning_rate=0.15)
    a, b = discrepancy(p07), discrepancy(scaled)
    np.testing.assert_allclose(b.covariance_part, a.covariance_part, rtol=1e-9)
    np.testing.assert_allclose(b.shift, a.shift / 3, rtol=1e-10)


@pytest.mark.parametrize("law", ["gibbs", "stationary", "finite"])
def test_every_law_is_the_laws_own_kl(p07, law):
    if law == "finite":
        source, target = (
            p07.law(name, step=p07.stages[i].steps) for i, name in enumerate(p07.names)
        )
    else:
        source, target = (getattr(stage, law)() for stage in p07.stages)
    np.testing.assert_allclose(discrepancy(p07, law=law).kl, target.kl(source), rtol=1e-10)


def test_refusals(p07):
    with pytest.raises(ValueError, match="gibbs, stationary, finite"):
        discrepancy(p07, law="steady")
    with pytest.raises(TypeError, match="TwoStage|AbstractChain"):
        discrepancy(p07.pretrain)
    with pytest.raises(ValueError, match="3 stages"):
        discrepancy(ou.Chain([*p07.stages, p07.finetune], p07.initial))
    flat = p07.with_finetune(hessian=[[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="weight decay"):
        discrepancy(flat)
    quiet = discrepancy(flat, throw=False)
    assert jnp.isnan(quiet.value) and not bool(quiet.status == ou.Status.ok)


def test_one_bad_lane_does_not_spoil_the_others(p07):
    rates = jnp.asarray([0.05, 5.0, 0.1])
    values = jax.jit(
        jax.vmap(
            lambda lr: discrepancy(p07.with_finetune(learning_rate=lr), law="stationary").value
        )
    )(rates)
    assert np.isnan(values).tolist() == [False, True, False]


@pytest.mark.slow
def test_structured_laws_at_a_hundred_thousand_parameters(key):
    d, r = 100_000, 3
    factor = jax.random.normal(key, (d, r)) / jnp.sqrt(d)
    stage = ou.Stage(
        hessian=ou.LowRankPlusDiagonal(1.0, factor, jnp.asarray([3.0, 2.0, 1.0])),
        noise=ou.LowRankPlusDiagonal(0.5, factor),
        minimum=jnp.zeros(d),
        learning_rate=0.01,
        batch_size=10,
        steps=10,
    )
    target = stage.replace(batch_size=20, minimum=jnp.full(d, 1e-4))
    result = discrepancy(ou.TwoStage(stage, target, ou.Gaussian(jnp.zeros(d), 1.0)))
    # equal shapes, ratio 1/2 of eps: d (1/2 - 1 - log 1/2) + shift
    np.testing.assert_allclose(result.covariance_part, d * (np.log(2) - 0.5), rtol=1e-9)
    np.testing.assert_allclose(result.reverse_kl, d * (1 - np.log(2)) / 2 + result.shift, rtol=1e-6)


@pytest.mark.parametrize("law", ["gibbs", "stationary", "finite"])
def test_a_stage_without_gaussian_laws_is_refused(p07, law):
    well = ou.PotentialStage(
        lambda x: jnp.sum(x**4), dimension=p07.pretrain.dimension, noise=ou.Temperature(0.1),
        learning_rate=0.01, steps=10,
    )  # fmt: skip
    process = ou.TwoStage(p07.pretrain, well, initial=p07.initial)
    with pytest.raises(ValueError, match="'finetune' is a PotentialStage"):
        ou.discrepancy(process, law=law)
