"""Tuning reaches known optima, stays in range, survives instability and refuses nonsense."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix
import pytest

import jaxou as ou
from jaxou.bounds import SaturatedRisk, TargetBound, tune, two_stage_bound

BFGS = optimistix.BFGS(rtol=1e-10, atol=1e-13)
COMMON = dict(n_source=50_000, n_target=1_000, delta=0.05)


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


@pytest.mark.slow
def test_an_optimistix_minimiser_reaches_the_optimum_of_p07(p07):
    objective = TargetBound(risk=0.05, **COMMON)
    best = tune(objective, p07, "finetune.learning_rate", BFGS, steps=40)
    np.testing.assert_allclose(best.process.finetune.noise_ratio, 0.00138488384189754, rtol=1e-6)
    assert best.history.shape == (41,) and best.history[0] == best.initial_value
    path = np.asarray(best.trajectory["finetune.learning_rate"])
    np.testing.assert_allclose(path[[0, -1]], [0.05, best.process.finetune.learning_rate])
    assert best.risk_held_fixed and "risk held fixed" in str(best)
    assert best.cost_nats == 0 and best.price == {"finetune.learning_rate": "free"}


@pytest.fixture(scope="module")
def plain():
    """Diagonal, which compiles quickly; a risk that noise spoils, a KL that noise relieves."""
    bowl = dict(noise=[1.0, 0.6], batch_size=32, steps=200)
    pretrain = ou.Stage(hessian=[2.0, 1.0], minimum=[1.0, -0.5], learning_rate=0.1, **bowl)
    finetune = ou.Stage(hessian=[1.2, 1.8], minimum=[1.1, -0.4], learning_rate=0.05, **bowl)
    return ou.TwoStage(pretrain, finetune, ou.Gaussian([0.0, 0.0], 1.0))


@pytest.fixture(scope="module")
def target(plain):
    risk = SaturatedRisk(plain.finetune.hessian, plain.finetune.minimum, floor=0.05, scale=0.02)
    return TargetBound(risk=risk, law="flow", **COMMON)


@pytest.mark.slow
def test_a_grid_confirms_an_interior_optimum(plain, target):
    over = ("finetune.learning_rate", "finetune.steps")
    best = tune(target, plain, over, BFGS, steps=60)
    assert best.value < best.initial_value - 1e-3 and best.risk_held_fixed is False
    rate, steps = (float(getattr(best.process.finetune, f)) for f in ("learning_rate", "steps"))

    def value(a, b):
        changed = tune_to(plain, rate * a, steps * b)
        return target(changed)

    near = jnp.linspace(0.9, 1.1, 21)
    grid = jax.jit(jax.vmap(jax.vmap(value, (None, 0)), (0, None)))(near, near)
    assert best.value <= grid.min() + 1e-14
    # the middle is the smallest, and the edges are worse: inside, not at an end
    assert np.unravel_index(int(grid.argmin()), grid.shape) == (10, 10)
    whole = best.rounded()
    assert float(whole.process.finetune.steps) in (np.floor(steps), np.ceil(steps))
    np.testing.assert_allclose(whole.value, target(whole.process), rtol=1e-12)
    assert best.value <= whole.value < best.value + 1e-4


def tune_to(process, rate, steps):
    import equinox as eqx

    where = lambda p: (p.stages[1].learning_rate, p.stages[1].steps)
    return eqx.tree_at(where, process, (rate, steps))


def test_rounding_takes_the_better_neighbour(p07):
    # lopsided: nearest would be 11
    objective = lambda p: (
        jnp.where(p.finetune.batch_size > 10.6, p.finetune.batch_size, -p.finetune.batch_size / 10)
        + 0 * kl(p)
    )
    best = tune(lambda p: (p.finetune.batch_size - 10.7) ** 2, p07, "finetune.batch_size", BFGS)
    np.testing.assert_allclose(best.process.finetune.batch_size, 10.7, rtol=1e-6)
    assert float(best.rounded().process.finetune.batch_size) == 11
    import equinox as eqx

    from jaxou.bounds.tuning import _Plain

    lopsided = eqx.tree_at(lambda t: t.objective, best, _Plain(objective))
    assert float(lopsided.rounded().process.finetune.batch_size) == 10


def test_rates_stay_below_their_limit(plain):
    greedy = lambda p: -jnp.log(p.finetune.stationary(throw=False).covariance.trace())
    best = tune(greedy, plain, "finetune.learning_rate", steps=50, keep_stable=True)
    assert np.isfinite(best.history).all() and best.process.finetune.learning_rate < 2 / 1.8
    wild = plain.with_finetune(learning_rate=1.2)
    with pytest.raises(ValueError, match="not below its stability limit 1.11"):
        tune(greedy, wild, "finetune.learning_rate", keep_stable=True)


def test_momentum_stays_between_zero_and_one(plain):
    heavy = plain.with_finetune(momentum=0.5)
    best = tune(lambda p: -p.finetune.momentum, heavy, "finetune.momentum", optax.sgd(3.0), 80)
    assert 0.99 < best.process.finetune.momentum < 1


def test_what_the_choice_costs(plain):
    mixed = lambda p: (p.pretrain.noise_ratio - 0.01) ** 2 + p.finetune.noise_ratio
    over = ("pretrain.batch_size", "finetune.batch_size")
    peeked = tune(mixed, plain, over, steps=2)
    assert peeked.price == {over[0]: "prior", over[1]: "free"} and np.isinf(peeked.cost_nats)
    assert "pretrain.batch_size belong to the prior" in peeked.note and "no bound" in peeked.note
    declared = tune(mixed, plain, over, steps=2, prior_choices=20)
    np.testing.assert_allclose(declared.cost_nats, np.log(20))
    assert "20 candidates" in declared.note and "nats" in str(declared)
    with pytest.raises(ValueError, match="prior_choices=0"):
        tune(mixed, plain, over, steps=2, prior_choices=0)


def test_tuning_goes_through_jit(plain):
    f = lambda b: tune(kl, plain.with_finetune(batch_size=b), "finetune.learning_rate", steps=3)
    inside = jax.jit(lambda b: f(b).value)(16.0)
    np.testing.assert_allclose(inside, f(16.0).value, rtol=1e-12)
