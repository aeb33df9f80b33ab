"""Stages against other routes to the same law, optax's own sgd, and the kernels' algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import kronecker_lyapunov, kronecker_stein, random_psd, random_spd, van_loan
from problems import LAW, P03_A, P03_C, close, p03, p04

import jaxou as ou

RNG = np.random.default_rng(11)
D = 3
A, C = random_spd(RNG, D), random_psd(RNG, D, D)
BASE = dict(
    hessian=A, noise=C, minimum=RNG.normal(size=D), learning_rate=0.2, batch_size=4, steps=50
)
EPS = 0.2 / 4
VARIANTS = {
    "plain": {},
    "rank-one noise": dict(noise=random_psd(RNG, D, 1)),
    "weight decay": dict(weight_decay=0.3, anchor=RNG.normal(size=D)),
    "preconditioner": dict(preconditioner=random_spd(RNG, D, 0.5, 1.5)),
    "langevin": dict(langevin_temperature=0.05),
    "momentum": dict(momentum=0.7),
    "momentum, preconditioner, langevin": dict(
        momentum=0.5, preconditioner=[0.5, 1.0, 1.5], langevin_temperature=0.05
    ),
    "without replacement": dict(population=10),
    "diagonal": dict(hessian=[1.0, 2.0, 0.5], noise=[1.0, 0.3, 2.0]),
}


def stage(variant="plain", **changes):
    return ou.Stage(**(BASE | VARIANTS[variant] | changes))


def state(s, variance=0.3):
    return ou.Gaussian(np.random.default_rng(0).normal(size=s.state_dimension), variance)


@pytest.mark.parametrize("variant", VARIANTS)
def test_steady_laws_are_fixed_points(variant):
    """SGD's own law is fixed by one step, the SDE's by any flow, and powers converge to them."""
    s = stage(variant)
    stationary, gibbs = s.stationary(), s.gibbs()
    joint = [law.joint() if s.has_momentum else law for law in (stationary, gibbs)]
    after = s.kernel()(joint[0])
    close(after.covariance, joint[0].covariance, rtol=1e-9, atol=1e-12)
    close(after.mean, joint[0].mean, rtol=1e-9, atol=1e-12)
    flowed = s.flow(1.3)(joint[1])
    close(flowed.covariance, joint[1].covariance, rtol=1e-9, atol=1e-12)
    close(s.kernel().fixed_point().covariance, joint[0].covariance, rtol=1e-8, atol=1e-11)
    far = s.kernel(5_000)(state(s))
    close(far.covariance, joint[0].covariance, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("variant", VARIANTS)
def test_kernels_are_a_semigroup(variant):
    s = stage(variant)
    law, k = state(s), s.kernel()
    seven = k.power(7)(law)
    split = (k.power(3) @ k.power(4))(law)
    close(split.covariance, seven.covariance, rtol=1e-10, atol=1e-13)
    close(split.mean, seven.mean, rtol=1e-10, atol=1e-13)
    close(s.kernel(7)(law).covariance, seven.covariance, **dict(rtol=1e-10, atol=1e-13))
    associated = ((k @ k.power(2)) @ k)(law)
    close(associated.mean, (k @ (k.power(2) @ k))(law).mean, rtol=1e-12, atol=1e-14)
    flow = s.flow(0.5)(s.flow(0.4)(law))
    close(flow.covariance, s.flow(0.9)(law).covariance, rtol=1e-9, atol=1e-12)


def test_laws_against_kronecker_and_van_loan():
    s = stage()
    close(s.gibbs().covariance, kronecker_lyapunov(A, EPS * C), rtol=1e-10, atol=1e-14)
    step = np.eye(D) - 0.2 * A
    close(s.stationary().covariance, kronecker_stein(step, 0.2 * EPS * C), rtol=1e-9, atol=1e-14)
    e, g = van_loan(A, EPS * C, 0.8)
    flow = s.flow(0.8)
    close(flow.matrix.dense(), e, rtol=1e-9, atol=1e-12)
    close(flow.covariance.dense(), g, rtol=1e-9, atol=1e-12)


def test_weight_decay_and_preconditioner_by_hand():
    s = stage("weight decay")
    anchor, decayed = s.anchor, A + 0.3 * np.eye(D)
    target = np.linalg.solve(decayed, A @ BASE["minimum"] + 0.3 * np.asarray(anchor))
    close(s.gibbs().mean, target, rtol=1e-10, atol=0)
    close(s.gibbs().covariance, kronecker_lyapunov(decayed, EPS * C), rtol=1e-10, atol=1e-14)
    s = stage("preconditioner")
    p = np.asarray(s.preconditioner.dense())
    direct = kronecker_lyapunov(p @ A, EPS * p @ C @ p)
    close(s.gibbs().covariance, direct, rtol=1e-9, atol=1e-13)


def test_population_equals_enumeration_of_all_batches():
    """C / b (N - b) / (N - 1) is the variance of the mean of b of N numbers, counted out."""
    from itertools import combinations

    gradients = np.array([1.0, -2.0, 0.5, 3.0, -1.5])
    means = [np.mean(batch) for batch in combinations(gradients, 2)]
    s = ou.Stage(
        hessian=1.0,
        noise=np.var(gradients),
        minimum=0.0,
        learning_rate=0.1,
        batch_size=2,
        steps=1,
        population=5,
    )
    close(s.noise_rate().value / 0.1, np.var(means), **LAW)


# --- schedules ------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_cosine_schedule_over_1000_steps_equals_1000_products(momentum):
    n = 1_000
    schedule = optax.cosine_decay_schedule(0.3, n)
    s = p03(learning_rate=schedule, steps=n, momentum=momentum, minimum=[0.5, -1.0])
    law = s.kernel(n)(state(s))
    a, w = np.array(P03_A), np.array(P03_C) / 8
    d, eye = 2, np.eye(2)
    mean, cov = np.asarray(state(s).mean), 0.3 * np.eye(s.state_dimension)
    for k in range(n):
        eta = float(schedule(k))
        if momentum:
            t = np.block([[eye - eta * a, -eta * momentum * eye], [a, momentum * eye]])
            b = np.block([[-eta * eye], [eye]])
            target = np.concatenate([[0.5, -1.0], np.zeros(d)])
        else:
            t, b, target = eye - eta * a, -eta * eye, np.array([0.5, -1.0])
        mean = target + t @ (mean - target)
        cov = t @ cov @ t.T + b @ w @ b.T
    close(law.mean, mean, rtol=1e-9, atol=1e-12)
    close(law.covariance, cov, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_the_mean_is_that_of_optax_sgd_under_a_schedule(momentum):
    """Without noise the chain is optax's own optimiser, buffer and schedule included."""
    n, minimum = 60, jnp.array([0.5, -1.0])
    schedule = optax.linear_schedule(0.2, 0.05, n)
    # optax counts in int32, which would round the schedule to float32
    optimizer = optax.sgd(lambda k: schedule(k.astype(jnp.int64)), momentum=momentum)
    a, theta = jnp.array(P03_A), jnp.array([1.0, 1.0])
    memory = optimizer.init(theta)
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(n):
            update, memory = optimizer.update(a @ (theta - minimum), memory)
            theta = optax.apply_updates(theta, update)
    s = p03(learning_rate=schedule, steps=n, momentum=momentum or 0.0, minimum=minimum, noise=0.0)
    law = ou.Chain([s], initial=ou.Gaussian([1.0, 1.0], 0.0)).law(0, step=n)
    close(law.mean, theta, rtol=1e-10, atol=1e-13)
    close(law.covariance, np.zeros((2, 2)), rtol=0, atol=0)


