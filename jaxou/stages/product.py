"""The product of the kernels of a schedule, step after step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..linalg.power import Affine, compose_dense, compose_diagonal


def schedule_product(
    step: Callable[..., Affine],
    hyper_parameters: tuple[Float[Array, " steps"], ...],
    count: Float[Array, ""],
    *,
    dense: bool,
) -> Affine:
    """`step(*h_0)`, then `step(*h_1)`, ... for the first `count` entries of `hyper_parameters`.

    One composition per step, O(d^3) dense; memory for the backward pass is one kernel per step.

    >>> halve = lambda rate: (1 - rate, rate, 0 * rate)
    >>> rates = jnp.array([0.5, 0.5, 0.5])
    >>> [float(x) for x in schedule_product(halve, (rates,), jnp.array(2.0), dense=False)]
    [0.25, 0.75, 0.0]
    """
    compose = compose_dense if dense else compose_diagonal
    first = step(*(h[0] for h in hyper_parameters))
    one = jnp.eye(first[0].shape[0], dtype=first[0].dtype) if dense else jnp.ones_like(first[0])
    identity = (one, jnp.zeros_like(first[1]), jnp.zeros_like(first[2]))

    @jax.checkpoint
    def body(total, inputs):
        index, *h = inputs
        total = lax.cond(index < count, lambda t: compose(step(*h), t), lambda t: t, total)
        return total, None

    index = jnp.arange(hyper_parameters[0].shape[0], dtype=count.dtype)
    total, _ = lax.scan(body, identity, (index, *hyper_parameters))
    return total
