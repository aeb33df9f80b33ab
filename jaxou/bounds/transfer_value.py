"""What pre-training is worth: losses on the other domain, and the price of one checkpoint.

    zero-shot   E_{Q_S}[L_T - L_T*] = tr(A_T S_S) / 2 + D^T A_T D / 2
    forgetting  E_{Q_T}[L_S - L_S*] = tr(A_S S_T) / 2 + D^T A_S D / 2,     D = theta*_T - theta*_S

A prior centred at one checkpoint theta ~ Q_S in place of the mean of Q_S costs d / 2 nats more on
average: the shift term (D - z)^T S_S^-1 (D - z), z ~ N(0, S_S), is a noncentral chi-square.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import as_number, refuse_unless, show_value
from .._status import Status, first_failure, poison
from .._typing import ScalarLike
from ..laws import Gaussian
from ..stages import AbstractChain
from .stage_laws import laws_of


class ExpectedLosses(eqx.Module):
    """Mean excess losses over each domain's minimum, in units of the loss.

    `zero_shot`: the source law on the target; `target`: the target law on its own domain;
    `forgetting`: the target law on the source; `source`: the source law on its own domain.
    """

    zero_shot: Float[Array, ""]
    target: Float[Array, ""]
    forgetting: Float[Array, ""]
    source: Float[Array, ""]
    status: Status

    @property
    def improvement(self) -> Float[Array, ""]:
        """What fine-tuning gains on the target: zero_shot - target."""
        return self.zero_shot - self.target

    @property
    def rise(self) -> Float[Array, ""]:
        """What fine-tuning loses on the source: forgetting - source."""
        return self.forgetting - self.source


def expected_losses(
    process: AbstractChain, *, law: str = "gibbs", throw: bool = True
) -> ExpectedLosses:
    """Each law's mean excess loss on each domain, exactly, in the quadratic model.

    `law` is "gibbs", "stationary" or "finite", as in `two_stage_bound`. These are training losses
    without a penalty, unbounded: not risks that a bound for losses in [0, 1] may take.

    >>> import jaxou as ou
    >>> stage = ou.Stage(
    ...     hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10, steps=9
    ... )
    >>> process = ou.TwoStage(stage, stage.replace(minimum=0.2), ou.Gaussian(0.0, 1.0))
    >>> losses = expected_losses(process)
    >>> round(float(losses.zero_shot), 4), round(float(losses.rise), 4)
    (0.0225, 0.02)
    """
    q_source, q_target = laws_of(process, law, throw)
    source, target = process.stages
    status = first_failure(q_source.status, q_target.status)
    return ExpectedLosses(
        zero_shot=poison(target.excess_loss(q_source), status),
        target=poison(target.excess_loss(q_target), status),
        forgetting=poison(source.excess_loss(q_target), status),
        source=poison(source.excess_loss(q_source), status),
        status=status,
    )


class CheckpointPrior(eqx.Module):
    """KL(Q || N(theta, S0)) over random checkpoints theta: mean and spread, and the centred KL.

    `kl` is that of the prior at its own mean, `expected_kl` the mean over checkpoints, `sd_kl` the
    standard deviation, all in nats; `cost` = expected_kl - kl, d / 2 for checkpoints drawn from the
    prior itself.
    """

    kl: Float[Array, ""]
    expected_kl: Float[Array, ""]
    sd_kl: Float[Array, ""]

    @property
    def cost(self) -> Float[Array, ""]:
        """What a checkpoint costs more than the mean of its law (an average of iterates)."""
        return self.expected_kl - self.kl


def checkpoint_prior(
    posterior: Gaussian, prior: Gaussian, averaged: ScalarLike = 1.0
) -> CheckpointPrior:
    """The KL to a prior N(theta, S0) centred at a draw theta ~ N(m0, S0 / averaged).

    `averaged` independent checkpoints, whose mean is the centre, bring the cost from d / 2 to
    d / (2 averaged) nats. With lam = D^T S0^-1 D the shift term is a noncentral chi-square over
    `averaged`, of mean lam + d / averaged and variance 2 d / averaged^2 + 4 lam / averaged. For
    singular laws d is the rank of the prior.

    >>> from jaxou import Gaussian
    >>> posterior, prior = Gaussian([1.0, 0.0], 1.0), Gaussian([0.0, 0.0], 1.0)
    >>> found = checkpoint_prior(posterior, prior)
    >>> float(found.kl), float(found.expected_kl), round(float(found.sd_kl), 6)
    (0.5, 1.5, 1.414214)
    """
    averaged = as_number(averaged, "averaged")
    refuse_unless(
        averaged >= 1, f"averaged={show_value(averaged)} must be at least 1, one checkpoint"
    )
    terms = posterior.kl_terms(prior)
    d = -terms.dimension
    spread = 2 * d / averaged**2 + 4 * terms.shift / averaged
    return CheckpointPrior(
        kl=terms.value,
        expected_kl=terms.value + d / (2 * averaged),
        sd_kl=jnp.where(jnp.isinf(terms.value), jnp.inf, jnp.sqrt(spread) / 2),
    )
