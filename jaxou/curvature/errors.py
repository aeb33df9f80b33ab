"""Standard errors over examples of eigenvalues that were measured on a finite data set."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .batching import example_count, sum_over
from .low_rank import LeadingPairs


@eqx.filter_jit
def sampling_errors(product: Any, pairs: LeadingPairs) -> Float[Array, " rank"]:
    r"""Standard error of each eigenvalue: the spread of u'H_i u over the examples i.

    To first order an eigenvalue a of a mean (1/n) sum_i H_i moves by u'(dH) u, so its standard
    error is the standard deviation of u'H_i u over sqrt(n) (Anderson 1963,
    doi:10.1214/aoms/1177704248): right where gaps are large against it, too small in a cluster of
    eigenvalues, which repel. At a fixed point: what a new data set would do to the minimum is not
    in it. `product` is one of the package's products (Hessian, GGN, Fisher, noise). Cost: one
    pass over the data with second derivatives along r directions.

    >>> from jaxou.curvature import hessian_product, leading_pairs
    >>> loss = lambda model, x: 0.5 * x * jnp.sum(model**2)
    >>> product = hessian_product(jnp.zeros(2), loss, jnp.array([1.0, 3.0]))
    >>> pairs = leading_pairs(product, jnp.zeros(2), 1)
    >>> errors = sampling_errors(product, pairs)
    >>> errors.shape, round(float(pairs.values[0]), 6), bool(errors[0] > 0)
    ((1,), 2.0, True)
    """
    count = example_count(product.data)

    def block(examples: Any, weights: Float[Array, " block"]) -> Float[Array, " rank"]:
        def one(pair: tuple[Float[Array, " d"], Float[Array, ""]]) -> Float[Array, ""]:
            vector, value = pair
            return weights @ (product.forms(vector, examples) - value) ** 2

        size = pairs.values.shape[0]
        return jax.lax.map(one, (pairs.vectors.T, pairs.values), batch_size=min(size, 16))

    total = sum_over(block, product.data, chunk=product.chunk)
    return jnp.sqrt(total / (count * max(count - 1, 1)))
