"""Each method has its own law at every stage's end; its wrong twins have not."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from particle_cases import LIMIT, two_stages, worst

import jaxou as ou
from jaxou.convergence import own_laws

PARTICLES = 20_000


def euler_oracle(process, substeps):
    """The moments of the stepped chain, by adding up its steps one by one in numpy."""
    mean, covariance = np.asarray(process.initial.mean), np.asarray(process.initial.covariance)
    ends = []
    for stage in process.stages:
        a, c = np.asarray(stage.hessian.dense()), np.asarray(stage.noise.dense())
        h, point = float(stage.learning_rate) / substeps, np.asarray(stage.minimum)
        m = np.eye(len(a)) - h * a
        q = h * float(stage.learning_rate / stage.batch_size) * c
        for _ in range(int(stage.steps) * substeps):
            mean, covariance = point + m @ (mean - point), m @ covariance @ m.T + q
        ends.append(ou.Gaussian(mean, covariance))
    return ends


def flow_oracle(process):
    """The SDE's moments by van Loan's block exponential."""
    mean, covariance = np.asarray(process.initial.mean), np.asarray(process.initial.covariance)
    ends = []
    for stage in process.stages:
        a, c = np.asarray(stage.hessian.dense()), np.asarray(stage.noise.dense())
        rate = float(stage.learning_rate / stage.batch_size) * c
        block = np.block([[a, rate], [np.zeros_like(a), -a]]) * float(stage.duration)
        big, d = scipy.linalg.expm(block), len(a)
        e = big[d:, d:].T
        point = np.asarray(stage.minimum)
        mean = point + e @ (mean - point)
        covariance = e @ covariance @ e.T + e @ big[:d, d:]
        ends.append(ou.Gaussian(mean, (covariance + covariance.T) / 2))
    return ends


METHODS = [
    ("sgd", ou.SGD(), lambda p: euler_oracle(p, 1)),
    ("exact", ou.Exact(), flow_oracle),
    ("euler", ou.EulerMaruyama(), lambda p: euler_oracle(p, 1)),
    ("euler/4", ou.EulerMaruyama(substeps=4), lambda p: euler_oracle(p, 4)),
]
# Each is wrong by an error that has been made before.
TWINS = {
    "noise 5 % off": lambda p: p.with_finetune(batch_size=4 / 1.05**2),
    "stages swapped": lambda p: ou.TwoStage(p.finetune, p.pretrain, initial=p.initial),
    "noise made to commute": lambda p: p.with_finetune(noise=commuting_part(p.finetune)),
    "a step too many": lambda p: p.with_finetune(steps=p.finetune.steps + 1),
}


def commuting_part(stage):
    """The noise with its off-diagonal entries in the Hessian's eigenbasis dropped."""
    _, u = np.linalg.eigh(np.asarray(stage.hessian.dense()))
    return u @ np.diag(np.diag(u.T @ np.asarray(stage.noise.dense()) @ u)) @ u.T


@pytest.mark.parametrize("name,method,oracle", METHODS, ids=[m[0] for m in METHODS])
def test_laws_of_both_stages_and_wrong_twins(name, method, oracle, process, key):
    run = ou.simulate(process, particles=PARTICLES, key=key, method=method, save=(1, 3))
    assert run.final.shape == (PARTICLES, 2) and run.final.dtype == jnp.float32
    assert run.stages.tolist() == [0, 0, 1, 1, 1]
    for row, law in zip((1, 4), oracle(process), strict=True):
        assert worst(run, row, law) < LIMIT
    for own, law in zip(own_laws(method, process), oracle(process), strict=True):
        np.testing.assert_allclose(own.covariance, law.covariance, rtol=1e-9, atol=1e-12)
    for twin in TWINS.values():
        assert worst(run, 4, oracle(twin(process))[1]) > LIMIT


def test_intermediate_saves_have_the_chain_s_law(process, key):
    run = ou.simulate(process, particles=PARTICLES, key=key, save=(1, 3))
    for row, step in ((2, 14), (3, 28)):
        assert float(run.steps[row]) == 30 + step
        assert worst(run, row, process.law(stage="finetune", step=step)) < LIMIT


