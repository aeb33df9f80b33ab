"""The matrix of each single example, for sums with many sets of weights at once."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .fisher import FisherProduct
from .ggn import GGNProduct
from .hessian import HessianProduct
from .parameters import bind, from_vector


def matrices(
    product: HessianProduct | GGNProduct | FisherProduct, examples: Any
) -> Float[Array, "block d d"]:
    """H_i of each example i of a block, so that the product's matrix is their mean."""
    if isinstance(product, FisherProduct):
        rows = product.rows(examples)
        return jnp.einsum("bsi,bsj->bij", rows, rows) / product.samples
    one = _gauss_newton if isinstance(product, GGNProduct) else _hessian
    return jax.vmap(lambda example: one(product, example))(examples)


def _hessian(product: HessianProduct, example: Any) -> Float[Array, "d d"]:
    function = bind(product.model, product.loss, product.trainable)
    return jax.hessian(lambda point: function(point, example))(product.point)


def _gauss_newton(product: GGNProduct, example: Any) -> Float[Array, "d d"]:
    def output(point: Float[Array, " d"]) -> Float[Array, " out"]:
        model = from_vector(product.model, point, product.trainable)
        return ravel_pytree(product.predict(model, example))[0]

    model = from_vector(product.model, product.point, product.trainable)
    flat, restore = ravel_pytree(product.predict(model, example))
    bent = jax.hessian(lambda out: product.output_loss(restore(out), example))(flat)
    jacobian = jax.jacfwd(output)(product.point)
    return jacobian.T @ bent @ jacobian
