"""Tuning reaches known optima, stays in range, survives instability and refuses nonsense."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxou.bounds import SaturatedRisk, tune, two_stage_bound


def kl(process):
    return process.finetune.gibbs().kl(process.pretrain.gibbs())


def test_finds_the_best_noise_ratio_of_p07(p07):
    best = tune(kl, p07, over=("finetune.learning_rate",), steps=300)
    np.testing.assert_allclose(best.process.finetune.noise_ratio, 0.00138488384189754, rtol=1e-3)
    assert best.history.shape == (301,)
    np.testing.assert_allclose(best.initial_value, kl(p07), rtol=1e-12)
    np.testing.assert_allclose(best.value, kl(best.process), rtol=1e-10)
    assert best.value <= best.history.min()


def test_lowers_a_bound_with_a_callable_risk(p07):
    risk = SaturatedRisk(p07.finetune.hessian, p07.finetune.minimum, floor=0.05)

    def objective(process):
        return two_stage_bound(
            process, n_source=50_000, n_target=1000, risk=risk, delta=0.05, law="stationary"
        ).target.value

    over = ("pretrain.learning_rate", "finetune.learning_rate", "finetune.batch_size")
    best = tune(objective, p07, over=over, steps=60)
    assert best.value < best.initial_value - 1e-3
    assert best.over == over
    assert best.process.pretrain.batch_size == 64


def test_batches_stay_at_least_one(p07):
    log_batch = lambda p: jnp.log(p.finetune.batch_size)
    best = tune(log_batch, p07, over="finetune.batch_size", steps=100)
    np.testing.assert_allclose(best.process.finetune.batch_size, 1.0)


def test_comes_back_from_beyond_the_stability_limit(p07):
    # larger learning rates are rewarded until SGD has no steady law any more
    def objective(process):
        return -jnp.log(process.finetune.stationary().covariance.trace())

    import optax

    best = tune(
        objective, p07, over=("finetune.learning_rate",), steps=60, optimizer=optax.sgd(0.3)
    )
    assert np.isnan(best.history).any() and np.isfinite(best.value)
    assert best.value < best.initial_value


def test_refusals(p07):
    with pytest.raises(ValueError, match="finetune.learning_rate.*finetune.weight_decay"):
        tune(kl, p07, over=("finetune.rate",))
    with pytest.raises(ValueError, match="cannot be tuned in its logarithm"):
        tune(kl, p07, over=("finetune.weight_decay",))
    with pytest.raises(ValueError, match="objective is nan"):
        tune(lambda p: kl(p) * jnp.nan, p07)
    with pytest.raises(ValueError, match="steps=0"):
        tune(kl, p07, steps=0)
