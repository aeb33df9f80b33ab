"""Hyper-parameters by name, "stage.argument": found, read and replaced in a whole process.

Numbers of a stage stand for themselves. `hessian`, `noise` and `shift` stand for factors that are 1
at the given process: of the matrix A, of the noise C, and of the way from the minimum before (or
the mean of the initial law) to the stage's own minimum. So does a schedule, by a common factor.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import is_concrete
from ..linalg.matrices import AbstractMatrix
from ..stages import AbstractChain, Diffusion

NUMBERS = (
    "learning_rate",
    "batch_size",
    "steps",
    "weight_decay",
    "langevin_temperature",
    "momentum",
)
FACTORS = ("hessian", "noise", "shift")
FLAGS = {"weight_decay": "has_weight_decay", "momentum": "has_momentum"}


class Place(NamedTuple):
    """Where a hyper-parameter lives: the stage's number and the argument's name."""

    stage: int
    field: str


def require_chain(process: Any) -> None:
    """Refuse what has no stages to find a name in."""
    if not isinstance(process, AbstractChain):
        raise TypeError(
            f"process must be a chain, such as ou.TwoStage, got {type(process).__name__}"
        )


def find_places(process: Any, over, fields, what: str) -> list[Place]:
    """The places of names such as "finetune.learning_rate"; unknown ones, and none, are refused."""
    require_chain(process)
    choices = {
        f"{name}.{field}": Place(k, field)
        for k, (stage, name) in enumerate(zip(process.stages, process.names, strict=True))
        for field in fields
        if hasattr(stage, "minimum" if field == "shift" else field)
    }
    if not over:
        raise ValueError(f"over={over!r} names no hyper-parameter: {', '.join(choices)}")
    for name in over:
        if name not in choices:
            raise ValueError(f"over={name!r} is not one of the {what} names: {', '.join(choices)}")
    return [choices[name] for name in over]


def default_names(process: AbstractChain) -> tuple[str, ...]:
    """The names of every hyper-parameter that is in use, all stages in order."""
    names = []
    for name, stage in zip(process.names, process.stages, strict=True):
        fields = ["learning_rate", "batch_size"]
        fields += [field for field, flag in FLAGS.items() if getattr(stage, flag, False)]
        if not _is_known_zero(getattr(stage, "langevin_temperature", None)):
            fields.append("langevin_temperature")
        fields += [field for field in FACTORS if hasattr(stage, "minimum")]
        names += [f"{name}.{field}" for field in fields]
    return tuple(names)


def read(process: AbstractChain, place: Place) -> Float[Array, ""]:
    """The number at a place; 1 for a factor and for a schedule."""
    if place.field in FACTORS:
        return jnp.ones((), process.initial.mean.dtype)
    value = getattr(process.stages[place.stage], place.field)
    return value if value.ndim == 0 else jnp.ones((), value.dtype)


def write(process: AbstractChain, places, values) -> AbstractChain:
    """The process with other numbers at some places; traced ones keep every derivative."""
    stages = list(process.stages)
    for place, value in zip(places, values, strict=True):
        stages[place.stage] = _changed(process, stages[place.stage], place, value)
    return eqx.tree_at(lambda p: p.stages, process, tuple(stages))


def _changed(process, stage, place, value):
    k, field = place
    if field == "shift":
        start = process.stages[k - 1].minimum if k else process.initial.mean
        moved = start + value * (process.stages[k].minimum - start)
        return eqx.tree_at(lambda s: s.minimum, stage, moved)
    old = getattr(stage, field)
    if field in FACTORS:
        new = _scaled(old, value)
    else:
        new = value if old.ndim == 0 else value * old
    stage = eqx.tree_at(lambda s: getattr(s, field), stage, new)
    flag = FLAGS.get(field)
    if flag and not getattr(stage, flag):
        # a number that was zero and was left out of the equations belongs in them now
        object.__setattr__(stage, flag, True)
    return stage


def _scaled(matrix, value):
    if isinstance(matrix, AbstractMatrix):
        return matrix.scale(value)
    if isinstance(matrix, Diffusion):
        return eqx.tree_at(lambda d: d.matrix, matrix, matrix.matrix.scale(value))
    return eqx.tree_at(lambda t: t.value, matrix, matrix.value * value)


def _is_known_zero(value) -> bool:
    return value is None or (is_concrete(value) and not bool(jnp.any(value != 0)))
