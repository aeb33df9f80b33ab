"""A product in which nothing times infinity is nothing.

Some true slopes are infinite. The chain rule multiplies them by tangents, of which most are zero,
and 0 * inf is NaN. `zero_times` is the product with 0 * inf = 0; as a primitive of its own it is
linear in each factor for forward and reverse mode alike, to every order. (A `where` on the tangent
would not be: reverse mode refuses to transpose it.)
"""

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.typing import ArrayLike
from jaxtyping import Array, Float

Values = Float[Array, "..."]


def zero_times(x: ArrayLike, y: ArrayLike) -> Values:
    """x y, and 0 where either factor is 0, whatever the other one is. Equal shapes and dtypes.

    >>> float(zero_times(jnp.asarray(0.0), jnp.asarray(jnp.inf)))
    0.0
    >>> float(jax.grad(lambda x: zero_times(x, jnp.asarray(jnp.inf)))(0.0))
    inf
    """
    return _primitive.bind(*jnp.broadcast_arrays(x, y))


def _product(x: ArrayLike, y: ArrayLike) -> Values:
    zero = (x == 0) | (y == 0)
    return jnp.where(zero, 0.0, jnp.where(zero, 0.0, x) * jnp.where(zero, 0.0, y))


def _batched(factors, axes):
    size = next(f.shape[a] for f, a in zip(factors, axes, strict=True) if a is not None)
    front = [
        jnp.broadcast_to(f[None], (size, *f.shape)) if a is None else jnp.moveaxis(f, a, 0)
        for f, a in zip(factors, axes, strict=True)
    ]
    return _primitive.bind(*front), 0


_primitive = Primitive("zero_times")
_primitive.def_impl(jax.jit(_product))
_primitive.def_abstract_eval(lambda x, y: x.update(weak_type=False))
ad.defbilinear(_primitive, lambda ct, x, y: zero_times(ct, y), lambda ct, x, y: zero_times(x, ct))
batching.primitive_batchers[_primitive] = _batched
mlir.register_lowering(_primitive, mlir.lower_fun(_product, multiple_results=False))


def singular(value: float, slope: float):
    """A function z -> `value` whose derivative in z is `slope`, which may be infinite.

    >>> float(jax.grad(singular(0.0, -jnp.inf))(0.3))
    -inf
    """

    @jax.custom_jvp
    def constant(z: ArrayLike) -> Values:
        return jnp.full_like(z, value)

    @constant.defjvp
    def _(primals, tangents):
        (z,), (tangent,) = primals, tangents
        return constant(z), zero_times(jnp.full_like(z, slope), tangent)

    return constant
