"""The Gaussian law, with a covariance of any structure and any rank."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._check import (
    as_float,
    as_key,
    as_shape,
    holds_numbers,
    is_concrete,
    refuse_unless,
    require_finite,
    show,
)
from .._status import Status, first_failure, poison, status_if
from .._typing import MatrixLike
from ..linalg.algebra import (
    as_matrix,
    densified,
    divisible,
    entries,
    is_elementwise,
    with_dimension,
)
from ..linalg.factor import eigh
from ..linalg.inverse import solve_matrix, trace_product
from ..linalg.low_rank_root import low_rank_root
from ..linalg.matrices import (
    DENSE_LIMIT,
    AbstractMatrix,
    Dense,
    Isotropic,
    LowRankPlusDiagonal,
)
from ..linalg.roots import logdet, pinv, range_mask
from .divergence import GaussianDivergence, gaussian_divergence, gaussian_kl
from .wasserstein import wasserstein


class Gaussian(eqx.Module):
    """N(mean, covariance) on R^d.

    `mean` has shape (d,) (a number is d = 1); `covariance` is a structured matrix or a 0-d, 1-d or
    2-d array: isotropic, diagonal or dense. It may be singular; zero is a point. Refused: NaN,
    asymmetry, a negative eigenvalue. Inside `jit` a negative variance, or a mean that is not
    finite, sets `status` and makes the mean NaN.

    Low rank over a diagonal with zeros is made dense where a formula divides by that diagonal; its
    dimension must then be below 5,000, and inside `jit`, where zeros are not known, its KL is NaN.

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
        if mean.ndim > 1 or mean.size == 0:
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
                self.mean = poison(mean, self.status)

    def __str__(self) -> str:
        if not holds_numbers(self) or self.mean.ndim != 1:
            return repr(self)
        kind = type(self.operator).__name__
        words = f"Gaussian law in {self.dimension} dimension{'s' * (self.dimension > 1)} ({kind})"
        if not bool(self.status == Status.ok):
            return f"{words}: NaN, because {Status[self.status]}"
        deviations = np.sqrt(np.maximum(np.asarray(self.operator.diagonal_part()), 0.0))
        return f"{words}: mean {show(self.mean)}, standard deviations {show(deviations)}"

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
        optax's momentum buffer. Refused for laws without momentum, and from 5,000 dimensions on.
        """
        if self.phase is None:
            raise ValueError(
                "this law has no velocity: its stage has momentum=0"
                if self.dimension < DENSE_LIMIT
                else f"the joint law of {self.dimension} positions and velocities would need dense "
                f"matrices: it is made below {DENSE_LIMIT} dimensions"
            )
        return self.phase

    def kl_terms(self, other: "Gaussian") -> GaussianDivergence:
        """KL(self || other) in nats, with its trace, log-determinant, dimension and shift."""
        self._require_same_dimension(other)
        return gaussian_divergence(self.mean, self._divisible(), other.mean, other._divisible())

    def kl(self, other: "Gaussian") -> Float[Array, ""]:
        """KL(self || other) in nats; `inf` where the ranges differ (`kl_terms` says where)."""
        self._require_same_dimension(other)
        return gaussian_kl(self.mean, self._divisible(), other.mean, other._divisible())

    def w2(self, other: "Gaussian") -> Float[Array, ""]:
        """The Wasserstein-2 distance (not squared)."""
        self._require_same_dimension(other)
        return wasserstein(self.mean, self.operator, other.mean, other.operator)

    def entropy(self) -> Float[Array, ""]:
        """Differential entropy in nats, -inf for a singular law."""
        s = self._divisible()
        value = self.dimension * (1 + jnp.log(2 * jnp.pi)) / 2 + _logdet(s) / 2
        return poison(jnp.where(_rank(s) < self.dimension, -jnp.inf, value), self.status)

    def logdet(self) -> Float[Array, ""]:
        """log det of the covariance on its range (the pseudo-determinant of a singular law)."""
        return _logdet(self._divisible())

    def log_prob(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """Log density at points (..., d), one number each.

        A singular law has its density on its range, and -inf elsewhere. Cost O(d^3) once.
        """
        x = as_float(x, "x")
        if x.shape[-1:] != self.mean.shape:
            raise ValueError(
                f"log_prob takes points of shape (..., {self.dimension}), got {x.shape}"
            )
        flat = _log_prob(self.mean, self._divisible(), x.reshape(-1, self.dimension))
        return flat.reshape(x.shape[:-1])

    def sample(self, key, shape: int | tuple[int, ...] = ()) -> Float[Array, "... d"]:
        """Independent draws, shape (*shape, d), of any rank, by a square root of the covariance."""
        s, shape = self.operator, as_shape(shape)
        if isinstance(s, LowRankPlusDiagonal) and not isinstance(s.base, Isotropic):
            s = self._divisible()
        normal = jax.random.normal(as_key(key), (*shape, self.dimension), dtype=self.mean.dtype)
        flat = normal.reshape(-1, self.dimension)
        if is_elementwise(s):
            scale = jnp.sqrt(jnp.broadcast_to(entries(s), self.mean.shape))
            noise = flat * scale[None, :]
        elif isinstance(s, LowRankPlusDiagonal):
            noise = low_rank_root(s).matmat(flat.T).T
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

    def _divisible(self) -> AbstractMatrix:
        """The covariance, dense if it has low rank over zeros: its formulas divide by the base."""
        return divisible(self.operator, "a law of low rank over a zero diagonal")


def require_law(law: object, dimension: int, what: str) -> None:
    """Refuse what is not a Gaussian law on R^dimension; `what` says whose dimension that is."""
    if not isinstance(law, Gaussian):
        raise TypeError(
            f"expected a Gaussian law, got {type(law).__name__}: ou.Gaussian(mean, covariance)"
        )
    if law.dimension != dimension:
        raise ValueError(f"the law has dimension {law.dimension} but {what} has {dimension}")


def mean_energy(
    law: Gaussian, matrix: AbstractMatrix, centre: Float[Array, " d"]
) -> Float[Array, ""]:
    """E[x^T A x] / 2 for x = theta - centre, theta from the law: (tr(A S) + D^T A D) / 2.

    >>> mean_energy(Gaussian([1.0], 2.0), Isotropic(3.0, 1), jnp.zeros(1)).item()
    4.5
    """
    gap = law.mean - centre
    return (trace_product(matrix, law.operator) + gap @ matrix.matvec(gap)) / 2


def _rank(s: AbstractMatrix):
    if is_elementwise(s):
        return (s.diagonal_part() > 0).sum()
    if isinstance(s, LowRankPlusDiagonal):
        return jnp.asarray(s.dimension)
    return range_mask(eigh(jax.lax.stop_gradient(s.dense()))[0]).sum()


def _logdet(s: AbstractMatrix):
    if is_elementwise(s):
        values = s.diagonal_part()
        return jnp.sum(jnp.log(jnp.where(values > 0, values, 1.0)))
    if isinstance(s, LowRankPlusDiagonal):
        zero, unit = jnp.zeros(s.dimension), Isotropic(1.0, s.dimension)
        return -gaussian_divergence(zero, s, zero, unit).logdet
    return logdet(s.dense())


def _solve(s: AbstractMatrix, delta):
    if is_elementwise(s):
        values = s.diagonal_part()
        return jnp.where(values > 0, delta / jnp.where(values > 0, values, 1.0), 0.0)
    if isinstance(s, LowRankPlusDiagonal):
        return solve_matrix(s, delta)
    return pinv(s.dense()) @ delta


@eqx.filter_jit
def _log_prob(mean, operator: AbstractMatrix, points):
    rank, log_determinant = _rank(operator), _logdet(operator)
    full = rank == mean.size
    normalisation = log_determinant + rank.astype(points.dtype) * jnp.log(2 * jnp.pi)

    def one(x):
        delta = x - mean
        whitened = _solve(operator, delta)
        gap = delta - operator.matvec(whitened)
        scale = jnp.sqrt(jnp.finfo(x.dtype).eps) * jnp.sqrt(jnp.sum(delta**2))
        outside = ~full & (jnp.sqrt(jnp.sum(gap**2)) > scale)  # false for NaN, which stays NaN
        value = -(delta @ whitened + normalisation) / 2
        return jnp.where(outside, -jnp.inf, value + jnp.where(jnp.isnan(delta).any(), jnp.nan, 0.0))

    return jax.vmap(one)(points)


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
        return _require_positive_low_rank(operator, name, definite)
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


def _require_positive_low_rank(operator: LowRankPlusDiagonal, name: str, definite: bool) -> None:
    weights = operator.weights
    core = np.ones(1) if weights is None else np.asarray(weights)
    lows = np.linalg.eigvalsh(np.asarray(operator.core)) if core.ndim == 2 else core
    if lows.min(initial=0.0) >= -1e2 * np.finfo(lows.dtype).eps * np.abs(lows).max(initial=0.0):
        return require_positive(operator.base, f"{name}'s diagonal", definite=definite)
    if operator.dimension < 2_000:
        return require_positive(Dense(operator.dense(), check=False), name, definite=definite)
    base = np.broadcast_to(np.asarray(entries(operator.base)), (operator.dimension,))
    require_positive(operator.base, f"{name}'s diagonal", definite=True)
    # E + U W U^T >= 0 where I + V >= 0, V = E^-1/2 U W U^T E^-1/2 of a few columns
    triangle = np.linalg.qr(np.asarray(operator.factor) / np.sqrt(base)[:, None], mode="r")
    lowest = 1 + np.linalg.eigvalsh(triangle @ np.asarray(operator.core) @ triangle.T).min()
    refuse_unless(
        lowest >= -1e2 * np.sqrt(np.finfo(base.dtype).eps),
        f"{name} has a negative eigenvalue: in one direction its weights take {show(1 - lowest)} "
        "times what its diagonal gives; a covariance may lose at most all of it",
    )
