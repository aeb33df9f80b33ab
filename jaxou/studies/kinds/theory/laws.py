"""The laws of one stage in the eigenbasis of its Hessian, elementwise, momentum included."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from ....bounds.modal import Modes, State, after_steps
from ....linalg.equations import LYAPUNOV, heavy_ball, stein, symbol, underdamped
from ....linalg.power import power
from ....stages import Stage


class Bowl(NamedTuple):
    """A stage and what it is in its own basis: `rates` are the eigenvalues of A + decay I."""

    stage: Stage
    modes: Modes
    rates: Any
    target: Any


def bowl_of(stage: Stage, values, noise, minimum) -> Bowl:
    """The stage's constants; `noise` is C in the basis of A."""
    fixed = Modes(values, jnp.eye(values.size), noise, minimum, jnp.zeros_like(minimum))
    rates = values + stage.weight_decay
    return Bowl(stage, fixed, rates, values * minimum / rates)


class Reached(NamedTuple):
    """A law, and the share of each mode's start that is left in its mean."""

    law: State
    left: Any


def reach(bowl: Bowl, start: State, law: str) -> Reached:
    """The law that stands for a stage: "gibbs", "stationary", or after its steps from `start`."""
    if law != "finite":
        return Reached(_steady(bowl, law), jnp.zeros_like(bowl.rates))
    if bowl.stage.has_momentum:
        return _with_buffer(bowl, start)
    found = after_steps(bowl.stage, bowl.modes, start)
    here = start.mean - bowl.target
    odd = (bowl.stage.learning_rate * bowl.rates > 1) & (bowl.stage.steps % 2 == 1)
    left = jnp.where(odd, -1.0, 1.0) * _left_size(bowl)
    return Reached(State(bowl.target + left * here, found.covariance), left)


def _left_size(bowl: Bowl):
    """|1 - eta a|^n without losing the digits of slow modes."""
    factor = bowl.stage.learning_rate * bowl.rates
    size = jnp.abs(1 - factor)
    slow = factor < 0.5
    logarithm = jnp.where(
        slow,
        jnp.log1p(-jnp.where(slow, factor, 0.0)),
        jnp.log(jnp.where(size > 0, size, jnp.finfo(size.dtype).tiny)),
    )
    return jnp.exp(bowl.stage.steps * logarithm)


def _steady(bowl: Bowl, law: str) -> State:
    stage, rates = bowl.stage, bowl.rates
    eta, beta = stage.learning_rate, stage.momentum
    if law == "gibbs":
        equation = underdamped(1 - beta, eta) if stage.has_momentum else LYAPUNOV
    else:
        equation = heavy_ball(eta, beta) if stage.has_momentum else stein(eta)
    divisor = symbol(equation, rates[:, None], rates[None, :])
    return State(bowl.target, (eta / stage.batch_size) * bowl.modes.noise / divisor)


def _with_buffer(bowl: Bowl, start: State) -> Reached:
    """Two numbers per mode, position and buffer: the n-th power of 2 x 2 blocks by squaring."""
    stage, rates = bowl.stage, bowl.rates
    eta, beta, ones = stage.learning_rate, stage.momentum, jnp.ones_like(rates)
    matrix = _blocks(1 - eta * rates, -eta * beta * ones, rates, beta * ones)
    kick = jnp.stack([-eta, jnp.ones_like(eta)])
    noise = (kick[:, None] * kick[None, :])[:, :, None, None] * bowl.modes.noise[None, None]
    zero, one = jnp.zeros_like(rates), ones
    identity = (_blocks(one, zero, zero, one), jnp.zeros(()), jnp.zeros_like(noise))
    step = (matrix, jnp.zeros(()), noise / stage.batch_size)
    total, _, added = power(_compose, identity, step, stage.steps)
    left = total[0, 0]
    covariance = left[:, None] * start.covariance * left[None, :] + added[0, 0]
    return Reached(State(bowl.target + left * (start.mean - bowl.target), covariance), left)


def _blocks(a, b, c, d):
    return jnp.stack([jnp.stack([a, b]), jnp.stack([c, d])])


def _compose(second, first):
    """`first`, then `second`: matrices (2, 2, d), noise (2, 2, d, d) of every pair of modes."""
    (m2, _, q2), (m1, none, q1) = second, first
    product = jnp.stack(
        [
            jnp.stack([sum(m2[p, r] * m1[r, q] for r in range(2)) for q in range(2)])
            for p in range(2)
        ]
    )
    half = [
        [sum(m2[p, r][:, None] * q1[r, s] for r in range(2)) for s in range(2)] for p in range(2)
    ]
    moved = jnp.stack(
        [
            jnp.stack([sum(half[p][s] * m2[q, s][None, :] for s in range(2)) for q in range(2)])
            for p in range(2)
        ]
    )
    return product, none, moved + q2


def slowest(bowl: Bowl, law: str):
    """Steps in which the slowest mode falls by a factor e; infinite where none does."""
    stage, rates = bowl.stage, bowl.rates
    eta, beta = stage.learning_rate, stage.momentum
    if law == "gibbs":
        if not stage.has_momentum:
            return 1 / (eta * rates.min())
        friction = 1 - beta
        inside = friction**2 - 4 * eta * rates
        rate = (friction - jnp.sqrt(jnp.maximum(inside, 0.0))) / 2
        # the slow root without cancellation
        slow = 2 * eta * rates / (friction + jnp.sqrt(jnp.maximum(inside, 0.0)))
        return 1 / jnp.where(inside > 0, slow, rate).min()
    if not stage.has_momentum:
        fall = jnp.minimum(eta * rates, 2 - eta * rates).min()
    else:
        trace = 1 - eta * rates + beta
        inside = trace**2 - 4 * beta
        real = (jnp.abs(trace) + jnp.sqrt(jnp.maximum(inside, 0.0))) / 2
        fall = (1 - jnp.where(inside > 0, real, jnp.sqrt(beta))).min()
    return jnp.where(fall > 0, -1 / jnp.log1p(-jnp.clip(fall, 1e-300, 1 - 1e-16)), jnp.inf)
