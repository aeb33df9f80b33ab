"""Exact lines: the distance of a stage's law to its steady law, and when it is small.

With m, V the law's moments, S the steady covariance and x = m - theta*,

    KL = (tr(S^-1 V) - d - log det(S^-1 V) + x^T S^-1 x) / 2
    d KL / ds = -tr(D K V K) - x^T S^-1 D S^-1 x,     K = S^-1 - V^-1       (the SDE)

KL to the steady law of the *state* never grows. KL to the initial law, and with momentum the KL
of the positions alone, need not be monotone, nor need the W2 distance and the energy be.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..._typing import Scalar
from ...laws import Gaussian
from ...linalg import Dense, pinv
from ...particles.methods.method import position_law
from ...stages import Stage
from .clock import Clock

ROUNDS = 200


class Line(eqx.Module):
    """One law's way to its steady law, at K points of a stage.

    `steps` and `times` count from the stage's start (flow time = learning rate x steps).

    - `kl`, `w2` of the position's law to its steady law (nats; units of the parameters);
    - `state_kl`: KL of the whole state, which is what decreases; the same without momentum;
    - `energy` = E[L - L*] and `excess_energy`, what it is above the steady law's.

    `inf` where a law starts at a point or has another range than the steady law.
    """

    steps: Float[Array, " points"]
    times: Float[Array, " points"]
    kl: Float[Array, " points"]
    state_kl: Float[Array, " points"]
    w2: Float[Array, " points"]
    energy: Float[Array, " points"]
    excess_energy: Float[Array, " points"]


@eqx.filter_jit
def line(clock: Clock, stage: Stage, start: Gaussian, target: Gaussian, stretches) -> tuple:
    """(kl, state kl, w2, energy, excess energy) after each stretch of the stage, each (K,).

    `start` and `target` are laws of the state. Cost O(K d^3) dense, O(K d) diagonal.
    """
    rest = position_law(target, stage.dimension)
    resting = stage.excess_loss(rest)

    def one(stretch):
        state = clock.kernel(stage, stretch)(start)
        law = position_law(state, stage.dimension)
        kl = law.kl(rest)
        whole = kl if state is law else state.kl(target)
        energy = stage.excess_loss(law)
        return kl, whole, law.w2(rest), energy, energy - resting

    return lax.map(one, stretches)


@eqx.filter_jit
def moments(clock: Clock, stage: Stage, start: Gaussian, stretches) -> tuple[Array, Array]:
    """Mean (K, D) and covariance (K, D, D) of the state after each stretch."""

    def one(stretch):
        law = clock.kernel(stage, stretch)(start)
        return law.mean, law.covariance

    return lax.map(one, stretches)


@eqx.filter_jit
def walk(clock: Clock, stage: Stage, start: Gaussian, gaps) -> tuple[Array, Array, Array]:
    """Mean (K, D), covariance (K, D, D) and the matrix M (K, D, D) of x -> N(M x + c, Q) after each
    gap, one after the other; for constant hyper-parameters."""

    def one(moments, gap):
        kernel = clock.kernel(stage, gap)
        law = kernel(Gaussian(moments[0], Dense(moments[1], check=False), check=False))
        return (law.mean, law.covariance), (law.mean, law.covariance, kernel.matrix.dense())

    return lax.scan(one, (start.mean, start.covariance), gaps)[1]


@eqx.filter_jit
def reach(
    clock: Clock, stage: Stage, start: Gaussian, target: Gaussian, tolerance: Scalar
) -> Scalar:
    """The shortest stretch after which KL(state || steady law) <= tolerance; inf if none.

    In the clock's units; whole where they are steps. KL of the state to the steady law decreases,
    so one bracket holds the answer: it is doubled until it does, then halved, or for the SDE cut
    where log KL is interpolated. About 10 to 20 evaluations, each O(d^3) dense.

    >>> from jaxou import Gaussian, Stage
    >>> from .clock import SDE
    >>> stage = Stage(hessian=2.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10,
    ...               steps=10)
    >>> rest = stage.gibbs()
    >>> start = Gaussian(rest.mean + 1.0, rest.operator)
    >>> later = reach(SDE, stage, start, rest, jnp.asarray(0.02))
    >>> bool(jnp.abs(later - jnp.log(200.0 / 0.02) / 4.0) < 1e-8)  # KL = 200 exp(-4 s)
    True
    """

    whole, zero = clock.whole, jnp.zeros_like(stage.steps)
    first = zero + 1.0 if whole else jnp.where(stage.duration > 0, stage.duration, 1.0)
    doublings = 40 if whole else 60  # kernels take fewer than 2^40 steps

    def proposal(low, f_low, high, f_high, bracketed, count):
        grown = jnp.where(count == 1, first, 2 * low)
        middle = (low + high) / 2
        if whole:
            inside = jnp.floor(middle)
        else:
            chord = (low * f_high - high * f_low) / (f_high - f_low)
            good = jnp.isfinite(chord) & (chord > low) & (chord < high) & (count % 3 != 2)
            inside = jnp.where(good, chord, middle)
        return jnp.where(count == 0, zero, jnp.where(bracketed, inside, grown))

    def body(carry):
        low, f_low, high, f_high, side, bracketed, count = carry
        x = proposal(low, f_low, high, f_high, bracketed, count)
        f = jnp.log(clock.kernel(stage, x)(start).kl(target)) - jnp.log(tolerance)
        above = ~(f <= 0)
        now = jnp.where(above, 1, -1)
        # Illinois: the value at an end that stays twice is halved, so that it moves too
        stale = jnp.where(side == now, 0.5, 1.0)
        return (
            jnp.where(above, x, low),
            jnp.where(above, f, f_low * stale),
            jnp.where(above, high, x),
            jnp.where(above, f_high * stale, f),
            now,
            bracketed | ~above,
            count + 1,
        )

    def unfinished(carry):
        low, _, high, _, _, bracketed, count = carry
        gap = 1.0 if whole else 8 * jnp.finfo(high.dtype).eps * high
        search = jnp.where(bracketed, high - low > gap, count < doublings + 2)
        return search & (count < ROUNDS)

    start_at = (zero, zero + jnp.inf, zero, -zero, 0, jnp.asarray(False), 0)
    _, _, high, _, _, bracketed, _ = lax.while_loop(unfinished, body, start_at)
    return jnp.where(bracketed, high, jnp.inf)


@eqx.filter_jit
def dissipation(stage: Stage, law: Gaussian) -> Scalar:
    """-d KL / ds of the SDE where its state has `law`: relative Fisher information, weighted by D.

    At least 2 kappa KL, with the `kappa` of `rates`. Laws of full rank; with momentum of the state.
    """
    rest = stage.gibbs(throw=False)
    rest = rest.joint() if stage.has_momentum else rest
    diffusion = stage.sde().noise.dense() / 2
    inverse, covariance = pinv(rest.covariance), law.covariance
    # S^-1 - V^-1 = S^-1 (V - S) V^-1 keeps its digits where the laws nearly coincide
    k = inverse @ (covariance - rest.covariance) @ pinv(covariance)
    pull = inverse @ (law.mean - rest.mean)
    return jnp.sum((diffusion @ k @ covariance) * k) + pull @ diffusion @ pull
