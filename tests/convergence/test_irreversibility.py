"""Irreversibility: the current by other routes, four cases of noise, and paths read backwards."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from problems import LAW, close, p03

import jaxou as ou
from jaxou.convergence.irreversibility import (
    irreversibility,
    pair_divergence,
    reversal_divergence,
    steady_current,
)
from jaxou.convergence.irreversibility.reversal import _Statistics

A = np.array([[1.5, 0.7], [0.7, 0.9]])
C = np.array([[0.6, 0.2], [0.2, 1.4]])


def stage(**changes):
    arguments = dict(
        hessian=A, noise=C, minimum=[0.3, -0.2], learning_rate=0.2, batch_size=4, steps=40
    )
    return ou.Stage(**(arguments | changes))


def at_rest(one, particles=10_000, **options):
    process = ou.Chain([one], initial=one.stationary())
    options = dict(save=20, observe=ou.Paths(particles)) | options
    return process, ou.simulate(process, particles=particles, key=jax.random.key(8), **options)


@pytest.fixture(scope="module")
def run():
    return at_rest(stage())


def test_p03():
    found = steady_current(p03())
    r = 0.00145833333333333
    close(found.antisymmetric, [[0.0, -r], [r, 0.0]], rtol=1e-10, atol=1e-15)
    close(found.entropy_production, 0.480392156862745, **LAW)
    turn = np.abs(np.linalg.eigvals(found.rotation).imag)
    np.testing.assert_allclose(found.frequencies, turn[:1], rtol=1e-10)


def test_the_current_is_that_of_the_fokker_planck_equation():
    found = steady_current(stage())
    law, x = found.law, jnp.array([0.5, -0.1])
    density = lambda y: jnp.exp(law.log_prob(y))
    current = lambda y: (
        -jnp.asarray(A) @ (y - law.mean) * density(y) - found.diffusion @ jax.grad(density)(y)
    )
    np.testing.assert_allclose(found.current(x), current(x), rtol=1e-9)
    # stationary: no divergence; and along the level sets
    assert abs(jnp.trace(jax.jacfwd(found.current)(x))) < 1e-9 * jnp.abs(found.current(x)).max()
    assert abs(found.velocity(x) @ jax.grad(law.log_prob)(x)) < 1e-9


@pytest.mark.parametrize(
    "changes,case,words",
    [
        (dict(noise=2.0 * np.eye(2)), "boltzmann", "Maxwell-Boltzmann) at temperature 0.05"),
        (dict(noise=ou.Temperature(0.3)), "boltzmann", "temperature 0.3"),
        (dict(noise=3.0 * A), "isotropic", "blind to curvature"),
        (dict(noise=A @ A), "effective potential", "x^T A C^-1 x / 2"),
        (dict(), "current", "rotates"),
        (dict(noise=np.outer([1.0, 0.0], [1.0, 0.0])), "current", "inf nats"),
        (dict(noise=C, weight_decay=0.1), "current", "rotates"),
    ],
    ids=["isotropic", "temperature", "C = cA", "commuting", "general", "rank one", "decay"],
)
def test_the_answer_in_words(changes, case, words):
    report = irreversibility(stage(**changes))
    assert report.case == case and words in str(report)
    assert (report.entropy_production > 1e-9) == (case == "current")
    if case == "boltzmann":
        assert report.temperature in (pytest.approx(0.05), pytest.approx(0.3))
    assert json.loads(json.dumps(report.as_dict()))["case"] == case


def test_a_preconditioner_that_restores_the_gibbs_law_is_recognised():
    # P = C with noise C^-1: isotropic in the coordinates P^-1/2 theta
    matched = stage(noise=np.linalg.inv(C), preconditioner=C)
    assert irreversibility(matched).case == "boltzmann"
    law = matched.gibbs().covariance
    np.testing.assert_allclose(law, 0.025 * np.linalg.inv(A), rtol=1e-9)


def whitened_lag(one, time):
    sigma = np.asarray(one.gibbs().covariance)
    half = np.linalg.inv(np.linalg.cholesky(sigma))
    decay, _ = oracles.van_loan(A, np.eye(2), time)
    return half @ decay @ sigma @ half.T, decay, sigma


def test_reversal_divergence_is_the_kl_of_pairs_and_tends_to_the_entropy_production():
    one = stage()
    lag, decay, sigma = whitened_lag(one, 0.7)
    pair = np.block([[sigma, (decay @ sigma).T], [decay @ sigma, sigma]])
    reverse = np.block([[sigma, decay @ sigma], [(decay @ sigma).T, sigma]])
    kl = oracles.gaussian_kl(np.zeros(4), pair, np.zeros(4), reverse)
    assert float(reversal_divergence(jnp.asarray(lag))) == pytest.approx(kl, rel=1e-9)
    production = float(one.entropy_production())
    rates = [
        float(reversal_divergence(jnp.asarray(whitened_lag(one, u)[0]))) / u
        for u in (0.5, 0.1, 1e-4)
    ]
    assert rates[0] < rates[1] < rates[2] < production
    assert rates[2] == pytest.approx(production, rel=1e-3)
    # it does not depend on the temperature
    colder = whitened_lag(stage(batch_size=400), 0.5)[0]
    assert float(reversal_divergence(jnp.asarray(colder))) / 0.5 == pytest.approx(rates[0])


def autoregressive(rng, lag, n, times):
    """Paths (times, n, r) of the steady process with whitened lag covariance `lag`."""
    noise = np.linalg.cholesky(np.eye(len(lag)) - lag @ lag.T)
    paths = [rng.normal(size=(n, len(lag)))]
    for _ in range(times - 1):
        paths.append(paths[-1] @ lag.T + rng.normal(size=(n, len(lag))) @ noise.T)
    return np.array(paths)


@pytest.mark.parametrize("turn", [0.0, 0.15])
def test_the_production_of_particles_has_no_bias_and_an_honest_error(turn):
    rng, lag = np.random.default_rng(5), np.array([[0.5, turn], [-turn, 0.4]])
    exact = float(reversal_divergence(jnp.asarray(lag)))
    seen = [pair_divergence(jnp.asarray(autoregressive(rng, lag, 200, 4))) for _ in range(200)]
    values = np.array([float(x.estimate) for x in seen])
    errors = np.array([float(x.standard_error) for x in seen])
    assert abs(values.mean() - exact) < 4.5 * values.std() / np.sqrt(200)
    # the plug-in value is what one must not report
    plug_in = np.mean([float(x.plug_in) for x in seen])
    assert plug_in - exact > 4.5 * values.std() / np.sqrt(200)
    # a jackknife is at most conservative; its own scatter is about sqrt(2 / 31)
    assert 0.85 < np.sqrt(np.mean(errors**2)) / values.std() < 1.4


def test_flips_of_time_are_exact_under_reversibility():
    # p-values of 150 reversible processes that are not at all normal in their test statistic
    rng, lag, key = np.random.default_rng(6), np.diag([0.9, 0.5, 0.1]), jax.random.key(0)
    p_values = []
    for k in range(150):
        paths = autoregressive(rng, lag, 40, 3)
        found = _Statistics(paths, np.eye(3), lag, np.eye(3), jax.random.fold_in(key, k))
        assert found.amplitude is None and "flips" in found.null
        p_values.append(found.p_reversible)
    ordered = np.sort(p_values)
    distance = np.max(np.abs(ordered - (np.arange(150) + 0.5) / 150)) + 0.5 / 150
    assert distance * np.sqrt(150) < 1.95 + 0.05  # Kolmogorov at 0.001; p-values are steps of 0.001


@pytest.mark.slow
def test_particles_show_the_predicted_current(run):
    process, particles = run
    report = irreversibility(process, run=particles)
    seen = report.reversal
    assert len(seen.rows) == 21 and seen.lag == pytest.approx(0.4) and seen.rank == 2
    assert seen.p_reversible == 0.001 and seen.p_direction < 1e-9 and seen.p_law > 1e-3
    assert abs(seen.amplitude - 1) < 4.5 * seen.amplitude_error < 0.2
    stationary = np.asarray(stage().stationary().covariance)
    exact = (A @ stationary - stationary @ A) / 2
    np.testing.assert_allclose(seen.current_exact, exact, atol=1e-12)
    assert abs(seen.current - exact)[0, 1] < 4.5 * seen.current_error[0, 1]
    assert seen.current[0, 1] == pytest.approx(-seen.current[1, 0])
    assert abs(seen.production - seen.production_exact) < 4.5 * seen.production_error
    step = np.eye(2) - 0.2 * A
    half = np.linalg.inv(np.linalg.cholesky(stationary))
    kl = reversal_divergence(jnp.asarray(half @ step @ step @ stationary @ half.T))
    assert seen.production_exact == pytest.approx(float(kl) / 0.4)
    assert 0 < seen.production_exact < report.entropy_production
    assert "current / predicted current" in str(report)


def test_a_current_of_the_wrong_sign_is_rejected(run):
    process, particles = run
    backwards = eqx.tree_at(lambda r: r.paths, particles, particles.paths[::-1])
    seen = irreversibility(process, run=backwards).reversal
    assert seen.p_law < 1e-9 and abs(seen.amplitude + 1) < 4.5 * seen.amplitude_error


def test_noise_made_to_commute_has_no_current_and_is_told_from_the_true_one(run):
    _, u = np.linalg.eigh(A)
    twin = stage(noise=u @ np.diag(np.diag(u.T @ C @ u)) @ u.T)
    process, particles = at_rest(twin)
    own = irreversibility(process, run=particles)
    assert own.case == "effective potential" and own.reversal.p_reversible > 1e-3
    assert abs(own.reversal.production) < 4.5 * own.reversal.production_error
    claimed = irreversibility(run[0], run=particles).reversal
    assert claimed.p_law < 1e-9 and claimed.amplitude < 0.5
    assert irreversibility(process, run=run[1]).reversal.p_reversible == 0.001


def test_only_save_points_at_rest_are_used(run):
    start = ou.Gaussian([1.0, 1.0], 0.3 * np.eye(2))
    process = ou.Chain([stage(steps=200)], initial=start)
    moving = ou.simulate(
        process, particles=10_000, key=jax.random.key(1), save=20, observe=ou.Paths(10_000)
    )
    rows = irreversibility(process, run=moving).reversal.rows
    assert 5 < rows[0] < 15 and rows[-1] == 20
    law = process.law(step=10 * rows[0])
    assert 10_000 * float(law.kl(process.stages[0].stationary())) < 0.05
    # the same rows, up to one, from the run's own moments at the start
    alone = irreversibility(stage(steps=200), run=moving).reversal.rows
    assert abs(alone[0] - rows[0]) <= 1
    # forty steps from there are not enough
    short = irreversibility(ou.Chain([stage()], initial=start), run=run[1])
    assert short.reversal is None and "at rest" in short.no_reversal


def test_refusals_and_reasons(run):
    process, particles = run
    with pytest.raises(ValueError, match="velocity reversal"):
        irreversibility(stage(momentum=0.9))
    with pytest.raises(ValueError, match="at_step"):
        irreversibility(stage(learning_rate=np.full(40, 0.1)))
    with pytest.raises(ValueError, match="weight decay"):
        irreversibility(stage(hessian=np.outer([1.0, 1.0], [1.0, 1.0])))
    with pytest.raises(TypeError, match="takes a Stage"):
        irreversibility(3.0)
    with pytest.raises(ValueError, match="there is no stage 'pretrain'"):
        irreversibility(stage(), run=particles, stage="pretrain")
    with pytest.raises(ValueError, match="no noise, so that its steady law is one point"):
        irreversibility(stage(noise=0.0))
    with pytest.raises(ValueError, match="pass the process that was run"):
        irreversibility(ou.Chain([stage()] * 2, initial=process.initial), run=particles)
    with pytest.raises(TypeError, match="takes the run of ou.simulate"):
        irreversibility(stage(), run=3.0)
    with pytest.raises(TypeError, match="write jax.random.key"):
        irreversibility(process, run=particles, key=0)
    lost = eqx.tree_at(lambda r: r.paths, particles, particles.paths * jnp.nan)
    with pytest.raises(ValueError, match="the process diverged"):
        irreversibility(process, run=lost)
    bare = eqx.tree_at(lambda r: r.paths, particles, None, is_leaf=lambda x: x is None)
    report = irreversibility(process, run=bare)
    assert report.reversal is None and "ou.Paths" in report.no_reversal
    few = eqx.tree_at(lambda r: r.paths, particles, particles.paths[:, :50])
    assert "100 are needed" in irreversibility(process, run=few).no_reversal
    # over two steps the factors (1 - 0.5 eta a)^2 of curvatures 1 / eta -+ x are the same
    blind = stage(hessian=[[5.0, 2.0], [2.0, 5.0]], learning_rate=0.2, steps=40)
    reason = irreversibility(*at_rest(blind)[:1], run=at_rest(blind)[1]).no_reversal
    assert "look alike" in reason


@pytest.mark.slow
@pytest.mark.parametrize("method", [ou.Exact(), ou.EulerMaruyama(substeps=3)])
def test_every_method_shows_its_own_current(method):
    one = stage()
    process = ou.Chain([one], initial=method.steady_law(one))
    particles = ou.simulate(
        process, particles=10_000, key=jax.random.key(3), save=20, method=method,
        observe=ou.Paths(10_000),
    )  # fmt: skip
    seen = irreversibility(process, run=particles).reversal
    assert len(seen.rows) == 21 and seen.p_law > 1e-3
    assert abs(seen.amplitude - 1) < 4.5 * seen.amplitude_error


@pytest.mark.slow
def test_many_dimensions():
    rng = np.random.default_rng(1)
    d = 70
    one = ou.Stage(
        hessian=oracles.random_spd(rng, d), noise=oracles.random_psd(rng, d, 2 * d),
        minimum=0.0, learning_rate=0.1, batch_size=8, steps=40,
    )  # fmt: skip
    process, particles = at_rest(one, particles=5_000, save=10)
    seen = irreversibility(process, run=particles).reversal
    assert seen.current_error is None and seen.p_reversible < 0.01
    assert abs(seen.amplitude - 1) < 4.5 * seen.amplitude_error
    assert abs(seen.production - seen.production_exact) < 4.5 * seen.production_error
