"""The last mile to a minimiser of a large model: full-batch L-BFGS."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._check import as_count, refuse_lost
from .._typing import ScalarLike, Vector
from ..curvature.parameters import from_vector, to_vector
from .optimum import Objective, Optimum, penalty

MEMORY = 30
"""Pairs of steps and gradients that L-BFGS remembers."""


def polish(
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    *,
    weight_decay: ScalarLike = 1e-3,
    trainable: Any = None,
    steps: int = 400,
    chunk: int = 256,
) -> Optimum:
    r"""From `model`, `steps` steps of L-BFGS down (1/n) sum_i l(theta, z_i) + (lambda/2) |theta|^2.

    For models too large for `minimise`, and near enough to a minimum already: laws are about a
    point where the gradient vanishes, and minibatch optimisers stop where their noise leaves them.
    Look at `gradient_norm` of the result; a loss with kinks may keep it from vanishing. Cost: about
    1.2 full-batch gradients a step, 60 vectors of memory (optax's L-BFGS with a zoom line search).

    >>> loss = lambda model, example: 0.5 * jnp.sum(jnp.array([1.0, 9.0]) * (model - example) ** 2)
    >>> found = polish(jnp.zeros(2), loss, jnp.ones((3, 2)), weight_decay=1.0, steps=20)
    >>> [round(float(x), 6) for x in found.vector]
    [0.5, 0.9]
    """
    steps = as_count(steps, "steps")
    vector = to_vector(model, trainable)
    data = jax.tree.map(jnp.asarray, data)
    decay = penalty(weight_decay).astype(vector.dtype)
    objective = Objective(model, loss, data, decay, trainable, as_count(chunk, "chunk"))
    vector, value, norm = _descend(objective, vector, steps)
    refuse_lost("the loss", value, norm)
    return Optimum(from_vector(model, vector, trainable), vector, value, norm, steps)


@eqx.filter_jit
def _descend(objective: Objective, vector: Vector, steps: int) -> tuple[Any, Any, Any]:
    import optax

    optimiser = optax.lbfgs(memory_size=MEMORY)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        value_and_grad = optax.value_and_grad_from_state(objective)

        def step(carry: Any, _: None) -> tuple[Any, None]:
            vector, state = carry
            value, gradient = value_and_grad(vector, state=state)
            update, state = optimiser.update(
                gradient, state, vector, value=value, grad=gradient, value_fn=objective
            )
            return (optax.apply_updates(vector, update), state), None

        (vector, _), _ = jax.lax.scan(step, (vector, optimiser.init(vector)), length=steps)
    value, gradient = jax.value_and_grad(objective)(vector)
    return vector, value, jnp.linalg.norm(gradient)
