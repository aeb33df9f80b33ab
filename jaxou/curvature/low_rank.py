"""Leading eigenpairs of a map that is known by its products: d may be millions."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import refuse_unless
from .._typing import Scalar, Vector
from ..linalg.factor import eigh


class LeadingPairs(eqx.Module):
    """`values` (r,) descending by modulus, orthonormal `vectors` (d, r), and the `residual` of
    each pair, |M u - a u|, which bounds the distance to a true eigenvalue."""

    values: Float[Array, " rank"]
    vectors: Float[Array, "d rank"]
    residual: Float[Array, " rank"]


@eqx.filter_jit
def leading_pairs(
    product: Callable[[Vector], Vector],
    like: Vector,
    rank: int,
    *,
    iterations: int = 8,
    oversample: int = 8,
) -> LeadingPairs:
    r"""The `rank` eigenpairs of largest modulus of a symmetric map, by subspace iteration.

    Starts from fixed random vectors, multiplies and re-orthogonalises `iterations` times, then
    solves the projected problem (Rayleigh-Ritz). The error falls as (|a_(r+p+1)| / |a_r|) to the
    power 2 iterations, p = `oversample`. Cost (iterations + 1) (rank + oversample) products and
    as many vectors of memory.

    >>> matrix = jnp.diag(jnp.array([5.0, 3.0, 0.1, 0.1]))
    >>> pairs = leading_pairs(lambda v: matrix @ v, jnp.zeros(4), 2, oversample=1)
    >>> [round(float(a), 6) for a in pairs.values]
    [5.0, 3.0]
    """
    size = like.shape[0]
    refuse_unless(1 <= rank <= size, f"rank={rank} must lie between 1 and d = {size}")
    width = min(rank + oversample, size)
    start = jax.random.normal(jax.random.key(0), (size, width), like.dtype)
    apply = lambda block: jax.lax.map(product, block.T, batch_size=min(width, 32)).T

    def body(_: Any, basis: Float[Array, "d width"]) -> Float[Array, "d width"]:
        return jnp.linalg.qr(apply(basis))[0]

    basis = jax.lax.fori_loop(0, iterations, body, jnp.linalg.qr(start)[0])
    image = apply(basis)
    small = basis.T @ image
    values, rotation = eigh(0.5 * (small + small.T))
    order = jnp.argsort(-jnp.abs(values))[:rank]
    values, rotation = values[order], rotation[:, order]
    vectors = basis @ rotation
    residual = jnp.linalg.norm(image @ rotation - vectors * values[None, :], axis=0)
    return LeadingPairs(values, vectors, residual)


@eqx.filter_jit
def rest_of_trace(
    product: Callable[[Vector], Vector], pairs: LeadingPairs, *, probes: int = 64
) -> Scalar:
    """Mean eigenvalue outside the leading space: Hutchinson's estimate from Rademacher probes.

    Unbiased; the relative error is about sqrt(2 / (probes (d - r))) for a flat rest.
    """
    size, rank = pairs.vectors.shape
    if rank == size:
        return jnp.zeros((), pairs.values.dtype)
    signs = jax.random.rademacher(jax.random.key(1), (probes, size), pairs.vectors.dtype)
    outside = signs - (signs @ pairs.vectors) @ pairs.vectors.T
    traces = jax.lax.map(lambda v: v @ product(v), outside, batch_size=min(probes, 32))
    return jnp.mean(traces) / (size - rank)
