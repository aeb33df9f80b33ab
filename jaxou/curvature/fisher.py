"""The Fisher information with labels drawn from the model itself."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._check import as_count, as_key
from .._typing import Matrix, Vector
from .batching import example_count, sum_over
from .ggn import call
from .parameters import as_vector, bind, from_vector


def categorical_labels(key: PRNGKeyArray, logits: Any, example: Any) -> Any:
    """`example` = (x, y) with y drawn from softmax(logits), the default of `fisher`.

    >>> x, y = categorical_labels(jax.random.key(0), jnp.array([0.0, 99.0]), (1.0, jnp.array(0)))
    >>> x, int(y)
    (1.0, 1)
    """
    x, y = example
    return x, jax.random.categorical(key, logits).astype(jnp.asarray(y).dtype)


def fisher(
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    *,
    key: PRNGKeyArray,
    samples: int = 1,
    resample: Callable[..., Any] | None = None,
    predict: Callable[..., Any] | None = None,
    at: Any = None,
    trainable: Any = None,
    chunk: int = 256,
) -> Matrix:
    r"""The Fisher information (1/n) sum_i E_y[g_i(y) g_i(y)'], g the gradient at a label y, (d, d).

    The expectation is over labels drawn from the model at `theta`: `samples` labels per example
    from `resample(key, prediction, example) -> example` (default `categorical_labels`, for logits
    and cross-entropy), which needs `loss` to be the negative log-likelihood that `resample`
    draws from. `predict(model, example)` defaults to `model(example[0])`.

    Unbiased for the Gauss-Newton matrix of such a loss (see `ggn`, which has no sampling error and
    should be preferred where the loss splits); rank at most n x samples. It is **not** the
    empirical Fisher, the second moment of the gradients at the observed labels: that one is the
    gradient noise C (plus the mean gradient's square), equals the Hessian only where the model is
    right and at its optimum, and has no place as a curvature.
    Source: Kunstner, Balles, Hennig 2019 (arXiv 1905.12558). Cost n x samples x d^2.

    >>> loss = lambda logit, z: -jax.nn.log_softmax(jnp.stack([logit[0], 0.0 * logit[0]]))[z[1]]
    >>> predict = lambda logit, z: jnp.stack([logit[0], 0.0 * logit[0]])
    >>> data = (jnp.zeros(4), jnp.zeros(4, int))  # every gradient is -1/2 or 1/2
    >>> fisher(jnp.zeros(1), loss, data, key=jax.random.key(0), predict=predict)
    Array([[0.25]], dtype=...)
    """
    product = fisher_product(
        model, loss, data, key=key, samples=samples, resample=resample, predict=predict, at=at,
        trainable=trainable, chunk=chunk,
    )  # fmt: skip
    return fisher_gram(product)


class FisherProduct(eqx.Module):
    """The linear map v -> F v; the drawn labels are a function of the key and the example."""

    model: Any
    loss: Callable[..., Any] = eqx.field(static=True)
    predict: Callable[..., Any] = eqx.field(static=True)
    resample: Callable[..., Any] = eqx.field(static=True)
    data: tuple[Any, Int[Array, " n"]]
    point: Vector
    trainable: Any
    key: PRNGKeyArray
    samples: int = eqx.field(static=True)
    chunk: int = eqx.field(static=True)

    def __call__(self, vector: Vector) -> Vector:
        def block(examples: Any, weights: Float[Array, " block"]) -> Vector:
            losses = self._losses(examples)
            slopes = jax.jvp(losses, (self.point,), (vector,))[1]
            scaled = (weights[:, None] * slopes).astype(self.point.dtype)
            return jax.vjp(losses, self.point)[1](scaled)[0]

        return sum_over(block, self.data, chunk=self.chunk) / self._terms

    def forms(self, vector: Vector, examples: Any) -> Float[Array, " block"]:
        """Mean over drawn labels of (v'g)^2 for each example of a block."""
        slopes = jax.jvp(self._losses(examples), (self.point,), (vector,))[1]
        return jnp.mean(slopes**2, axis=1)

    def rows(self, examples: Any) -> Float[Array, "block samples d"]:
        """The gradients at the drawn labels."""
        gradient = jax.grad(bind(self.model, self.loss, self.trainable))
        one = jax.vmap(lambda example: gradient(self.point, example))
        return jax.vmap(lambda numbered: one(self._drawn(*numbered)))(examples)

    @property
    def _terms(self) -> int:
        return example_count(self.data) * self.samples

    def _losses(self, examples: Any) -> Callable[[Vector], Float[Array, "block samples"]]:
        function = bind(self.model, self.loss, self.trainable)
        drawn = jax.vmap(lambda numbered: self._drawn(*numbered))(examples)
        return lambda point: jax.vmap(jax.vmap(lambda example: function(point, example)))(drawn)

    def _drawn(self, example: Any, number: Int[Array, ""]) -> Any:
        """`samples` copies of one example, its label drawn at the point, not a function of it."""
        model = from_vector(self.model, self.point, self.trainable)
        prediction = self.predict(model, example)
        keys = jax.random.split(jax.random.fold_in(self.key, number), self.samples)
        return jax.vmap(lambda key: self.resample(key, prediction, example))(keys)


def fisher_product(
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    *,
    key: PRNGKeyArray,
    samples: int = 1,
    resample: Callable[..., Any] | None = None,
    predict: Callable[..., Any] | None = None,
    at: Any = None,
    trainable: Any = None,
    chunk: int = 256,
) -> FisherProduct:
    """The map v -> F v without forming F; arguments as in `fisher`.

    >>> loss = lambda mean, z: 0.5 * (mean[0] - z[1]) ** 2
    >>> normal = lambda key, mean, z: (z[0], mean + jax.random.normal(key))
    >>> data = (jnp.zeros(4000), jnp.zeros(4000))
    >>> product = fisher_product(
    ...     jnp.zeros(1), loss, data, key=jax.random.key(0), resample=normal,
    ...     predict=lambda mean, z: mean[0],
    ... )
    >>> bool(abs(product(jnp.ones(1))[0] - 1.0) < 0.1)  # the Fisher information of a mean
    True
    """
    samples, key = as_count(samples, "samples"), as_key(key)
    point = as_vector(model if at is None else at, model, trainable, "at")
    data = jax.tree.map(jnp.asarray, data)
    numbered = (data, jnp.arange(example_count(data)))
    resample, predict = resample or categorical_labels, predict or call
    return FisherProduct(
        model, loss, predict, resample, numbered, point, trainable, key, samples, chunk
    )


@eqx.filter_jit
def fisher_gram(product: FisherProduct) -> Matrix:
    """The dense matrix behind a `FisherProduct`."""

    def block(examples: Any, weights: Float[Array, " block"]) -> Matrix:
        rows = product.rows(examples)
        weighted = weights[:, None, None] * rows
        size = rows.shape[-1]
        return rows.reshape(-1, size).T @ weighted.reshape(-1, size)

    return sum_over(block, product.data, chunk=product.chunk) / product._terms
