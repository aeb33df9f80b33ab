"""SGD on least squares without approximation: its mean and covariance at every step."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from .._check import (
    as_float,
    as_number,
    is_concrete,
    refuse_unless,
    require_finite,
    show_value,
)
from .._typing import Matrix, ScalarLike, Vector
from ..kernels import as_step_count
from ..laws import Gaussian
from ..linalg import eigh
from ..stages import Stage

LARGEST = 64
"""Most numbers in SGD's state (parameters; twice that with momentum) for a steady law."""


class Moments(NamedTuple):
    """Mean (d,) and covariance (d, d) of the parameters; their law is not Gaussian."""

    mean: Vector
    covariance: Matrix


class LeastSquaresMoments(eqx.Module):
    """Made by `least_squares_moments`; `optimum` (d,) is the minimum of the penalised loss."""

    x: Float[Array, "n d"]
    residuals: Float[Array, " n"]
    optimum: Vector
    learning_rate: Float[Array, ""]
    batch_size: Float[Array, ""]
    weight_decay: Float[Array, ""]
    momentum: Float[Array, ""]
    per_step: Float[Array, ""]
    has_momentum: bool = eqx.field(static=True)

    @property
    def hessian(self) -> Matrix:
        """X'X / n, the Hessian of the loss without its penalty."""
        return self.x.T @ self.x / self.x.shape[0]

    @property
    def noise(self) -> Matrix:
        """Covariance over 1/n of one example's gradient at the optimum."""
        d = self.optimum.shape[0]
        return self._spread(jnp.zeros(d), jnp.zeros((d, d)))

    def law(self, initial: Gaussian, steps: ScalarLike) -> Moments:
        """Mean and covariance after `steps` steps from `initial` (only its moments matter).

        Exact, for any learning rate, and infinite or NaN where that makes them leave the numbers
        that a float can hold. Cost O(steps n d^2); the number of steps is data.
        """
        if initial.dimension != self.optimum.shape[0]:
            raise ValueError(
                f"initial has {initial.dimension} dimensions and the data have "
                f"{self.optimum.shape[0]} features: give a law of the weights"
            )
        return _after(self, initial.mean, initial.covariance, as_step_count(steps, "steps"))

    def steady(self) -> Moments:
        """The moments that every start converges to, by one linear solve.

        Raises `ValueError` where there are none: the noise grows with the distance from the
        optimum, so the covariance explodes below the learning rate at which the mean does. Cost
        O(s^6 / 8) for a state of s numbers, at most 64.
        """
        size = self.optimum.shape[0] * (2 if self.has_momentum else 1)
        if size > LARGEST:
            raise ValueError(
                f"a steady law of {size} numbers needs a system of {size * (size + 1) // 2} "
                f"equations (limit: {LARGEST} numbers); use law(initial, steps) with many steps"
            )
        second, good = _fixed_point(self)
        refuse_unless(
            good,
            f"learning_rate={show_value(self.learning_rate)} has no steady covariance with "
            f"batch_size={show_value(self.batch_size)}: SGD's noise grows faster than its drift "
            "contracts; use a smaller learning rate or a larger batch",
        )
        return Moments(self.optimum, jnp.where(good, second, jnp.nan))

    def stage(self, steps: ScalarLike, **changes: Any) -> Stage:
        """SGD's quadratic model: the same Hessian, with the noise that it has at the optimum."""
        settings = dict(
            hessian=self.hessian,
            noise=self.noise * (self.per_step * self.batch_size),
            minimum=self.optimum,
            anchor=self.optimum,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            steps=steps,
            momentum=self.momentum if self.has_momentum else 0.0,
            weight_decay=self.weight_decay,
        )
        return Stage(**{**settings, **changes})

    def _matrices(self) -> tuple[Float[Array, "s s"], Float[Array, "s d"]]:
        """(F, K) of state' = F state + K (g - its mean)."""
        d = self.optimum.shape[0]
        eye = jnp.eye(d)
        bowl = self.hessian + self.weight_decay * eye
        if not self.has_momentum:
            return eye - self.learning_rate * bowl, -self.learning_rate * eye
        buffer = jnp.concatenate([bowl, self.momentum * eye], axis=1)
        place = jnp.concatenate([eye, jnp.zeros((d, d))], axis=1) - self.learning_rate * buffer
        drift = jnp.concatenate([place, buffer])
        return drift, jnp.concatenate([-self.learning_rate * eye, eye])

    def _step(self, drift, kick, mean, second):
        d = self.optimum.shape[0]
        spread = self.per_step * self._spread(mean[:d], second[:d, :d])
        return drift @ mean, drift @ second @ drift.T + kick @ spread @ kick.T

    def _spread(self, mean: Vector, second: Matrix) -> Matrix:
        """E of the covariance of one example's gradient x (x.u + r), u with these moments."""
        x, r = self.x, self.residuals
        weight = jnp.sum((x @ second) * x, axis=1) + 2 * r * (x @ mean) + r**2
        square = (x * weight[:, None]).T @ x / x.shape[0]
        bowl, offset = self.hessian, x.T @ r / x.shape[0]
        cross = jnp.outer(bowl @ mean, offset)
        return square - (bowl @ second @ bowl + cross + cross.T + jnp.outer(offset, offset))


@eqx.filter_jit
def _after(found: LeastSquaresMoments, mean, covariance, steps) -> Moments:
    drift, kick = found._matrices()
    d, size = found.optimum.shape[0], drift.shape[0]
    start = jnp.zeros(size).at[:d].set(mean - found.optimum)
    second = jnp.zeros((size, size)).at[:d, :d].set(covariance) + jnp.outer(start, start)
    step = lambda _, state: found._step(drift, kick, *state)
    start, second = lax.fori_loop(0, steps.astype(jnp.int32), step, (start, second))
    start, second = start[:d], second[:d, :d]
    return Moments(start + found.optimum, second - jnp.outer(start, start))