@pytest.mark.parametrize("slow,fast", [pytest.param(1.0, 5.0, marks=pytest.mark.slow), (1.0, 10.0)])
def test_one_exact_jump_where_hessian_and_noise_do_not_commute(slow, fast, key):
    # A = diag(a, b), C = [[1, .9], [.9, 1]], t = 1: samplers that assume commutation fail here
    a, c = np.diag([slow, fast]), np.array([[1.0, 0.9], [0.9, 1.0]])
    stage = ou.Stage(hessian=a, noise=c, minimum=0.0, learning_rate=1.0, batch_size=1, steps=1)
    chain = ou.Chain([stage], initial=ou.Gaussian([0.0, 0.0], 0.0))
    run = ou.simulate(chain, particles=100_000, key=key, method=ou.Exact(), dtype=jnp.float64)
    big = scipy.linalg.expm(np.block([[a, c], [np.zeros((2, 2)), -a]]))
    truth = big[2:, 2:].T @ big[:2, 2:]
    assert worst(run, 1, ou.Gaussian([0.0, 0.0], (truth + truth.T) / 2)) < 4
    commuting = np.diag((1 - np.exp(-2 * np.diag(a))) / (2 * np.diag(a)))
    assert worst(run, 1, ou.Gaussian([0.0, 0.0], commuting)) > LIMIT


@pytest.mark.slow
def test_diffrax_against_the_exact_sampler_s_law(key):
    stage = ou.Stage(
        hessian=[[2.0, 0.6], [0.6, 1.0]],
        noise=[[1.0, -0.4], [-0.4, 0.5]],
        minimum=[1.0, -1.0],
        learning_rate=0.05,
        batch_size=8,
        steps=20,
    )
    chain = ou.Chain([stage], initial=ou.Gaussian([0.0, 0.0], 0.1))
    law = chain.law(time=stage.duration)
    run = ou.simulate(
        chain, particles=8_000, key=key, method=ou.Diffrax(diffrax.Heun(), dt=0.05), save=2
    )
    assert worst(run, 2, law) < LIMIT
    coarse = ou.Diffrax(diffrax.Euler(), dt=0.5)
    assert worst(ou.simulate(chain, particles=8_000, key=key, method=coarse), 1, law) > LIMIT


@pytest.mark.slow
def test_momentum_chain_and_sde(key):
    stage = ou.Stage(
        hessian=[[2.0, 0.6], [0.6, 1.0]],
        noise=[[1.0, -0.4], [-0.4, 0.5]],
        minimum=[0.5, 0.0],
        learning_rate=0.1,
        batch_size=8,
        steps=12,
        momentum=0.9,
    )
    for carry in (False, True):
        chain = ou.Chain([stage, stage], ou.Gaussian([0.0, 0.0], 0.1), carry_momentum=carry)
        run = ou.simulate(chain, particles=PARTICLES, key=key, save=2)
        assert run.final.shape == (PARTICLES, 2)
        assert worst(run, 4, chain.law(step=12)) < LIMIT
        assert worst(run, 2, chain.law(0, step=12)) < LIMIT
    run = ou.simulate(chain, particles=PARTICLES, key=key, method=ou.Exact())
    assert worst(run, 2, chain.law(time=stage.duration)) < LIMIT
    fine = ou.EulerMaruyama(substeps=3)
    run = ou.simulate(chain, particles=PARTICLES, key=key, method=fine)
    assert worst(run, 2, own_laws(fine, chain)[1]) < LIMIT
    assert worst(run, 2, chain.law(step=12)) > LIMIT


@pytest.mark.parametrize(
    "method", [ou.SGD(), pytest.param(ou.EulerMaruyama(), marks=pytest.mark.slow), ou.Exact()]
)
def test_schedules(method, key):
    stage = ou.Stage(
        hessian=[[2.0, 0.6], [0.6, 1.0]],
        noise=[[1.0, -0.4], [-0.4, 0.5]],
        minimum=[1.0, -1.0],
        learning_rate=jnp.linspace(0.4, 0.02, 25),
        batch_size=jnp.repeat(jnp.asarray([2.0, 16.0, 64.0, 64.0, 64.0]), 5),
        steps=25,
        langevin_temperature=0.02,
        preconditioner=[[1.0, 0.2], [0.2, 0.7]],
    )
    chain = ou.Chain([stage], initial=ou.Gaussian([0.0, 0.0], 1.0))
    run = ou.simulate(chain, particles=PARTICLES, key=key, method=method, save=2)
    assert float(run.times[-1]) == pytest.approx(float(stage.duration))
    sde = method.chain == "sde"
    law = chain.law(time=stage.duration) if sde else chain.law(step=25)
    assert worst(run, 2, law) < LIMIT
    wrong = chain.law(step=25) if sde else chain.law(time=stage.duration)
    assert worst(run, 2, wrong) > LIMIT


