"""The one place where matrices are factorised, and the rule by which the factorisations batch.

On two CPU cores concurrent *batched* LAPACK calls can deadlock XLA's thread pool, at random. So
every factorisation here carries its own batching rule: on a CPU a batch is a loop of single calls
(which also beats the batched call for small matrices, whose threads cost more than they bring),
on an accelerator it is the batched kernel.

Derivatives: eigenvectors have none at repeated eigenvalues, so `eigh` refuses to be
differentiated; the functions that use it carry rules of their own. `solve` and `logabsdet` are
differentiable to any order.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def _batch_by_loop(function: Callable) -> Callable:
    """`function` of single matrices, batched by a loop on CPU and by its own rule elsewhere."""

    @jax.custom_batching.custom_vmap
    def call(*arguments):
        return function(*arguments)

    @call.def_vmap
    def rule(axis_size, in_batched, *arguments):
        arguments = tuple(
            x if batched else jnp.broadcast_to(x, (axis_size, *x.shape))
            for x, batched in zip(arguments, in_batched, strict=True)
        )
        out = lax.platform_dependent(
            *arguments,
            cpu=lambda *xs: lax.map(lambda x: call(*x), xs),
            default=lambda *xs: jax.vmap(function)(*xs),
        )
        return out, jax.tree.map(lambda _: True, out)

    return call


def _eigh(matrix):
    vectors, values = lax.linalg.eigh(matrix, symmetrize_input=False)
    return values, vectors


def _svd(matrix):
    return tuple(jnp.linalg.svd(matrix, full_matrices=False))


def _lu_solve(matrix, rhs):
    lu, _, permutation = lax.linalg.lu(matrix)
    rhs = lax.linalg.triangular_solve(
        lu, rhs[permutation], left_side=True, lower=True, unit_diagonal=True
    )
    return lax.linalg.triangular_solve(lu, rhs, left_side=True, lower=False)


def _lu_logabsdet(matrix):
    lu, _, _ = lax.linalg.lu(matrix)
    return jnp.sum(jnp.log(jnp.abs(jnp.diagonal(lu))))


_eigh_batched = _batch_by_loop(_eigh)
_svd_batched = _batch_by_loop(_svd)
_lu_solve_batched = _batch_by_loop(_lu_solve)
_lu_logabsdet_batched = _batch_by_loop(_lu_logabsdet)


@jax.custom_jvp
def eigh(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Eigenvalues (ascending) and eigenvectors (columns) of a symmetric matrix.

    Cost O(n^3). Not differentiable on purpose: wrap the argument in `lax.stop_gradient` and give
    the surrounding function its own rule.

    >>> values, vectors = eigh(jnp.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> [round(float(a), 6) for a in values]
    [1.0, 3.0]
    """
    return _eigh_batched(matrix)


@eigh.defjvp
def _eigh_jvp(primals, tangents):
    raise NotImplementedError(
        "eigenvectors have no derivative at repeated eigenvalues: use jaxou.linalg's sqrtm, "
        "solve_spectral, pinv or logdet, which are differentiable everywhere"
    )


def svd(matrix: Float[Array, "m n"]):
    """Thin singular value decomposition (left vectors, values, right vectors transposed).

    A value only: take it of `lax.stop_gradient(matrix)`.

    >>> svd(jnp.array([[3.0, 0.0], [0.0, 4.0]]))[1].tolist()
    [4.0, 3.0]
    """
    return _svd_batched(matrix)


def solve(matrix: Float[Array, "n n"], rhs: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """X with matrix X = rhs, by LU with partial pivoting; differentiable to any order.

    A singular matrix gives inf or NaN: see `pinv` for its range. Cost O(n^3).

    >>> X = solve(jnp.array([[2.0, 0.0], [1.0, 4.0]]), jnp.array([[2.0], [5.0]]))
    >>> [round(float(x), 6) for x in X[:, 0]]
    [1.0, 1.0]
    """
    frozen = lax.stop_gradient(matrix)
    return lax.custom_linear_solve(
        lambda x: matrix @ x,
        rhs,
        solve=lambda _, b: _lu_solve_batched(frozen, b),
        transpose_solve=lambda _, b: _lu_solve_batched(frozen.T, b),
    )


@jax.custom_jvp
def logabsdet(matrix: Float[Array, "n n"]) -> Float[Array, ""]:
    """log |det matrix| of a square matrix, by LU; d log|det M| = tr(M^-1 dM).

    >>> round(float(logabsdet(jnp.diag(jnp.array([2.0, 0.5, 4.0])))), 6)
    1.386294
    """
    return _lu_logabsdet_batched(matrix)


@logabsdet.defjvp
def _logabsdet_jvp(primals, tangents):
    (matrix,), (dot,) = primals, tangents
    inverse = solve(matrix, jnp.eye(matrix.shape[0], dtype=matrix.dtype))
    return logabsdet(matrix), jnp.sum(inverse.T * dot)


def _cholesky_inverse(matrix):
    root = lax.linalg.cholesky(matrix, symmetrize_input=False)
    eye = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    half = lax.linalg.triangular_solve(root, eye, left_side=True, lower=True)
    return half.T @ half, 2 * jnp.sum(jnp.log(jnp.diagonal(root)))


_cholesky_inverse_batched = _batch_by_loop(_cholesky_inverse)


@jax.custom_jvp
def inverse_and_logdet(
    matrix: Float[Array, "n n"],
) -> tuple[Float[Array, "n n"], Float[Array, ""]]:
    """(M^-1, log det M) of a symmetric positive definite matrix, by one Cholesky factor.

    A quarter of the price of an eigendecomposition. NaN for a matrix without a Cholesky factor: a
    singular one needs `linalg.roots`. Differentiable to any order.

    >>> inverse, logdet = inverse_and_logdet(jnp.diag(jnp.array([4.0, 0.5])))
    >>> inverse.diagonal().round(6).tolist(), round(float(logdet), 6)
    ([0.25, 2.0], 0.693147)
    """
    return _cholesky_inverse_batched(matrix)


@inverse_and_logdet.defjvp
def _inverse_and_logdet_jvp(primals, tangents):
    (matrix,), (dot,) = primals, tangents
    inverse, logdet = inverse_and_logdet(matrix)
    return (inverse, logdet), (-inverse @ dot @ inverse, jnp.sum(inverse * dot))
