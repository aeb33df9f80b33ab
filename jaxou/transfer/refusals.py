"""What a certificate refuses, and why."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._typing import Vector
from ..curvature.batching import example_count
from ..curvature.estimate import DENSE_PARAMETERS
from ..curvature.parameters import from_vector, to_vector
from .priors import PRIORS, STRUCTURES
from .risk import losses_at


def check_settings(
    model: Any,
    trainable: Any,
    delta: float,
    prior: str,
    draws: int,
    target_data: Any,
    structure: str,
    monte_carlo: str,
    kinds: tuple[str, ...],
) -> int:
    """The number of trainable parameters, or an error that says what to change."""
    if jnp.result_type(float) != jnp.float64:
        raise RuntimeError(
            "a certificate is computed in float64 only: run "
            'jax.config.update("jax_enable_x64", True) before any array is made'
        )
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta={delta} must lie in (0, 1)")
    if prior not in (*PRIORS, "split"):
        raise ValueError(f"prior={prior!r} must be 'source', 'isotropic', 'zero' or 'split'")
    if structure not in STRUCTURES:
        raise ValueError(f"structure={structure!r} must be 'full', 'diagonal' or 'low_rank'")
    if draws < 1:
        raise ValueError(f"draws={draws} must be at least 1")
    if monte_carlo not in kinds:
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


def refuse_unbounded(
    model: Any, loss01: Callable[..., Any], data: Any, center: Vector, trainable: Any
) -> None:
    from_vector(model, center, trainable)
    losses = np.asarray(losses_at(model, loss01, data, center[None, :], trainable))
    if not ((losses >= 0.0) & (losses <= 1.0)).all():
        worst = losses.flat[np.argmax(np.abs(losses - 0.5))]
        raise ValueError(
            f"loss01 returned {worst:.6g}, outside [0, 1]: the bound holds for bounded losses "
            "only; use the 0-1 loss, or floor the probabilities and divide by log(1/p_min)"
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
