"""Sums over a data set in blocks, so that memory does not grow with the number of examples."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._check import as_count


def example_count(data: Any) -> int:
    """The length of the leading axis shared by every array of `data`.

    Raises `ValueError` if there is none or if the arrays disagree.

    >>> example_count((np.zeros((5, 3)), np.zeros(5)))
    5
    """
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(data)]
    lengths = {shape[0] if shape else None for shape in shapes}
    if len(lengths) != 1 or None in lengths or 0 in lengths:
        few = ", ".join(map(str, shapes[:6])) + (", ..." if len(shapes) > 6 else "")
        raise ValueError(
            "data must be arrays that share one leading axis of examples, such as (x, y), got "
            f"{len(shapes)} of shapes {few}: stack single examples with jnp.stack"
        )
    return lengths.pop()


def sum_over(
    function: Callable[[Any, Float[Array, " block"]], Any], data: Any, *, chunk: int
) -> Any:
    """Sum of `function(block, weights)` over blocks of `chunk` examples, by one `lax.scan`.

    The last block is padded with copies of the first examples; `weights` (chunk,) is 1 for a real
    example and 0 for padding, and `function` must multiply by it. Raises `ValueError` for a chunk
    that is not a whole number of 1 or more.

    >>> sum_over(lambda x, w: jnp.sum(w * x), jnp.arange(5.0), chunk=2)
    Array(10., dtype=...)
    """
    count = example_count(data)
    chunk = min(as_count(chunk, "chunk"), count)
    blocks = -(-count // chunk)
    index = np.arange(blocks * chunk)
    weights = jnp.asarray((index < count).reshape(blocks, chunk), jnp.result_type(float))
    index = jnp.asarray((index % count).reshape(blocks, chunk))
    data = jax.tree.map(jnp.asarray, data)

    def one(block: Array, weight: Array) -> Any:
        return function(jax.tree.map(lambda leaf: leaf[block], data), weight)

    if blocks == 1:
        return one(index[0], weights[0])

    def body(total: Any, item: tuple[Array, Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, one(*item)), None

    zero = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(one, index[0], weights[0])
    )
    return jax.lax.scan(body, zero, (index, weights))[0]
