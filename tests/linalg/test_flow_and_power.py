"""Transitions against Van Loan and quadrature; powers against repeated products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import quadrature, random_psd, random_spd, van_loan

from jaxou.linalg import flow_dense
from jaxou.linalg.flow import expm1_ratio, flow_diagonal, flow_symmetric
from jaxou.linalg.power import geometric_sum, power_dense, power_symmetric

RNG = np.random.default_rng(2)
D = 4
DRIFTS = {
    "positive": random_spd(RNG, D),
    "singular": random_psd(RNG, D, 2),
    "indefinite": random_spd(RNG, D) - 1.5 * np.eye(D),
    "general": RNG.normal(size=(D, D)),
    "identity": np.eye(D),
    "zero": np.zeros((D, D)),
}
NOISE = random_psd(RNG, D, 2)
flow = jax.jit(flow_dense)


@pytest.mark.parametrize("drift", DRIFTS)
def test_flow_against_two_oracles(drift):
    drift = DRIFTS[drift]
    for time in (0.0, 1e-3, 0.7, 5.0):
        decay, covariance = flow(jnp.array(drift), jnp.array(NOISE), jnp.array(time))
        e, g = np.eye(D), np.zeros((D, D))
        short = van_loan(
            drift, NOISE, time / 10
        )  # the block exponential loses digits in long times
        for _ in range(10):
            e, g = short[0] @ e, short[0] @ g @ short[0].T + short[1]
        scale = max(np.abs(g).max(), 1e-300)
        np.testing.assert_allclose(np.eye(D) + decay, e, atol=1e-12 * max(1, np.abs(e).max()))
        np.testing.assert_allclose(covariance, g, atol=1e-11 * scale)
    g = quadrature(drift, NOISE, 0.7)
    np.testing.assert_allclose(
        flow(jnp.array(drift), jnp.array(NOISE), jnp.array(0.7))[1], g, atol=1e-10 * g.max()
    )


def test_flow_survives_times_where_the_block_exponential_overflows():
    drift = np.diag([1e3, 1.0, 1e-6, 0.0])
    decay, covariance = flow(jnp.array(drift), jnp.array(np.eye(D)), jnp.array(50.0))
    expected = [1 / 2e3, (1 - np.exp(-100.0)) / 2, -np.expm1(-1e-4) / 2e-6, 50.0]
    np.testing.assert_allclose(jnp.diagonal(covariance), expected, rtol=1e-11)
    np.testing.assert_allclose(jnp.diagonal(decay)[1:], np.expm1([-50.0, -5e-5, 0.0]), rtol=1e-9)


@pytest.mark.parametrize("drift", ["singular", "identity", "indefinite"])
def test_flow_derivatives(drift):
    direction, time = random_spd(RNG, D), jnp.array(0.8)
    drift = jnp.array(DRIFTS[drift])

    @jax.jit
    def energy(t, s):
        decay, covariance = flow_dense(drift + t * direction, jnp.array(NOISE), s)
        return jnp.sum(decay**2) + jnp.sum(covariance**2)

    h, zero = 1e-6, jnp.array(0.0)
    by_drift, by_time = jax.jit(jax.grad(energy, argnums=(0, 1)))(zero, time)
    numeric = (energy(zero + h, time) - energy(zero - h, time)) / (2 * h)
    np.testing.assert_allclose(by_drift, numeric, rtol=1e-7)
    numeric = (energy(zero, time + h) - energy(zero, time - h)) / (2 * h)
    np.testing.assert_allclose(by_time, numeric, rtol=1e-7)


def test_diagonal_flow_near_zero_rates():
    rates = jnp.array([0.0, 1e-14, 1e-8, 1e-3, 1.0, -0.5])
    decay, gain = flow_diagonal(rates, jnp.ones(6), jnp.array(2.0))
    exact = [2.0, 2.0, 2.0, -np.expm1(-4e-3) / 2e-3, -np.expm1(-4.0) / 2, np.expm1(2.0)]
    np.testing.assert_allclose(np.delete(np.asarray(gain), 2), np.delete(exact, 2), rtol=1e-13)
    np.testing.assert_allclose(gain[2], 2 - 4e-8, rtol=1e-13)
    slope = jax.vmap(jax.grad(expm1_ratio))(jnp.array([0.0, 1e-9, 9.9e-3, 1.01e-2]))
    x = np.array([9.9e-3, 1.01e-2])  # on both sides of the change of formula
    np.testing.assert_allclose(slope[:2], [0.5, 0.5 + 1e-9 / 3], rtol=1e-14)
    np.testing.assert_allclose(slope[2:], 1 / 2 + x / 3 + x**2 / 8 + x**3 / 30, rtol=1e-9)


def test_power_by_squaring_equals_repeated_application():
    m, c, q = DRIFTS["general"] * 0.4, RNG.normal(size=(D, 1)), NOISE
    raise_to = jax.jit(power_dense)
    total = (np.eye(D), np.zeros((D, 1)), np.zeros((D, D)))
    for n in range(12):
        ours = raise_to(jnp.array(m), jnp.array(c), jnp.array(q), jnp.array(float(n)))
        for mine, expected in zip(ours, total, strict=True):
            np.testing.assert_allclose(mine, expected, rtol=1e-12, atol=1e-14)
        total = (m @ total[0], m @ total[1] + c, m @ total[2] @ m.T + q)


def test_power_of_a_million_steps_with_negative_eigenvalues():
    m = np.diag([-0.999999, 0.999999, -0.5, 0.0])
    n = 1_000_001
    ours, _, noise = jax.jit(power_dense)(
        jnp.array(m), jnp.zeros((D, 1)), jnp.eye(D), jnp.array(float(n))
    )
    mu = np.diag(m)
    np.testing.assert_allclose(jnp.diagonal(ours), mu**n, rtol=1e-9)
    np.testing.assert_allclose(jnp.diagonal(noise), (1 - mu ** (2 * n)) / (1 - mu**2), rtol=1e-9)


@pytest.mark.parametrize("matrix", ["positive", "singular", "indefinite", "identity", "zero"])
def test_eigenbasis_and_doubling_are_two_routes_to_one_transition(matrix):
    a, c, noise = jnp.array(DRIFTS[matrix]), jnp.ones((D, 2)), jnp.array(NOISE)
    pairs = [
        (jax.jit(flow_symmetric)(a, noise, jnp.array(1.7)), flow(a, noise, jnp.array(1.7))),
        (
            jax.jit(power_symmetric)(jnp.eye(D) - 0.3 * a, c, noise, jnp.array(23.0)),
            jax.jit(power_dense)(jnp.eye(D) - 0.3 * a, c, noise, jnp.array(23.0)),
        ),
    ]
    for ours, theirs in pairs:
        for x, y in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(x, y, atol=1e-11 * max(1.0, float(jnp.abs(y).max())))


def test_geometric_sums_at_every_ratio():
    from fractions import Fraction

    ratios = [0.0, -0.5, 0.3, 0.5, 0.999, 1.0, 1.001, -1.0, -1.2, 1 - 1e-12]
    for n in (0, 1, 2, 7, 40):
        exact = [float(sum((Fraction(x) ** k for k in range(n)), Fraction(0))) for x in ratios]
        got = geometric_sum(jnp.array(ratios), jnp.array(float(n)))
        np.testing.assert_allclose(got, exact, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_derivatives_with_a_fixed_drift_agree_with_doubling():
    drift, weights = jnp.array(DRIFTS["singular"]), jnp.array(random_spd(RNG, D))

    def energy(transition, ratio, time):
        decay, covariance = transition(drift, ratio * jnp.array(NOISE), time)
        return jnp.sum(weights * covariance) + jnp.sum(weights * decay)

    for derivative in (jax.grad, jax.jacfwd, jax.hessian):
        ours, theirs = (
            jax.jit(derivative(lambda r, t, f=f: energy(f, r, t), argnums=(0, 1)))(0.7, 1.3)
            for f in (flow_symmetric, flow_dense)
        )
        for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-12)
