"""A good posterior: full-rank, in closed form up to two numbers, chosen on the target sample.

For the quadratic model of the target loss the best Gaussian posterior at inverse temperature t has
covariance (t A + P)^-1, P the prior's precision, and mean covariance (t A theta* + P m0) (theory
section 13). Whitened by the prior and rotated into the eigenbasis of the whitened A, it is
diagonal, so that KL costs O(d) and one eigendecomposition serves every scale and temperature.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._typing import Matrix, PRNGKeyArray, Scalar, Vector
from ..linalg.factor import eigh, logabsdet, solve
from .priors import PriorShape
from .risk import losses_at
from .roots import AbstractRoot, DiagonalRoot

SCREENING_DRAWS = 64
"""Weight draws by which candidates are compared; the certificate uses fresh ones."""


class Posterior(eqx.Module):
    """A Gaussian in the prior's coordinates z, where the prior is N(0, tau^2 I).

    z ~ N(shift, diag(variances) + factor factor'), parameters = center + basis z; `shift` and
    `variances` are (d,), `factor` is (d, k) or None, `basis` maps coordinates to parameters.
    """

    center: Vector
    basis: AbstractRoot
    variances: Vector
    shift: Vector
    factor: Float[Array, "d k"] | None = None

    @property
    def mean(self) -> Vector:
        return self.center + self.basis.apply(self.shift[None, :])[0]

    @property
    def width(self) -> int:
        """How many normals one draw takes."""
        return self.shift.shape[0] + (0 if self.factor is None else self.factor.shape[1])

    def coordinates(self, noise: Float[Array, "draws width"]) -> Float[Array, "draws d"]:
        """Draws in the prior's coordinates from standard normals."""
        size = self.shift.shape[0]
        z = self.shift[None, :] + noise[:, :size] * jnp.sqrt(self.variances)[None, :]
        return z if self.factor is None else z + noise[:, size:] @ self.factor.T

    def draw(self, noise: Float[Array, "draws width"]) -> Float[Array, "draws d"]:
        """Weight vectors from standard normals; cost of one product with `basis` each."""
        return self.center[None, :] + self.basis.apply(self.coordinates(noise))

    @property
    def root(self) -> Float[Array, "d width"]:
        """A dense square root of the covariance in parameters, for small d."""
        root = self.basis.apply(jnp.diag(jnp.sqrt(self.variances))).T
        if self.factor is None:
            return root
        return jnp.concatenate([root, self.basis.apply(self.factor.T).T], axis=1)

    def kl(self, scale: Any) -> Scalar:
        """KL(posterior || prior of mean variance `scale`), nats; O(d k^2)."""
        ratio = self.variances / scale
        kl = 0.5 * jnp.sum(ratio - 1.0 - jnp.log(ratio) + self.shift**2 / scale)
        if self.factor is None:
            return kl
        return kl + 0.5 * (jnp.sum(self.factor**2) / scale - logabsdet(self._core))

    @property
    def _core(self) -> Matrix:
        """I + F' V^-1 F, whose determinant is the low-rank part's share of the volume."""
        factor = self.factor
        eye = jnp.eye(factor.shape[1], dtype=factor.dtype)
        return eye + factor.T @ (factor / self.variances[:, None])

    def log_ratio(self, noise: Float[Array, " width"], scale: Any) -> Scalar:
        """log dQ/dP at the draw that `noise` makes; its mean is the KL."""
        z = self.coordinates(noise[None, :])[0]
        away = z - self.shift
        size = z.shape[0]
        quadratic = jnp.sum(away**2 / self.variances)
        volume = jnp.sum(jnp.log(self.variances)) - size * jnp.log(scale)
        if self.factor is not None:
            along = self.factor.T @ (away / self.variances)
            quadratic = quadratic - along @ solve(self._core, along[:, None])[:, 0]
            volume = volume + logabsdet(self._core)
        return 0.5 * (z @ z / scale - quadratic - volume)


def given_posterior(shape: PriorShape, center: Vector, covariance: Any) -> Posterior:
    """The law N(center, covariance) in the prior's coordinates.

    Dense covariances need a dense prior, diagonal ones (d,) a diagonal prior. Raises `ValueError`
    if the covariance is singular, which would make KL infinite.
    """
    shift = shape.whiten(center)
    if isinstance(shape.root, DiagonalRoot):
        values = covariance / shape.root.values**2
        _refuse_singular(jnp.min(values), jnp.max(values), 1)
        return Posterior(shape.center, shape.root, values, shift)
    white = shape.root.inverse @ covariance @ shape.root.inverse.T
    values, vectors = eigh(0.5 * (white + white.T))
    _refuse_singular(values[0], values[-1], len(values))
    return Posterior(shape.center, shape.root.rotated(vectors), values, vectors.T @ shift)


def _refuse_singular(least: Scalar, largest: Scalar, size: int) -> None:
    if not float(least) > size * jnp.finfo(least.dtype).eps * float(largest):
        raise ValueError(
            "posterior_covariance is singular, so KL is infinite: add a multiple of the identity, "
            "or leave it out and a full-rank one is chosen"
        )


class PosteriorFamily(eqx.Module):
    """Best posteriors for the quadratic target loss, by prior scale and inverse temperature."""

    center: Vector
    basis: AbstractRoot
    stiffness: Vector
    shift: Vector

    def at(self, scale: Any, temperature: Any, pulled: Any) -> Posterior:
        """The member at prior variance `scale` and inverse `temperature` (in examples).

        With `pulled` = 1 its mean gives way to the prior as the optimum does, with 0 it stays.
        """
        gain = temperature * scale * self.stiffness
        moved = self.shift * (1.0 - pulled / (1.0 + gain))
        return Posterior(self.center, self.basis, scale / (1.0 + gain), moved)


@jax.jit
def posterior_family(shape: PriorShape, center: Vector, hessian: Matrix) -> PosteriorFamily:
    """Diagonalise the target Hessian (d, d) in the coordinates of a dense prior; cost O(d^3)."""
    white = shape.root.matrix.T @ hessian @ shape.root.matrix
    values, vectors = eigh(0.5 * (white + white.T))
    return PosteriorFamily(
        shape.center,
        shape.root.rotated(vectors),
        jnp.maximum(values, 0.0),
        vectors.T @ shape.whiten(center),
    )


class Screen(eqx.Module):
    """Empirical risk of candidates with common random numbers."""

    model: Any
    loss01: Callable[..., Any] = eqx.field(static=True)
    data: Any
    noise: Float[Array, "draws width"]
    trainable: Any

    @classmethod
    def make(
        cls,
        model: Any,
        loss01: Callable[..., Any],
        data: Any,
        size: int,
        key: PRNGKeyArray,
        trainable: Any,
    ) -> "Screen":
        noise = jax.random.normal(key, (SCREENING_DRAWS, size))
        return cls(model, loss01, jax.tree.map(jnp.asarray, data), noise, trainable)

    @eqx.filter_jit
    def __call__(self, posterior: Posterior) -> Scalar:
        weights = posterior.draw(self.noise[:, : posterior.width])
        return jnp.mean(losses_at(self.model, self.loss01, self.data, weights, self.trainable))


def choose(
    family: PosteriorFamily,
    scales: np.ndarray,
    complexity: Callable[[Array, np.ndarray], np.ndarray],
    bound: Callable[[float, float], float],
    screen: Screen,
    examples: int,
    move_center: bool,
    best: float = np.inf,
) -> tuple[float, int, float, float] | None:
    """Search scales x temperatures (x pulls) for the lowest bound: (bound, j, temperature, pull).

    `complexity(kl, j)` is the right-hand side of the kl bound for scale number j >= 1 and
    `bound(risk, complexity)` inverts it. A candidate is evaluated only if it would win with zero
    risk. None if nothing beats `best`.
    """
    found = None
    pulls = (1.0, 0.0) if move_center else (0.0,)
    index = np.arange(1, len(scales) + 1)
    temperatures = examples * np.exp(np.arange(-3.0, 4.01))
    for _ in range(2):
        grid = np.stack(
            [g.ravel() for g in np.meshgrid(index, temperatures, np.array(pulls), indexing="ij")]
        )
        numbers = grid[0].astype(int)
        kl = _kls(family, jnp.asarray(scales[numbers - 1]), *map(jnp.asarray, grid[1:]))
        cost = complexity(kl, numbers)
        for k in np.argsort(cost):
            if -np.expm1(-cost[k]) >= best:
                break
            scale, temperature, pull = scales[numbers[k] - 1], grid[1, k], grid[2, k]
            posterior = family.at(*map(jnp.asarray, (scale, temperature, pull)))
            value = bound(float(screen(posterior)), float(cost[k]))
            if value < best:
                best, found = value, (value, int(numbers[k]), float(temperature), float(pull))
        if found is None:
            return None
        # once more, finely, around the winner
        index = np.clip(found[1] + np.arange(-1, 2), 1, len(scales))
        index = np.unique(index)
        temperatures = found[2] * np.exp(np.linspace(-0.75, 0.75, 7))
        pulls = (found[3],)
    return found


@jax.jit
def _kls(family: PosteriorFamily, scales: Array, temperatures: Array, pulls: Array) -> Array:
    one = lambda scale, temperature, pull: family.at(scale, temperature, pull).kl(scale)
    return jax.vmap(one)(scales, temperatures, pulls)
