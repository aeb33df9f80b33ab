"""What happens at the door: numbers become floating arrays, wrong values become advice."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def is_concrete(*values: object) -> bool:
    """Whether every array leaf of `values` holds numbers now (nothing is being traced).

    >>> is_concrete(1.0, jnp.ones(3))
    True
    >>> jax.jit(lambda x: jnp.asarray(is_concrete(x)))(1.0).item()
    False
    """
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def as_float(value: object, name: str = "value") -> Float[Array, "..."]:
    """`value` as an array of the default floating type: float64 where x64 is on, else float32.

    Raises `TypeError` naming the argument if it is not numeric.

    >>> as_float(3).dtype == jnp.result_type(float)
    True
    """
    dtype = jnp.result_type(float)
    if isinstance(value, jax.Array):
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key) or jnp.iscomplexobj(value):
            raise TypeError(f"{name} must be real numbers, got an array of {value.dtype}")
        return value.astype(dtype)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, jax.errors.JAXTypeError):
        array = None  # lists that hold tracers
    try:
        if array is None or array.dtype.kind == "O":
            array = jnp.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError
        return jnp.asarray(array).astype(dtype)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must be a number or an array of numbers, got {value!r} "
            f"of type {type(value).__name__}"
        ) from None


def as_number(value: object, name: str) -> Float[Array, ""]:
    """`value` as one finite number; `TypeError` or `ValueError` naming the argument otherwise.

    >>> as_number([1.0, 2.0], "temperature")
    Traceback (most recent call last):
    ...
    ValueError: temperature must be one number, got shape (2,); batch with jax.vmap
    """
    array = as_float(value, name)
    if array.ndim != 0:
        raise ValueError(f"{name} must be one number, got shape {array.shape}; batch with jax.vmap")
    require_finite(array, name)
    return array


def as_point(value: object, dimension: int, name: str) -> Float[Array, " d"]:
    """`value` as a finite point (dimension,); a number stands for every coordinate.

    >>> as_point([1.0], 2, "centre")
    Traceback (most recent call last):
    ...
    ValueError: centre has shape (1,) but the other arguments have dimension 2
    """
    point = as_float(value, name)
    if point.shape not in ((), (dimension,)):
        raise ValueError(
            f"{name} has shape {point.shape} but the other arguments have dimension {dimension}"
        )
    require_finite(point, name)
    return jnp.broadcast_to(point, (dimension,))


def as_count(value: object, name: str, least: int = 1) -> int:
    """`value` as a plain integer that is known now and at least `least`; `ValueError` otherwise.

    1e3 and the integers of numpy and jax count; 2.5, True, texts and traced values do not.

    >>> as_count(1e3, "points")
    1000
    >>> as_count(2.5, "points")
    Traceback (most recent call last):
    ...
    ValueError: points=2.5 must be a whole number of at least 1
    """
    try:
        number = int(value)  # type: ignore[call-overload]
        whole = not isinstance(value, bool | np.bool_) and bool(number == value)
    except (TypeError, ValueError, OverflowError):  # a traced value is a TypeError
        whole = False
    if not whole or number < least:
        raise ValueError(f"{name}={value!r} must be a whole number of at least {least}")
    return number


def as_shape(shape: object) -> tuple[int, ...]:
    """A number, or a sequence of numbers, as the shape of an array of draws.

    >>> as_shape(3), as_shape([2, 3]), as_shape(())
    ((3,), (2, 3), ())
    """
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    return tuple(as_count(size, "shape", 0) for size in sizes)


def as_key(key: Any) -> jax.Array:
    """`key` as one typed key; those of `jax.random.PRNGKey` are the same keys, written as numbers.

    A bare seed is refused, because nothing here draws from a key that the caller did not make.

    >>> as_key(0)
    Traceback (most recent call last):
    ...
    TypeError: key=0 is not a key of jax.random: write jax.random.key(0)
    """
    if isinstance(key, jax.Array | np.ndarray):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            if key.ndim:
                raise ValueError(
                    f"key holds keys of shape {key.shape}: give one of them, or jax.vmap over them"
                )
            return jnp.asarray(key)
        if key.dtype == jnp.uint32 and key.ndim == 1:
            return jax.random.wrap_key_data(jnp.asarray(key))
    what = f"{key.dtype} of shape {key.shape}" if hasattr(key, "shape") else repr(key)
    seed = key if isinstance(key, int) else 0
    raise TypeError(f"key={what} is not a key of jax.random: write jax.random.key({seed})")


def require_float64(what: str) -> None:
    """`RuntimeError` where floating arrays have 32 bits: `what` needs more, and this says how.

    >>> with jax.enable_x64(False):
    ...     require_float64("a certificate is computed")
    Traceback (most recent call last):
    ...
    RuntimeError: a certificate is computed in float64 only: put
    jax.config.update("jax_enable_x64", True) before the first array is made
    """
    if jnp.result_type(float) != jnp.float64:
        raise RuntimeError(
            f"{what} in float64 only: put "
            'jax.config.update("jax_enable_x64", True) before the first array is made'
        )


def holds_numbers(tree: object) -> bool:
    """Whether every leaf is an array of numbers that are known: then it can be put into words."""
    return is_concrete(tree) and all(
        isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(tree)
    )


def stays_known(value: int | float) -> Float[Array, ""]:
    """A number that is written down, as an array that is concrete even inside `jit`."""
    with jax.ensure_compile_time_eval():
        return jnp.asarray(value, jnp.result_type(float))


def refuse_unless(condition: object, message: str) -> None:
    """Raise `ValueError(message)` if `condition` is known now and not true everywhere.

    While tracing nothing is raised: traced bad values are reported through a law's `status`.

    >>> refuse_unless(1 > 2, "delta=2 must lie in (0, 1)")
    Traceback (most recent call last):
    ...
    ValueError: delta=2 must lie in (0, 1)
    """
    if is_concrete(condition) and not bool(np.all(np.asarray(condition))):
        raise ValueError(message)


def refuse_lost(what: str, *values: object) -> None:
    """Refuse a loss, or its gradient, that is known not to be finite, and say where to look.

    >>> refuse_lost("the loss", float("nan"))
    Traceback (most recent call last):
    ...
    ValueError: the loss is not finite: look for NaN or inf in data and model, and for labels
    outside 0 to classes - 1
    """
    if is_concrete(*values) and not all(np.isfinite(np.asarray(x)).all() for x in values):
        raise ValueError(
            f"{what} is not finite: look for NaN or inf in data and model, and for labels outside "
            "0 to classes - 1"
        )


def show(value: object) -> str:
    """A number as people write it, for error messages: `0.6`, not `Array(0.6, dtype=float64)`."""
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{float(array):.6g}"
    return np.array2string(array, precision=4, threshold=6)


def show_value(value: object) -> str:
    """`show(value)`, or a question mark while the value is being traced.

    >>> show_value(0.5)
    '0.5'
    """
    return show(value) if is_concrete(value) else "?"


def require_finite(value: Float[Array, "..."], name: str) -> None:
    """Refuse NaN and infinity, saying where the first one is."""
    if not is_concrete(value):
        return
    array = np.asarray(value)
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum()):  # one pass and no temporary for the everyday case
            return
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        place = f" at index {where if len(where) > 1 else where[0]}" if where else ""
        raise ValueError(
            f"{name} holds {array[bad][0]}{place}: every entry must be a finite number; "
            "look for a diverged run or a division by zero where it was computed"
        )
