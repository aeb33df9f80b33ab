"""What bounds, grids and searches say to a bad question, and how bounds are put into words."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou import bounds

STAGE = ou.Stage(
    hessian=[1.0, 2.0], noise=1.0, minimum=[0.0, 1.0], learning_rate=0.1, batch_size=4, steps=50
)
START = ou.Gaussian([0.0, 0.0], 1.0)
TWO = ou.TwoStage(STAGE, STAGE.replace(minimum=[1.0, 1.0]), START)
SCHEDULED = ou.TwoStage(STAGE, STAGE.replace(learning_rate=np.full(50, 0.1)), START)
NUMBERS = dict(n_source=10_000, n_target=900, risk=0.1, delta=0.05)
RATE = "finetune.learning_rate"


def kl(process):
    return process.finetune.gibbs().kl(process.pretrain.gibbs())


def two(**changes):
    return ou.two_stage_bound(TWO, **(NUMBERS | changes))


def grid(over, **changes):
    return bounds.bound_grid(TWO, over, **(NUMBERS | changes))


def dominance(**changes):
    numbers = dict(source_kl=1.0, target_kl=1.0, n_source=100, n_target=100)
    return bounds.dominance_of(**(numbers | changes))


WRONG = [
    (lambda: two(n_target=[10, 20]), ValueError, r"n_target must be one number, got shape \(2,\)"),
    (lambda: two(delta=[0.1, 0.2]), ValueError, "delta must be one number"),
    (lambda: bounds.find_row(3), TypeError, "bound=3 must be the name of a row"),
    (lambda: grid([RATE]), TypeError, "over=.* must be a dict"),
    (lambda: grid({}), ValueError, "names no hyper-parameter"),
    (lambda: grid({RATE: [0.1]}, prior=ou.Gaussian(0.0, 1.0)), ValueError, "the process has 2"),
    (lambda: bounds.sensitivities(kl, STAGE), TypeError, "process must be a chain"),
    (lambda: bounds.sensitivities(kl, TWO, over=()), ValueError, "names no hyper-parameter"),
    (
        lambda: bounds.sensitivities(lambda p: jnp.sqrt(kl(p) - kl(p)), TWO, over=RATE),
        ValueError,
        f"no derivative in {RATE}",
    ),
    (lambda: ou.tune(kl, TWO, optimizer="adam"), TypeError, "optimizer='adam' must be"),
    (lambda: ou.tune(kl, TWO, over=()), ValueError, "names no hyper-parameter"),
    (lambda: ou.tune(3.0, TWO), TypeError, "objective=3.0 must be a function"),
    (lambda: ou.tune(kl, TWO, steps=0), ValueError, "steps=0 must be a whole number"),
    (
        lambda: bounds.bound_path(SCHEDULED, times=[1.0, 9.0], **NUMBERS),
        ValueError,
        "times reach 9, beyond the fine-tuning stage's schedule, which ends at 5",
    ),
    (
        lambda: bounds.bound_path(SCHEDULED, steps=[1, 51], **NUMBERS),
        ValueError,
        "steps reach 51, beyond the fine-tuning stage's schedule, which ends at 50",
    ),
    (lambda: bounds.best_stopping(TWO, points=3, **NUMBERS), ValueError, "points=3 must be"),
    (
        lambda: bounds.on_lambda_grid(0.1, 1.0, 100, 0.05, row=bounds.seeger),
        TypeError,
        "row='seeger' has no lambda",
    ),
    (
        lambda: bounds.on_lambda_grid(0.1, 1.0, 100, 0.05, row="catoni_phi"),
        TypeError,
        "row='catoni_phi' has no lambda",
    ),
    (lambda: bounds.lambda_grid(100, 2.5), ValueError, "count=2.5 must be a whole number"),
    (lambda: bounds.lambda_grid(0, 3), ValueError, "n=0 must be at least 1"),
    (
        lambda: bounds.majority_vote(0.1, 1.0, 100, 0.05, row="seeger"),
        TypeError,
        "row='seeger' must be a row itself",
    ),
    (lambda: dominance(n_source=0), ValueError, "n_source=0 must be at least 1"),
    (lambda: dominance(n_source="a"), TypeError, "n_source must be a number"),
    (lambda: dominance(source_kl=-1.0), ValueError, "kl=-1 must be >= 0 nats"),
    (lambda: bounds.checkpoint_prior(START, START, 0.0), ValueError, "averaged=0 must be at least"),
    (
        lambda: bounds.best_posterior(START, [-1.0, 1.0], 0.0, catoni_lambda=1.0),
        ValueError,
        "hessian has the negative eigenvalue -1",
    ),
    (
        lambda: bounds.best_posterior(START, 1.0, [0.0, 1.0, 2.0], catoni_lambda=1.0),
        ValueError,
        r"minimum has shape \(3,\)",
    ),
    (lambda: ou.SaturatedRisk(1.0, [[0.0, 1.0]]), ValueError, r"minimum has shape \(1, 2\)"),
    (lambda: bounds.audit([1, 2]), ValueError, "a table is columns .* got list"),
    (
        lambda: bounds.emp_bernstein(0.1, 1.0, 100, 0.05, variance=-1.0),
        ValueError,
        "variance=-1 must be at least 0 and below 0.5",
    ),
    (
        lambda: ou.tune(kl, SCHEDULED, over="pretrain.learning_rate", keep_stable=True, steps=0),
        ValueError,
        "steps=0 must be",
    ),
    (
        lambda: bounds.best_scale(START, [0.0, 0.0, 0.0], n=100, delta=0.05),
        ValueError,
        r"center has shape \(3,\)",
    ),
]


@pytest.mark.parametrize(("call", "error", "sentence"), WRONG)
def test_a_wrong_question_gets_its_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_a_number_of_steps_that_is_not_whole_is_a_bad_cell_and_no_plausible_one():
    found = grid({"finetune.steps": [10, 10.5]}, gradients=False)
    assert found.modal and np.isfinite(found.value[0]) and np.isnan(found.value[1])
    assert (found.status == ou.Status.bad_input).tolist() == [False, True]


def test_a_row_with_its_own_lambda_may_be_a_partial_on_the_grid():
    numbers = (0.1, 1.0, 100, 0.05)
    wide = bounds.on_lambda_grid(
        *numbers, row=functools.partial(bounds.catoni_linear, scale=2.0), lambdas=[10.0]
    )
    np.testing.assert_allclose(
        wide, bounds.catoni_linear(*numbers, catoni_lambda=10.0, scale=2.0), rtol=1e-14
    )


def test_bounds_are_put_into_words():
    words = str(two()).splitlines()
    assert words[0] == "mcallester_he on two stages, laws 'gibbs', model mode:"
    assert words[1].startswith("  target: risk 0.1 + gap 0.170816 = 0.270816 (KL 40 nats, n 900")
    assert words[2].startswith("  source: no risk given, 0 + gap ")
    assert words[3] == "  pre-training is worth -35.262 nats"
    assert str(ou.discrepancy(TWO)) == (
        "discrepancy 2 KL(Q_T || Q_S) = 80: trace 2, logdet 0, dimension -2, shift 80"
    )
    lost = ou.TwoStage(STAGE, STAGE.replace(learning_rate=3.0), START)
    lost = ou.two_stage_bound(lost, law="stationary", throw=False, **NUMBERS)
    assert "no bound: the learning rate is unstable" in str(lost)
