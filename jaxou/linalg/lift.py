"""From a small dense problem to a large one: Hessians that are a0 I outside a few directions.

Let A = a0 I + U W U^T with r columns and let C -> Sigma be linear with
Sigma = sum_ij phi(a_i, a_j) P_i C P_j over the eigenprojections of A. (All laws of the theory are
of this form.) With Q an orthonormal basis of the range of U, A = a0 I + Q B Q^T, P = I - Q Q^T,

    Sigma = phi00 P C P + Q X Q^T C P + P C Q X Q^T + Q Y Q^T,

where Y, X and phi00 are the blocks of the same map for the 2r x 2r problem with
blockdiag(a0 I + B, a0 I) and [[Q^T C Q, I], [I, I]]. So one dense routine serves every size.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from .matrices import AbstractMatrix, Diagonal, Isotropic, LowRankPlusDiagonal
from .roots import pinv, sqrtm


def is_liftable(matrix: AbstractMatrix, other: AbstractMatrix) -> bool:
    """Whether `matrix` is a0 I + low rank and `other` neither dense nor general."""
    if not isinstance(matrix, LowRankPlusDiagonal):
        return False
    if not isinstance(other, Isotropic | Diagonal | LowRankPlusDiagonal):
        return False
    return isinstance(matrix.base, Isotropic)


def reduced(
    matrix: LowRankPlusDiagonal,
) -> tuple[Float[Array, ""], Float[Array, "d r"], Float[Array, "r r"]]:
    """(a0, Q, B) with matrix = a0 I + Q B Q^T and Q Q^T the projection on the range of U."""
    shift = matrix.base.value
    # Scaling the columns first keeps the Gram matrix, whose condition is that of U squared, tame.
    gram = matrix.factor.T @ matrix.factor
    root = sqrtm(gram)
    return shift, matrix.factor @ pinv(root), root @ matrix.core @ root


def block_problem(shift, core):
    """blockdiag(shift I + core, shift I), (2r, 2r)."""
    r = core.shape[0]
    eye, zero = jnp.eye(r, dtype=core.dtype), jnp.zeros_like(core)
    return jnp.block([[shift * eye + core, zero], [zero, shift * eye]])


def lift(
    dense_map: Callable, matrix: LowRankPlusDiagonal, noise: AbstractMatrix
) -> LowRankPlusDiagonal:
    """The image of `noise` under the map that `dense_map(A, C)` is for small arrays.

    The result has at most 2 r_A + r_C columns. Cost O(d r^2) and one dense problem of size 2r.
    """
    shift, basis, core = reduced(matrix)
    r = core.shape[0]
    base = noise.base if isinstance(noise, LowRankPlusDiagonal) else noise
    image = base.matmat(basis)
    inner = basis.T @ image
    if isinstance(noise, LowRankPlusDiagonal):
        overlap = basis.T @ noise.factor
        inner = inner + overlap @ noise.core @ overlap.T
    eye = jnp.eye(r, dtype=core.dtype)
    small = dense_map(block_problem(shift, core), jnp.block([[inner, eye], [eye, eye]]))
    y, x, phi = small[:r, :r], small[:r, r:], small[r, r]
    mixed = x - phi * eye
    corner = phi * inner - x @ inner - inner @ x + y
    if isinstance(base, Isotropic):  # E Q = e Q: the second block of columns repeats the first
        columns, blocks = [basis], [[corner + 2 * base.value * mixed]]
    else:
        zero = jnp.zeros_like(mixed)
        columns, blocks = [basis, image], [[corner, mixed], [mixed, zero]]
    if isinstance(noise, LowRankPlusDiagonal):
        tail = mixed @ overlap @ noise.core
        gap = jnp.zeros_like(tail)
        columns.append(noise.factor)
        blocks = [row + [b] for row, b in zip(blocks, [tail, gap], strict=False)]
        last = [tail.T] if len(columns) == 2 else [tail.T, gap.T]
        blocks.append([*last, phi * noise.core])
    return LowRankPlusDiagonal(
        base.scale(phi), jnp.concatenate(columns, axis=1), jnp.block(blocks), check=False
    )
