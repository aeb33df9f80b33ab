"""Averages of iterates: exact laws against two independent routes, their limit, and particles."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import kronecker_stein

import jaxou as ou
from jaxou.convergence import energy_chi2, mean_chi2, plug_in_kl
from jaxou.convergence.frames import path_average
from jaxou.convergence.scores import normal_scores
from jaxou.stages.averages import (
    average_law,
    exponential_average,
    long_run_covariance,
    tail_average,
)

A = np.array([[2.0, 0.6], [0.6, 1.0]])
C = np.array([[1.0, -0.4], [-0.4, 0.5]])
ETA, B = 0.1, 8.0
MINIMUM = np.array([0.5, -1.0])
CASES = {"plain": 0.0, "momentum": 0.8}


def stage(momentum=0.0, **changes):
    arguments = dict(
        hessian=A,
        noise=C,
        minimum=MINIMUM,
        learning_rate=ETA,
        batch_size=B,
        steps=60,
        momentum=momentum,
    )
    return ou.Stage(**(arguments | changes))


def step_matrices(momentum):
    """(M, Q) of one step on the deviation (and buffer), written down from the update rule."""
    eye, zero = np.eye(2), np.zeros((2, 2))
    if momentum == 0:
        return eye - ETA * A, ETA**2 / B * C
    # m' = beta m + A x + n,  x' = x - eta m'
    matrix = np.block([[eye - ETA * A, -ETA * momentum * eye], [A, momentum * eye]])
    root = np.concatenate([-ETA * eye, eye])
    assert zero.shape == (2, 2)
    return matrix, root @ C @ root.T / B


def brute_force(momentum, weights, mean, covariance):
    """The law of sum_k weights[k] x_k, k = 0..n, from one matrix of all noises together."""
    m, q = step_matrices(momentum)
    size, n = len(m), len(weights) - 1
    powers = [np.linalg.matrix_power(m, k) for k in range(n + 1)]
    take = np.eye(2, size)
    start = sum(w * take @ powers[k] for k, w in enumerate(weights))
    value = start @ covariance @ start.T
    for j in range(1, n + 1):  # the noise of step j reaches x_j, x_{j+1}, ...
        reach = sum(weights[k] * take @ powers[k - j] for k in range(j, n + 1))
        value = value + reach @ q @ reach.T
    return start @ mean, value


@pytest.mark.parametrize("momentum", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("every", [1, 3])
def test_tail_average_at_a_finite_step(momentum, every):
    start = ou.Gaussian([2.0, 1.0], [[0.5, 0.1], [0.1, 0.3]])
    m, before = 7, 5
    law = average_law(
        ou.Chain([stage(momentum)], initial=start),
        step=before + m * every,
        window=m,
        every=every,
    )
    weights = np.zeros(before + m * every + 1)
    weights[before + every :: every] = 1 / m
    assert weights.sum() == pytest.approx(1.0)
    size = len(step_matrices(momentum)[0])
    mean, covariance = np.zeros(size), np.zeros((size, size))
    mean[:2], covariance[:2, :2] = start.mean - MINIMUM, start.covariance
    shift, value = brute_force(momentum, weights, mean, covariance)
    np.testing.assert_allclose(law.average.mean, MINIMUM + shift, rtol=1e-11)
    np.testing.assert_allclose(law.average.covariance, value, rtol=1e-10)
    own = ou.Chain([stage(momentum)], initial=start).law(step=before + m * every)
    np.testing.assert_allclose(law.iterate.covariance, own.covariance, rtol=1e-10)
    np.testing.assert_allclose(law.iterate.mean, own.mean, rtol=1e-11)


@pytest.mark.parametrize("momentum", CASES.values(), ids=CASES.keys())
def test_steady_tail_average_is_the_enumerated_sum_of_covariances(momentum):
    matrix, noise = step_matrices(momentum)
    steady = kronecker_stein(matrix, noise)
    m = 40
    lag = [(np.linalg.matrix_power(matrix, k) @ steady)[:2, :2] for k in range(m)]
    pairs = [lag[i - j] if i >= j else lag[j - i].T for i in range(m) for j in range(m)]
    law = tail_average(stage(momentum), m)
    np.testing.assert_allclose(law.average.covariance, sum(pairs) / m**2, rtol=1e-9)
    np.testing.assert_allclose(law.average.mean, MINIMUM, rtol=1e-10)
    # Cov(average, last iterate) = sum of lags / m
    np.testing.assert_allclose(law.cross, sum(x.T for x in lag) / m, rtol=1e-9)


@pytest.mark.parametrize("momentum", CASES.values(), ids=CASES.keys())
def test_exponential_average(momentum):
    decay, n = 0.9, 25
    start = ou.Gaussian([2.0, 1.0], 0.3)
    chain = ou.Chain([stage(momentum)], initial=start)
    law = average_law(chain, step=n, decay=decay)
    weights = (1 - decay) * decay ** (n - np.arange(n + 1.0))
    weights[0] = decay**n
    assert weights.sum() == pytest.approx(1.0)
    size = len(step_matrices(momentum)[0])
    mean, covariance = np.zeros(size), np.zeros((size, size))
    mean[:2], covariance[:2, :2] = start.mean - MINIMUM, start.covariance
    shift, value = brute_force(momentum, weights, mean, covariance)
    np.testing.assert_allclose(law.average.mean, MINIMUM + shift, rtol=1e-11)
    np.testing.assert_allclose(law.average.covariance, value, rtol=1e-10)
    steady = exponential_average(stage(momentum), decay)
    late = exponential_average(stage(momentum), decay, steps=4_000, initial=start)
    np.testing.assert_allclose(late.average.covariance, steady.average.covariance, rtol=1e-9)
    np.testing.assert_allclose(late.cross, steady.cross, rtol=1e-9)
    # decay 0 gives the iterate back
    none = exponential_average(stage(momentum), 0.0)
    np.testing.assert_allclose(none.average.covariance, none.iterate.covariance, rtol=1e-12)


@pytest.mark.parametrize("momentum", CASES.values(), ids=CASES.keys())
def test_long_averages_forget_the_learning_rate(momentum):
    # Polyak and Ruppert: m Cov -> A^-1 C A^-1 / b, with a correction of order 1 / (eta a m)
    limit = np.linalg.solve(A, np.linalg.solve(A, C).T) / B
    np.testing.assert_allclose(long_run_covariance(stage(momentum)), limit, rtol=1e-9)
    gaps = []
    for m in (10_000, 20_000, 2**30):
        average = tail_average(stage(momentum), m).average
        gaps.append(np.abs(m * average.covariance - limit).max() / np.abs(limit).max())
    assert gaps[0] < 0.01 and gaps[1] == pytest.approx(gaps[0] / 2, rel=1e-3)
    assert gaps[2] < 1e-6
    other = long_run_covariance(stage(momentum, learning_rate=0.2, preconditioner=[0.5, 2.0]))
    np.testing.assert_allclose(other, limit, rtol=1e-9)


@pytest.mark.slow
def test_numbers_do_not_recompile_and_derivatives_exist():
    traces = []

    @eqx.filter_jit
    def trace_of(eta, m, decay):
        traces.append(1)
        one = stage(learning_rate=eta)
        tail = tail_average(one, m).average.covariance
        return jnp.trace(tail) + jnp.trace(exponential_average(one, decay).average.covariance)

    numbers = [(0.1, 10.0, 0.9), (0.05, 1_000.0, 0.99), (0.2, 3.0, 0.5)]
    values = [float(trace_of(*map(jnp.asarray, row))) for row in numbers]
    assert len(traces) == 1 and np.isfinite(values).all()
    slope = jax.grad(trace_of)(jnp.asarray(0.1), jnp.asarray(10.0), jnp.asarray(0.9))
    ends = [float(trace_of(*map(jnp.asarray, (0.1 + h, 10.0, 0.9)))) for h in (1e-5, -1e-5)]
    assert float(slope) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


@pytest.mark.slow
def test_particles_averages_have_the_exact_law_and_not_the_iterate_s():
    chain = ou.Chain([stage(steps=30)], initial=ou.Gaussian([2.0, 1.0], 0.3))
    run = ou.simulate(
        chain, particles=10_000, key=jax.random.key(4), save=30, observe=ou.Paths(10_000)
    )
    draws = path_average(run, 11, 30)

    def smallest_p(law):
        z = normal_scores(draws, law)
        tests = (mean_chi2(z)[1], energy_chi2(z)[1], plug_in_kl(z).p_value)
        return min(float(p) for p in tests)

    assert smallest_p(average_law(chain, window=20).average) > 1e-3
    assert smallest_p(chain.law(step=30)) < 1e-10
    # one iterate too few, and the tail of the steady chain
    assert smallest_p(average_law(chain, window=19).average) < 1e-6
    assert smallest_p(tail_average(stage(), 20).average) < 1e-10


@pytest.mark.slow
def test_refusals_say_what_to_do():
    chain = ou.Chain([stage()], initial=ou.Gaussian([0.0, 0.0], 1.0))
    with pytest.raises(ValueError, match="exactly one of window"):
        average_law(chain)
    with pytest.raises(ValueError, match="does not fit into 60 steps"):
        average_law(chain, window=61)
    with pytest.raises(ValueError, match="not a multiple of every=7"):
        average_law(chain, decay=0.5, every=7)
    with pytest.raises(ValueError, match=r"decay=1 must lie in \[0, 1\)"):
        exponential_average(stage(), 1.0)
    with pytest.raises(ValueError, match="needs an iterate"):
        tail_average(stage(), 0)
    with pytest.raises(ValueError, match="at_step"):
        tail_average(stage(learning_rate=jnp.linspace(0.1, 0.01, 60)), 5)
    with pytest.raises(ValueError, match="forgotten at steady state"):
        exponential_average(stage(), 0.5, initial=chain.initial)
    run = ou.simulate(chain, particles=10, key=jax.random.key(0))
    with pytest.raises(ValueError, match="kept no particles"):
        path_average(run)
