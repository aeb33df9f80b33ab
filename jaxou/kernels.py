"""Affine Gaussian kernels: x -> N(M x + c, Q). One SGD step is one, a stage is a power of it.

They form an algebra: a kernel maps a Gaussian law to a Gaussian law, two kernels compose to a
third, and the steady law is the fixed point. Everything here is exact and differentiable.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ._check import (
    as_float,
    as_number,
    holds_numbers,
    is_concrete,
    refuse_unless,
    require_finite,
    show,
    show_value,
    stays_known,
)
from ._status import Status, first_failure, poison, raise_unless_ok, status_if
from ._typing import MatrixLike, ScalarLike
from .laws import Gaussian
from .linalg.algebra import (
    add,
    as_matrix,
    congruence,
    densified,
    entries,
    is_elementwise,
    like,
    product,
    with_dimension,
)
from .linalg.equations import FIXED_POINT
from .linalg.inverse import solve_matrix
from .linalg.lift import block_problem, is_liftable, lift, reduced
from .linalg.matrices import AbstractMatrix, Dense, General, Isotropic, LowRankPlusDiagonal
from .linalg.power import MAX_BITS, power_dense, power_diagonal, power_symmetric
from .linalg.spectral import solve_spectral
from .linalg.spectrum import extreme_eigenvalues
from .linalg.stein import solve_stein


class AffineGaussianKernel(eqx.Module):
    """x -> N(matrix x + offset, covariance).

    `matrix` (d, d) is structured, a symmetric array or, without symmetry, `linalg.General`;
    `offset` has shape (d,); `covariance` is symmetric positive semidefinite. Refused: NaN, negative
    variances, other dimensions.

    >>> step = AffineGaussianKernel(0.5, [1.0], 3.0)
    >>> step.fixed_point().mean.tolist(), step.fixed_point().covariance.tolist()
    ([2.0], [[4.0]])
    """

    matrix: AbstractMatrix
    offset: Float[Array, " d"]
    covariance: AbstractMatrix

    def __init__(self, matrix: MatrixLike, offset, covariance: MatrixLike, *, check: bool = True):
        offset = jnp.atleast_1d(as_float(offset, "offset"))
        if offset.ndim != 1:
            raise ValueError(f"offset must be a vector (d,), got shape {offset.shape}")
        self.offset = offset
        d = offset.shape[0]
        self.matrix = with_dimension(as_matrix(matrix, "matrix"), d, "matrix")
        self.covariance = with_dimension(as_matrix(covariance, "covariance"), d, "covariance")
        if check:
            require_finite(offset, "offset")
            # the diagonal only: kernels are made on the way to every law, and eigenvalues cost d^3
            if is_concrete(self.covariance):
                variances = np.asarray(self.covariance.diagonal_part())
                lowest, rounding = variances.min(), 1e2 * np.finfo(variances.dtype).eps
                refuse_unless(
                    lowest >= -rounding * np.abs(variances).max(),
                    f"covariance has the negative variance {show(lowest)}",
                )

    def __str__(self) -> str:
        if not holds_numbers(self) or self.offset.ndim != 1:
            return repr(self)
        m, q = type(self.matrix).__name__, type(self.covariance).__name__
        words = f"affine Gaussian kernel x -> N(M x + c, Q) in {self.dimension} dimension"
        deviations = np.sqrt(np.maximum(np.asarray(self.covariance.diagonal_part()), 0.0))
        return (
            f"{words}{'s' * (self.dimension > 1)}: diagonal of M ({m}) "
            f"{show(self.matrix.diagonal_part())}, c {show(self.offset)}, roots of the variances "
            f"of Q ({q}) {show(deviations)}"
        )

    @property
    def dimension(self) -> int:
        """d."""
        return self.offset.shape[0]

    def __call__(self, law: Gaussian) -> Gaussian:
        """The law of the next state when `law` is that of the present one. Cost O(d^3) dense."""
        if not isinstance(law, Gaussian):
            raise TypeError(
                f"a kernel acts on a Gaussian law, got {type(law).__name__}: "
                "ou.Gaussian(point, 0.0) is a point"
            )
        if law.dimension != self.dimension:
            hint = (
                "; with momentum the state is (position, buffer): use Chain.law, or start from "
                "Chain.enter"
                if self.dimension == 2 * law.dimension
                else ""
            )
            raise ValueError(
                f"this kernel acts on dimension {self.dimension}, the law has {law.dimension}{hint}"
            )
        mean, covariance = _apply(self, law)
        return Gaussian(mean, covariance, status=law.status, check=False)

    def __matmul__(self, first: "AffineGaussianKernel") -> "AffineGaussianKernel":
        """`self @ first`: `first` happens first."""
        if not isinstance(first, AffineGaussianKernel):
            return NotImplemented
        if first.dimension != self.dimension:
            raise ValueError(
                f"kernels of dimensions {self.dimension} and {first.dimension} do not compose"
            )
        return AffineGaussianKernel(
            product(self.matrix, first.matrix),
            self.matrix.matvec(first.offset) + self.offset,
            add(congruence(self.matrix, first.covariance), self.covariance),
            check=False,
        )

    def power(self, n: ScalarLike) -> "AffineGaussianKernel":
        """The kernel n times over, n >= 0 a whole number; at most 2 log2(n) products.

        n is an array to the compiler: a new n does not recompile. No derivative in n.
        """
        n = as_step_count(n, "n")
        return poisoned(_power(self, n), n >= 0)

    def fixed_point(self, *, throw: bool = True) -> Gaussian:
        """The steady law m = M m + c, S = M S M^T + Q; refused unless M contracts."""
        mean, covariance, status = _fixed_point(self)
        raise_unless_ok(status, throw)
        return Gaussian(mean, covariance, status=status, check=False)


def as_step_count(n: ScalarLike, name: str) -> Float[Array, ""]:
    """A number of steps as a 0-d floating array; refused unless whole and in [0, 2**40)."""
    if isinstance(n, int | float) and 0 <= n < 2.0**MAX_BITS and n == int(n):
        # a number that is written down stays known inside jit: loops get a known length
        return stays_known(n)
    n = as_number(n, name)
    whole = (n >= 0) & (n == jnp.floor(n)) & (n < 2.0**MAX_BITS)
    refuse_unless(
        whole, f"{name}={show_value(n)} must be a whole number of steps >= 0 (below 2**40)"
    )
    # what could not be refused while tracing gives NaN, never a plausible number
    return lax.stop_gradient(jnp.where(whole, n, jnp.nan))


def poisoned(kernel: "AffineGaussianKernel", fine) -> "AffineGaussianKernel":
    """The kernel, or NaN where not `fine`."""
    nan = jnp.where(fine, 1.0, jnp.nan)
    return AffineGaussianKernel(
        kernel.matrix.scale(nan), nan * kernel.offset, kernel.covariance.scale(nan), check=False
    )


@eqx.filter_jit
def _apply(kernel, law):
    mean = kernel.matrix.matvec(law.mean) + kernel.offset
    return mean, add(congruence(kernel.matrix, law.operator), kernel.covariance)


@eqx.filter_jit
def _power(kernel, n):
    matrix, offset, covariance = kernel.matrix, kernel.offset, kernel.covariance
    if isinstance(matrix, Isotropic):
        one = jnp.ones((), offset.dtype)
        m, c, q = power_diagonal(matrix.value, one, one, n)
        return AffineGaussianKernel(like(m, matrix), c * offset, covariance.scale(q), check=False)
    if is_elementwise(matrix, covariance):
        noise = jnp.broadcast_to(entries(covariance), offset.shape)
        m, c, q = power_diagonal(matrix.diagonal_part(), offset, noise, n)
        return AffineGaussianKernel(like(m, matrix), c, like(q, matrix), check=False)
    if is_liftable(matrix, covariance):
        return lift_kernel(lambda m, c, q: power_dense(m, c, q, n), kernel)
    why = "the power of this kernel"
    dense = densified(matrix, why).dense()
    general = isinstance(matrix, General)
    raise_to = power_dense if general else power_symmetric
    m, c, q = raise_to(dense, offset[:, None], densified(covariance, why).dense(), n)
    wrap = General if general else Dense
    return AffineGaussianKernel(wrap(m, check=False), c[:, 0], Dense(q, check=False), check=False)


def lift_kernel(dense_map, kernel: AffineGaussianKernel) -> AffineGaussianKernel:
    """`dense_map`(M, c, Q) -> (f(M), g(M) c, noise), applied to a kernel with M = m0 I + low rank.

    Only a problem of size 2r is solved, r the number of columns; see `linalg.lift`.
    """
    matrix, offset, covariance = kernel.matrix, kernel.offset, kernel.covariance
    shift, basis, core = reduced(matrix)
    r = core.shape[0]
    small, eye = block_problem(shift, core), jnp.eye(2 * r, dtype=core.dtype)
    f, g, _ = dense_map(small, eye, jnp.zeros_like(eye))
    f0, g0, inner = f[r, r], g[r, r], jnp.eye(r, dtype=core.dtype)
    new_matrix = LowRankPlusDiagonal(
        Isotropic(f0, kernel.dimension, check=False), basis, f[:r, :r] - f0 * inner, check=False
    )
    new_offset = g0 * offset + basis @ ((g[:r, :r] - g0 * inner) @ (basis.T @ offset))
    noise = lift(lambda a, q: dense_map(a, eye, q)[2], matrix, covariance)
    return AffineGaussianKernel(new_matrix, new_offset, noise, check=False)


@eqx.filter_jit
def _fixed_point(kernel):
    matrix, covariance = kernel.matrix, kernel.covariance
    if isinstance(matrix, General):
        dense = matrix.dense()
        failed = _spectral_radius(dense) >= 1
        safe = jnp.where(failed, 0.0, dense)  # the iteration would not end in a number
        law = Dense(
            solve_stein(safe, densified(covariance, "this fixed point").dense()), check=False
        )
        eye = jnp.eye(kernel.dimension, dtype=dense.dtype)
        mean = solve_matrix(General(eye - safe, check=False), kernel.offset)
    else:
        low, high = extreme_eigenvalues(matrix)
        failed = (low <= -1) | (high >= 1)
        law = solve_spectral(FIXED_POINT, matrix, covariance)
        gap = add(Isotropic(1.0, kernel.dimension, check=False), matrix.scale(-jnp.ones(())))
        mean = solve_matrix(gap, kernel.offset)
    status = first_failure(
        status_if(failed, Status.not_contracting),
        status_if(~jnp.isfinite(mean).all(), Status.bad_input),
    )
    nan = poison(jnp.ones((), mean.dtype), status)
    return mean * nan, law.scale(nan), status


def _spectral_radius(matrix):
    """|M^k|^(1/k) at k = 2^40, by squaring what is rescaled to norm one."""

    def body(carry, _):
        m, log_norm = carry
        norm = jnp.sqrt(jnp.sum(m**2))
        m = m / jnp.where(norm > 0, norm, 1.0)
        return (m @ m, 2 * (log_norm + jnp.log(norm))), None

    start = (lax.stop_gradient(matrix), jnp.zeros((), matrix.dtype))
    (m, log_norm), _ = lax.scan(body, start, None, length=40)
    return jnp.exp((log_norm + jnp.log(jnp.sqrt(jnp.sum(m**2)))) / 2.0**40)
