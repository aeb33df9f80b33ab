"""Stages one after the other: pre-training, then fine-tuning, or any number of them."""

from collections.abc import Iterable

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._check import as_float
from .._status import Status, first_failure, poison, status_if
from .._typing import ScalarLike, StageLike
from ..kernels import as_step_count
from ..laws import Gaussian
from ..linalg.matrices import Dense
from . import words
from .potential import PotentialStage
from .stage import Stage
from .transition import within

AnyStage = Stage | PotentialStage


class AbstractChain(eqx.Module):
    """What a sequence of stages can do; `Chain` and `TwoStage` are the two that there are."""

    stages: eqx.AbstractVar[tuple[AnyStage, ...]]
    initial: eqx.AbstractVar[Gaussian]
    names: eqx.AbstractVar[tuple[str, ...]]
    carry_momentum: eqx.AbstractVar[bool]

    def __str__(self) -> str:
        return words.of_chain(self) or repr(self)

    @property
    def dimension(self) -> int:
        """d, the number of parameters."""
        return self.initial.dimension

    def index(self, stage: StageLike) -> int:
        """The position of a stage given by number or name; refused if there is none."""
        if isinstance(stage, str):
            if stage not in self.names:
                raise ValueError(f"there is no stage {stage!r}; the stages are {self.names}")
            return self.names.index(stage)
        if isinstance(stage, bool) or not isinstance(stage, int | np.integer):
            raise TypeError(
                f"stage={stage!r} must be a stage's number, 0 to {len(self.stages) - 1}, or its "
                f"name, one of {self.names}"
            )
        if not -len(self.stages) <= stage < len(self.stages):
            raise ValueError(f"stage={stage} of a chain of {len(self.stages)} stages")
        return int(stage) % len(self.stages)

    def law(
        self,
        stage: StageLike = -1,
        *,
        step: ScalarLike | None = None,
        time: ScalarLike | None = None,
    ) -> Gaussian:
        """The law of the parameters within a stage, exactly.

        Give exactly one of `step`, for SGD (the chain) after that many steps of the stage, and
        `time`, for the SDE after that flow time. Earlier stages run in full, in the same way.
        Derivatives in everything, in `time` too but not in `step`.
        """
        return self.position(self.state_law(stage, step=step, time=time))

    def state_law(
        self,
        stage: StageLike = -1,
        *,
        step: ScalarLike | None = None,
        time: ScalarLike | None = None,
    ) -> Gaussian:
        """As `law`, with momentum's buffer (`step`) or velocity per step (`time`)."""
        if (step is None) == (time is None):
            raise ValueError(
                "give exactly one of step=n (SGD after n steps) and time=s (the SDE after flow "
                f"time s); got step={step}, time={time}"
            )
        last = self.index(stage)
        law = self.initial
        if time is None:
            step = as_step_count(step, "step")
        for k, each in enumerate(self.stages[: last + 1]):
            if time is None:
                kernel = each.kernel(step if k == last else each.steps)
            else:
                kernel = each.flow(time if k == last else each.duration)
            law = kernel(self.enter(k, law, flow=time is not None))
        clock = dict(step=step) if time is None else dict(time=as_float(time))
        return _with_status(law, self.stages[: last + 1], clock)

    def enter(self, k: int, law: Gaussian, *, flow: bool = False) -> Gaussian:
        """The state with which stage k starts, from the state in which the one before ended."""
        stage = self.stages[k]
        if not stage.has_momentum:
            return self.position(law)
        if self.carry_momentum and k > 0 and law.dimension == 2 * self.dimension:
            if not flow:
                return law
            # the velocity per step is -learning_rate x buffer: keep the buffer
            ratio = stage.learning_rate / self.stages[k - 1].learning_rate
            ones = jnp.ones(self.dimension, law.mean.dtype)
            scale = jnp.concatenate([ones, ratio * ones])
            covariance = scale[:, None] * law.covariance * scale[None, :]
            return Gaussian(
                scale * law.mean, Dense(covariance, check=False), status=law.status, check=False
            )
        law = self.position(law)
        zero = jnp.zeros((self.dimension, self.dimension), law.mean.dtype)
        covariance = jnp.block([[law.covariance, zero], [zero, zero]])
        mean = jnp.concatenate([law.mean, jnp.zeros_like(law.mean)])
        return Gaussian(mean, Dense(covariance, check=False), status=law.status, check=False)

    def position(self, law: Gaussian) -> Gaussian:
        """The position's marginal of a state's law."""
        d = self.dimension
        if law.dimension == d:
            return law
        covariance = Dense(law.covariance[:d, :d], check=False)
        return Gaussian(law.mean[:d], covariance, status=law.status, check=False)