@eqx.filter_jit
def _fixed_point(found: LeastSquaresMoments) -> tuple[Matrix, Bool[Array, ""]]:
    """The steady second moments, and whether they are those of a law."""
    drift, kick = found._matrices()
    d, size = found.optimum.shape[0], drift.shape[0]
    row, column = np.triu_indices(size)

    def symmetric(values):
        upper = jnp.zeros((size, size)).at[row, column].set(values)
        return upper + upper.T - jnp.diag(jnp.diagonal(upper))

    zero = jnp.zeros(size)
    move = lambda values: found._step(drift, kick, zero, symmetric(values))[1][row, column]
    constant, linear = jax.linearize(move, jnp.zeros(row.size))
    matrix = jax.vmap(linear, out_axes=1)(jnp.eye(row.size))
    second = symmetric(jnp.linalg.solve(jnp.eye(row.size) - matrix, constant))
    # the recursion maps covariances to covariances, so its fixed point is one if and only if the
    # powers of the recursion die out
    values = eigh(lax.stop_gradient(second))[0]
    good = (values[0] >= -1e-9 * jnp.abs(values).max()) & jnp.isfinite(values).all()
    return second[:d, :d], good


def least_squares_moments(
    x: Any,
    y: Any,
    *,
    learning_rate: ScalarLike,
    batch_size: ScalarLike,
    weight_decay: ScalarLike = 0.0,
    anchor: Any = None,
    momentum: ScalarLike = 0.0,
    replacement: bool = True,
) -> LeastSquaresMoments:
    r"""SGD on least squares, as it is: exact mean and covariance at every learning rate.

        loss_i(theta) = (x_i . theta - y_i)^2 / 2,   minibatches of b examples,
        penalty = weight_decay |theta - anchor|^2 / 2

    With u = theta - optimum, r_i the residuals there, m = E[u], S = E[u u'] and H = X'X / n,

        V(m, S) = mean_i x_i x_i' (x_i' S x_i + 2 r_i x_i . m + r_i^2) - E[(H u + c)(H u + c)'],
        S <- (I - eta A) S (I - eta A) + (eta^2 / b) V(m, S),    A = H + weight_decay I,

    c = mean_i x_i r_i. The fourth moments of the data enter through x_i x_i' (x_i' S x_i): noise
    that depends on the parameters, which the Ornstein-Uhlenbeck model freezes at the optimum. With
    momentum the same holds for (u, buffer).

    **Arguments:** `x` (n, d), `y` (n,); `replacement=False` draws each step's batch without
    replacement, afresh (1/b becomes (n - b) / (b (n - 1))). **Returns** `LeastSquaresMoments`:
    `.law(initial, steps)`, `.steady()`, `.stage(steps)`, `.optimum`, `.hessian`, `.noise`.

    Raises `ValueError` where X'X is singular and weight_decay is 0. Source: the recursion is that
    of Bach and Moulines 2013 (arXiv 1306.2119) with the data's own fourth moments and minibatches.

    >>> found = least_squares_moments(
    ...     jnp.array([[1.0], [1.0]]), jnp.array([0.0, 2.0]), learning_rate=0.5, batch_size=2)
    >>> found.optimum, found.steady().covariance
    (Array([1.], dtype=...), Array([[0.16666667]], dtype=...))
    """
    x, y = as_float(x, "x"), as_float(y, "y")
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ValueError(f"x must be (n, d) and y (n,), got shapes {x.shape} and {y.shape}")
    require_finite(x, "x")
    require_finite(y, "y")
    n, d = x.shape
    rate, batch = as_number(learning_rate, "learning_rate"), as_number(batch_size, "batch_size")
    decay, beta = as_number(weight_decay, "weight_decay"), as_number(momentum, "momentum")
    refuse_unless(rate > 0, f"learning_rate={show_value(rate)} must be positive")
    refuse_unless(batch >= 1, f"batch_size={show_value(batch)} must be at least 1")
    refuse_unless(decay >= 0, f"weight_decay={show_value(decay)} must be >= 0")
    refuse_unless((beta >= 0) & (beta < 1), f"momentum={show_value(beta)} must lie in [0, 1)")
    if not replacement:
        refuse_unless(
            (batch <= n) & (n > 1),
            f"batch_size={show_value(batch)} exceeds the {n} examples: without replacement a "
            "batch cannot be larger than the data",
        )
    anchor = jnp.zeros(d) if anchor is None else as_float(anchor, "anchor")
    if anchor.shape != (d,):
        raise ValueError(f"anchor must have shape ({d},), got {anchor.shape}")
    bowl = x.T @ x / n + decay * jnp.eye(d)
    lowest = eigh(lax.stop_gradient(bowl))[0][0]
    refuse_unless(
        lowest > n * jnp.finfo(bowl.dtype).eps * jnp.trace(bowl),
        "X'X is singular, so the optimum is not unique: use weight_decay > 0 or fewer features",
    )
    optimum = jnp.linalg.solve(bowl, x.T @ y / n + decay * anchor)
    per_step = 1 / batch if replacement else (n - batch) / (batch * (n - 1))
    still = is_concrete(beta) and float(beta) == 0
    return LeastSquaresMoments(
        x, x @ optimum - y, optimum, rate, batch, decay, beta, per_step, not still
    )
