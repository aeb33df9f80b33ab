"""Which laws a stage's particles are held against: their own, their method's steady one, Gibbs'."""

import math
from dataclasses import dataclass
from typing import Any

from ..laws import Gaussian, Gibbs
from ..stages import AbstractChain, PotentialStage, Stage
from .pairing import is_finite


@dataclass(frozen=True)
class Claim:
    """`own`: the law that the particles must have at the stage's end. `steady`: the steady law of
    their method; `gibbs`: that of the SDE. None where a law does not exist, or is not known in
    closed form; `reason` says which and why. `text` names `own`."""

    own: Gaussian | Gibbs | None
    steady: Gaussian | None
    gibbs: Gaussian | Gibbs | None
    text: str
    reason: str = ""


def claims(method: Any, process: AbstractChain) -> list[Claim]:
    """One for each stage; own laws in closed form end at the first loss that is not quadratic."""
    quadratic = [isinstance(stage, Stage) for stage in process.stages]
    known = quadratic.index(False) if False in quadratic else len(quadratic)
    found = []
    for stage, own in zip(process.stages[:known], own_laws(method, process, known), strict=True):
        gibbs, steady, reason = _steady_laws(method, stage)
        if not is_finite(own):
            reason = "its law diverges (a learning rate above 2 / lambda_max?)"
            found.append(Claim(None, steady, gibbs, law_name(method, stage), reason))
            continue
        found.append(Claim(own, steady, gibbs, law_name(method, stage), reason))
    return found + [_of_potential(stage) for stage in process.stages[known:]]


def own_laws(method: Any, process: AbstractChain, first: int | None = None) -> list[Gaussian]:
    """The law of the position at every stage's end, as `method` moves the particles.

    Of the `first` stages alone, if that is given. Raises `ValueError` with advice for a
    `PotentialStage` among them.

    >>> import jax, jaxou as ou
    >>> stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=4,
    ...                  steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 0.0))
    >>> [law.mean.shape for law in own_laws(ou.SGD(), chain)]
    [(1,)]
    """
    laws, law = [], process.initial
    for k, stage in enumerate(process.stages[:first]):
        law = method.kernel(stage)(method.enter_law(process, k, law))
        laws.append(process.position(law))
    return laws


def _of_potential(stage) -> Claim:
    if not isinstance(stage, PotentialStage):
        reason = "its start is a law without closed form, so is its end"
        try:
            return Claim(None, None, stage.gibbs(), "the Gibbs law of its loss", reason)
        except ValueError as error:
            return Claim(None, None, None, "", str(error))
    try:
        law = stage.gibbs()
    except ValueError as error:
        return Claim(None, None, None, "", str(error))
    if law.table is None:
        reason = (
            f"the Gibbs law of a loss that is not quadratic is known in one and two dimensions, "
            f"this one has {law.dimension}"
        )
        return Claim(None, None, None, "", reason)
    reason = "the finite-time law of a loss that is not quadratic has no closed form"
    return Claim(None, None, law, "the Gibbs law exp(-U / T) of its loss", reason)


def _steady_laws(method, stage):
    """(Gibbs law or None, the method's steady law or None, why one is missing)."""
    gibbs, steady, reasons = None, None, []
    if stage.scheduled:
        return None, None, "a stage with a schedule has no steady law"
    try:
        gibbs = stage.gibbs()
    except ValueError as error:
        reasons.append(str(error))
    try:
        steady = method.steady_law(stage)
    except ValueError as error:
        reasons.append(str(error))
    # both may fail for one reason, which the Gibbs law's error states with its eigenvalue
    told = [a for k, a in enumerate(reasons) if not any(a in b for b in reasons[:k])]
    return gibbs, steady, "; ".join(told)


def law_name(method: Any, stage: Any) -> str:
    """The particles' own law at the end of a stage, in words."""
    if method.chain == "sde":
        exact = math.isinf(method.weak_order)
        approximately = "" if exact else ", which the solver approximates"
        return f"the SDE at flow time {float(stage.duration):.4g}{approximately}"
    steps = f"{float(stage.steps):g} steps"
    if method.chain == "sgd":
        return f"SGD's chain after {steps}"
    return f"the integrator's chain after {steps} of SGD"
