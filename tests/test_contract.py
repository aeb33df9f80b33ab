"""The public names as a contract: signatures, one number each, jit, vmap, grad and a bad value.

Examples and outside code call these names; a change here is a change for every user.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import KL, LAW, P03_A, P03_C, close, p01, p03, p07, p09

import jaxou as ou

KEYWORD, REQUIRED = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty

SIGNATURES = {
    "Stage": {
        "hessian": REQUIRED,
        "noise": REQUIRED,
        "minimum": REQUIRED,
        "learning_rate": REQUIRED,
        "batch_size": REQUIRED,
        "steps": REQUIRED,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "anchor": None,
        "preconditioner": None,
        "langevin_temperature": 0.0,
        "population": None,
    },
    "Chain": {"stages": REQUIRED, "initial": REQUIRED},
    "TwoStage": {"pretrain": REQUIRED, "finetune": REQUIRED, "initial": REQUIRED},
    "Gaussian": {"mean": REQUIRED, "covariance": REQUIRED},
    "LowRankPlusDiagonal": {"diagonal": REQUIRED, "factor": REQUIRED, "weights": None},
    "simulate": {"process": REQUIRED, "particles": REQUIRED, "key": REQUIRED, "checkpoint": None},
    "verdict": {"run": REQUIRED, "process": REQUIRED},
    "discrepancy": {"process": REQUIRED, "law": "gibbs"},
    "two_stage_bound": {
        "process": REQUIRED,
        "n_source": REQUIRED,
        "n_target": REQUIRED,
        "risk": REQUIRED,
        "source_risk": None,
        "delta": REQUIRED,
        "delta_split": (0.5, 0.5),
        "prior": None,
        "law": "gibbs",
        "mode": "model",
        "bound": "mcallester_he",
    },
    "certify": {
        "model": REQUIRED,
        "loss01": REQUIRED,
        "prior_center": REQUIRED,
        "posterior_center": REQUIRED,
        "target_data": REQUIRED,
        "source_data": None,
        "trainable": None,
        "delta": 0.05,
        "prior": "source",
        "key": REQUIRED,
    },
    "tune": {"objective": REQUIRED, "process": REQUIRED, "over": ..., "optimizer": ...},
    "SaturatedRisk": {"hessian": REQUIRED, "minimum": REQUIRED, "floor": ..., "scale": ...},
}
KEYWORD_ONLY = {
    "Stage": "hessian noise minimum learning_rate batch_size steps momentum",
    "simulate": "particles key method save observe memory checkpoint",
    "two_stage_bound": "n_source n_target risk delta law mode bound",
    "discrepancy": "law",
    "certify": "prior_center posterior_center target_data delta prior key",
}
ROWS = (
    "mcallester_he mcallester_loose mcallester_2003 maurer_pinsker harel_simplified seeger "
    "quadratic thiemann tolstikhin_seldin_simple catoni_linear catoni_phi emp_bernstein "
    "sub_gaussian second_moment single_draw majority_vote chi_square"
).split()


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    parameters = inspect.signature(getattr(ou, name)).parameters
    for argument, default in SIGNATURES[name].items():
        assert argument in parameters, f"{name} has no argument {argument}"
        if default is not ...:
            assert parameters[argument].default == default or (
                parameters[argument].default is default
            ), f"{name}({argument}=...) has default {parameters[argument].default}"
    for argument in KEYWORD_ONLY.get(name, "").split():
        assert parameters[argument].kind is KEYWORD, f"{name}({argument}) must be keyword-only"


def test_every_public_name_exists_and_has_a_docstring():
    for name in ou.__all__:
        assert inspect.getdoc(getattr(ou, name)), f"{name} has no docstring"
    for row in [*ROWS, "kl_inverse", "kl_inverse_lower"]:
        assert callable(getattr(ou.bounds, row))


def test_rows_are_called_with_risk_kl_n_delta():
    for row in ROWS:
        names = list(inspect.signature(getattr(ou.bounds, row)).parameters)
        assert names[:4] == ["risk", "kl", "n", "delta"], (row, names)


# --- one number, its shape, its dtype ----------------------------------------------------------


def test_laws_answer_with_arrays_of_fixed_shape():
    law = p01().gibbs()
    assert law.mean.shape == (1,) and law.covariance.shape == (1, 1)
    assert law.mean.dtype == law.covariance.dtype == jnp.float64
    other = p01().stationary()
    for value in (law.kl(other), law.w2(other), law.log_prob(law.mean), law.entropy()):
        assert value.shape == () and value.dtype == jnp.float64
    assert law.sample(jax.random.key(0), (3, 2)).shape == (3, 2, 1)
    assert isinstance(law.operator, ou.AbstractMatrix)


def test_kernels_compose_apply_and_raise_to_powers():
    stage = p03()
    k, law = stage.kernel(), ou.Gaussian([1.0, -1.0], 0.5)
    twice = (k @ k)(law)
    close(k.power(2)(law).covariance, twice.covariance, **LAW)
    close(stage.kernel(steps=2)(law).mean, twice.mean, **LAW)
    close(k.fixed_point().covariance, stage.stationary().covariance, **LAW)
    close(stage.flow(200.0)(law).covariance, stage.gibbs().covariance, **LAW)


def test_structures_are_types_and_arrays_are_wrapped_by_rank():
    kinds = [type(p03(hessian=h).hessian) for h in (1.0, [1.0, 2.0], P03_A)]
    assert kinds == [ou.Isotropic, ou.Diagonal, ou.Dense]
    assert type(ou.Gaussian([0.0, 0.0], 1.0).operator) is ou.Isotropic
    batch = jax.vmap(lambda a: p03(hessian=a, noise=1.0, minimum=[0.0, 0.0]).gibbs().covariance)(
        jnp.array([1.0, 2.0])
    )
    assert batch.shape == (2, 2, 2)  # a batched number is not a diagonal


def test_noise_conventions_say_the_same_thing():
    eps = 0.1 / 8
    c = jnp.array(P03_C)
    by_c = p03().gibbs().covariance
    close(p03(noise=ou.Diffusion(eps / 2 * c)).gibbs().covariance, by_c, **LAW)
    warm = p03(noise=ou.Temperature(0.01)).gibbs().covariance
    close(warm, 0.01 * jnp.linalg.inv(jnp.array(P03_A)), **LAW)
    langevin = p03(noise=0.0, langevin_temperature=0.01).gibbs().covariance
    close(langevin, warm, **LAW)
    drawn = p03(population=100).gibbs().covariance
    close(drawn, by_c * 92 / 99, **LAW)


def test_law_of_a_training_takes_exactly_one_clock():
    training = p07()
    for wrong in ({}, {"step": 3, "time": 0.1}):
        with pytest.raises(ValueError, match="exactly one"):
            training.law(stage="finetune", **wrong)
    with pytest.raises(ValueError, match="no stage 'fine'"):
        training.law(stage="fine", step=1)
    chain = training.law(stage="finetune", step=0)
    close(chain.mean, training.law(stage="pretrain", step=1000).mean, **LAW)
    changed = training.with_finetune(learning_rate=0.01).with_pretrain(batch_size=8)
    assert float(changed.finetune.learning_rate) == 0.01
    assert float(changed.pretrain.batch_size) == 8 and float(training.pretrain.batch_size) == 64


def test_schedules_have_static_steps_and_no_single_steady_law():
    stage = p03(learning_rate=optax.cosine_decay_schedule(0.2, 20), steps=20)
    assert stage.learning_rate.shape == stage.batch_size.shape == (20,)
    close(stage.duration, stage.learning_rate.sum(), **LAW)
    for law in (stage.gibbs, stage.stationary):
        with pytest.raises(ValueError, match="step=k"):
            law()
    close(stage.gibbs(step=0).covariance, p03(learning_rate=0.2).gibbs().covariance, **LAW)
    with pytest.raises(ValueError, match="beyond the 20 steps"):
        ou.Chain([stage], initial=ou.Gaussian([0.0, 0.0], 1.0)).law(0, step=21)


# --- jit, vmap, grad -----------------------------------------------------------------------------


def objective(hyper):
    """A number that passes through the steady laws, the KL and the bound of P07."""
    training = p07().with_finetune(learning_rate=hyper[0], batch_size=hyper[1])
    bound = ou.two_stage_bound(training, n_source=50_000, n_target=1_000, risk=0.1, delta=0.05)
    return bound.target.value


def test_one_trace_serves_every_number_and_lane():
    traces = []

    @jax.jit
    def value(hyper):
        traces.append(1)
        return objective(hyper)

    lanes = jnp.array([[0.05, 32.0], [0.02, 8.0], [0.1, 64.0]])
    one_by_one = jnp.stack([value(lane) for lane in lanes])
    assert len(traces) == 1, "a new number must not compile again"
    close(jax.vmap(value)(lanes), one_by_one, rtol=1e-9, atol=0)
    close(one_by_one[0], 0.1 + 0.0851218233898191, rtol=1e-9, atol=0)


def test_gradients_agree_with_finite_differences():
    point = jnp.array([0.05, 32.0])
    gradient = jax.jit(jax.grad(objective))(point)
    value = jax.jit(objective)
    for i, h in enumerate((1e-6, 1e-3)):
        step = jnp.zeros(2).at[i].set(h)
        numeric = (value(point + step) - value(point - step)) / (2 * h)
        close(gradient[i], numeric, rtol=1e-6, atol=0)


def test_everything_is_a_pytree():
    for thing in (p01(), p07(), p01().gibbs(), p01().kernel(), ou.Isotropic(1.0), *p09()):
        leaves, structure = jax.tree.flatten(thing)
        rebuilt = jax.tree.unflatten(structure, leaves)
        assert jax.tree.structure(rebuilt) == structure
        assert all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves)


def test_a_traced_bad_value_poisons_its_lane_only():
    def law(learning_rate):
        law = p03(learning_rate=learning_rate).stationary(throw=False)
        return law.kl(ou.Gaussian([0.0, 0.0], 1.0)), law.status

    rates = jnp.array([0.1, 5.0, -1.0])
    values, status = jax.vmap(law)(rates)
    assert np.isfinite(values[0]) and np.isnan(values[1]) and np.isnan(values[2])
    assert (status == ou.Status.ok).tolist() == [True, False, False]
    assert (status == ou.Status.unstable).tolist() == [False, True, False]
    eager = p03(learning_rate=5.0).stationary(throw=False)
    assert bool(eager.status == ou.Status.unstable) and np.isnan(eager.covariance).all()


# --- the wrong value gets its sentence -----------------------------------------------------------

STAGE = dict(
    hessian=P03_A, noise=P03_C, minimum=[0.0, 0.0], learning_rate=0.1, batch_size=8, steps=10
)
WRONG = [
    (dict(learning_rate=0.0), "learning_rate=0 must be > 0"),
    (dict(learning_rate=float("nan")), "learning_rate holds nan"),
    (dict(learning_rate=[0.1, 0.2]), r"learning_rate has shape \(2,\), but steps=10"),
    (dict(learning_rate=[0.1] * 9 + [-0.1]), "learning_rate=.* must be > 0"),
    (dict(batch_size=0.5), "batch_size=0.5 must be at least 1"),
    (dict(steps=-1), "steps=-1 must be a whole number"),
    (dict(steps=2.5), "steps=2.5 must be a whole number"),
    (dict(momentum=1.0), r"momentum=1 must lie in \[0, 1\)"),
    (dict(momentum=-0.1), r"momentum=-0.1 must lie in \[0, 1\)"),
    (dict(weight_decay=-1.0), "weight_decay=-1 must be >= 0"),
    (dict(langevin_temperature=-1.0), "langevin_temperature=-1 must be >= 0"),
    (dict(population=4), "population=4 must be at least 2 and at least batch_size=8"),
    (dict(hessian=[[1.0, 2.0], [0.0, 1.0]]), r"hessian: .*not symmetric: entry \(0, 1\) is 2"),
    (dict(hessian=[[1.0, np.inf], [np.inf, 1.0]]), "hessian: .*holds inf at index"),
    (dict(hessian=np.ones((2, 3))), r"hessian: .*square matrix, got shape \(2, 3\)"),
    (dict(hessian=np.ones((2, 2, 2))), "hessian must be a number, a vector or a square matrix"),
    (dict(hessian=np.eye(3)), "hessian has dimension 3 but the other arguments have 2"),
    (dict(noise=[[1.0, 2.0], [2.0, 1.0]]), "noise has the negative eigenvalue -1"),
    (dict(noise=[-1.0, 1.0]), "noise has the negative eigenvalue -1"),
    (dict(noise=ou.Diffusion(np.eye(3))), r"noise=Diffusion\(D\) has dimension 3"),
    (dict(minimum=[0.0, np.nan]), "minimum holds nan at index 1"),
    (dict(minimum=np.zeros((2, 2))), r"minimum must be a vector \(d,\)"),
    (dict(anchor=[0.0]), r"anchor has shape \(1,\)"),
    (dict(preconditioner=[[1.0, 2.0], [2.0, 1.0]]), "preconditioner has the negative eigenvalue"),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG, ids=lambda x: str(x)[:40])
def test_wrong_stage_arguments(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        ou.Stage(**(STAGE | change))


def test_wrong_questions_to_a_good_stage():
    flat = ou.Stage(**(STAGE | dict(hessian=[[1.0, 0.0], [0.0, 0.0]])))
    with pytest.raises(ValueError, match="no Gibbs law.*weight decay"):
        flat.gibbs()
    assert flat.flow(3.0).covariance.dense().shape == (2, 2)  # finite times exist
    with pytest.raises(ValueError, match="time=-1 must be >= 0"):
        flat.flow(-1.0)
    with pytest.raises(ValueError, match="whole number of steps"):
        flat.kernel(2.5)
    with pytest.raises(ValueError, match="acts on dimension 2, the law has 3"):
        flat.kernel()(ou.Gaussian(jnp.zeros(3), 1.0))
    with pytest.raises(ValueError, match="has no velocity"):
        p03().gibbs().joint()
    with pytest.raises(ValueError, match="does not contract"):
        flat.kernel().fixed_point()
    with pytest.raises(TypeError, match="learning_rate must be a number"):
        ou.Stage(**(STAGE | dict(learning_rate="fast")))
    with pytest.raises(TypeError, match="no argument 'learnig_rate'"):
        p03().replace(learnig_rate=0.1)


BOUND = dict(n_source=100, n_target=100, risk=0.1, delta=0.05)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(delta=0.0), "delta"),
        (dict(delta=1.0), "delta"),
        (dict(n_target=0), "n"),
        (dict(risk=1.5), "risk"),
        (dict(risk=-0.1), "risk"),
        (dict(bound="mcalester"), "mcallester_he"),
        (dict(law="steady"), "gibbs"),
        (dict(mode="proof"), "certificate"),
        (dict(delta_split=(0.9, 0.9)), "split"),
    ],
    ids=str,
)
def test_wrong_bound_arguments(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        ou.two_stage_bound(p07(), **(BOUND | change))


def test_kl_between_different_ranges_is_infinite_and_named():
    line = ou.Gaussian([0.0, 0.0], [[1.0, 1.0], [1.0, 1.0]])
    plane = ou.Gaussian([0.0, 0.0], [[2.0, 0.0], [0.0, 2.0]])
    assert line.kl(plane) == jnp.inf and plane.kl(line) == jnp.inf
    close(jnp.abs(line.kl_terms(plane).direction), [0.5**0.5, 0.5**0.5], **KL)
    wider = ou.Gaussian([0.3, 0.3], [[2.0, 2.0], [2.0, 2.0]])
    close(line.kl(wider), (0.5 - 1 + np.log(2) + 0.045) / 2, **KL)  # one dimension, rank 1
    terms = line.kl_terms(wider)
    assert int(terms.rank) == int(terms.reference_rank) == 1


# names of numbers and what lies outside their range
OUTSIDE = {
    "learning_rate": st.floats(max_value=0.0),
    "batch_size": st.floats(max_value=1.0, exclude_max=True),
    "steps": st.floats(max_value=-1.0) | st.floats(0.01, 0.99),
    "momentum": st.floats(min_value=1.0) | st.floats(max_value=-1e-9),
    "weight_decay": st.floats(max_value=-1e-300),
    "langevin_temperature": st.floats(max_value=-1e-300),
    "population": st.floats(max_value=7.99),
}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_number_out_of_range_is_refused_by_name(data):
    name = data.draw(st.sampled_from(sorted(OUTSIDE)))
    value = data.draw(OUTSIDE[name] | st.sampled_from([np.nan, np.inf, -np.inf]))
    with pytest.raises(ValueError, match=name):
        ou.Stage(**(STAGE | {name: value}))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["hessian", "noise", "minimum", "anchor", "preconditioner"]), st.data())
def test_one_bad_entry_anywhere_is_refused_by_name(name, data):
    shape = (2,) if name in ("minimum", "anchor") else (2, 2)
    array = np.eye(2)[0] if len(shape) == 1 else np.eye(2)
    where = tuple(data.draw(st.integers(0, 1)) for _ in shape)
    array[where] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    with pytest.raises(ValueError, match=rf"{name}.* holds"):
        ou.Stage(**(STAGE | {name: array}))


def test_traced_bad_values_never_give_a_plausible_number():
    chain = lambda **changes: ou.Chain([p03(**changes)], initial=ou.Gaussian([1.0, 1.0], 0.5))

    @jax.jit
    def at(time, step, batch_size, noise):
        laws = (
            chain().law(0, time=time),
            chain().law(0, step=step),
            chain(batch_size=batch_size).law(0, step=3),
            chain(noise=noise).law(0, step=3),
        )
        return [(law.covariance, law.status == ou.Status.ok) for law in laws]

    good, bad = (0.5, 3.0, 4.0, 1.0), (-2.5, 2.5, 0.5, -1.0)
    for arguments, fine in ((good, True), (bad, False)):
        for covariance, ok in at(*map(jnp.asarray, arguments)):
            assert bool(jnp.isfinite(covariance).all()) is fine and bool(ok) is fine
    far = chain(learning_rate=3.0).law(0, step=10**6)
    assert bool(far.status == ou.Status.diverged)
    indefinite = jax.jit(lambda s: ou.Gaussian([0.0, 0.0], s).kl(ou.Gaussian([0.0, 0.0], 1.0)))
    assert np.isnan(indefinite(jnp.array([[1.0, 2.0], [2.0, 1.0]])))


def test_more_wrong_values():
    for value in (0.1 + 5j, np.array([[1, 2j], [2j, 3]]), None, "a"):
        with pytest.raises(TypeError, match="must be a number|must be real"):
            ou.Stage(**(STAGE | dict(learning_rate=value)))
    with pytest.raises(ValueError, match="preconditioner has the eigenvalue 0"):
        ou.Stage(**(STAGE | dict(preconditioner=0.0)))
    training = p07()
    with pytest.raises(ValueError, match="no derivative in step="):
        ou.tune(
            lambda t: t.law("finetune", step=t.finetune.steps).kl(t.initial),
            training,
            over=("finetune.steps",),
            steps=2,
        )


def test_a_constant_diagonal_is_recognised_as_isotropic():
    factor = np.random.default_rng(0).normal(size=(6, 2))
    stage = ou.Stage(
        hessian=ou.LowRankPlusDiagonal(np.full(6, 0.4), factor, [1.0, 2.0]),
        noise=1.0,
        minimum=np.zeros(6),
        learning_rate=0.05,
        batch_size=2,
        steps=5,
    )
    law = stage.gibbs()
    assert isinstance(law.operator, ou.LowRankPlusDiagonal)
    assert ou.Gaussian([0.0], 1.0).sample(jax.random.key(0), 5).shape == (5, 1)
