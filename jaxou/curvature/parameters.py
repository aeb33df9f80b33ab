"""A model's trainable parameters as one vector, and a vector as a model."""

import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._check import require_finite
from .._typing import Vector


def to_vector(model: Any, trainable: Any = None) -> Vector:
    """The trainable parameters of `model`, flattened leaf by leaf in pytree order, shape (d,).

    `trainable` is an Equinox filter: `None` for every floating array, a pytree of booleans (or a
    prefix of one), or a callable on leaves. Raises `ValueError` if nothing is trainable.

    >>> to_vector({"weight": jnp.ones((2, 2)), "bias": jnp.zeros(2), "name": "layer"}).shape
    (6,)
    >>> to_vector({"weight": jnp.ones(4), "bias": jnp.zeros(2)}, {"weight": True, "bias": False})
    Array([1., 1., 1., 1.], dtype=...)
    """
    leaves = jax.tree.leaves(_partition(model, trainable)[0])
    if not leaves:
        raise ValueError(
            "the model has no trainable floating array: look at trainable=, an Equinox filter "
            "(None for every floating array, or a pytree of booleans)"
        )
    dtype = jnp.result_type(*leaves)
    return jnp.concatenate([jnp.ravel(jnp.asarray(leaf, dtype)) for leaf in leaves])


def from_vector(model: Any, vector: Vector, trainable: Any = None) -> Any:
    """`model` with its trainable parameters replaced by the entries of `vector` (d,).

    The new leaves keep the vector's dtype, so that a float32 model can be examined in float64.
    Raises `ValueError` on a wrong length.

    >>> from_vector({"weight": jnp.ones(2), "bias": jnp.zeros(1)}, jnp.arange(3.0))
    {'bias': Array([0.], dtype=...), 'weight': Array([1., 2.], dtype=...)}
    """
    parameters, rest = _partition(model, trainable)
    leaves, structure = jax.tree.flatten(parameters)
    sizes = [int(np.size(leaf)) for leaf in leaves]
    if vector.shape != (sum(sizes),):
        raise ValueError(
            f"the parameter vector has shape {vector.shape} but the model has {sum(sizes)} "
            "trainable parameters: was it made with the same model and the same trainable=?"
        )
    ends = np.cumsum(sizes)
    new = [
        vector[end - size : end].reshape(np.shape(leaf))
        for leaf, size, end in zip(leaves, sizes, ends, strict=True)
    ]
    return eqx.combine(jax.tree.unflatten(structure, new), rest)


def as_vector(value: Any, model: Any, trainable: Any = None, name: str = "value") -> Vector:
    """A model of the same structure, or a vector (d,), as a vector (d,); the name is for errors.

    Raises `ValueError` on a wrong length and on entries that are not finite.
    """
    size = to_vector(model, trainable).shape[0]
    is_array = isinstance(value, jax.Array | np.ndarray)
    # a model may be one array, of any shape
    if is_array and not (eqx.is_array(model) and np.shape(value) == np.shape(model)):
        vector = jnp.asarray(value)
    else:
        vector = to_vector(jnp.asarray(value) if is_array else value, trainable)
    if vector.shape != (size,):
        raise ValueError(
            f"{name} has shape {vector.shape}, but the model has {size} trainable parameters: "
            f"give a vector of shape ({size},) or a model of the same structure"
        )
    require_finite(vector, name)
    return vector


def bind(
    model: Any, loss: Callable[..., Any], trainable: Any = None
) -> Callable[[Vector, Any], Float[Array, ""]]:
    """The per-example loss as a function of the parameter vector: `f(vector, example)`."""

    def bound(vector: Vector, example: Any) -> Float[Array, ""]:
        value = jnp.asarray(call_loss(loss, from_vector(model, vector, trainable), example))
        if value.shape != ():
            raise ValueError(
                f"loss(model, example) must return one number for one example, got shape "
                f"{value.shape}: example is one (x, y) pair, without a batch axis"
            )
        return value

    return bound


def losses_of(
    model: Any, loss: Callable[..., Any], trainable: Any, examples: Any
) -> Callable[[Vector], Float[Array, " block"]]:
    """The losses of a block of examples as a function of the parameter vector."""
    function = bind(model, loss, trainable)
    return lambda vector: jax.vmap(lambda example: function(vector, example))(examples)


def call_loss(loss: Callable[..., Any], model: Any, example: Any) -> Any:
    """`loss(model, example)`, or `loss(model, x, y)` if the loss takes three arguments.

    >>> call_loss(lambda model, x, y: model * x - y, 2.0, (3.0, 1.0))
    5.0
    """
    try:
        kinds = [p for p in inspect.signature(loss).parameters.values() if p.default is p.empty]
    except (TypeError, ValueError):  # a built-in without a signature
        return loss(model, example)
    positional = [p for p in kinds if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return loss(model, *example) if len(positional) > 2 else loss(model, example)


def _partition(model: Any, trainable: Any) -> tuple[Any, Any]:
    chosen = model if trainable is None else eqx.filter(model, trainable)
    parameters = eqx.filter(chosen, eqx.is_inexact_array)
    # whatever is a trainable parameter leaves the rest: `combine` takes the first that is not None
    return parameters, model
