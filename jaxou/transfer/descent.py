"""Adam with a rate that falls to zero, as one program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from .._typing import Scalar


def adam(slope: Callable[[Any, Array], Any], start: Any, *, steps: int, rate: Scalar) -> Any:
    """The pytree after `steps` steps of Adam from `start` along `slope(point, step)`.

    The rate falls from `rate` to 0 along half a cosine. To be called while tracing: `steps` is the
    length of a scan.

    >>> toward = lambda x, step: x - 1.0
    >>> jax.jit(lambda x: adam(toward, x, steps=200, rate=jnp.float32(0.1)))(jnp.zeros(())).round(3)
    Array(1., dtype=...)
    """

    def schedule(step: Array) -> Scalar:
        return 0.5 * rate * (1.0 + jnp.cos(jnp.pi * step.astype(jnp.float32) / steps))

    optimiser = optax.adam(schedule)

    def step(carry: Any, index: Array) -> tuple[Any, None]:
        point, state = carry
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
            update, state = optimiser.update(slope(point, index), state)
        return (optax.apply_updates(point, update), state), None

    return jax.lax.scan(step, (start, optimiser.init(start)), jnp.arange(steps))[0][0]
