"""Escape times: exact mean passage times, Kramers' limit, censoring, and particles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import jaxou as ou
from jaxou.convergence.escape import escape_times, summarise
from jaxou.convergence.rates import kramers_rate, mean_first_passage

HEAT = 0.08


def well(x):
    return (x[0] ** 2 - 1) ** 2 / 4


def law(heat=HEAT):
    return ou.Gibbs(well, heat)


def flat_well(x):
    return (x**2 - 1) ** 2 / 4


def passage_by_quad(heat, start, target):
    inner = lambda y: integrate.quad(lambda z: np.exp(-flat_well(z) / heat), -4.0, y)[0]
    outer = lambda y: np.exp(flat_well(y) / heat) * inner(y)
    return integrate.quad(outer, start, target, epsrel=1e-8)[0] / heat


def test_mean_passage_time_against_quadrature_and_the_backward_equation():
    exact = passage_by_quad(HEAT, -1.0, 0.6)
    assert float(mean_first_passage(law(), -1.0, 0.6)) == pytest.approx(exact, rel=1e-7)
    # the same to the left from the other well
    assert float(mean_first_passage(law(), 1.0, -0.6)) == pytest.approx(exact, rel=1e-7)
    # T tau'' - U' tau' = -1, tau = 0 at the target, reflected far to the left
    x = np.linspace(-2.6, 0.6, 12_801)
    h = x[1] - x[0]
    middle = (x[1:] + x[:-1]) / 2
    weight = np.exp(-(flat_well(middle) - 0.25) / HEAT)
    # integrate e^{-U/T} tau' once from the wall, then tau' back from the target
    mass = np.cumsum(np.exp(-(flat_well(x[:-1]) - 0.25) / HEAT)) * h
    mass -= h * np.exp(-(flat_well(x[:-1]) - 0.25) / HEAT) / 2
    tau = np.cumsum((mass / weight)[::-1])[::-1] * h / HEAT
    assert tau[np.searchsorted(x, -1.0)] == pytest.approx(exact, rel=5e-3)
    # a gap between looks is a target further away
    late = float(mean_first_passage(law(), -1.0, 0.6, gap=0.1))
    shifted = passage_by_quad(HEAT, -1.0, 0.6 + 0.5825971579 * np.sqrt(2 * HEAT * 0.1))
    assert late == pytest.approx(shifted, rel=1e-6) and late > exact


def test_kramers_is_the_limit_of_the_exact_mean_time():
    errors = []
    for heat in (0.04, 0.02, 0.01):
        rate = kramers_rate(well, heat, minimum=[-0.8], saddle=[0.1]).rate
        errors.append(float(rate * mean_first_passage(law(heat), -1.0, 0.9)) - 1)
    # the correction is of first order in the temperature
    assert 0 < errors[2] < 0.05
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.15)


def test_kramers_in_two_dimensions_and_with_friction():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))[0]
    stiff = lambda x: (x[0] ** 2 - 1) ** 2 / 4 + (3.0 - x[0] ** 2) * x[1] ** 2 / 2
    turned = lambda x: stiff(jnp.asarray(turn) @ x)
    found = kramers_rate(turned, 0.05, minimum=turn.T @ [-0.9, 0.1], saddle=turn.T @ [0.1, 0.0])
    line = kramers_rate(well, 0.05, minimum=[-0.9], saddle=[0.0])
    # across the path the curvature is 2 in the well and 3 at the saddle
    assert float(found.rate / line.rate) == pytest.approx(np.sqrt(2 / 3), rel=1e-9)
    np.testing.assert_allclose(found.saddle, [0.0, 0.0], atol=1e-9)
    friction = 3.0
    slow = kramers_rate(well, 0.05, minimum=[-1.0], saddle=[0.0], friction=friction).rate
    expected = (np.sqrt(friction**2 / 4 + 1) - friction / 2) * np.sqrt(2) / (2 * np.pi)
    assert float(slow) == pytest.approx(expected * np.exp(-5.0), rel=1e-9)
    thick = kramers_rate(well, 0.05, minimum=[-1.0], saddle=[0.0], friction=1e4).rate
    assert float(thick * 1e4) == pytest.approx(float(line.rate), rel=1e-6)
    with pytest.raises(ValueError, match="has 1 directions in which U does not rise"):
        kramers_rate(well, 0.05, minimum=[0.0], saddle=[0.0])
    with pytest.raises(ValueError, match="not above the minimum"):
        kramers_rate(lambda x: 0.3 * x[0] - jnp.cos(x[0]), 0.1, minimum=[6.0], saddle=[-2.9])


@pytest.mark.slow
def test_censored_exponential_times_have_the_right_rate_and_others_are_seen():
    rng = np.random.default_rng(5)
    scores, p_values = [], []
    for _ in range(200):
        times = rng.exponential(4.0, size=400)
        cut = rng.uniform(1.0, 5.0, size=400)
        found = summarise(np.minimum(times, cut), times < cut)
        scores.append(float((found.rate - 0.25) / found.standard_error))
        p_values.append(float(found.p_value))
    # the maximum of the likelihood is biased by 1 / events: 0.07 errors
    assert abs(np.mean(scores)) < 4.5 / np.sqrt(200) + 0.1
    assert abs(np.std(scores) - 1) < 4.5 / np.sqrt(400)
    assert abs(np.mean(p_values) - 0.5) < 4.5 * np.sqrt(1 / 12 / 200)
    # without the censored time the rate would be far off
    naive = 1 / found.durations[found.escaped].mean()
    assert abs(naive - 0.25) > 8 * float(found.standard_error)
    times = rng.gamma(2.0, 2.0, size=1_000)
    assert float(summarise(np.minimum(times, 5.0), times < 5.0).p_value) < 1e-6
    # Kaplan and Meier's curve is the law whatever it is
    curve = summarise(np.minimum(times, 5.0), times < 5.0)
    truth = np.exp(-curve.clock / 2) * (1 + curve.clock / 2)
    inside = curve.clock > 0.3
    assert (jnp.abs(curve.survival - truth) < 4.5 * curve.survival_error)[inside].all()


def test_what_has_no_rate_is_refused_with_advice():
    with pytest.raises(TypeError, match="must be an ou.Gibbs law on a line, got Gaussian"):
        mean_first_passage(ou.Gaussian([0.0], 1.0), 0.0, 1.0)
    with pytest.raises(ValueError, match="start must be one number"):
        mean_first_passage(ou.Gibbs(lambda x: x @ x, 1.0), [0.0, 1.0], 1.0)
    with pytest.raises(ValueError, match="temperature must be one number"):
        kramers_rate(well, [0.05, 0.1], minimum=[-1.0], saddle=[0.0])
    with pytest.raises(ValueError, match="alpha=95 must lie in"):
        summarise([2.0] * 50, [False] * 50).upper_limit(95)


def test_no_event_is_an_upper_limit():
    found = summarise([2.0] * 50, [False] * 50)
    assert float(found.rate) == 0 and np.isnan(found.p_value)
    assert "no escape (50 particles" in str(found) and "below 0.0299573 with" in str(found)
    assert float(found.upper_limit(0.05)) == pytest.approx(-np.log(0.05) / 100, rel=1e-6)


def stage(**changes):
    arguments = dict(dimension=1, noise=ou.Temperature(HEAT), learning_rate=0.01, steps=5_000)
    return ou.PotentialStage(well, **(arguments | changes))


@pytest.mark.slow
def test_overdamped_particles_escape_at_the_exact_rate():
    chain = ou.Chain([stage()], initial=ou.Gaussian([-1.0], 0.04))
    run = ou.simulate(
        chain,
        particles=2_000,
        key=jax.random.key(1),
        save=500,
        method=ou.EulerMaruyama(),
        observe=ou.Paths(2_000),
    )
    found = escape_times(run, start=lambda x: x[0] < -0.7, target=lambda x: x[0] > 0.6, settle=3.0)
    assert found.events > 500 and float(found.p_value) > 1e-3
    exact = 1 / float(mean_first_passage(law(), -1.0, 0.6, gap=0.1))
    error = float(found.standard_error)
    assert abs(float(found.rate) - exact) < 4.5 * error
    # 8 % of temperature, or the target on the saddle (a factor near 2), are other rates
    for wrong in (
        mean_first_passage(law(1.08 * HEAT), -1.0, 0.6, gap=0.1),
        mean_first_passage(law(), -1.0, 0.0),
    ):
        assert abs(float(found.rate) - 1 / float(wrong)) > 4.5 * error
    # the survival curve that assumes nothing agrees with the exponential one
    curve = jnp.exp(-found.rate * found.clock)
    far = jnp.abs(found.survival - curve) > 4.5 * found.survival_error + 0.01
    assert not far.any()
    with pytest.raises(ValueError, match="must not meet"):
        escape_times(run, start=lambda x: x[0] < 0.5, target=lambda x: x[0] > 0.0)
    with pytest.raises(ValueError, match=r"times has 3 entries for \d+ save points"):
        escape_times(run, start=lambda x: x[0] < -0.5, target=lambda x: x[0] > 0.5, times=[0, 1, 2])
    with pytest.raises(ValueError, match="settle=-1.0 must be >= 0"):
        escape_times(run, start=lambda x: x[0] < -0.5, target=lambda x: x[0] > 0.5, settle=-1.0)
    with pytest.raises(ValueError, match="no particle was ever seen"):
        escape_times(run, start=lambda x: x[0] < -9.0, target=lambda x: x[0] > 0.0)


@pytest.mark.slow
def test_underdamped_particles_escape_at_kramers_rate_with_friction():
    # barrier 0.25 = 4 T; the correction of Kramers' formula is of relative order T / barrier
    heat, friction = 0.0625, 1.5
    chain = ou.Chain(
        [stage(noise=ou.Temperature(heat), learning_rate=0.05, steps=4_000)],
        initial=ou.Gaussian([-1.0], heat / 2),
    )
    run = ou.simulate(
        chain,
        particles=2_000,
        key=jax.random.key(2),
        save=800,
        method=ou.BAOAB(friction=friction),
        observe=ou.Paths(2_000),
    )
    found = escape_times(run, start=lambda x: x[0] < -0.7, target=lambda x: x[0] > 0.7, settle=10.0)
    points = dict(minimum=[-1.0], saddle=[0.0])
    theory = float(kramers_rate(well, heat, friction=friction, **points).rate)
    assert found.events > 500
    assert float(found.rate) == pytest.approx(theory, rel=0.2)
    # the overdamped formula and a friction twice as large are not
    for wrong in (
        kramers_rate(well, heat, **points).rate,
        kramers_rate(well, heat, friction=2 * friction, **points).rate,
    ):
        assert abs(float(found.rate / wrong) - 1) > 0.3