class Chain(AbstractChain):
    """Stages in the order in which they happen, and the law that the first one starts from.

    `initial` has the dimension of the parameters; a zero covariance starts at a point. The momentum
    buffer is zero at every stage's start, unless `carry_momentum`.

    >>> stage = Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.5, batch_size=1, steps=3)
    >>> chain = Chain([stage, stage], initial=Gaussian(1.0, 0.0))
    >>> chain.law(stage=1, step=0).mean.tolist() == chain.law(stage=0, step=3).mean.tolist()
    True
    """

    stages: tuple[AnyStage, ...]
    initial: Gaussian
    names: tuple[str, ...] = eqx.field(static=True)
    carry_momentum: bool = eqx.field(static=True)

    def __init__(self, stages, initial: Gaussian, names=None, carry_momentum: bool = False):
        self.stages = tuple(stages) if isinstance(stages, Iterable) else ()
        self.initial = initial
        self.names = tuple(names) if names else tuple(f"stage {k}" for k in range(len(self.stages)))
        self.carry_momentum = carry_momentum
        _refuse_bad_chain(self)


class TwoStage(AbstractChain):
    """Pre-training, then fine-tuning: the two stages are called "pretrain" and "finetune".

    >>> stage = Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.5, batch_size=1, steps=3)
    >>> training = TwoStage(stage, stage.replace(minimum=1.0), initial=Gaussian(0.0, 1.0))
    >>> training.law(stage="finetune", step=3).mean.tolist()
    [0.875]
    """

    stages: tuple[AnyStage, ...]
    initial: Gaussian
    names: tuple[str, ...] = eqx.field(static=True)
    carry_momentum: bool = eqx.field(static=True)

    def __init__(
        self,
        pretrain: AnyStage,
        finetune: AnyStage,
        initial: Gaussian,
        carry_momentum: bool = False,
    ):
        self.stages = (pretrain, finetune)
        self.initial = initial
        self.names = ("pretrain", "finetune")
        self.carry_momentum = carry_momentum
        _refuse_bad_chain(self)

    @property
    def pretrain(self) -> AnyStage:
        """The first stage, on the source."""
        return self.stages[0]

    @property
    def finetune(self) -> AnyStage:
        """The second stage, on the target."""
        return self.stages[1]

    def with_pretrain(self, **changes) -> "TwoStage":
        """The same training with arguments of the first stage changed."""
        first = self.pretrain.replace(**changes)
        return TwoStage(first, self.finetune, self.initial, self.carry_momentum)

    def with_finetune(self, **changes) -> "TwoStage":
        """The same training with arguments of the second stage changed."""
        second = self.finetune.replace(**changes)
        return TwoStage(self.pretrain, second, self.initial, self.carry_momentum)


def _refuse_bad_chain(chain: AbstractChain) -> None:
    if not chain.stages or not all(isinstance(s, AnyStage) for s in chain.stages):
        raise TypeError(
            "a chain takes one or more ou.Stage (or ou.PotentialStage) objects, in the order "
            "of training: ou.Chain([stage], initial=...)"
        )
    if not isinstance(chain.initial, Gaussian):
        raise TypeError(
            f"initial must be an ou.Gaussian law, got {type(chain.initial).__name__}; "
            "ou.Gaussian(point, 0.0) starts at a point"
        )
    if len(chain.names) != len(chain.stages):
        raise ValueError(f"{len(chain.names)} names were given for {len(chain.stages)} stages")
    if len(set(chain.names)) < len(chain.names) or not all(isinstance(n, str) for n in chain.names):
        raise ValueError(
            f"names={chain.names} must be strings, each another one: stages are found by them"
        )
    for stage, name in zip(chain.stages, chain.names, strict=True):
        if stage.dimension != chain.initial.dimension:
            raise ValueError(
                f"{name} has dimension {stage.dimension} but the initial law has "
                f"{chain.initial.dimension}: all stages train one parameter vector"
            )


def _with_status(law: Gaussian, stages, clock) -> Gaussian:
    """The law, NaN and with the reason where a traced value was out of range or it diverged."""
    finite = jnp.isfinite(law.mean).all() & jnp.isfinite(law.operator.trace())
    asked = within(stages[-1], **clock)  # a step that is not whole is NaN by now, and in no stage
    bad = first_failure(
        law.status, *(s.status for s in stages), status_if(~asked, Status.bad_input)
    )
    nan = poison(jnp.ones((), law.mean.dtype), bad)
    status = first_failure(bad, status_if(~finite, Status.diverged))
    return Gaussian(nan * law.mean, law.operator.scale(nan), status=status, check=False)