def test_noise_through_optax_sgd_gives_the_law(key):
    """Replicas of optax.sgd with momentum and Gaussian gradient noise; whitened chi2 tests."""
    n, replicas, minimum = 30, 20_000, jnp.array([0.5, -1.0])
    schedule = optax.cosine_decay_schedule(0.3, 40)
    optimizer, a = optax.sgd(schedule, momentum=0.8), jnp.array(P03_A)
    root = jnp.linalg.cholesky(jnp.array(P03_C) / 8)

    def replica(key):
        def body(carry, key):
            theta, memory = carry
            gradient = a @ (theta - minimum) + root @ jax.random.normal(key, (2,))
            update, memory = optimizer.update(gradient, memory)
            return (optax.apply_updates(theta, update), memory), None

        theta = jnp.array([1.0, 1.0])
        with jax.numpy_dtype_promotion("standard"):
            carry, _ = jax.lax.scan(body, (theta, optimizer.init(theta)), jax.random.split(key, n))
        return carry[0]

    final = np.asarray(jax.jit(jax.vmap(replica))(jax.random.split(key, replicas)))
    s = p03(learning_rate=schedule, steps=40, momentum=0.8, minimum=minimum)
    law = ou.Chain([s], initial=ou.Gaussian([1.0, 1.0], 0.0)).law(0, step=n)

    def chi2(law):
        lower = np.linalg.cholesky(np.asarray(law.covariance))
        z = np.linalg.solve(lower, (final - np.asarray(law.mean)).T)
        scatter = (z @ z.T / replicas - np.eye(2)).ravel()[[0, 1, 3]] * np.sqrt(replicas)
        return scatter / np.sqrt([2.0, 1.0, 2.0]), z.mean(axis=1) * np.sqrt(replicas)

    # five z-scores; a limit of 4.9 has a false-alarm rate below 1e-5 in all
    assert max(np.abs(x).max() for x in chi2(law)) < 4.9
    # wrong twin: the buffer's noise taken for that of plain SGD
    twin = s.replace(momentum=0.0)
    wrong = ou.Chain([twin], initial=ou.Gaussian([1.0, 1.0], 0.0)).law(0, step=n)
    assert max(np.abs(x).max() for x in chi2(wrong)) > 20