@pytest.mark.slow
def test_structured_and_singular_noise(key):
    d = 6
    factor = jnp.eye(d)[:, :2]
    stages = {
        "diagonal": dict(hessian=jnp.linspace(0.0, 2.0, d), noise=jnp.linspace(0.0, 1.0, d)),
        "low rank": dict(
            hessian=ou.LowRankPlusDiagonal(0.5, factor, jnp.asarray([1.0, 2.0])),
            noise=ou.LowRankPlusDiagonal(jnp.linspace(0.5, 1.0, d), jnp.ones((d, 1))),
        ),
        "rank one": dict(hessian=jnp.diag(jnp.linspace(0.5, 2.0, d)), noise=jnp.ones((d, d))),
    }
    for arguments in stages.values():
        stage = ou.Stage(**arguments, minimum=0.5, learning_rate=0.2, batch_size=4, steps=20)
        chain = ou.Chain([stage], initial=ou.Gaussian(jnp.zeros(d), 0.0))
        run = ou.simulate(chain, particles=PARTICLES, key=key, save=2)
        law = chain.law(step=20)
        moving = np.diag(np.asarray(law.covariance)) > 0
        covariance = np.asarray(run.moments.covariance[2])
        assert np.all(covariance[~moving] == 0)
        index = np.ix_(moving, moving)
        part = ou.Gaussian(law.mean[moving], law.covariance[index], check=False)
        n, v = PARTICLES, np.diag(np.asarray(part.covariance))
        error = np.sqrt((np.asarray(part.covariance) ** 2 + np.outer(v, v)) / n)
        assert np.abs((covariance[index] - np.asarray(part.covariance)) / error).max() < LIMIT


def test_steady_laws():
    stage = two_stages().pretrain
    h = float(stage.learning_rate) / 4
    steady = stage.stationary(method=ou.EulerMaruyama(substeps=4))
    a, s = np.asarray(stage.hessian.dense()), np.asarray(steady.covariance)
    rate = float(stage.learning_rate / stage.batch_size) * np.asarray(stage.noise.dense())
    np.testing.assert_allclose(a @ s + s @ a - h * a @ s @ a, rate, rtol=1e-10, atol=1e-14)
    for method, law in ((ou.SGD(), stage.stationary()), (ou.Exact(), stage.gibbs())):
        np.testing.assert_allclose(stage.stationary(method=method).covariance, law.covariance)
    same = stage.stationary(method=ou.EulerMaruyama())
    np.testing.assert_allclose(same.covariance, stage.stationary().covariance, rtol=1e-12)


@pytest.mark.slow
def test_one_dimension_keeps_its_axis(key):
    stage = ou.Stage(
        hessian=2.5, noise=0.8, minimum=0.7, learning_rate=0.1, batch_size=16, steps=12
    )
    chain = ou.Chain([stage], initial=ou.Gaussian([-1.3], 0.0))
    for method in (ou.SGD(), ou.EulerMaruyama()):
        run = ou.simulate(chain, particles=PARTICLES, key=key, method=method, observe=ou.Paths(3))
        assert run.final.shape == (PARTICLES, 1) and run.paths.shape == (2, 3, 1)
        assert run.moments.covariance.shape == (2, 1, 1)
        # P01: the chain after 12 steps
        law = ou.Gaussian([0.636647295951843], 0.00114171040996851)
        assert worst(run, 1, law) < LIMIT
        assert worst(run, 1, ou.Gaussian(law.mean, 0.000997521247823334)) > LIMIT


