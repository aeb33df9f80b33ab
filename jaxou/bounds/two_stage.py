"""The bound over pre-training and fine-tuning: two guarantees, one for each domain.

With probability at least 1 - delta over both samples, for P0 fixed in advance,

    R_S(Q_S) <= r_S(Q_S) + gap(KL(Q_S || P0), N_S, delta_S)
    R_T(Q_T) <= r_T(Q_T) + gap(KL(Q_T || Q_S), N_T, delta_T),       delta_S + delta_T <= delta

Only the second line speaks about the target. Source: reconstructed from He and Tao 2022
(arXiv 2208.14092) on McAllester's bound.
"""

from functools import partial

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float

from .._check import holds_numbers, is_concrete, require_float64, show
from .._status import Status, first_failure
from .._typing import ScalarLike
from ..laws import Gaussian
from ..stages import AbstractChain
from .rows import Row, find_row
from .stage_bound import Risk, StageBound, row_name, sample_size, split_delta, stage_bound
from .stage_laws import laws_of, prior_of


class TwoStageBound(eqx.Module):
    """Both guarantees. `target.value` is the one about the fine-tuned model.

    `transfer_gain` is KL(Q_T || P0) - KL(Q_T || Q_S): what pre-training is worth, in nats (NaN
    where both are infinite).
    """

    target: StageBound
    source: StageBound
    transfer_gain: Float[Array, ""]
    status: Status
    bound: str = eqx.field(static=True)
    mode: str = eqx.field(static=True)
    law: str = eqx.field(static=True)

    def __str__(self) -> str:
        if not holds_numbers(self) or self.transfer_gain.ndim:
            return repr(self)
        lines = [
            f"{self.bound} on two stages, laws {self.law!r}, {self.mode} mode:",
            f"  target: {self.target}",
            f"  source: {self.source}",
            f"  pre-training is worth {show(self.transfer_gain)} nats",
        ]
        return "\n".join(lines)

    @property
    def gap_sum(self) -> Float[Array, ""]:
        """The sum of the two gaps. It concerns two different risks and bounds neither."""
        return self.target.gap + self.source.gap

    @property
    def dominant(self) -> Bool[Array, ""]:
        """Whether fine-tuning has the larger gap; usual for N_T << N_S, and not a law."""
        return self.target.gap > self.source.gap


def two_stage_bound(
    process: AbstractChain,
    *,
    n_source: ScalarLike,
    n_target: ScalarLike,
    risk: ScalarLike | Risk,
    source_risk: ScalarLike | Risk | None = None,
    delta: ScalarLike,
    delta_split: tuple[ScalarLike, ScalarLike] = (0.5, 0.5),
    prior: Gaussian | None = None,
    law: str = "gibbs",
    mode: str = "model",
    bound: str | Row = "mcallester_he",
    throw: bool = True,
) -> TwoStageBound:
    """PAC-Bayes bounds of both stages, differentiable in everything that the laws depend on.

    - `n_source`, `n_target`: independent examples of the two samples.
    - `risk`, `source_risk`: empirical risks in [0, 1] of Q_T and Q_S for a bounded loss: a number
      (held fixed under differentiation) or a callable law -> [0, 1], such as `SaturatedRisk`.
    - `delta`: total failure probability; stage k spends `delta * delta_split[k]` (source first).
    - `prior`: P0 of the source stage; None takes `process.initial`. The target's prior is Q_S.
    - `law`: "gibbs", "stationary" or "finite": which laws stand for Q_S and Q_T.
    - `mode`: "model" takes the law of SGD to be this Gaussian, an assumption of the claim.
      "certificate" is for weights really drawn from Q: it needs float64 and a finite KL, and it
      is a theorem only if Q_S has not seen the target sample, P0 not the source sample, and the
      risks are those of Q. A risk estimated from m draws enters as its upper limit,
      `kl_inverse(mean, log(2 / delta_mc) / m)`, with delta + delta_mc as the failure probability;
      `ou.certify` does all of that for a network.
    - `bound`: a row of the catalogue by name, or a callable row(risk, kl, n, delta).

    Wrong values raise (float32 in certificate mode as `RuntimeError`); traced ones, or all with
    `throw=False`, give NaN and a `status`. An infinite KL gives an infinite bound in model mode,
    and in certificate mode, where it raises, with `throw=False` or under tracing. Cost: two
    laws and two KLs, O(d^3) dense.

    >>> from jaxou import Gaussian, Stage, TwoStage
    >>> source = Stage(
    ...     hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10, steps=9
    ... )
    >>> process = TwoStage(source, source.replace(minimum=0.1), Gaussian(0.0, 1.0))
    >>> b = two_stage_bound(process, n_source=10_000, n_target=1_000, risk=0.1, delta=0.05)
    >>> round(float(b.target.value), 4), round(float(b.target.kl), 4), bool(b.dominant)
    (0.1825, 1.0, True)
    """
    _refuse_bad_mode(mode)
    row = find_row(bound)
    name = row_name(bound)
    (delta_source, delta_target), fine = split_delta(delta, delta_split)
    q_source, q_target = laws_of(process, law, throw)
    prior = prior_of(process, prior)

    make = partial(stage_bound, row=row, name=name, split_is_fine=fine, throw=throw)
    source = make(
        q_source,
        prior,
        source_risk,
        sample_size(n_source, "n_source"),
        delta_source,
        is_source=True,
    )
    target = make(q_target, q_source, risk, sample_size(n_target, "n_target"), delta_target)
    if mode == "certificate" and throw:
        _refuse_infinite(source.kl, "source", "P0, the prior")
        _refuse_infinite(target.kl, "target", "Q_S, the law of the source stage")
    return TwoStageBound(
        target=target,
        source=source,
        transfer_gain=q_target.kl(prior) - target.kl,
        status=first_failure(source.status, target.status),
        bound=name,
        mode=mode,
        law=law,
    )


def _refuse_bad_mode(mode: str) -> None:
    if mode not in ("model", "certificate"):
        raise ValueError(
            f"mode={mode!r} is neither 'model' (Q stands for the law of SGD) nor 'certificate' "
            "(weights are drawn from Q)"
        )
    if mode == "certificate":
        require_float64("a certificate is computed")


def _refuse_infinite(kl, stage: str, reference: str) -> None:
    if is_concrete(kl) and np.isinf(np.asarray(kl)).any():
        raise ValueError(
            f"the {stage} stage has KL = inf, so nothing can be certified: the law of the stage "
            f"leaves the range of {reference} (a singular covariance or a point). Inflate both "
            "covariances, or give a prior of full rank"
        )
