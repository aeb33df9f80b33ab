"""What a certificate refuses, and why."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from .._check import as_count, as_float, as_number, refuse_unless, require_finite, require_float64
from .._typing import Vector
from ..curvature.batching import example_count
from ..curvature.estimate import DENSE_PARAMETERS
from ..curvature.parameters import to_vector
from .accounts import MONTE_CARLO
from .priors import PRIORS, SHAPES, STRUCTURES
from .risk import LossTable, losses_at

_BOUNDED = (
    "the bound holds for bounded losses only; use the 0-1 loss, or floor the probabilities and "
    "divide by log(1/p_min)"
)


def check_settings(
    model: Any,
    target_data: Any,
    *,
    trainable: Any,
    delta: float,
    draws: int,
    prior: str,
    structure: str,
    shape: str,
    monte_carlo: str,
    rank: int,
    rate: float,
    weight_decay: float,
) -> int:
    """The number of trainable parameters, or an error that says what to change."""
    require_float64("a certificate is computed")
    refuse_unless(0.0 < as_number(delta, "delta") < 1.0, f"delta={delta} must lie in (0, 1)")
    as_count(draws, "draws")
    as_count(rank, "rank")
    refuse_unless(as_number(rate, "rate") > 0, f"rate={rate} must be positive")
    decay = as_number(weight_decay, "weight_decay")
    refuse_unless(decay >= 0, f"weight_decay={weight_decay} must not be negative")
    if prior not in (*PRIORS, "split"):
        raise ValueError(f"prior={prior!r} must be 'source', 'isotropic', 'zero' or 'split'")
    if structure not in STRUCTURES:
        raise ValueError(f"structure={structure!r} must be 'full', 'diagonal' or 'low_rank'")
    if shape not in SHAPES:
        raise ValueError(f"shape={shape!r} must be 'steady' or 'laplace'")
    if monte_carlo not in MONTE_CARLO:
        raise ValueError(f"monte_carlo={monte_carlo!r} must be 'kl' or 'bernstein'")
    if monte_carlo == "bernstein" and draws < 2:
        raise ValueError("monte_carlo='bernstein' needs draws >= 2 for a variance")
    if example_count(target_data) < 8:
        raise ValueError("target_data must hold at least 8 examples for this bound")
    size = to_vector(model, trainable).shape[0]
    if size > DENSE_PARAMETERS and structure == "full":
        raise ValueError(
            f"the posterior is a full-rank Gaussian and the model has {size} trainable parameters "
            f"(limit {DENSE_PARAMETERS}): give structure='low_rank' or 'diagonal', or certify a "
            "part of it with trainable="
        )
    if prior == "split" and structure != "full":
        raise ValueError(
            f"prior='split' trains the prior's centre by Newton's method and needs "
            f"structure='full', not {structure!r}: train a centre on some target examples "
            "yourself, pass it as prior_center and certify on the others only"
        )
    return size


def several(value: float | Sequence[float], name: str, positive: bool) -> tuple[float, ...]:
    """One number or a sequence of them, all finite and not negative (or above zero)."""
    array = as_float(value, name)
    require_finite(array, name)
    values = np.ravel(np.asarray(array))
    good = values > 0 if positive else values >= 0
    if not (len(values) and good.all()):
        least = "positive" if positive else "zero or more"
        raise ValueError(f"{name}={value!r} must be one or more numbers, each {least}")
    return tuple(values.tolist())


def refuse_unbounded(
    model: Any, loss01: Callable[..., Any], data: Any, center: Vector, trainable: Any
) -> None:
    """Raise if a loss of the model at `center` is outside [0, 1], or NaN."""
    losses = np.asarray(losses_at(model, loss01, data, center[None, :], trainable))
    if not ((losses >= 0.0) & (losses <= 1.0)).all():
        worst = losses.flat[np.argmax(np.abs(losses - 0.5))]
        raise ValueError(f"loss01 returned {worst:.6g}, outside [0, 1]: {_BOUNDED}")


def refuse_outside(table: LossTable) -> None:
    """The same for models that were drawn."""
    if outside := int(table.outside):
        raise ValueError(
            f"loss01 returned {outside} values outside [0, 1] for models drawn from the posterior: "
            + _BOUNDED
        )


def refuse_overlap(source: Any, target: Any) -> None:
    """Raise if a target example occurs in the source sample, byte for byte."""
    rows = [set(_rows(data)) for data in (source, target)]
    common = len(rows[0] & rows[1])
    if common:
        raise ValueError(
            f"{common} target examples occur in source_data: a prior that has seen the target "
            "sample voids the bound; remove them from one of the two"
        )


def _rows(data: Any) -> list[bytes]:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(data)]
    return [b"|".join(leaf[i].tobytes() for leaf in leaves) for i in range(len(leaves[0]))]
