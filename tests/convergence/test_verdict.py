"""Verdicts: right processes pass, wrong twins do not, and the page can be read."""

import dataclasses
import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.convergence.statistics import MeanChi2, MomentsKL, TotalVariance


def process(steps=(60, 43), **changes):
    a, c = [[2.0, 0.6], [0.6, 1.0]], [[1.0, -0.4], [-0.4, 0.5]]
    first = ou.Stage(
        hessian=a, noise=c, minimum=[1.0, -1.0], learning_rate=0.1, batch_size=8, steps=steps[0]
    )
    second = ou.Stage(
        hessian=[[1.0, 0.6], [0.6, 2.0]],
        noise=c,
        minimum=[0.0, 0.5],
        learning_rate=0.05,
        batch_size=4,
        steps=steps[1],
    )
    start = ou.Gaussian([3.0, 0.0], [[1.0, 0.2], [0.2, 0.5]])
    return ou.TwoStage(first, second.replace(**changes), initial=start)


@pytest.fixture(scope="module")
def run():
    return ou.simulate(process(), particles=20_000, key=jax.random.key(5), save=2)


def test_the_right_process_is_consistent_and_budgeted(run):
    verdict = ou.verdict(run, process())
    assert verdict.decision == "consistent" and verdict.equivalent is None
    for stage, own in zip(verdict.stages, process().stages, strict=True):
        assert stage.rank == 2 and len(stage.tests) == 10
        assert stage.p_value >= 0.01
        true = float(process().law(stage.name, step=own.steps).kl(own.gibbs()))
        assert true < stage.equivalence.smallest_margin < 1.1 * true + 0.01
        law = process().law(stage.name, step=own.steps)
        assert stage.budget.step_bias == pytest.approx(float(own.stationary().kl(own.gibbs())))
        assert stage.budget.distance == pytest.approx(float(law.kl(own.stationary())))
        assert stage.budget.sampling == pytest.approx(5 / (2 * 20_000), rel=1e-3)
        truth = float(law.kl(own.gibbs()))
        error = 2 * np.sqrt(2 * truth / 20_000)
        assert stage.gibbs.estimate == pytest.approx(truth, abs=4.5 * error)
        assert stage.gibbs.upper > truth
        assert abs(stage.own.estimate) < stage.own.upper < 1e-3
        assert stage.detectable.variance == pytest.approx(0.03, rel=0.2)


@pytest.mark.parametrize(
    "twin",
    [
        lambda p: p.with_finetune(batch_size=4 / 1.05),
        lambda p: p.with_pretrain(learning_rate=0.2),
        lambda p: ou.TwoStage(p.finetune, p.pretrain, initial=p.initial),
        lambda p: p.with_finetune(noise=commuting_part(p.finetune)),
    ],
    ids=["noise 5 % off", "a lost factor 2", "stages swapped", "noise made to commute"],
)
def test_wrong_twins_are_rejected(run, twin):
    assert ou.verdict(run, twin(process())).decision == "rejected"


def commuting_part(stage):
    _, u = np.linalg.eigh(np.asarray(stage.hessian.dense()))
    return u @ np.diag(np.diag(u.T @ np.asarray(stage.noise.dense()) @ u)) @ u.T


def test_the_wrong_one_of_the_three_laws_is_rejected(run):
    # SGD's particles against the SDE's law: the step bias is seen
    confused = eqx.tree_at(lambda r: r.method, run, ou.Exact())
    assert ou.verdict(confused, process()).decision == "rejected"


@pytest.mark.slow
def test_equivalence_is_shown_only_near_equilibrium():
    long = process(steps=(200, 400))
    run = ou.simulate(long, particles=20_000, key=jax.random.key(6))
    near = ou.verdict(run, long, margin=0.05)
    assert near.equivalent is True and "YES" in str(near)
    assert ou.verdict(run, long, margin=1e-4).equivalent is False
    # shown of stage 1 does not excuse stage 2
    short = process(steps=(200, 10))
    run = ou.simulate(short, particles=20_000, key=jax.random.key(6))
    verdict = ou.verdict(run, short, margin=0.05)
    assert [stage.equivalent for stage in verdict.stages] == [True, False]
    assert verdict.decision == "consistent" and verdict.equivalent is False


