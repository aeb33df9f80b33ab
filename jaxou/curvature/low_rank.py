"""Leading eigenpairs of a map that is known by its products: d may be millions."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._check import as_count, refuse_unless
from .._typing import Scalar, Vector
from ..linalg.factor import eigh

BLOCK = 8
"""Vectors that are multiplied together: one pass over the data serves all of them."""


class LeadingPairs(eqx.Module):
    """`values` (r,) descending by modulus, orthonormal `vectors` (d, r), the `residual` of each
    pair, |M u - a u|, which bounds the distance to a true eigenvalue, and the `products` spent."""

    values: Float[Array, " rank"]
    vectors: Float[Array, "d rank"]
    residual: Float[Array, " rank"]
    products: Int[Array, ""]


class _Krylov(eqx.Module):
    """M basis = basis small + edge coupling, `edge` being the basis's last block of columns."""

    basis: Float[Array, "d columns"]
    small: Float[Array, "width width"]
    coupling: Float[Array, "block block"]
    values: Float[Array, " width"]
    rotation: Float[Array, "width width"]
    residual: Float[Array, " width"]
    cycle: Int[Array, ""]
    products: Int[Array, ""]


@eqx.filter_jit
def leading_pairs(
    product: Callable[[Vector], Vector],
    like: Vector,
    rank: int,
    *,
    iterations: int = 8,
    oversample: int = 8,
    tolerance: float = 1e-6,
) -> LeadingPairs:
    r"""The `rank` eigenpairs of largest modulus of a symmetric map, by block Lanczos.

    Grows an orthonormal Krylov basis from eight fixed random vectors, eight products at a time,
    orthogonalised in full; when it holds twice rank + `oversample` columns, the best half (Ritz
    vectors) is kept and the basis grown again, until every residual is below `tolerance` times
    the largest eigenvalue or after `iterations` such cycles. A value's error is at most its
    residual r, and about r^2 over the gap to the next one; a residual can not tell whether a pair
    was missed, which takes more than eight equal eigenvalues. Cost 2 (rank + oversample) products
    for the first cycle, half of that for each further one, and rank to check the result; memory
    2 (rank + oversample) + 8 vectors. Maps of few dimensions are made dense.

    Source: Baglama, Calvetti, Reichel 2003 (doi:10.1145/838250.838257); Wu, Simon 2000
    (doi:10.1137/S0895479898334605). Raises `ValueError` unless `rank` is a whole number from 1
    to d.

    >>> matrix = jnp.diag(jnp.array([5.0, 3.0, 0.1, 0.1]))
    >>> pairs = leading_pairs(lambda v: matrix @ v, jnp.zeros(4), 2, oversample=1)
    >>> [round(float(a), 6) for a in pairs.values]
    [5.0, 3.0]
    """
    size, rank = like.shape[0], as_count(rank, "rank")
    refuse_unless(1 <= rank <= size, f"rank={rank} must lie between 1 and d = {size}")
    kept = -(-(rank + oversample) // BLOCK)  # in blocks
    grown = max(kept, 2)
    width = BLOCK * (kept + grown)
    many = jax.vmap(product, in_axes=1, out_axes=1)
    if size <= width + BLOCK:
        return _dense_pairs(many, like, rank)
    start = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (size, BLOCK), like.dtype))[0]
    zero = jnp.zeros((width, width), like.dtype)
    state = _Krylov(
        jnp.zeros((size, width + BLOCK), like.dtype).at[:, :BLOCK].set(start),
        zero,
        zero[:BLOCK, :BLOCK],
        zero[0],
        zero,
        jnp.full(width, jnp.inf, like.dtype),
        jnp.asarray(0),
        jnp.asarray(0),
    )

    def unfinished(state: _Krylov) -> Array:
        worst = jnp.max(state.residual[:rank])
        poor = worst > tolerance * jnp.max(jnp.abs(state.values))
        return (state.cycle < max(iterations, 1)) & ((state.cycle == 0) | poor)

    def cycle(state: _Krylov) -> _Krylov:
        fresh = state.cycle == 0
        state = jax.lax.cond(fresh, lambda s: s, lambda s: _restarted(s, kept * BLOCK), state)
        first = jnp.where(fresh, 0, kept)
        blocks = kept + grown
        step = lambda j, carry: _grow(many, *carry[:2], j * BLOCK)
        basis, small, coupling = jax.lax.fori_loop(
            first, blocks, step, (state.basis, state.small, state.coupling)
        )
        upper = jnp.triu(small)
        values, rotation = eigh(upper + jnp.triu(small, 1).T)
        order = jnp.argsort(-jnp.abs(values))
        values, rotation = values[order], rotation[:, order]
        residual = jnp.linalg.norm(coupling @ rotation[-BLOCK:], axis=0)
        spent = state.products + BLOCK * (blocks - first)
        return _Krylov(basis, small, coupling, values, rotation, residual, state.cycle + 1, spent)

    state = jax.lax.while_loop(unfinished, cycle, state)
    vectors = state.basis[:, :width] @ state.rotation[:, :rank]
    # by fresh products, not by the recurrence: a residual must hold whatever went wrong before
    image = jax.lax.map(product, vectors.T, batch_size=BLOCK).T
    residual = jnp.linalg.norm(image - vectors * state.values[None, :rank], axis=0)
    return LeadingPairs(state.values[:rank], vectors, residual, state.products + rank)


