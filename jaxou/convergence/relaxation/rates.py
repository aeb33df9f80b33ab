"""How fast a stage relaxes, from its numbers alone: guaranteed, asymptotic, and per step."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..._typing import Scalar
from ...laws import Gaussian
from ...linalg import eigh
from ...linalg.algebra import entries
from ...linalg.roots import range_mask
from ...stages import Stage
from .modes import Modes, modes_of


class Late(eqx.Module):
    """What decides the end of a relaxation: d log KL per unit of time, at late times.

    `by_mean`: the mean's shift along mode `mode` decays last; else the covariance does, along
    modes `mode` and `partner`.
    """

    slope: Scalar
    by_mean: Bool[Array, ""]
    mode: Int[Array, ""]
    partner: Int[Array, ""]


class Rates(eqx.Module):
    """The rates of one stage.

    - `kappa`: KL(s) <= exp(-2 kappa s) KL(0) from any start, s flow time: the largest kappa with
      D >= kappa S (Gaussian log-Sobolev inequality). At most `slowest`, equal to it if A and C
      commute; zero with momentum, where no such bound holds, and where D is singular.
    - `slowest`: the smallest decay rate of the mean, in flow time: a_min without momentum, for
      which W2 between any two solutions shrinks by exp(-a_min s).
    - `contraction`: max |1 - eta a| per step of SGD, which also bounds W2 between two chains; with
      momentum the spectral radius, asymptotic only.
    - `late`, `late_chain`: late slopes of log KL, per flow time and per step, from this start.
    - `decay`, `factors` (d,): the mean's decay rate (flow time) and factor (per step) by mode.

    Rates are those of SGD's steps and of the SDE; of a schedule, those of its last step.
    """

    kappa: Scalar
    slowest: Scalar
    contraction: Scalar
    late: Late
    late_chain: Late
    decay: Float[Array, " d"]
    factors: Float[Array, " d"]
    curvature: Float[Array, " d"]

    @property
    def mixing_steps(self) -> Scalar:
        """Steps in which the slowest shift of the mean falls by a factor e: -1 / log contraction.

        Infinite where a direction is flat.
        """
        log = jnp.log(self.contraction)
        return jnp.where(log < 0, -1 / jnp.where(log < 0, log, -1.0), jnp.inf)


@eqx.filter_jit
def rates(
    stage: Stage, start: Gaussian, gibbs: Gaussian | None, stationary: Gaussian | None
) -> Rates:
    """The rates of a stage with constant hyper-parameters, from the position law `start`.

    `gibbs` and `stationary` are its steady laws of the position, None where one does not exist.
    The case of the late slope is read from the components of the start that are not zero up to
    rounding. Cost O(d^3) dense.
    """
    modes = modes_of(stage)
    decay, factors = _decay(stage, modes.curvature), _factors(stage, modes.curvature)
    shift = modes.vector(start.mean - stage.effective_minimum)
    return Rates(
        kappa=_kappa(stage, modes, gibbs),
        slowest=jnp.min(decay),
        contraction=jnp.max(factors),
        late=_late(decay, shift, modes, start, gibbs),
        late_chain=_late(-jnp.log(factors), shift, modes, start, stationary),
        decay=decay,
        factors=factors,
        curvature=modes.curvature,
    )


def _decay(stage, curvature):
    """The real part of the slowest exponent of each mode of the SDE, per flow time."""
    if not stage.has_momentum:
        return curvature
    # per step x'' = -g x' - h x with g = 1 - beta, h = eta a
    eta, g = stage.learning_rate, 1 - stage.momentum
    square = g**2 - 4 * eta * curvature
    root = jnp.sqrt(jnp.maximum(square, 0.0))
    # (g - root) / 2 without cancellation
    overdamped = 2 * eta * curvature / (g + root)
    return jnp.where(square > 0, overdamped, g / 2) / eta


def _factors(stage, curvature):
    """The modulus of the largest multiplier of each mode of SGD, per step."""
    eta, beta = stage.learning_rate, stage.momentum
    if not stage.has_momentum:
        return jnp.abs(1 - eta * curvature)
    # z^2 - (1 + beta - eta a) z + beta = 0
    trace = 1 + beta - eta * curvature
    square = trace**2 - 4 * beta
    real = (jnp.abs(trace) + jnp.sqrt(jnp.maximum(square, 0.0))) / 2
    return jnp.where(square > 0, real, jnp.sqrt(beta))


def _kappa(stage: Stage, modes: Modes, gibbs: Gaussian | None):
    if gibbs is None or stage.has_momentum:
        return jnp.zeros_like(stage.steps)
    covariance = modes.spread(gibbs)
    if covariance.ndim == 1:
        noise = jnp.broadcast_to(entries(modes.rate), covariance.shape) / 2
        moving = covariance > 0
        ratio = jnp.where(moving, noise / jnp.where(moving, covariance, 1.0), jnp.inf)
        return jnp.min(ratio)
    noise = modes.rate.dense() / 2
    if modes.basis is not None:
        noise = modes.basis.T @ noise @ modes.basis
    values, vectors = eigh(covariance)
    inside = range_mask(values)
    half = vectors * jnp.where(inside, 1 / jnp.sqrt(jnp.where(inside, values, 1.0)), 0.0)[None, :]
    ratio = half.T @ noise @ half
    # directions without any spread play no part
    ratio = ratio + jnp.diag(jnp.where(inside, 0.0, 2 * jnp.max(modes.curvature)))
    return jnp.maximum(jnp.min(eigh((ratio + ratio.T) / 2)[0]), 0.0)


def _late(decay, shift, modes: Modes, start: Gaussian, steady: Gaussian | None) -> Late:
    """The slowest of exp(-2 r_i s), where the mean has a component, and exp(-2 (r_i + r_j) s)."""
    small = 1e2 * shift.size * jnp.finfo(shift.dtype).eps
    present = jnp.abs(shift) > small * jnp.max(jnp.abs(shift))
    of_mean = jnp.where(present, 2 * decay, jnp.inf)
    index = jnp.arange(shift.size)
    before, after = modes.spread(start), 0.0 if steady is None else modes.spread(steady)
    if steady is not None and jnp.ndim(after) != before.ndim:
        before, after = (x if x.ndim == 2 else jnp.diag(x) for x in (before, after))
    gap = jnp.abs(before - after)
    open_ = gap > small * jnp.maximum(jnp.max(gap), jnp.max(jnp.abs(before)))
    if gap.ndim == 1:
        each = jnp.where(open_, 4 * decay, jnp.inf)
        first = second = jnp.argmin(each)
        of_spread = each[first]
    else:
        pairs = jnp.where(open_, 2 * (decay[:, None] + decay[None, :]), jnp.inf)
        flat = jnp.argmin(pairs)
        first, second = flat // shift.size, flat % shift.size
        of_spread = pairs.reshape(-1)[flat]
    slowest = jnp.argmin(of_mean)
    by_mean = of_mean[slowest] <= of_spread
    mode = index[jnp.where(by_mean, slowest, first)]
    return Late(
        slope=-jnp.minimum(of_mean[slowest], of_spread),
        by_mean=by_mean,
        mode=mode,
        partner=jnp.where(by_mean, mode, index[second]),
    )
