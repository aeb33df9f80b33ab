"""Verdicts: right processes pass, wrong twins do not, and the page can be read."""

import dataclasses
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou


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
        assert stage.rank == 2 and len(stage.tests) == 4
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
    for words in ("CONSISTENT", "pretrain", "finetune", "would have seen", "finite sample", "KL"):
        assert words in text
    assert json.loads(json.dumps(verdict.as_dict()))["decision"] == "consistent"
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdict.level = 0.5


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
    wrong = ou.Chain([stage.replace(batch_size=8 / 1.1)], initial=chain.initial)
    assert ou.verdict(run, wrong).decision == "rejected"


def test_refusals(run):
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
