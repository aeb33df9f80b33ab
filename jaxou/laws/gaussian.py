"""The Gaussian law, with a covariance of any structure and any rank."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._check import as_float, is_concrete, refuse_unless, require_finite, show
from .._status import Status, first_failure, status_if
from .._typing import MatrixLike
from ..linalg.algebra import as_matrix, densified, entries, is_elementwise, with_dimension
from ..linalg.factor import eigh
from ..linalg.inverse import solve_matrix
from ..linalg.lift import reduced
from ..linalg.matrices import AbstractMatrix, Dense, Isotropic, LowRankPlusDiagonal
from ..linalg.roots import logdet, pinv, range_mask
from .divergence import GaussianDivergence, gaussian_divergence, gaussian_kl
from .wasserstein import wasserstein


class Gaussian(eqx.Module):
    """N(mean, covariance) on R^d.

    `mean` has shape (d,) (a number is d = 1); `covariance` is a structured matrix or a 0-d, 1-d or
    2-d array: isotropic, diagonal or dense. It may be singular; zero is a point. Refused: NaN,
    asymmetry, a negative eigenvalue. Inside `jit` a bad value sets `status` instead.

    >>> law = Gaussian([0.0, 1.0], [[2.0, 0.5], [0.5, 1.0]])
    >>> round(float(law.kl(Gaussian([0.0, 0.0], 1.0))), 6)
    0.720192
    """

    mean: Float[Array, " d"]
    operator: AbstractMatrix
    status: Status
    phase: "Gaussian | None"

    def __init__(
        self,
        mean,
        covariance: MatrixLike,
        *,
        status: Status = Status.ok,
        phase: "Gaussian | None" = None,
        check: bool = True,
    ):
        mean = as_float(mean, "mean")
        operator = as_matrix(covariance, "covariance")
        if mean.ndim > 1:
            raise ValueError(f"mean must be a vector (d,), got shape {mean.shape}")
        if mean.ndim == 0:
            mean = jnp.broadcast_to(mean, (operator.dimension or 1,))
        self.mean = mean
        self.operator = with_dimension(operator, mean.shape[0], "covariance")
        self.status = status
        self.phase = phase
        if check:
            require_finite(mean, "mean")
            require_positive(self.operator, "covariance")
            if not is_concrete(self.operator, mean):
                fine = jnp.all(self.operator.diagonal_part() >= 0) & jnp.isfinite(mean).all()
                self.status = first_failure(status, status_if(~fine, Status.not_positive))

    @property
    def dimension(self) -> int:
        """d."""
        return self.mean.shape[0]

    @property
    def covariance(self) -> Float[Array, "d d"]:
        """The covariance as an array; `operator` is the structured one."""
        return densified(self.operator, "the dense covariance").dense()

    def joint(self) -> "Gaussian":
        """The law on (position, velocity or buffer) that this position law is the marginal of.

        Momentum stages' `gibbs()` has the velocity dx/dn per step, (2d,); their `stationary()` has
        optax's momentum buffer. Refused for laws without momentum.
        """
        if self.phase is None:
            raise ValueError("this law has no velocity: its stage has momentum=0")
        return self.phase

    def kl_terms(self, other: "Gaussian") -> GaussianDivergence:
        """KL(self || other) in nats, with its trace, log-determinant, dimension and shift."""
        self._require_same_dimension(other)
        return gaussian_divergence(self.mean, self.operator, other.mean, other.operator)

    def kl(self, other: "Gaussian") -> Float[Array, ""]:
        """KL(self || other) in nats; `inf` where the ranges differ (`kl_terms` says where)."""
        self._require_same_dimension(other)
        return gaussian_kl(self.mean, self.operator, other.mean, other.operator)

    def w2(self, other: "Gaussian") -> Float[Array, ""]:
        """The Wasserstein-2 distance (not squared)."""
        self._require_same_dimension(other)
        return wasserstein(self.mean, self.operator, other.mean, other.operator)

    def entropy(self) -> Float[Array, ""]:
        """Differential entropy in nats, -inf for a singular law."""
        value = self.dimension * (1 + jnp.log(2 * jnp.pi)) / 2 + self._logdet() / 2
        return jnp.where(self._rank() < self.dimension, -jnp.inf, value)

    def log_prob(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """Log density at points (..., d), one number each.

        A singular law has its density on its range, and -inf elsewhere. Cost O(d^3) once.
        """
        x = as_float(x, "x")
        if x.shape[-1:] != self.mean.shape:
            raise ValueError(
                f"log_prob takes points of shape (..., {self.dimension}), got {x.shape}"
            )
        flat = _log_prob(self, x.reshape(-1, self.dimension))
        return flat.reshape(x.shape[:-1])

    def sample(self, key, shape: int | tuple[int, ...] = ()) -> Float[Array, "... d"]:
        """Independent draws, shape (*shape, d), of any rank, by a square root of the covariance."""
        s = self.operator
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        normal = jax.random.normal(key, (*shape, self.dimension), dtype=self.mean.dtype)
        flat = normal.reshape(-1, self.dimension)
        if is_elementwise(s):
            scale = jnp.sqrt(jnp.broadcast_to(entries(s), self.mean.shape))
            noise = flat * scale[None, :]
        elif isinstance(s, LowRankPlusDiagonal):
            noise = _low_rank_root(s, flat.T).T
        else:
            noise = flat @ self.root().T
        return (self.mean[None, :] + noise).reshape(*shape, self.dimension)

    def root(self) -> Float[Array, "d d"]:
        """F with F F^T = covariance, by eigenvectors: right for singular laws. A value only."""
        if is_elementwise(self.operator):
            scale = jnp.sqrt(jnp.broadcast_to(entries(self.operator), self.mean.shape))
            return jnp.diag(scale)
        values, vectors = eigh(jax.lax.stop_gradient(self.covariance))
        scale = jnp.sqrt(jnp.where(range_mask(values), values, 0.0))
        return vectors * scale[None, :]

    def _require_same_dimension(self, other):
        if not isinstance(other, Gaussian):
            raise TypeError(f"expected a Gaussian law, got {type(other).__name__}")
        if other.dimension != self.dimension:
            raise ValueError(
                f"the laws live in dimensions {self.dimension} and {other.dimension}; "
                "compare laws of one parameter vector"
            )

    def _rank(self):
        s = self.operator
        if is_elementwise(s):
            return (jnp.broadcast_to(entries(s), self.mean.shape) > 0).sum()
        if isinstance(s, LowRankPlusDiagonal):
            return jnp.asarray(self.dimension)
        return range_mask(eigh(jax.lax.stop_gradient(s.dense()))[0]).sum()

    def _logdet(self):
        s = self.operator
        if is_elementwise(s):
            values = jnp.broadcast_to(entries(s), self.mean.shape)
            return jnp.sum(jnp.log(jnp.where(values > 0, values, 1.0)))
        if isinstance(s, LowRankPlusDiagonal):
            zero = jnp.zeros_like(self.mean)
            unit = Isotropic(1.0, self.dimension)
            return -gaussian_divergence(zero, s, zero, unit).logdet
        return logdet(s.dense())

    def _solve(self, delta):
        s = self.operator
        if is_elementwise(s):
            values = jnp.broadcast_to(entries(s), self.mean.shape)
            return jnp.where(values > 0, delta / jnp.where(values > 0, values, 1.0), 0.0)
        if isinstance(s, LowRankPlusDiagonal):
            return solve_matrix(s, delta)
        return pinv(s.dense()) @ delta


@eqx.filter_jit
def _log_prob(law: Gaussian, points):
    rank, log_determinant = law._rank(), law._logdet()
    full = rank == law.dimension
    normalisation = log_determinant + rank.astype(points.dtype) * jnp.log(2 * jnp.pi)

    def one(x):
        delta = x - law.mean
        whitened = law._solve(delta)
        gap = delta - law.operator.matvec(whitened)
        scale = jnp.sqrt(jnp.finfo(x.dtype).eps) * jnp.sqrt(jnp.sum(delta**2))
        inside = full | (jnp.sqrt(jnp.sum(gap**2)) <= scale)
        return jnp.where(inside, -(delta @ whitened + normalisation) / 2, -jnp.inf)

    return jax.vmap(one)(points)


def _low_rank_root(matrix: LowRankPlusDiagonal, columns):
    """E^1/2 (I + V)^1/2 z with V = E^-1/2 U W U^T E^-1/2, which may be indefinite."""
    e = jnp.sqrt(jnp.broadcast_to(entries(matrix.base), (matrix.dimension,)))[:, None]
    unit = LowRankPlusDiagonal(1.0, matrix.factor / e, matrix.core, check=False)
    _, basis, core = reduced(unit)
    values, vectors = eigh(jax.lax.stop_gradient(core))
    basis = basis @ vectors
    gain = jnp.sqrt(jnp.maximum(1 + values, 0.0)) - 1
    return e * (columns + basis @ (gain[:, None] * (basis.T @ columns)))


def require_positive(operator: AbstractMatrix, name: str, *, definite: bool = False) -> None:
    """Refuse a matrix with a negative (or, if `definite`, zero) eigenvalue; known values only."""
    if not is_concrete(operator):
        return
    if is_elementwise(operator):
        values = np.asarray(entries(operator))
        remedy = "variances must be >= 0"
    elif isinstance(operator, Dense):
        values = np.linalg.eigvalsh(np.asarray(operator.values))
        remedy = (
            "a covariance has none; if it is an estimate, clip its spectrum: "
            "V diag(max(values, 0)) V^T"
        )
    elif isinstance(operator, LowRankPlusDiagonal):
        if (
            operator.weights is None
            or bool((np.asarray(operator.core) >= 0).all())
            and (operator.weights.ndim == 1)
        ):
            return require_positive(operator.base, f"{name}'s diagonal")
        if operator.dimension < 2_000:
            return require_positive(Dense(operator.dense(), check=False), name)
        return
    else:
        raise ValueError(f"{name} must be symmetric, got a {type(operator).__name__} matrix")
    if definite:
        refuse_unless(
            values.min() > 0,
            f"{name} has the negative eigenvalue {show(values.min())}: it must be positive"
            if values.min() < 0
            else f"{name} has the eigenvalue 0: it must be positive in every direction",
        )
    top = np.abs(values).max(initial=0.0)
    refuse_unless(
        values.min(initial=0.0) >= -1e2 * values.size * np.finfo(values.dtype).eps * top,
        f"{name} has the negative eigenvalue {show(values.min(initial=0.0))}: {remedy}",
    )