def test_errors_say_what_to_do(process, key):
    stage = process.pretrain
    with pytest.raises(TypeError, match="Wrap the stage"):
        ou.simulate(stage, particles=10, key=key)
    with pytest.raises(ValueError, match="more save points than the stage has steps"):
        ou.simulate(process, particles=10, key=key, save=31)
    with pytest.raises(ValueError, match="entries for 2 stages"):
        ou.simulate(process, particles=10, key=key, save=(1, 2, 3))
    with pytest.raises(ValueError, match="does not divide"):
        ou.simulate(process, particles=10, key=key, method=ou.EulerMaruyama(step=0.07))
    with pytest.raises(ValueError, match="less than one block"):
        ou.simulate(process, particles=10, key=key, memory=1000)
    with pytest.raises(ValueError, match="whole number"):
        ou.EulerMaruyama(substeps=1.5)
    with pytest.raises(TypeError, match="diffrax solver"):
        ou.Diffrax("heun")
    jax.jit(lambda h: ou.EulerMaruyama(substeps=h).substeps)(2)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(particles=0), ValueError, "particles=0 must be a whole number of at least 1"),
        (dict(particles="a"), ValueError, "particles='a' must be a whole number"),
        (dict(particles="10"), ValueError, "particles='10' must be a whole number"),
        (dict(particles=INF), ValueError, "particles=inf must be a whole number"),
        (dict(particles=True), ValueError, "particles=True must be a whole number"),
        (dict(key=0), TypeError, r"key=0 is not a key .* write jax.random.key\(0\)"),
        (dict(key=np.zeros(2)), TypeError, r"key=float64 of shape \(2,\) is not a key"),
        (dict(key=jax.random.split(jax.random.key(0))), ValueError, r"keys of shape \(2,\)"),
        (dict(save=None), ValueError, "save=None must be a whole number"),
        (dict(save=NAN), ValueError, "save=nan must be a whole number"),
        (dict(save=(1, 0.5)), ValueError, "save=0.5 must be a whole number"),
        (dict(memory="1 GB"), ValueError, "memory='1 GB' must be a number of bytes"),
        (dict(memory=NAN), ValueError, "memory=nan must be a number of bytes"),
        (dict(threads=1.5), ValueError, "threads=1.5 must be a whole number"),
        (dict(threads=0), ValueError, "threads=0 must be a whole number"),
        (dict(devices=[]), ValueError, r"one or more of jax.devices\(\)"),
        (dict(devices="cpu"), ValueError, r"one or more of jax.devices\(\)"),
        (dict(dtype=jnp.int32), ValueError, "jnp.float64, got int32"),
        (dict(dtype="none at all"), ValueError, "jnp.float64, got 'none at all'"),
        (dict(checkpoint="."), ValueError, "is a folder: name a file in it"),
        (dict(observe=(ou.Energy(), ou.Energy())), ValueError, "'energy': leave one out"),
        (dict(method=ou.EulerMaruyama), TypeError, "method must be one of"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_are_refused(arguments, error, message, process, key):
    with pytest.raises(error, match=message):
        ou.simulate(process, **(dict(particles=10, key=key) | arguments))


@pytest.mark.slow
def test_old_and_new_keys_are_the_same_and_saves_may_be_an_array(process):
    new, old = (
        ou.simulate(process, particles=10.0, key=key, save=saves)
        for key, saves in ((jax.random.key(3), (1, 2)), (jax.random.PRNGKey(3), np.array([1, 2])))
    )
    np.testing.assert_array_equal(new.final, old.final)
    assert new.steps.tolist() == old.steps.tolist()


@pytest.mark.slow
def test_a_run_says_what_it_is(process, key):
    run = ou.simulate(process, particles=1_000, key=key, observe=(ou.Paths(3), ou.Energy()))
    text = str(run)
    assert "1,000 particles in 2 dimensions, moved by SGD" in text
    assert "pretrain (step 30): mean " in text and "finetune (step 73)" in text
    assert 'the paths of the first 3, observed["energy"]' in text
    assert run.dtype == jnp.float32
    seen = []
    jax.eval_shape(lambda r: seen.append(str(r)), run)  # inside jit there are shapes only
    assert seen[0].startswith("Run(")