def _grow(many: Callable, basis: Array, small: Array, column: Array) -> tuple[Array, Array, Array]:
    """Multiply the block that starts at `column`, and append what is new in the image."""
    block = jax.lax.dynamic_slice_in_dim(basis, column, BLOCK, axis=1)
    image = many(block)
    inside = jnp.zeros((basis.shape[1], BLOCK), basis.dtype)
    for _ in range(2):  # twice is enough: what the first pass leaves is rounding
        part = basis.T @ image
        image, inside = image - basis @ part, inside + part
    new, coupling = jnp.linalg.qr(image)
    for _ in range(2):  # where the image adds nothing, QR's columns are arbitrary: make them new
        new = new - basis @ (basis.T @ new)
    new, turn = jnp.linalg.qr(new)
    small = jax.lax.dynamic_update_slice_in_dim(small, inside[: small.shape[0]], column, axis=1)
    basis = jax.lax.dynamic_update_slice_in_dim(basis, new, column + BLOCK, axis=1)
    return basis, small, turn @ coupling


def _restarted(state: _Krylov, keep: int) -> _Krylov:
    """The best `keep` Ritz vectors, then the edge of the old basis."""
    width = state.small.shape[0]
    vectors = state.basis[:, :width] @ state.rotation[:, :keep]
    edge = state.basis[:, width:]
    blank = jnp.zeros((vectors.shape[0], width - keep), vectors.dtype)
    basis = jnp.concatenate([vectors, edge, blank], axis=1)
    small = jnp.zeros_like(state.small).at[:keep, :keep].set(jnp.diag(state.values[:keep]))
    return eqx.tree_at(lambda s: (s.basis, s.small), state, (basis, small))


def _dense_pairs(many: Callable, like: Vector, rank: int) -> LeadingPairs:
    size = like.shape[0]
    matrix = many(jnp.eye(size, dtype=like.dtype))
    values, vectors = eigh(0.5 * (matrix + matrix.T))
    order = jnp.argsort(-jnp.abs(values))[:rank]
    values, vectors = values[order], vectors[:, order]
    residual = jnp.linalg.norm(matrix @ vectors - vectors * values[None, :], axis=0)
    return LeadingPairs(values, vectors, residual, jnp.asarray(size))


@eqx.filter_jit
def rest_of_trace(
    product: Callable[[Vector], Vector], pairs: LeadingPairs, *, probes: int = 64
) -> tuple[Scalar, Scalar]:
    """Mean eigenvalue outside the leading space, by Rademacher probes, and its standard error.

    The ratio sum(v'Mv) / sum(v'v) over probes v outside the leading space, exact for a flat rest;
    otherwise its variance is 2 |M_rest|_F^2 / (probes (d - r)^2) and its bias a fraction
    1 / (probes (d - r)) of the spread of the rest. Cost `probes` products.

    >>> matrix = jnp.diag(jnp.array([5.0, 1.0, 1.0, 1.0]))
    >>> pairs = leading_pairs(lambda v: matrix @ v, jnp.zeros(4), 1)
    >>> rest, error = rest_of_trace(lambda v: matrix @ v, pairs)
    >>> round(float(rest), 6), round(float(error), 6)
    (1.0, 0.0)
    """
    size, rank = pairs.vectors.shape
    if rank == size:
        return jnp.zeros((), pairs.values.dtype), jnp.zeros((), pairs.values.dtype)
    signs = jax.random.rademacher(jax.random.key(1), (probes, size), pairs.vectors.dtype)
    outside = signs - (signs @ pairs.vectors) @ pairs.vectors.T
    pairings = lambda v: jnp.stack([v @ product(v), v @ v])
    energy, length = jax.lax.map(pairings, outside, batch_size=min(probes, 16)).T
    rest = jnp.sum(energy) / jnp.sum(length)
    spread = jnp.sum((energy - rest * length) ** 2) * probes / max(probes - 1, 1)
    return rest, jnp.sqrt(spread) / jnp.sum(length)
