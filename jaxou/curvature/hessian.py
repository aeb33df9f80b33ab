"""The Hessian of the mean loss: products with a vector, and the dense matrix from them."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import as_count
from .._typing import Matrix, Vector
from .batching import example_count, sum_over
from .parameters import as_vector, losses_of


def hessian(
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    *,
    at: Any = None,
    trainable: Any = None,
    chunk: int = 256,
    columns: int = 128,
) -> Matrix:
    r"""The exact Hessian of the mean loss, A = (1/n) sum_i hess l(theta, z_i), shape (d, d).

    `loss(model, example)` is one example's loss, without weight decay; `data` a pytree of arrays
    with a leading axis of examples; `at` the parameter vector (default: the model's own).
    Forward-over-reverse products with `columns` basis vectors at a time. Cost d gradients of the
    data set; memory columns x chunk examples, whatever the data's size.

    >>> loss = lambda model, example: 0.5 * (model @ example[0] - example[1]) ** 2
    >>> x = jnp.array([[1.0, 0.0], [0.0, 2.0]])
    >>> hessian(jnp.zeros(2), loss, (x, jnp.ones(2)))
    Array([[0.5, 0. ],
           [0. , 2. ]], dtype=...)
    """
    product = hessian_product(model, loss, data, at=at, trainable=trainable, chunk=chunk)
    return dense_from_product(product, as_vector(product.point, model, trainable), columns=columns)


class HessianProduct(eqx.Module):
    """The linear map v -> A v, and the point at which A is taken."""

    model: Any
    loss: Callable[..., Any] = eqx.field(static=True)
    data: Any
    point: Vector
    trainable: Any
    chunk: int = eqx.field(static=True)

    def __call__(self, vector: Vector) -> Vector:
        def block(examples: Any, weights: Float[Array, " block"]) -> Vector:
            losses = losses_of(self.model, self.loss, self.trainable, examples)
            total = lambda point: weights @ losses(point)
            return jax.jvp(jax.grad(total), (self.point,), (vector,))[1]

        return sum_over(block, self.data, chunk=self.chunk) / example_count(self.data)

    def forms(self, vector: Vector, examples: Any) -> Float[Array, " block"]:
        """v'H_i v for each example i of a block."""
        losses = losses_of(self.model, self.loss, self.trainable, examples)
        slope = lambda point: jax.jvp(losses, (point,), (vector,))[1]
        return jax.jvp(slope, (self.point,), (vector,))[1]


def hessian_product(
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    *,
    at: Any = None,
    trainable: Any = None,
    chunk: int = 256,
) -> HessianProduct:
    """The map v -> A v without forming A; arguments as in `hessian`.

    >>> loss = lambda model, example: 0.5 * jnp.sum((model - example) ** 2)
    >>> hessian_product(jnp.zeros(2), loss, jnp.ones((3, 2)))(jnp.array([1.0, 2.0]))
    Array([1., 2.], dtype=...)
    """
    point = as_vector(model if at is None else at, model, trainable, "at")
    return HessianProduct(model, loss, jax.tree.map(jnp.asarray, data), point, trainable, chunk)


@eqx.filter_jit
def dense_from_product(
    product: Callable[[Vector], Vector], like: Vector, *, columns: int = 128
) -> Matrix:
    """The symmetric matrix of a linear map, `columns` basis vectors at a time."""
    size = like.shape[0]
    columns = min(as_count(columns, "columns"), size)
    blocks = -(-size // columns)
    # padded to whole blocks: a remainder would be compiled as a second program
    basis = jnp.eye(blocks * columns, size, dtype=like.dtype).reshape(blocks, columns, size)
    matrix = jax.lax.map(jax.vmap(product), basis).reshape(-1, size)[:size]
    return 0.5 * (matrix + matrix.T)
