"""Learning rates and batch sizes: numbers, arrays over the steps, or optax schedules."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import (
    as_float,
    is_concrete,
    refuse_unless,
    require_finite,
    show_value,
    stays_known,
)
from .._typing import ScalarLike


def as_hyper_parameter(
    learning_rate, batch_size, steps: ScalarLike
) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, ""], int | None]:
    """(learning_rate, batch_size, steps, schedule length or None), as floating arrays.

    A schedule is evaluated once on 0..steps-1 and stored; its number of steps is then a shape,
    so it must be known now.

    >>> eta, b, n, length = as_hyper_parameter(lambda k: 0.1 / (1 + k), 8, 3)
    >>> eta.shape, b.tolist(), length
    ((3,), [8.0, 8.0, 8.0], 3)
    """
    # a number of steps that is written down stays known inside jit: loops get a known length
    steps = stays_known(steps) if isinstance(steps, int | float) else as_float(steps, "steps")
    if steps.ndim != 0:
        raise ValueError(f"steps must be one number, got shape {steps.shape}")
    require_finite(steps, "steps")
    refuse_unless(
        (steps >= 0) & (steps == jnp.floor(steps)),
        f"steps={show_value(steps)} must be a whole number >= 0",
    )
    given = {"learning_rate": learning_rate, "batch_size": batch_size}
    changing = any(callable(v) or as_float(v, name).ndim > 0 for name, v in given.items())
    if not changing:
        eta, b = (as_float(v, name) for name, v in given.items())
        require_finite(eta, "learning_rate")
        require_finite(b, "batch_size")
        return eta, b, steps, None
    if not is_concrete(steps):
        raise ValueError(
            "the number of steps of a schedule is the shape of an array: give `steps` as a plain "
            "number, outside jit"
        )
    length = int(steps)
    if length == 0:
        raise ValueError("steps=0: a schedule of learning rates or batch sizes has at least 1 step")
    eta, b = (_evaluate(v, name, length) for name, v in given.items())
    return eta, b, steps, length


def _evaluate(value, name: str, length: int):
    if callable(value):
        # optax's own arithmetic mixes integers and floats
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            value = jax.vmap(lambda k: jnp.asarray(value(k)))(jnp.arange(length))
    array = as_float(value, name)
    if array.ndim == 0:
        array = jnp.broadcast_to(array, (length,))
    if array.shape != (length,):
        raise ValueError(
            f"{name} has shape {array.shape}, but steps={length}: a schedule has one value per step"
        )
    require_finite(array, name)
    return array
