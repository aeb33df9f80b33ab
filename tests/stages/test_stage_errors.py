"""What stages and chains say to a bad question, and how they are put into words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.stages import average_law, exponential_average, long_run_covariance, tail_average

SETTINGS = dict(
    hessian=[1.0, 2.0], noise=1.0, minimum=[0.0, 1.0], learning_rate=0.1, batch_size=4, steps=50
)
START = ou.Gaussian([0.0, 0.0], 1.0)


def stage(**changes):
    return ou.Stage(**(SETTINGS | changes))


def well(**changes):
    settings = dict(dimension=2, noise=1.0, learning_rate=0.1, steps=4)
    return ou.PotentialStage(lambda x: jnp.sum(x**2), **(settings | changes))


STAGE, FALLING = stage(), stage(learning_rate=np.linspace(0.1, 0.01, 50))
CHAIN = ou.Chain([STAGE], initial=START)
WRONG = [
    (lambda: CHAIN.law(stage=0.0, step=1), TypeError, "stage=0.0 must be a stage's number, 0 to 0"),
    (lambda: CHAIN.law(stage=True, step=1), TypeError, "stage=True must be a stage's number"),
    (lambda: CHAIN.law(stage=1, step=1), ValueError, "stage=1 of a chain of 1 stages"),
    (lambda: ou.Chain(STAGE, initial=START), TypeError, r"ou.Chain\(\[stage\], initial=...\)"),
    (lambda: ou.Chain([STAGE] * 2, START, ["a", "a"]), ValueError, "each another one"),
    (lambda: ou.Chain([STAGE] * 2, START, ["a"]), ValueError, "1 names were given for 2"),
    (lambda: FALLING.kernel(60), ValueError, "step 60 is beyond the 50 steps"),
    (lambda: FALLING.flow(9.0), ValueError, "time=9 is beyond this stage's schedule.* 2.75"),
    (lambda: FALLING.noise_rate(), ValueError, r"noise_rate\(\) needs a constant learning rate"),
    (lambda: FALLING.temperature, ValueError, r"noise_rate\(\) needs a constant learning rate"),
    (lambda: long_run_covariance(stage(hessian=[0.0, 1.0])), ValueError, "has no steady law"),
    (lambda: long_run_covariance(stage(learning_rate=1.5)), ValueError, "1.5 is unstable"),
    (lambda: FALLING.at_step(1.5), ValueError, "step=1.5 must be a whole number"),
    (lambda: FALLING.at_step("a"), ValueError, "step='a' must be a whole number"),
    (lambda: FALLING.gibbs(step=50), ValueError, "step=50 is not one of the 50 steps"),
    (lambda: stage(learning_rate=lambda k: 0.1, steps=0), ValueError, "steps=0: a schedule"),
    (lambda: STAGE.excess_loss(ou.Gaussian([0.0], 1.0)), ValueError, "dimension 1 but the stage"),
    (lambda: STAGE.stationary("gibbs"), TypeError, "method='gibbs' has no steady law"),
    (lambda: stage(hessian=ou.linalg.General(np.eye(2))), ValueError, "hessian must be symmetric"),
    (lambda: stage(hessian=1.0, minimum=[]), ValueError, r"minimum must be a vector \(d,\)"),
    (lambda: stage(hessian=[0.0, 1.0]).entropy_production(), ValueError, "no Gibbs law"),
    (lambda: stage(hessian=[0.0, 1.0]).irreversibility(), ValueError, "no Gibbs law"),
    (lambda: well(langevin_temperature=np.nan), ValueError, "langevin_temperature holds nan"),
    (lambda: well(centre=[0.0]), ValueError, r"centre has shape \(1,\)"),
    (lambda: well(noise=ou.Diffusion([1.0, 2.0, 3.0])), ValueError, "has dimension 3"),
    (lambda: well().replace(learnig_rate=1.0), TypeError, "no argument 'learnig_rate'"),
    (lambda: tail_average(STAGE, 3, every=0), ValueError, "every=0 must be at least 1 step"),
    (lambda: exponential_average(STAGE, [0.1, 0.2]), ValueError, "decay must be one number"),
    (lambda: average_law(STAGE, window=3), TypeError, "process must be a chain of stages"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), WRONG)
def test_a_wrong_question_gets_its_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_a_schedule_ends_where_it_ends():
    """Under tracing what lies beyond is NaN with a status; its own end, rounded, is not beyond."""
    chain = ou.Chain([FALLING], initial=START)
    law = jax.jit(lambda n, s: (chain.law(step=n), chain.law(time=s)))
    end = sum(np.linspace(0.1, 0.01, 50))
    for n, s, fine in ((50.0, end, True), (51.0, 3.0, False), (2.5, -1.0, False)):
        for found in law(n, s):
            assert bool(jnp.isfinite(found.covariance).all()) is fine
            assert bool(found.status == (ou.Status.ok if fine else ou.Status.bad_input))


def test_traced_noise_and_population_out_of_range_are_bad_input():
    @jax.jit
    def status(diffusion, temperature, population):
        return (
            stage(noise=ou.Diffusion(diffusion)).status == ou.Status.ok,
            stage(noise=ou.Temperature(temperature)).status == ou.Status.ok,
            stage(batch_size=1, population=population).status == ou.Status.ok,
        )

    assert all(status(1.0, 1.0, 2.0)) and not any(status(-1.0, -1.0, 1.0))


def test_without_noise_the_steady_law_is_a_point_and_reversible():
    found = stage(noise=0.0).irreversibility()
    assert found.commutator == found.anisotropy == found.temperature == 0
    assert found.equipartition == 1 and "nan" not in str(found)


def test_stages_and_chains_are_put_into_words():
    assert str(STAGE) == (
        "SGD on a quadratic loss in 2 dimensions: learning rate 0.1, batch 4, 50 steps (flow time "
        "5); Hessian Diagonal of trace 3; noise C Isotropic of trace 2; minimum [0. 1.]"
    )
    rich = str(stage(momentum=0.9, preconditioner=2.0, noise=ou.Temperature(0.5)))
    assert "momentum 0.9; preconditioner Isotropic of trace 4" in rich
    assert "noise Temperature(0.5)" in rich and "noise Diffusion" in str(stage(noise=DIFFUSION))
    assert "learning rate 0.1 to 0.01, batch 4, 50 steps (flow time 2.75)" in str(FALLING)
    assert str(well()).startswith("SGD on a loss of one's own in 2 dimensions: learning rate 0.1")
    two = str(ou.TwoStage(STAGE, well(), START)).splitlines()
    assert two[0].startswith("2 stages of training, from: Gaussian law in 2 dimensions")
    assert [line.split(":")[0] for line in two[1:]] == ["  pretrain", "  finetune"]
    batch = jax.vmap(lambda eta: ou.Chain([stage(learning_rate=eta)], initial=START))(jnp.ones(3))
    assert str(batch.stages[0]).startswith("Stage(\n") and str(batch).startswith("Chain(\n")


DIFFUSION = ou.Diffusion(0.5)