def test_page_and_numbers(run):
    verdict = ou.verdict(run, process(), margin=0.05)
    text = str(verdict)
    words = ("CONSISTENT", "pretrain", "finetune", "would have seen", "finite sample", "KL")
    for word in (*words, "smallest margin", "steady law of its steps"):
        assert word in text
    assert json.loads(json.dumps(verdict.as_dict()))["decision"] == "consistent"
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdict.level = 0.5


@pytest.mark.slow
def test_singular_laws_are_tested_on_their_range():
    # five directions without noise or curvature, others over six orders of magnitude
    d = 25
    noise = jnp.concatenate([jnp.zeros(5), jnp.logspace(-6, 0, d - 5)])
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))
    arguments = dict(learning_rate=0.1, batch_size=8, steps=100, minimum=jnp.ones(d))
    hessian = (q * np.where(np.asarray(noise) > 0, 1.0, 0.0)) @ q.T
    matrix = (q * np.asarray(noise)) @ q.T
    stage = ou.Stage(hessian=hessian, noise=(matrix + matrix.T) / 2, **arguments)
    chain = ou.Chain([stage], initial=ou.Gaussian(jnp.zeros(d), 0.0))
    run = ou.simulate(chain, particles=5_000, key=jax.random.key(0))
    verdict = ou.verdict(run, chain)
    assert verdict.decision == "consistent", str(verdict)
    assert 15 <= verdict.stages[0].rank <= 20
    assert "eigenvalue" in verdict.stages[0].gibbs.reason
    moved = eqx.tree_at(lambda r: r.deviations, run, run.deviations + 0.01)
    assert ou.verdict(moved, chain).decision == "rejected"


@pytest.mark.slow
def test_more_dimensions_than_particles():
    d = 150
    stage = ou.Stage(
        hessian=1.0, noise=1.0, minimum=jnp.zeros(d), learning_rate=0.1, batch_size=8, steps=50
    )
    chain = ou.Chain([stage], initial=ou.Gaussian(jnp.zeros(d), 1.0))
    run = ou.simulate(chain, particles=120, key=jax.random.key(0))
    verdict = ou.verdict(run, chain)
    assert verdict.decision == "consistent"
    assert "needs more than 150 particles" in str(verdict)
    assert math.isinf(verdict.stages[0].equivalence.smallest_margin)
    wrong = ou.Chain([stage.replace(batch_size=8 / 1.1)], initial=chain.initial)
    assert ou.verdict(run, wrong).decision == "rejected"


@pytest.mark.slow
def test_a_run_that_kept_no_particles_is_judged_by_its_moments():
    arguments = dict(particles=300_000, key=jax.random.key(2), final=False)
    run = ou.simulate(process(), **arguments)
    verdict = ou.verdict(run, process(), margin=0.5)
    assert verdict.decision == "consistent" and "kept no particles" in str(verdict)
    assert {t.name for t in verdict.stages[0].tests} >= {"mean", "covariance", "all moments (KL)"}
    assert verdict.stages[0].gibbs.upper > 0
    wrong = process().with_finetune(batch_size=4 / 1.02)
    assert ou.verdict(run, wrong).stages[1].decision == "rejected"
    bare = ou.simulate(process(), observe=ou.Moments(covariance=False), **arguments)
    with pytest.raises(ValueError, match="kept variances only"):
        ou.verdict(bare, process())


@pytest.mark.slow
def test_a_loss_that_is_not_quadratic_is_held_against_its_gibbs_law():
    def well(temperature=0.2):
        stage = ou.PotentialStage(
            lambda x: jnp.sum((x**2 - 1) ** 2) / 4,
            dimension=1,
            noise=ou.Temperature(temperature),
            learning_rate=0.01,
            steps=4_000,
        )
        return ou.Chain([stage], initial=ou.Gaussian([0.0], 1.0))

    run = ou.simulate(well(), particles=4_096, key=jax.random.key(0), method=ou.Heun())
    verdict = ou.verdict(run, well())
    assert verdict.decision == "consistent" and "Gibbs law exp(-U / T)" in str(verdict)
    assert "closed form" in verdict.stages[0].own.reason
    assert ou.verdict(run, well(0.25)).decision == "rejected"
    # noise that depends on the state: no law is known, and the verdict says so
    other = well().stages[0].replace(noise=lambda x: 1 + x**2)
    untested = ou.verdict(run, ou.Chain([other], initial=well().initial))
    assert untested.decision == "untested" and "temperature" in str(untested)


