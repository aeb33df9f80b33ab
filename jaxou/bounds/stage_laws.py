"""Which law a stage contributes to a bound: its SDE's, its chain's, or the one it reached."""

from typing import Any, Literal, get_args

from ..laws import Gaussian
from ..laws.gaussian import require_law
from ..stages import AbstractChain, PotentialStage, Stage

LawName = Literal["gibbs", "stationary", "finite"]


def laws_of(process: AbstractChain, law: str, throw: bool) -> tuple[Gaussian, Gaussian]:
    """(Q_S, Q_T): the laws of the two stages of `process`.

    "gibbs" is each stage's steady law as an SDE, "stationary" its steady law as SGD with finite
    steps, "finite" the law after the stage's own number of SGD steps, starting from where the
    process starts.
    """
    require_two_stages(process)
    if law not in get_args(LawName):
        raise ValueError(
            f"law={law!r} is not one of {', '.join(get_args(LawName))}: the steady law of the "
            "SDE, the steady law of SGD, or the law after each stage's own steps"
        )
    stages = [_quadratic(*pair) for pair in zip(process.names, process.stages, strict=True)]
    if law == "finite":
        return tuple(process.law(k, step=stage.steps) for k, stage in enumerate(stages))
    if law == "stationary":
        return tuple(stage.stationary(throw=throw) for stage in stages)
    return tuple(stage.gibbs(throw=throw) for stage in stages)


def _quadratic(name: str, stage: Stage | PotentialStage) -> Stage:
    if isinstance(stage, PotentialStage):
        raise ValueError(
            f"stage {name!r} is a PotentialStage, whose laws have no Gaussian closed form: a bound "
            "between laws needs stages with a quadratic loss (jaxou.Stage)"
        )
    return stage


def prior_of(process: AbstractChain, prior: Any) -> Gaussian:
    """P0, the prior of the source stage: what was given, else the law that the process starts from.

    Refused: what is no Gaussian law on the parameters.
    """
    if prior is None:
        return process.initial
    require_law(prior, process.dimension, "the process")
    return prior


def require_two_stages(process: AbstractChain) -> None:
    """Refuse what is not a chain of exactly two stages."""
    if not isinstance(process, AbstractChain):
        raise TypeError(
            f"process must be an ou.TwoStage or a chain of two stages, got {type(process).__name__}"
        )
    if len(process.stages) != 2:
        raise ValueError(
            f"this chain has {len(process.stages)} stages and a two-stage bound needs 2; bound "
            "any pair of laws with ou.bounds.<row>(risk, posterior.kl(prior), n, delta)"
        )
