"""Gradient noise: the covariance of one example's gradient, and products with it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._typing import Matrix, Vector
from .batching import example_count, sum_over
from .parameters import as_vector, bind, losses_of


def gradient_noise(
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    *,
    at: Any = None,
    trainable: Any = None,
    chunk: int = 256,
) -> Matrix:
    r"""Covariance of one example's gradient, C = sum_i (g_i - g)(g_i - g)' / (n - 1), shape (d, d).

    Centred: the second moment of the gradients equals C only where the mean gradient g vanishes.
    A batch of b examples drawn with replacement has covariance C/b. Rank at most n - 1. Two
    passes over the data (mean first, so that nothing cancels) in blocks of `chunk` gradients;
    cost n d^2. Arguments as in `hessian`; weight decay does not enter, being equal in every
    example. Raises `ValueError` for fewer than two examples.

    >>> loss = lambda model, example: 0.5 * jnp.sum((model - example) ** 2)
    >>> gradient_noise(jnp.zeros(2), loss, jnp.array([[1.0, 0.0], [-1.0, 0.0]]))
    Array([[2., 0.],
           [0., 0.]], dtype=...)
    """
    return gradient_gram(noise_product(model, loss, data, at=at, trainable=trainable, chunk=chunk))


class NoiseProduct(eqx.Module):
    """The linear map v -> C v through per-example gradients, their mean and the trace of C."""

    model: Any
    loss: Callable[..., Any] = eqx.field(static=True)
    data: Any
    point: Vector
    trainable: Any
    chunk: int = eqx.field(static=True)
    mean: Vector

    def __call__(self, vector: Vector) -> Vector:
        def block(examples: Any, weights: Float[Array, " block"]) -> Vector:
            # through the losses, forward and back: no gradient of one example is ever formed
            losses = losses_of(self.model, self.loss, self.trainable, examples)
            scaled = weights * self._slopes(losses, vector)
            pulled = jax.vjp(losses, self.point)[1](scaled.astype(self.point.dtype))[0]
            return pulled - jnp.sum(scaled) * self.mean

        return sum_over(block, self.data, chunk=self.chunk) / (example_count(self.data) - 1)

    def forms(self, vector: Vector, examples: Any) -> Float[Array, " block"]:
        """(v'(g_i - g))^2 for each example i of a block."""
        losses = losses_of(self.model, self.loss, self.trainable, examples)
        return self._slopes(losses, vector) ** 2

    def _slopes(self, losses: Callable[[Vector], Any], vector: Vector) -> Float[Array, " block"]:
        return jax.jvp(losses, (self.point,), (vector,))[1] - self.mean @ vector

    def centred(self, examples: Any) -> Float[Array, "block d"]:
        """Per-example gradients of one block, less their mean over the whole data set."""
        gradient = jax.grad(bind(self.model, self.loss, self.trainable))
        rows = jax.vmap(lambda example: gradient(self.point, example))(examples)
        return rows - self.mean[None, :]

    @eqx.filter_jit
    def trace(self) -> Float[Array, ""]:
        """The trace of C: the mean squared length of a centred gradient."""

        def block(examples: Any, weights: Float[Array, " block"]) -> Float[Array, ""]:
            return weights @ jnp.sum(self.centred(examples) ** 2, axis=1)

        return sum_over(block, self.data, chunk=self.chunk) / (example_count(self.data) - 1)


def noise_product(
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    *,
    at: Any = None,
    trainable: Any = None,
    chunk: int = 256,
) -> NoiseProduct:
    """The map v -> C v without forming C; arguments as in `gradient_noise`.

    >>> loss = lambda model, example: 0.5 * jnp.sum((model - example) ** 2)
    >>> product = noise_product(jnp.zeros(2), loss, jnp.array([[1.0, 0.0], [-1.0, 0.0]]))
    >>> product(jnp.ones(2)), product.trace()
    (Array([2., 0.], dtype=...), Array(2., dtype=...))
    """
    if example_count(data) < 2:
        raise ValueError("gradient noise needs at least two examples, got one")
    point = as_vector(model if at is None else at, model, trainable, "at")
    data = jax.tree.map(jnp.asarray, data)
    mean = mean_gradient(model, loss, data, point, trainable, chunk)
    return NoiseProduct(model, loss, data, point, trainable, chunk, mean)


@eqx.filter_jit
def mean_gradient(
    model: Any, loss: Callable[..., Any], data: Any, point: Vector, trainable: Any, chunk: int
) -> Vector:
    """The gradient of the mean loss at `point`, in blocks of `chunk` examples."""

    def block(examples: Any, weights: Float[Array, " block"]) -> Vector:
        losses = losses_of(model, loss, trainable, examples)
        return jax.grad(lambda point: weights @ losses(point))(point)

    return sum_over(block, data, chunk=chunk) / example_count(data)


@eqx.filter_jit
def gradient_gram(product: NoiseProduct) -> Matrix:
    """The dense covariance behind a `NoiseProduct`."""

    def block(examples: Any, weights: Float[Array, " block"]) -> Matrix:
        rows = product.centred(examples)
        return rows.T @ (weights[:, None] * rows)

    total = sum_over(block, product.data, chunk=product.chunk)
    return total / (example_count(product.data) - 1)
