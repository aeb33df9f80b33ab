"""The generalised Gauss-Newton matrix: the part of the Hessian that can not be negative."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._typing import Matrix, Vector
from .batching import example_count, sum_over
from .hessian import dense_from_product
from .parameters import as_vector, from_vector


def ggn(
    model: Any,
    output_loss: Callable[..., Any],
    data: Any,
    *,
    predict: Callable[..., Any] | None = None,
    at: Any = None,
    trainable: Any = None,
    chunk: int = 256,
    columns: int = 128,
) -> Matrix:
    r"""The matrix (1/n) sum_i J_i' H_i J_i, always positive semidefinite, shape (d, d).

    The loss is split as `output_loss(predict(model, example), example)`; J is the Jacobian of the
    prediction, H the Hessian of `output_loss` in it. `predict` defaults to
    `model(example[0])`. Equal to the Hessian for models linear in their parameters, and at
    zero residual. Cost and memory as in `hessian`.

    >>> predict = lambda model, example: model @ example[0]
    >>> x = jnp.array([[1.0, 0.0], [0.0, 2.0]])
    >>> ggn(jnp.zeros(2), lambda out, ex: (out - ex[1]) ** 2, (x, jnp.ones(2)), predict=predict)
    Array([[1., 0.],
           [0., 4.]], dtype=...)
    """
    product = ggn_product(
        model, output_loss, data, predict=predict, at=at, trainable=trainable, chunk=chunk
    )
    return dense_from_product(product, product.point, columns=columns)


class GGNProduct(eqx.Module):
    """The linear map v -> G v, and the point at which G is taken."""

    model: Any
    output_loss: Callable[..., Any] = eqx.field(static=True)
    predict: Callable[..., Any] = eqx.field(static=True)
    data: Any
    point: Vector
    trainable: Any
    chunk: int = eqx.field(static=True)

    def __call__(self, vector: Vector) -> Vector:
        def block(examples: Any, weights: Float[Array, " block"]) -> Vector:
            outputs = self._outputs(examples)

            def total(values: Any) -> Float[Array, ""]:
                return weights @ jax.vmap(self.output_loss)(values, examples)

            values, tangent = jax.jvp(outputs, (self.point,), (vector,))
            bent = jax.jvp(jax.grad(total), (values,), (tangent,))[1]
            return jax.vjp(outputs, self.point)[1](bent)[0]

        return sum_over(block, self.data, chunk=self.chunk) / example_count(self.data)

    def forms(self, vector: Vector, examples: Any) -> Float[Array, " block"]:
        """v'J_i'H_i J_i v for each example i of a block."""
        values, tangent = jax.jvp(self._outputs(examples), (self.point,), (vector,))
        losses = lambda values: jax.vmap(self.output_loss)(values, examples)
        slope = lambda values: jax.jvp(losses, (values,), (tangent,))[1]
        return jax.jvp(slope, (values,), (tangent,))[1]

    def _outputs(self, examples: Any) -> Callable[[Vector], Any]:
        def outputs(point: Vector) -> Any:
            model = from_vector(self.model, point, self.trainable)
            return jax.vmap(lambda example: self.predict(model, example))(examples)

        return outputs


def ggn_product(
    model: Any,
    output_loss: Callable[..., Any],
    data: Any,
    *,
    predict: Callable[..., Any] | None = None,
    at: Any = None,
    trainable: Any = None,
    chunk: int = 256,
) -> GGNProduct:
    """The map v -> G v without forming G; arguments as in `ggn`.

    >>> predict = lambda model, example: model @ example[0]
    >>> data = (jnp.array([[1.0, 2.0]]), jnp.ones(1))
    >>> ggn_product(jnp.zeros(2), lambda out, ex: out**2, data, predict=predict)(jnp.ones(2))
    Array([ 6., 12.], dtype=...)
    """
    point = as_vector(model if at is None else at, model, trainable, "at")
    data = jax.tree.map(jnp.asarray, data)
    return GGNProduct(model, output_loss, predict or call, data, point, trainable, chunk)


def call(model: Any, example: Any) -> Any:
    """The default prediction: the model applied to the first part of the example."""
    return model(example[0])
