"""The two-stage bound: P07 and P10, its terms, gradients, modes, delta, refusals, tracing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxou as ou
from jaxou.bounds import SaturatedRisk, two_stage_bound

P07 = dict(n_source=50_000, n_target=1_000, risk=0.05, source_risk=0.02, delta=0.05)
KL = dict(rtol=1e-8, atol=1e-13)


def bound(process, **changes):
    return two_stage_bound(process, **(P07 | changes))


def test_p07(p07):
    b = bound(p07)
    np.testing.assert_allclose(b.source.kl, 7.22806166328186, **KL)
    np.testing.assert_allclose(b.target.kl, 1.88756917650183, **KL)
    np.testing.assert_allclose(b.source.gap, 0.0154068026440835, rtol=1e-10)
    np.testing.assert_allclose(b.target.gap, 0.0851218233898191, rtol=1e-10)
    np.testing.assert_allclose(b.gap_sum, 0.100528626033903, rtol=1e-10)
    np.testing.assert_allclose(b.transfer_gain, 5.27936724870863, **KL)
    np.testing.assert_allclose(b.target.value, 0.05 + b.target.gap, rtol=1e-14)
    assert bool(b.dominant) and b.bound == "mcallester_he" and b.mode == "model"
    assert bool(b.status == ou.Status.ok)


def test_p10(p10):
    # the worked case gives the target stage delta = 0.05: all of it
    b = two_stage_bound(p10, n_source=10**6, n_target=2000, risk=0.1, delta=0.1)
    np.testing.assert_allclose(b.source.kl, 169.22019611813, **KL)
    np.testing.assert_allclose(b.target.kl, 171.843286069535, **KL)
    np.testing.assert_allclose(b.target.gap, 0.214759192069402, rtol=1e-10)


def test_terms_add_up_to_twice_the_kl(p07, p10):
    for process in (p07, p10):
        process = ou.TwoStage(*process.stages, ou.Gaussian(process.initial.mean, 0.7))
        b = bound(process)
        for stage in (b.source, b.target):
            t = stage.terms
            total = t.trace + t.shift + t.dimension + t.prior_volume + t.logdet
            np.testing.assert_allclose(total, 2 * stage.kl, rtol=1e-10)
            numerator = stage.kl + t.confidence + t.log_n + t.constant
            np.testing.assert_allclose(stage.gap, jnp.sqrt(numerator / t.denominator), rtol=1e-12)
        d = process.dimension
        np.testing.assert_allclose(b.source.terms.prior_volume, d * np.log(0.7), rtol=1e-10)
        assert b.target.terms.prior_volume == 0
        sign, logdet = np.linalg.slogdet(process.pretrain.gibbs().covariance)
        np.testing.assert_allclose(b.source.terms.logdet, -logdet, rtol=1e-9)


def test_gradients_of_p07(p07):
    def kl2(eps_source, eps_target):
        process = p07.with_pretrain(learning_rate=64 * eps_source)
        process = process.with_finetune(learning_rate=32 * eps_target)
        return bound(process).target.kl

    slopes = jax.jit(jax.grad(kl2, (0, 1)))
    along_source, along_target = slopes(0.1 / 64, 0.05 / 32)
    np.testing.assert_allclose(along_target, 82.082220722439, rtol=1e-8)
    np.testing.assert_allclose(along_source, -1247.81783503037, rtol=1e-8)
    # the noise ratio at which the derivative in eps_T vanishes
    optimum = 0.00138488384189754
    assert abs(slopes(0.1 / 64, optimum)[1]) < 1e-7 * 82


@pytest.mark.parametrize("law", ["gibbs", "stationary", "finite"])
def test_gradients_against_finite_differences(p07, law):
    risk = SaturatedRisk(p07.finetune.hessian, p07.finetune.minimum, floor=0.1)
    symmetric = jnp.asarray([[0.3, -0.1], [-0.1, 0.2]])

    def value(x):
        process = p07.with_pretrain(learning_rate=0.1 * x[0], batch_size=64 * x[1])
        process = process.with_finetune(
            learning_rate=0.05 * x[2],
            batch_size=32 * x[3],
            hessian=p07.finetune.hessian.dense() + (x[4] - 1) * symmetric,
            noise=p07.finetune.noise.dense() + (x[5] - 1) * symmetric,
            minimum=p07.finetune.minimum + (x[6] - 1) * jnp.asarray([0.02, 0.01]),
        )
        b = bound(process, risk=risk, law=law, delta=0.05 * x[7], n_target=1000 * x[8])
        return b.target.value + b.source.value

    x = jnp.ones(9)
    value = jax.jit(value)
    slope = jax.jit(jax.grad(value))(x)
    h = 1e-5
    for i in range(9):
        difference = (value(x.at[i].add(h)) - value(x.at[i].add(-h))) / (2 * h)
        np.testing.assert_allclose(slope[i], difference, rtol=2e-6, atol=1e-9, err_msg=f"{law} {i}")


def test_gradients_in_time(p07):
    def kl(s):
        return p07.law("finetune", time=s).kl(p07.pretrain.gibbs())

    kl = jax.jit(kl)
    s, h = 3.0, 1e-5
    np.testing.assert_allclose(jax.grad(kl)(s), (kl(s + h) - kl(s - h)) / (2 * h), rtol=1e-6)


@pytest.mark.slow
def test_gradients_at_the_identity_are_finite():
    d = 3
    stage = ou.Stage(
        hessian=jnp.eye(d),
        noise=jnp.eye(d),
        minimum=jnp.zeros(d),
        learning_rate=0.1,
        batch_size=10,
        steps=5,
    )
    process = ou.TwoStage(stage, stage, ou.Gaussian(jnp.zeros(d), 1.0))

    def value(hessian, noise, law):
        return bound(process.with_finetune(hessian=hessian, noise=noise), law=law).target.value

    for law in ("gibbs", "stationary", "finite"):
        slopes = jax.jit(jax.grad(value, (0, 1)), static_argnums=2)(jnp.eye(d), jnp.eye(d), law)
        assert all(np.isfinite(g).all() for g in slopes), law


@pytest.mark.slow
def test_batches_and_traces(p07):
    rates = jnp.asarray([0.02, 0.05, 0.08])
    f = lambda lr: bound(p07.with_finetune(learning_rate=lr)).target.value
    np.testing.assert_allclose(jax.jit(jax.vmap(f))(rates), [f(lr) for lr in rates], rtol=1e-12)
    records = jax.vmap(lambda lr: bound(p07.with_finetune(learning_rate=lr)))(rates)
    assert records.target.value.shape == (3,) and records.target.terms.trace.shape == (3,)


def test_a_traced_bad_value_poisons_its_lane_only(p07):
    f = jax.jit(jax.vmap(lambda d, r: bound(p07, delta=d, risk=r).target.value))
    values = f(jnp.asarray([0.05, 0.0, 0.05, jnp.nan]), jnp.asarray([0.1, 0.1, 1.5, 0.1]))
    assert np.isnan(values).tolist() == [False, True, True, True]
    quiet = bound(p07.with_finetune(learning_rate=9.0), law="stationary", throw=False)
    assert np.isnan(quiet.target.value) and not np.isnan(quiet.source.value)


@pytest.mark.parametrize("name", ou.bounds.row_names())
def test_every_free_row_serves(p07, name):
    b = bound(p07, bound=name)
    row = ou.bounds.find_row(name)
    np.testing.assert_allclose(b.target.value, row(0.05, b.target.kl, 1000, 0.025), rtol=1e-12)
    np.testing.assert_allclose(b.target.gap, b.target.value - 0.05, rtol=1e-12)


def test_a_row_with_parameters_is_a_partial(p07):
    row = functools.partial(ou.bounds.catoni_linear, catoni_lambda=100.0)
    b = bound(p07, bound=row)
    assert b.bound == "catoni_linear" and b.target.terms.constant is None
    with pytest.raises(ValueError, match="functools.partial"):
        bound(p07, bound="catoni_linear")
    with pytest.raises(ValueError, match="maurer_pinsker"):
        bound(p07, bound="maurer")


def test_source_risk_may_be_left_out(p07):
    b = bound(p07, source_risk=None)
    assert not b.source.risk_given and b.target.risk_given
    assert b.source.value == b.source.gap


def test_delta_is_split(p07):
    b = bound(p07, delta_split=(0.1, 0.9))
    np.testing.assert_allclose([b.source.delta, b.target.delta], [0.005, 0.045])
    for bad in [(0.6, 0.5), (0.0, 1.0), (-0.1, 0.5)]:
        with pytest.raises(ValueError, match="delta_split"):
            bound(p07, delta_split=bad)
    bound(p07, delta_split=(1 / 3, 2 / 3))


def test_certificate_mode(p07):
    assert bound(p07, mode="certificate").mode == "certificate"
    point = ou.TwoStage(*p07.stages, ou.Gaussian([0.0, 0.0], 0.0))
    assert jnp.isinf(bound(point).source.kl)  # the model mode reports it as it is
    with pytest.raises(ValueError, match="source stage has KL = inf.*prior of full rank"):
        bound(point, mode="certificate")
    assert bound(point, mode="certificate", prior=ou.Gaussian([0.0, 0.0], 1.0)).source.kl < 8
    with pytest.raises(ValueError, match="'model'.*'certificate'"):
        bound(p07, mode="proof")
    with jax.enable_x64(False), pytest.raises(RuntimeError, match="jax_enable_x64"):
        bound(p07, mode="certificate")


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(["n_source", "n_target", "risk", "source_risk", "delta"]),
    value=st.one_of(
        st.floats(max_value=-1e-9, allow_infinity=True), st.just(float("nan")), st.just(0.0)
    ),
)
def test_wrong_numbers_name_their_argument(name, value):
    from problems import p07 as make_p07  # hypothesis and function fixtures do not mix

    if name in ("risk", "source_risk") and value == 0.0:
        return
    with pytest.raises(ValueError, match=f"{name}=|{name} holds (nan|-inf)"):
        bound(make_p07(), **{name: value})


def test_risk_must_be_one_number(p07):
    with pytest.raises(ValueError, match="shape"):
        bound(p07, risk=jnp.asarray([0.1, 0.2]))
    with pytest.raises(ValueError, match="risk=2"):
        bound(p07, risk=lambda law: 2.0)
    with pytest.raises(TypeError, match="risk"):
        bound(p07, risk="low")