# --- two stages ------------------------------------------------------------


def two_stage(**changes):
    return ou.TwoStage(
        stage(),
        stage(minimum=np.ones(D), learning_rate=0.1, **changes),
        ou.Gaussian(np.zeros(D), 1.0),
    )


def test_two_stages_compose_and_forget_where_they_came_from():
    training = two_stage()
    law = training.initial
    for _ in range(50):
        law = training.pretrain.kernel()(law)
    for _ in range(20):
        law = training.finetune.kernel()(law)
    ours = training.law(stage="finetune", step=20)
    close(ours.mean, law.mean, rtol=1e-10, atol=1e-13)
    close(ours.covariance, law.covariance, rtol=1e-10, atol=1e-13)
    long = training.law(stage="finetune", time=400.0)
    close(long.covariance, training.finetune.gibbs().covariance, rtol=1e-9, atol=1e-13)


def test_momentum_buffer_is_reset_or_carried():
    first = stage("momentum", steps=5)
    chain = ou.Chain([first, first], initial=ou.Gaussian(np.zeros(D), 0.1))
    whole = ou.Chain([first.replace(steps=10)], initial=chain.initial).law(0, step=10)
    carried = ou.Chain(chain.stages, chain.initial, carry_momentum=True).law(1, step=5)
    close(carried.covariance, whole.covariance, rtol=1e-10, atol=1e-13)
    assert np.abs(chain.law(1, step=5).mean - whole.mean).max() > 1e-3
    flows = ou.Chain(chain.stages, chain.initial, carry_momentum=True)
    duration = float(first.duration)
    whole = ou.Chain([first], initial=chain.initial).law(0, time=2 * duration)
    close(flows.law(1, time=duration).covariance, whole.covariance, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_derivatives_through_both_stages_against_finite_differences():
    training = two_stage()
    target = training.finetune.gibbs()

    def kl(hyper):
        eta1, b1, eta2, b2, time = hyper
        changed = training.with_pretrain(learning_rate=eta1, batch_size=b1)
        changed = changed.with_finetune(learning_rate=eta2, batch_size=b2)
        chain, flow = changed.law("finetune", step=7), changed.law("finetune", time=time)
        return chain.kl(target) + flow.kl(target)

    value, point = jax.jit(kl), jnp.array([0.2, 4.0, 0.1, 4.0, 0.7])
    gradient = jax.jit(jax.grad(kl))(point)
    lanes = jax.jit(jax.vmap(jax.grad(kl)))(jnp.stack([point, point * 0.9]))
    close(lanes[0], gradient, rtol=1e-9, atol=1e-12)
    for i in range(5):
        step = jnp.zeros(5).at[i].set(1e-6)
        numeric = (value(point + step) - value(point - step)) / 2e-6
        close(gradient[i], numeric, rtol=1e-6, atol=1e-9)


def test_finite_time_gradients_at_repeated_and_zero_eigenvalues():
    direction = random_spd(RNG, D)

    @jax.jit
    def energy(t, hessian):
        s = stage(hessian=ou.Dense(hessian + t * direction, check=False))
        law = s.flow(0.9)(ou.Gaussian(np.ones(D), 0.2))
        chain = s.kernel(9)(ou.Gaussian(np.ones(D), 0.2))
        return jnp.sum(law.covariance**2) + jnp.sum(chain.covariance**2) + jnp.sum(chain.mean**2)

    slope = jax.jit(jax.grad(energy))
    for hessian in (np.eye(D), np.zeros((D, D)), np.diag([0.0, 1.0, 1.0])):
        hessian, h = jnp.array(hessian), 1e-6
        numeric = (energy(h, hessian) - energy(-h, hessian)) / (2 * h)
        close(slope(0.0, hessian), numeric, rtol=1e-6, atol=1e-9)


# --- irreversibility ------------------------------------------------------------


def test_entropy_production_is_the_rate_at_which_time_reversal_shows():
    """KL(law of (x_0, x_u) || law of (x_u, x_0)) / u as u -> 0, from the joint covariance."""
    s = p04().stages[0]
    sigma = np.asarray(s.gibbs().covariance)

    def reversal(u):
        lag = np.asarray(s.flow(u).matrix.dense()) @ sigma
        forward = np.block([[sigma, lag.T], [lag, sigma]])
        backward = np.block([[sigma, lag], [lag.T, sigma]])
        return (np.trace(np.linalg.solve(backward, forward)) - 4) / 2 / u

    # Richardson's extrapolation of the first-order error in u
    estimate = 2 * reversal(5e-4) - reversal(1e-3)
    close(s.entropy_production(), estimate, rtol=1e-4, atol=0)
    other = s.replace(batch_size=100)  # it does not depend on eps
    close(other.entropy_production(), s.entropy_production(), rtol=1e-9, atol=0)


def test_entropy_production_at_the_edges():
    assert p03(noise=2.0).entropy_production() == 0.0
    commuting = p03(noise=np.array(P03_A) @ np.array(P03_A))
    assert abs(commuting.entropy_production()) < 1e-12
    assert p03(noise=np.outer([1.0, 0.0], [1.0, 0.0])).entropy_production() == jnp.inf
    with pytest.raises(ValueError, match="velocity reversal"):
        p03(momentum=0.9).entropy_production()
    measures = p03().irreversibility()
    close(measures.antisymmetric[1, 0], 0.00145833333333333, rtol=1e-9, atol=0)
    assert "rotates" in str(measures)
    gibbs = p03(noise=2.0).irreversibility()
    assert "loss's Gibbs law" in str(gibbs) and abs(gibbs.equipartition - 1) < 1e-12