@pytest.mark.slow
def test_a_quadratic_stage_before_a_well_keeps_its_own_law():
    def both(**changes):
        bowl = ou.Stage(
            hessian=1.0, noise=1.0, minimum=[1.0], learning_rate=0.1, batch_size=10, steps=30
        ).replace(**changes)
        well = ou.PotentialStage(
            lambda x: jnp.sum((x**2 - 1) ** 2) / 4, dimension=1, noise=ou.Temperature(0.2),
            learning_rate=0.05, steps=20,
        )  # fmt: skip
        return ou.Chain([bowl, well], initial=ou.Gaussian([0.0], 1.0))

    method = ou.EulerMaruyama()
    run = ou.simulate(both(), particles=5_000, key=jax.random.key(1), method=method)
    fast = (MeanChi2(), TotalVariance())
    found = ou.verdict(run, both(), statistics=fast)
    # twenty steps do not bring the second stage to the Gibbs law of its loss, and it says so
    assert [stage.decision for stage in found.stages] == ["consistent", "rejected"]
    assert "integrator's chain after 30 steps" in found.stages[0].law
    wrong = ou.verdict(run, both(batch_size=10 / 1.2), statistics=fast)
    assert wrong.stages[0].decision == "rejected"


@pytest.mark.slow
def test_without_a_test_nothing_is_called_consistent(run):
    still = ou.Stage(
        hessian=1.0, noise=0.0, minimum=[1.0, 2.0], learning_rate=0.1, batch_size=1, steps=5
    )
    chain = ou.Chain([still], initial=ou.Gaussian([1.0, 2.0], 0.0))
    found = ou.verdict(ou.simulate(chain, particles=200, key=jax.random.key(0)), chain)
    assert found.decision == "untested" and found.stages[0].detectable is None
    assert "would have seen" not in str(found) and "no direction has any spread" in str(found)
    few = ou.simulate(many(110), particles=105, key=jax.random.key(0))
    found = ou.verdict(few, many(110), statistics=MomentsKL())
    assert found.decision == "untested" and "needs more than 110 particles" in str(found)


def many(d):
    stage = ou.Stage(
        hessian=1.0, noise=1.0, minimum=jnp.zeros(d), learning_rate=0.1, batch_size=8, steps=50
    )
    return ou.Chain([stage], initial=ou.Gaussian(jnp.zeros(d), 1.0))


def test_refusals(run):
    for wrong in ("mean", (MeanChi2, TotalVariance), 3):
        with pytest.raises(TypeError, match="takes those of jaxou.convergence.statistics"):
            ou.verdict(run, process(), statistics=wrong)
    with pytest.raises(ValueError, match="holds no statistic"):
        ou.verdict(run, process(), statistics=())
    with pytest.raises(TypeError, match="Wrap the stage"):
        ou.verdict(run, process().pretrain)
    by_itself = lambda value: ou.Chain([process().pretrain.replace(batch_size=value)], law)
    law = process().initial
    each = ou.simulate(by_itself, particles=200, key=jax.random.key(0), each=jnp.full(200, 8.0))
    with pytest.raises(ValueError, match="hyper-parameters of its own"):
        ou.verdict(each, by_itself(8.0))
    few = ou.simulate(process(), particles=50, key=jax.random.key(0))
    with pytest.raises(ValueError, match="at least 100"):
        ou.verdict(few, process())
    with pytest.raises(ValueError, match="pass the process that was run"):
        ou.verdict(run, ou.Chain([process().pretrain], initial=process().initial))
    with pytest.raises(ValueError, match="false alarm"):
        ou.verdict(run, process(), level=2.0)
    broken = eqx.tree_at(lambda r: r.deviations, run, run.deviations * jnp.nan)
    with pytest.raises(ValueError, match="diverged"):
        ou.verdict(broken, process())
