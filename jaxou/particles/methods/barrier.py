"""A result that XLA computes once and keeps, instead of repeating it for every use."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool


def made_once(always: Bool[Array, ""], make: Callable[[], Any]) -> Any:
    """`make()` as the result of a conditional; `always` is true, but the compiler cannot know it.

    XLA repeats arithmetic inside every kernel that reads its result, and contracts products and
    sums there in ways that depend on the shapes: particles and their moments would differ in last
    bits, and a cipher would run once per entry of a matrix product. It keeps what a conditional
    returns.
    """
    shapes = jax.eval_shape(make)
    empty = lambda: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return lax.cond(always, make, empty)
