"""Which gap is larger and when that changes; losses across domains; checkpoints; best posterior."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.bounds import two_stage_bound
from jaxou.bounds.best_posterior import best_posterior
from jaxou.bounds.dominance import dominance, dominance_of
from jaxou.bounds.transfer_value import checkpoint_prior, expected_losses

P07 = dict(n_source=50_000, n_target=1_000, risk=0.05, source_risk=0.02, delta=0.05)


def test_p07_is_dominated_by_fine_tuning_although_its_kl_is_smaller(p07):
    found = dominance(two_stage_bound(p07, **P07))
    assert bool(found.finetuning) and found.source_kl > found.target_kl
    np.testing.assert_allclose(found.target_gap, 0.0851218233898191, rtol=1e-10)
    np.testing.assert_allclose(found.source_gap, 0.0154068026440835, rtol=1e-10)
    assert "Fine-tuning has the larger gap, 0.0851 against 0.0154" in str(found)
    assert f"fewer than {float(found.n_source_at_change):,.0f} source" in str(found)


@pytest.mark.parametrize("name", ["mcallester_he", "maurer_pinsker", "seeger", "quadratic"])
@pytest.mark.parametrize("kls", [(7.2, 1.9), (900.0, 2.0)])
def test_the_gaps_change_places_at_that_number(name, kls):
    numbers = dict(source_kl=kls[0], target_kl=kls[1], n_target=1_000, bound=name)
    numbers |= dict(source_risk=0.02, target_risk=0.05)
    change = float(dominance_of(n_source=1_000, **numbers).n_source_at_change)
    for factor, finetuning in ((1 - 1e-6, False), (1 + 1e-6, True)):
        found = dominance_of(n_source=change * factor, **numbers)
        assert bool(found.finetuning) is finetuning
        np.testing.assert_allclose(found.source_gap, found.target_gap, rtol=1e-5)


def test_the_closed_form_is_the_root_found_for_any_row():
    numbers = dict(target_kl=3.0, n_source=1e5, n_target=500, source_kl=jnp.asarray(250.0))
    closed = dominance_of(**numbers)
    # the same row under another name takes the general route
    general = dominance_of(**numbers, bound=lambda *a: ou.bounds.mcallester_he(*a))
    np.testing.assert_allclose(closed.n_source_at_change, general.n_source_at_change, rtol=1e-12)


def test_changes_that_do_not_exist():
    # a target with a gap above what even one source example leaves
    always = dominance_of(source_kl=0.1, target_kl=5e4, n_source=100, n_target=50)
    assert float(always.n_source_at_change) == 0 and "every number" in str(always)
    never = dominance_of(
        source_kl=5.0, target_kl=0.0, n_source=1e6, n_target=1e4, bound="seeger",
        target_risk=1.0, source_risk=0.1,
    )  # fmt: skip
    assert float(never.n_source_at_change) == np.inf and not bool(never.finetuning)
    assert "pre-training would have it for every number" in str(never)


def test_a_row_with_parameters_is_given_again(p07):
    row = functools.partial(ou.bounds.catoni_linear, catoni_lambda=100.0)
    b = two_stage_bound(p07, **(P07 | dict(bound=row)))
    with pytest.raises(ValueError, match="functools.partial"):
        dominance(b)
    assert dominance(b, row).bound == "catoni_linear"


def test_losses_across_the_domains_of_p07(p07):
    losses = expected_losses(p07)
    np.testing.assert_allclose(losses.forgetting, 0.00243849253144654, rtol=1e-10)
    # (eps / 4) tr C at home, by the trace of the Lyapunov equation
    np.testing.assert_allclose(losses.source, 0.1 / 64 / 4 * 1.8, rtol=1e-12)
    np.testing.assert_allclose(losses.target, 0.05 / 32 / 4 * 2.0, rtol=1e-12)
    draws = p07.pretrain.gibbs().sample(jax.random.key(1), 20_000)
    draws = draws - p07.finetune.minimum[None, :]
    loss = jnp.sum((draws @ p07.finetune.hessian.dense()) * draws, axis=1) / 2
    error = loss.std() / len(loss) ** 0.5
    assert abs(loss.mean() - losses.zero_shot) < 5 * error
    assert abs(loss.mean() - losses.target) > 5 * error
    np.testing.assert_allclose(losses.improvement, losses.zero_shot - losses.target)


@pytest.mark.parametrize("averaged", [1.0, 4.0])
def test_a_checkpoint_costs_half_a_nat_per_dimension(p07, averaged):
    q, p = p07.finetune.gibbs(), p07.pretrain.gibbs()
    found = checkpoint_prior(q, p, averaged)
    np.testing.assert_allclose(found.cost, 2 / 2 / averaged, rtol=1e-12)
    np.testing.assert_allclose(found.kl, q.kl(p), rtol=1e-12)
    spread = ou.Gaussian(p.mean, p.covariance / averaged)
    centres = spread.sample(jax.random.key(7), 4_000)
    kls = jax.vmap(lambda c: q.kl(ou.Gaussian(c, p.covariance, check=False)))(centres)
    error = found.sd_kl / 4_000**0.5
    assert abs(kls.mean() - found.expected_kl) < 5 * error
    assert abs(kls.mean() - found.kl) > 5 * error  # the wrong twin: the centred prior's KL
    # the sample deviation of a skewed law: its own error from the fourth moment
    fourth = jnp.mean((kls - kls.mean()) ** 4) / kls.var() ** 2
    assert abs(kls.std() / found.sd_kl - 1) < 5 * jnp.sqrt((fourth - 1) / 4_000) / 2


def test_the_best_posterior_is_best_and_ou_is_that_far_from_it(p07):
    prior = p07.pretrain.gibbs()
    stage = p07.finetune
    best = best_posterior(prior, stage.hessian, stage.minimum, catoni_lambda=700.0)
    inverse = np.linalg.inv(prior.covariance) + 700 * stage.hessian.dense()
    np.testing.assert_allclose(best.law.covariance, np.linalg.inv(inverse), rtol=1e-10)
    np.testing.assert_allclose(best.objective(best.law), best.value, rtol=1e-10)
    ou_law = stage.gibbs()
    distance = best.distance(ou_law)
    assert distance > 0.01
    np.testing.assert_allclose(best.objective(ou_law) - best.value, distance, rtol=1e-9)
    # stationary: no Gaussian nearby is better, and the second-order term is the KL
    slope = jax.grad(lambda m: best.objective(ou.Gaussian(m, best.law.operator, check=False)))
    np.testing.assert_allclose(slope(best.law.mean), 0.0, atol=1e-9)


def test_a_prior_that_is_singular_or_diagonal():
    singular = ou.Gaussian([0.0, 1.0], [[1.0, 1.0], [1.0, 1.0]])
    best = best_posterior(singular, [2.0, 1.0], [1.0, 1.0], catoni_lambda=5.0)
    # along (1, 1) only: precision 1/2 + 5 (2 + 1) / 2 per unit of length
    np.testing.assert_allclose(best.law.covariance, np.ones((2, 2)) / 16, rtol=1e-12)
    diagonal = best_posterior(ou.Gaussian([0.0, 0.0], [1.0, 2.0]), 1.0, 0.5, catoni_lambda=4.0)
    prior = ou.Gaussian([0.0, 0.0], jnp.diag(jnp.asarray([1.0, 2.0])))
    dense = best_posterior(prior, jnp.eye(2), 0.5, catoni_lambda=4.0)
    np.testing.assert_allclose(diagonal.law.covariance, dense.law.covariance, rtol=1e-13)
    np.testing.assert_allclose(diagonal.value, dense.value, rtol=1e-13)
    with pytest.raises(ValueError, match="catoni_lambda=0"):
        best_posterior(singular, 1.0, 0.0, catoni_lambda=0.0)
