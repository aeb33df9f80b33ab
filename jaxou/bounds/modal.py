"""Two stages in the eigenbases of their Hessians, where SGD's law after n steps is elementwise.

With l_i = 1 - eta a_i the covariance after n steps is, entry by entry in the basis of A,

    V_ij = (l_i l_j)^n V0_ij + eta R_ij (1 - (l_i l_j)^n) / (1 - l_i l_j),

R the rate of the noise. A, C, the start and the prior do not change with learning rate, batch
size, weight decay and temperature, so one eigendecomposition of each Hessian serves a whole grid
of those, and a cell costs one Cholesky factor for each stage that varies.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..laws import Gaussian
from ..linalg.algebra import densified
from ..linalg.factor import eigh, inverse_and_logdet
from ..linalg.matrices import DENSE_LIMIT, AbstractMatrix
from ..stages import AbstractChain, Stage
from ..stages.transition import effective_ratio, langevin_rate

MOVABLE = ("learning_rate", "batch_size", "steps", "weight_decay", "langevin_temperature")
"""What may vary without changing a basis."""


class Modes(eqx.Module):
    """A stage's constants in the eigenbasis of its Hessian; `noise` is C."""

    rates: Float[Array, " d"]
    basis: Float[Array, "d d"]
    noise: Float[Array, "d d"]
    minimum: Float[Array, " d"]
    anchor: Float[Array, " d"]


class State(NamedTuple):
    """A Gaussian law in some basis."""

    mean: Float[Array, " d"]
    covariance: Float[Array, "d d"]


def is_modal(process: AbstractChain, places) -> bool:
    """Whether every stage is plain SGD on a dense problem and only `MOVABLE` numbers vary."""
    stages = process.stages
    plain = all(
        isinstance(s, Stage)
        and not s.has_momentum
        and not s.scheduled
        and s.preconditioner is None
        and isinstance(s.noise, AbstractMatrix)
        and s.dimension < DENSE_LIMIT
        for s in stages
    )
    return plain and all(place.field in MOVABLE for place in places)


def modes(stage: Stage) -> Modes:
    """The constants of a stage; O(d^3), once."""
    why = "a grid of bounds"
    hessian = lax.stop_gradient(densified(stage.hessian, why).dense())
    rates, basis = eigh((hessian + hessian.T) / 2)
    noise = basis.T @ densified(stage.noise, why).dense() @ basis
    anchor = jnp.zeros_like(stage.minimum) if stage.anchor is None else stage.anchor
    return Modes(rates, basis, noise, basis.T @ stage.minimum, basis.T @ anchor)


def rotated(law: Gaussian, basis) -> State:
    """A law in a basis."""
    return State(basis.T @ law.mean, basis.T @ law.covariance @ basis)


def turned(state: State, rotation) -> State:
    """A law in another basis; `rotation` = (its basis)^T (the old basis)."""
    return State(rotation @ state.mean, rotation @ state.covariance @ rotation.T)


def after_steps(stage: Stage, fixed: Modes, start: State) -> State:
    """SGD's law after the stage's own steps, in the stage's basis; O(d^2)."""
    # whole steps have no derivative: for that there is flow time
    eta, n, decay = stage.learning_rate, lax.stop_gradient(stage.steps), stage.weight_decay
    rates, pull = fixed.rates, jnp.zeros_like(fixed.rates)
    if stage.has_weight_decay:
        rates = rates + decay
        pull = decay * (fixed.anchor - fixed.minimum) / rates
    target = fixed.minimum + pull
    factor = 1 - eta * rates
    size = jnp.abs(factor)
    log_size = n * jnp.log(jnp.where(size > 0, size, jnp.finfo(size.dtype).tiny))
    odd = jnp.where((factor < 0) & (n % 2 == 1), -1.0, 1.0)
    power = jnp.where(n == 1, factor, odd * jnp.exp(log_size))
    power = jnp.where(n == 0, 1.0, power)

    # 1 - (l_i l_j)^n and 1 - l_i l_j, neither by a difference of near numbers
    grown = jnp.expm1(log_size[:, None] + log_size[None, :])
    sign = odd[:, None] * odd[None, :]
    numerator = (1 - sign) - sign * grown
    lost = eta * (rates[:, None] + rates[None, :] - eta * rates[:, None] * rates[None, :])
    flat = lost == 0
    sums = jnp.where(flat, n, numerator / jnp.where(flat, 1.0, lost))
    rate = effective_ratio(stage, eta, stage.batch_size) * fixed.noise
    rate = rate + jnp.diag(jnp.broadcast_to(langevin_rate(stage).value, rates.shape))
    covariance = power[:, None] * power[None, :] * start.covariance + eta * rate * sums
    return State(target + power * (start.mean - target), covariance)


class Reference(NamedTuple):
    """A law that another is compared with: its mean, inverse covariance and log-determinant."""

    mean: Float[Array, " d"]
    inverse: Float[Array, "d d"]
    logdet: Float[Array, ""]


def reference(state: State) -> Reference:
    """The law's inverse; NaN for a singular one."""
    inverse, logdet = inverse_and_logdet(state.covariance)
    return Reference(state.mean, inverse, logdet)


def turned_reference(ref: Reference, rotation) -> Reference:
    """The same in another basis."""
    return Reference(rotation @ ref.mean, rotation @ ref.inverse @ rotation.T, ref.logdet)


def divergence(posterior: State, logdet, prior: Reference) -> Float[Array, ""]:
    """KL(posterior || prior) in nats in one basis; `logdet` is the posterior's."""
    delta = posterior.mean - prior.mean
    trace = jnp.sum(prior.inverse * posterior.covariance)
    shift = delta @ prior.inverse @ delta
    return (trace - delta.size + shift + prior.logdet - logdet) / 2
