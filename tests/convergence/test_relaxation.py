"""Relaxation: exact lines by other routes, rates, times, and what is not at rest."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import scipy.integrate
from problems import KL, LAW, close, p05
from relaxation_cases import START, TIMES, A, C, chain

import jaxou as ou
from jaxou.convergence.relaxation import CHAIN, SDE, dissipation, rates, reach, relaxation
from jaxou.convergence.relaxation.lines import line
from jaxou.convergence.relaxation.sampling import symmetric_root


@pytest.fixture(scope="module")
def found():
    return relaxation(chain(), times=TIMES)[0]


def test_p04(found):
    line = found.sde.line
    close(line.kl[np.array([0, 2])], [48.5222577503423, 2.58435295550418], **KL)
    close(line.w2[np.array([0, 2])], [1.09697976667202, 0.313842795142569], **LAW)
    close(line.energy[2], 0.112484535361303, **LAW)
    close(found.rates.kappa, 0.388563911112523, **LAW)
    close(found.rates.slowest, 0.438422689413609, **LAW)
    close(dissipation(chain().stages[0], chain().law(time=0.75)), 9.33142579297446, **KL)


def test_lines_by_integration_of_the_moment_equations(found):
    m0, v0 = np.array([0.7, 0.7]), 0.25 * np.eye(2)
    noise = 0.05 * C
    sigma = oracles.kronecker_lyapunov(A, noise)

    def moves(_, y):
        v = y[2:].reshape(2, 2)
        return np.concatenate([-A @ y[:2], (noise - A @ v - v @ A).ravel()])

    start = np.concatenate([m0, v0.ravel()])
    solved = scipy.integrate.solve_ivp(moves, (0, 4), start, t_eval=TIMES, rtol=1e-11, atol=1e-13)
    for k, y in enumerate(solved.y.T):
        m, v = y[:2], y[2:].reshape(2, 2)
        kl = oracles.gaussian_kl(m, v, np.zeros(2), sigma)
        w2 = oracles.gaussian_w2(m, v, np.zeros(2), sigma)
        assert float(found.sde.line.kl[k]) == pytest.approx(kl, rel=1e-7)
        assert float(found.sde.line.w2[k]) == pytest.approx(w2, rel=1e-7)
        energy = (np.trace(A @ v) + m @ A @ m) / 2
        assert float(found.sde.line.energy[k]) == pytest.approx(energy, rel=1e-8)
        excess = energy - 0.05 * np.trace(C) / 4  # the steady energy is eps tr C / 4
        assert float(found.sde.line.excess_energy[k]) == pytest.approx(excess, rel=1e-7)


def test_lines_of_the_chain_step_by_step(found):
    assert found.chain.line.steps.tolist() == [0, 1, 4, 10, 20]
    m, v, step = np.array([0.7, 0.7]), 0.25 * np.eye(2), np.eye(2) - 0.2 * A
    noise = 0.2**2 / 4 * C
    sigma = oracles.kronecker_stein(step, noise)
    for n in range(21):
        if n in (0, 1, 4, 10, 20):
            k = [0, 1, 4, 10, 20].index(n)
            kl = oracles.gaussian_kl(m, v, np.zeros(2), sigma)
            assert float(found.chain.line.kl[k]) == pytest.approx(kl, rel=1e-8)
            w2 = oracles.gaussian_w2(m, v, np.zeros(2), sigma)
            assert float(found.chain.line.w2[k]) == pytest.approx(w2, rel=1e-8)
        m, v = step @ m, step @ v @ step + noise


def test_dissipation_is_the_slope_of_kl_and_bounded_by_kappa(found):
    stage, gibbs = chain().stages[0], chain().stages[0].gibbs()
    kl = lambda s: float(chain().law(time=s).kl(gibbs))
    for s in (0.3, 1.5):
        h = 1e-4
        slope = (kl(s + h) - kl(s - h)) / (2 * h)
        assert float(dissipation(stage, chain().law(time=s))) == pytest.approx(-slope, rel=1e-6)
    kappa, times = float(found.rates.kappa), np.array(TIMES)
    assert np.all(found.sde.line.kl <= np.exp(-2 * kappa * times) * found.sde.line.kl[0])
    assert np.all(np.diff(found.chain.line.state_kl) < 0)
    # kappa is attained, and a_min in its place is no bound: the mean along the worst direction
    root = symmetric_root(np.asarray(gibbs.covariance))
    inverse = np.linalg.inv(root)
    worst = np.linalg.eigh(inverse @ (0.025 * C) @ inverse)[1][:, 0]
    law = ou.Gaussian(gibbs.mean + root @ worst, gibbs.covariance)
    rate = float(dissipation(stage, law) / (2 * law.kl(gibbs)))
    assert rate == pytest.approx(kappa, rel=1e-9) and rate < 0.9 * float(found.rates.slowest)


def test_kappa_is_the_slowest_rate_where_hessian_and_noise_commute():
    stage = chain(noise=A @ A + A).stages[0]
    law = ou.Gaussian([1.0, 1.0], np.eye(2))
    found = rates(stage, law, stage.gibbs(), stage.stationary())
    assert float(found.kappa) == pytest.approx(float(found.slowest), rel=1e-10)


@pytest.mark.parametrize(
    "mode,curvatures",
    [(0, (0.5, 0.7)), (1, (0.5, 0.7)), (1, (0.5, 2.0)), (None, (0.5, 0.7))],
    ids=["slowest mode", "second mode", "covariance before the mean", "mean at rest"],
)
def test_late_slopes(mode, curvatures):
    a, b = curvatures
    basis = np.array([[0.8, -0.6], [0.6, 0.8]])
    hessian = basis @ np.diag(curvatures) @ basis.T
    stage = chain(hessian=hessian, learning_rate=0.2).stages[0]
    shift = np.zeros(2) if mode is None else basis[:, mode]
    start = ou.Gaussian(stage.minimum + shift, 0.25 * np.eye(2))
    found = rates(stage, start, stage.gibbs(), stage.stationary())
    expected = {0: -2 * a, 1: -min(4 * a, 2 * b), None: -4 * a}[mode]
    assert float(found.late.slope) == pytest.approx(expected, rel=1e-12)
    assert bool(found.late.by_mean) == (mode == 0 or (mode == 1 and b < 2 * a))
    # the exact KL, late enough: small covariance gaps by their eigenvalues, which do not cancel
    sigma = oracles.kronecker_lyapunov(hessian, 0.05 * C)
    inverse = np.linalg.inv(np.linalg.cholesky(sigma))

    def log_kl(s):
        e = basis @ np.diag(np.exp(-np.array(curvatures) * s)) @ basis.T
        x = np.linalg.eigvalsh(inverse @ e @ (0.25 * np.eye(2) - sigma) @ e @ inverse.T)
        return np.log(np.sum(x - np.log1p(x)) + np.sum((inverse @ e @ shift) ** 2))

    assert log_kl(13.0) - log_kl(12.0) == pytest.approx(expected, rel=0.02)
    factors = 1 - 0.2 * np.array(curvatures)
    slow = 2 * np.log(factors)
    per_step = {0: slow[0], 1: max(2 * slow[0], slow[1]), None: 2 * slow[0]}[mode]
    assert float(found.late_chain.slope) == pytest.approx(per_step, rel=1e-12)
    assert float(found.contraction) == pytest.approx(factors[0], rel=1e-12)


def test_the_first_time_within_the_tolerance(found):
    process, stage = chain(), chain().stages[0]
    s = found.sde.tolerance_time
    assert float(process.law(time=s).kl(stage.gibbs())) == pytest.approx(0.01, rel=1e-9)
    n = found.chain.tolerance_steps
    kl = [float(process.law(step=k).kl(stage.stationary())) for k in (n - 1, n)]
    assert kl[1] <= 0.01 < kl[0] and found.reached() and not found.reached(1e-6)
    assert found.chain.final_kl == pytest.approx(
        float(process.law(step=40).kl(stage.stationary())), rel=1e-6
    )
    rest = stage.gibbs()
    assert float(reach(SDE, stage, rest, rest, jnp.asarray(0.01))) == 0.0
    # a law without spread in some direction never comes closer, whatever the time
    point = ou.Gaussian(rest.mean, rest.covariance)
    other = ou.Gaussian(rest.mean, np.outer([1.0, 2.0], [1.0, 2.0]))
    assert float(reach(SDE, stage, point, other, jnp.asarray(0.01))) == np.inf


def test_flat_directions_are_named():
    # C a function of A: the modes' divergences add up to that of the law
    basis = np.array([[0.8, -0.6], [0.6, 0.8]])
    hessian = basis @ np.diag([0.01, 1.0]) @ basis.T
    noise = basis @ np.diag([1.0, 0.5]) @ basis.T
    start = ou.Gaussian(basis @ np.array([3.0, 3.0]) + np.array([0.3, -0.2]), 0.25 * np.eye(2))
    process = chain(start, hessian=hessian, noise=noise)
    report = relaxation(process, times=TIMES)
    found = report[0]
    assert not report.reached() and len(found.directions) == 1
    flat = found.directions[0]
    assert flat.index == 0 and flat.curvature == pytest.approx(0.01)
    np.testing.assert_allclose(np.abs(flat.vector @ basis), [1.0, 0.0], atol=1e-9)
    left = (1 - 0.2 * 0.01) ** 40
    assert flat.mean_left == pytest.approx(left) and flat.variance_left == pytest.approx(left**2)
    assert flat.kl == pytest.approx(found.chain.final_kl, rel=1e-3)
    sigma = 0.05 * 1.0 / (0.01 * (2 - 0.2 * 0.01))
    assert flat.shift == pytest.approx(3 * left / np.sqrt(sigma))
    text = str(report)
    assert "NOT at rest" in text and "direction 0 (curvature 0.01) keeps 92.3 %" in text


def test_without_steady_law_there_is_advice_and_no_number():
    basis = np.array([[0.8, -0.6], [0.6, 0.8]])
    hessian = basis @ np.diag([0.0, 1.0]) @ basis.T
    report = relaxation(chain(hessian=hessian), times=TIMES)
    found = report[0]
    assert found.chain.line is None and "add weight decay" in found.chain.reason
    assert found.sde.tolerance_time == np.inf and not report.reached(1e9)
    assert [d.index for d in found.directions] == [0] and found.directions[0].kl == np.inf
    assert "is flat" in str(report)
    assert json.loads(json.dumps(report.as_dict()))["decision"] is None


def test_kl_to_the_start_may_pass_its_limit_and_kl_to_rest_may_not():
    basis = np.array([[0.8, -0.6], [0.6, 0.8]])
    hessian = basis @ np.diag([3.0, 0.2]) @ basis.T
    spread = basis @ np.array([[0.05, 0.045], [0.045, 0.05]]) @ basis.T
    target = np.array([0.3, -0.2])
    start = ou.Gaussian(target + basis @ np.array([1.0, 1.0]), spread)
    process = chain(start, hessian=hessian)
    gibbs = process.stages[0].gibbs()
    laws = [process.law(time=s) for s in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)]
    from_start = [float(law.kl(start)) for law in laws]
    assert max(from_start) > 1.2 * float(gibbs.kl(start))
    assert np.all(np.diff([float(law.kl(gibbs)) for law in laws]) < 0)


# --- other structures, which take longer to compile ---------------------------------------------


@pytest.mark.slow
def test_p05():
    process = p05()
    found = relaxation(process, times=5)[0]
    close(found.rates.contraction, 0.82248627073437, **LAW)
    close(found.chain.final_kl, 8.84384936814028e-5, **KL)
    close(found.chain.line.kl[-1], 8.84384936814028e-5, **KL)


@pytest.mark.slow
def test_momentum():
    stage = chain().stages[0].replace(momentum=0.9, learning_rate=0.05, steps=200)
    process = ou.Chain([stage], initial=START)
    run = ou.simulate(process, particles=10_000, key=jax.random.key(0), save=20)
    report = relaxation(process, run=run, times=50)
    found = report[0]
    assert report.decision == "on the line"
    # the state's KL decreases, that of the positions oscillates
    state = np.asarray(found.chain.line.state_kl)
    assert np.all(np.diff(state[np.isfinite(state)]) < 1e-12)
    assert np.any(np.diff(np.asarray(found.chain.line.kl)) > 0)
    assert np.all(np.asarray(found.chain.line.kl) <= state * (1 + 1e-9))
    # decay rates and factors from the matrices themselves
    h = 0.05 * np.linalg.eigvalsh(A)
    for k in range(2):
        heavy = np.array([[1 - h[k], -0.9], [h[k], 0.9]])
        factor = np.abs(np.linalg.eigvals(heavy)).max()
        assert float(found.rates.factors[k]) == pytest.approx(factor, rel=1e-9)
        flow = np.array([[0.0, 1.0], [-h[k], -0.1]])
        decay = -np.linalg.eigvals(flow).real.max() / 0.05
        assert float(found.rates.decay[k]) == pytest.approx(decay, rel=1e-9)
    assert float(found.rates.kappa) == 0.0


@pytest.mark.slow
def test_schedule():
    rates_ = np.linspace(0.3, 0.1, 60)
    stage = chain().stages[0].replace(learning_rate=rates_, steps=60)
    process = ou.Chain([stage], initial=START)
    run = ou.simulate(process, particles=10_000, key=jax.random.key(0), save=10)
    report = relaxation(process, run=run, times=6)
    found = report[0]
    assert report.decision == "on the line" and "schedule" in found.points.no_fit
    assert found.chain.tolerance_steps is None
    last = stage.at_step(59).stationary()
    close(found.chain.line.kl[-1], process.law(step=60).kl(last), **KL)
    close(
        found.sde.line.kl[-1], process.law(time=stage.duration).kl(stage.at_step(59).gibbs()), **KL
    )
    with pytest.raises(ValueError, match="constant learning rates"):
        relaxation(process, times=[1.0])


@pytest.mark.slow
def test_two_stages_structures_and_preconditioner():
    first = ou.Stage(
        hessian=[1.0, 0.1], noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=8, steps=50
    )
    second = first.replace(minimum=[1.0, -1.0], preconditioner=[2.0, 0.5], steps=80)
    process = ou.TwoStage(first, second, initial=ou.Gaussian([1.0, 1.0], 0.0))
    run = ou.simulate(process, particles=10_000, key=jax.random.key(1), save=10)
    report = relaxation(process, run=run, times=8)
    assert report.decision == "on the line"
    assert len(report["pretrain"].points.steps) == 10  # not the start, which is a point
    assert len(report["finetune"].points.steps) == 11
    assert float(report["finetune"].rates.slowest) == pytest.approx(0.05)
    start = process.law("pretrain", step=50)
    close(report["finetune"].chain.line.kl[0], start.kl(second.stationary()), **KL)


@pytest.mark.slow
def test_lines_follow_numbers_without_recompiling():
    traces = []

    @jax.jit
    def kl(eta):
        traces.append(0)
        stage = chain().stages[0].replace(learning_rate=eta)
        rest = stage.stationary(throw=False)
        return line(CHAIN, stage, chain().initial, rest, jnp.arange(5.0))[0]

    both = jnp.stack([kl(jnp.asarray(0.2)), kl(jnp.asarray(0.1))])
    assert len(traces) == 1
    close(jax.vmap(kl)(jnp.array([0.2, 0.1])), both, rtol=1e-9, atol=1e-12)
