"""A stage from a recorded trajectory: maximum likelihood of the OU model, and its errors."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._check import as_count, as_float, as_number, refuse_unless, require_finite, show_value
from .._typing import Matrix, Scalar, ScalarLike, Vector
from ..convergence.null_laws import normal_quantile
from ..linalg.factor import eigh, solve
from ..stages import Stage
from .autoregression import least_squares, sums, symmetric_maximum
from .residuals import ChiSquareTest, chi_square_test, largest_lag, whiteness
from .roots import StepRoot, step_root


class StageErrors(eqx.Module):
    """Standard errors of theta* (d,), of A (d, d) and of C (d, d)."""

    minimum: Vector
    hessian: Matrix
    noise: Matrix


class _Chain(eqx.Module):
    """The estimate's distribution: independent standard normals, each moving (theta*, A, C)."""

    root: StepRoot
    slope: Matrix
    frame: Matrix
    information: Vector
    noise: Matrix
    lag: Vector
    count: Scalar
    dof: Scalar
    learning_rate: Scalar
    batch_size: Scalar
    symmetric: bool = eqx.field(static=True)

    def moved_by_mean(self, column: Vector) -> StageErrors:
        """The mean of the noise over the trajectory, in one direction of its frame."""
        zero = jnp.zeros_like(self.slope)
        shift = solve(self.slope, column[:, None])[:, 0] / jnp.sqrt(self.count)
        return StageErrors(shift, zero, zero)

    def moved_by_slope(self, i: Array, j: Array) -> StageErrors:
        """One entry of the slope in the frame where entries are independent."""
        one, other = self.frame[:, i], self.frame[:, j]
        change = jnp.outer(one, other)
        if self.symmetric:
            first, second = self.information[i], self.information[j]
            size = jnp.where(i == j, first, first + second)
            change = jnp.where(i == j, change, change + change.T)
        else:
            size = self.information[j]
        change = change / jnp.sqrt(size)
        shift = solve(self.slope, (change @ self.lag)[:, None])[:, 0]
        step = self.root.slope_change(change)
        noise = self.root.noise_change(jnp.zeros_like(change), step)
        hessian = -0.5 * (step + step.T) / self.learning_rate
        return StageErrors(shift, hessian, self._scaled(noise))

    def moved_by_noise(self, i: Array, j: Array) -> StageErrors:
        """One entry of the residual covariance in its own frame (Wishart)."""
        change = jnp.outer(self.frame[:, i], self.frame[:, j])
        change = (change + change.T) / jnp.sqrt(self.dof * jnp.where(i == j, 2.0, 1.0))
        change = self.root.noise_change(change, jnp.zeros_like(change))
        zero = jnp.zeros_like(change)
        return StageErrors(zero[0], zero, self._scaled(change))

    def _scaled(self, noise: Matrix) -> Matrix:
        return noise * self.batch_size / self.learning_rate**2

    def spread(self, linear: Callable[[StageErrors], Any]) -> Any:
        """Root of the sum of squares of a linear map over all directions."""
        d = self.slope.shape[0]
        upper = jnp.triu_indices(d)
        every = tuple(index.ravel() for index in jnp.indices((d, d)))

        def over(directions: Callable[..., StageErrors], *indices: Array) -> Any:
            square = lambda args: jax.tree.map(lambda x: x**2, linear(directions(*args)))
            like = jax.eval_shape(square, tuple(index[0] for index in indices))
            zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
            add = lambda total, args: (jax.tree.map(jnp.add, total, square(args)), None)
            return jax.lax.scan(add, zero, indices)[0]

        parts = [
            over(self.moved_by_mean, self.frame.T),
            over(self.moved_by_slope, *(upper if self.symmetric else every)),
            over(self.moved_by_noise, *upper),
        ]
        return jax.tree.map(lambda *squares: jnp.sqrt(sum(squares)), *parts)


class Fit(eqx.Module):
    """What a trajectory says about its stage.

    - `stage`: A, C and theta* at the maximum of the likelihood (C over `dof`), with the learning
      rate, batch size and length of the trajectory. A includes weight decay, if there was any.
    - `standard_errors`: of theta*, A and C, from the Fisher information; `interval` and
      `error_of` carry them on.
    - `log_likelihood` in nats, conditional on each run's first iterate; `dof` residual degrees of
      freedom of each coordinate; `transitions` pairs of consecutive iterates.
    - `residual_test`: do the residuals remember the last `lags` ones? None if runs are too short.
      A small p-value says that noise is correlated in time (reshuffled epochs, momentum), or that
      the loss is not quadratic: then the standard errors do not hold.
    - `symmetry_test`: likelihood ratio of a symmetric A against any A; None with symmetric=False.
    - `drift`: A before it was made symmetric. `identified`: False where, under tracing, `fit`
      would have refused; numbers are then NaN.
    """

    stage: Stage
    standard_errors: StageErrors
    log_likelihood: Scalar
    dof: Scalar
    residual_test: ChiSquareTest | None
    symmetry_test: ChiSquareTest | None
    drift: Matrix
    identified: Bool[Array, ""]
    lags: int = eqx.field(static=True)
    transitions: int = eqx.field(static=True)
    chain: _Chain

    def __str__(self) -> str:
        found, errors = (
            [np.asarray(part) for part in (x.minimum, x.hessian, x.noise)]
            for x in (_triple(self.stage), self.standard_errors)
        )
        (minimum, hessian, noise), (of_minimum, of_hessian, of_noise) = found, errors
        size, lines = len(minimum), [f"{self.transitions:,} steps of SGD, parameter by parameter:"]
        for k in range(min(size, 8)):
            lines.append(
                f"  {k}: minimum {minimum[k]:.4g} ± {of_minimum[k]:.2g}, curvature "
                f"{hessian[k, k]:.4g} ± {of_hessian[k, k]:.2g}, noise {noise[k, k]:.4g} ± "
                f"{of_noise[k, k]:.2g}"
            )
        if size > 8:
            lines.append(f"  and {size - 8} more")
        test = self.residual_test
        if test is not None:
            lines.append(f"  residuals forget the last {self.lags} steps: p = {test.p_value:.2g}")
        return "\n".join(lines)

    def interval(self, level: ScalarLike = 0.95) -> tuple[StageErrors, StageErrors]:
        """Lower and upper ends for theta*, A and C, normal, each at `level` by itself."""
        level = as_number(level, "level")
        refuse_unless((level > 0) & (level < 1), f"level={show_value(level)} must lie in (0, 1)")
        z = normal_quantile((1 - level) / 2)
        centre = _triple(self.stage)
        end = lambda sign: jax.tree.map(lambda x, e: x + sign * z * e, centre, self.standard_errors)
        return end(-1.0), end(1.0)

    def error_of(self, function: Callable[[Stage], Any]) -> Any:
        """Standard error of `function(stage)`, a differentiable pytree of arrays: delta method.

        Cost: one derivative of `function` for each of d (d + 2) directions of the estimate.
        """

        return _error_of(self, function)


@eqx.filter_jit
def _error_of(found: Fit, function: Callable[[Stage], Any]) -> Any:
    of = lambda point: function(_with(found.stage, point))
    return found.chain.spread(jax.linearize(of, _triple(found.stage))[1])


def fit(
    trajectory: Any,
    *,
    learning_rate: ScalarLike,
    batch_size: ScalarLike,
    stride: int = 1,
    symmetric: bool = True,
    lags: int = 5,
) -> Fit:
    r"""Fit SGD's quadratic model to its own iterates, by maximum likelihood.

        theta_(k+1) = theta* + (I - eta A) (theta_k - theta*) + N(0, eta^2 C / b)

    `trajectory`: iterates (times, d), or (runs, times, d) of independent runs of one stage, saved
    every `stride` steps; `learning_rate` eta and `batch_size` b are constants of the stage. The
    likelihood is conditional on each run's first iterate, so runs may start anywhere: a transient
    tells much about A. Plain SGD only: momentum makes another process (the residual test sees it).

    - `symmetric=True` maximises over symmetric A (a Sylvester equation, alternating with the
      noise); False takes least squares and gives its symmetric part to the stage (stride 1 only).
    - `stride` s > 1: the fit is of (I - eta A)^s and its noise, and A is the matrix root. For an
      even s directions with eta a > 1 cannot be told from their mirror images, eta a < 1 is
      taken. Refused where the root is not determined: a direction that has relaxed between two
      saved iterates (mu^s within three standard errors of 0), or a negative one for an even s.
    - Standard errors are asymptotic. The bias of A is of order (1 + 3 mu) / (eta T) for T
      transitions of a direction (Hurwicz), small against the standard error
      sqrt((1 - mu^2) / T) / eta once a run lasts many relaxation times 1 / (eta a).

    Cost O(T d^2 + d^5), some seconds at d = 30; use float64, and record in it too, where iterates
    move little against their distance from zero. Raises `ValueError` for fewer than
    5 (d + 1) transitions, and for iterates that do not move in some direction.

    >>> noise = jax.random.normal(jax.random.key(0), (4000,))
    >>> step = lambda x, z: (0.9 * x + 0.1 * z, x)
    >>> x = jax.lax.scan(step, jnp.zeros(()), noise)[1]
    >>> found = fit(x[:, None], learning_rate=0.1, batch_size=1)
    >>> bool(abs(found.stage.hessian.dense()[0, 0] - 1) < 3 * found.standard_errors.hessian[0, 0])
    True
    """
    x = as_float(trajectory, "trajectory")
    if x.ndim not in (2, 3):
        raise ValueError(
            f"trajectory must have shape (times, d) or (runs, times, d), got {x.shape}; a scalar "
            "path is x[:, None]"
        )
    require_finite(x, "trajectory")
    as_given = isinstance(trajectory, np.ndarray) and trajectory.dtype.kind == "f"
    recorded = trajectory if as_given else x
    recorded = recorded if x.ndim == 3 else recorded[None]
    learning_rate = as_number(learning_rate, "learning_rate")
    batch_size = as_number(batch_size, "batch_size")
    refuse_unless(learning_rate > 0, f"learning_rate={show_value(learning_rate)} must be positive")
    refuse_unless(batch_size >= 1, f"batch_size={show_value(batch_size)} must be at least 1")
    stride = as_count(stride, "stride")
    lags = as_count(lags, "lags", 0)
    if stride > 1 and not symmetric:
        raise ValueError(
            f"stride={stride} needs symmetric=True: the real root of a general matrix is not "
            "unique; save every iterate (stride=1) to fit without symmetry"
        )
    runs, times, d = recorded.shape
    transitions = runs * (times - 1)
    if transitions < 5 * (d + 1):
        raise ValueError(
            f"{runs} run(s) of {times} iterates in d = {d} have {transitions} transitions; a fit "
            f"needs at least 5 (d + 1) = {5 * (d + 1)}: record more, or project the iterates on "
            "a few leading directions of the curvature"
        )
    lags = largest_lag(runs, times, d, lags)
    # from the first iterate, and before a cast: far from zero float32 loses what moves
    origin = recorded[0, 0]
    x = as_float(recorded - origin[None, None, :], "trajectory")
    found, memory, asymmetry, spread, moves, determined = _fit(
        x, as_float(origin), learning_rate, batch_size, stride, symmetric, lags
    )
    refuse_unless(
        moves,
        "the noise of the trajectory is singular: the iterates do not move in some direction, "
        "whose curvature they cannot show (a gauge direction, or fewer examples than "
        "parameters); project them on the directions that move",
    )
    refuse_unless(
        spread,
        "the iterates before each step do not spread in some direction, whose curvature they "
        "cannot show: start the runs apart, record more steps, or project the iterates on the "
        "directions that move",
    )
    relaxed = "save more often" if stride > 2 else "save every iterate"
    refuse_unless(
        found.chain.root.real,
        f"A is not identifiable from stride={stride}: some direction changes sign from one saved "
        f"iterate to the next, which an even number of equal steps never does; {relaxed}, or at "
        "an odd stride",
    )
    refuse_unless(
        determined,
        f"A is not identifiable from stride={stride}: some direction relaxes between two saved "
        f"iterates, (1 - eta a)^{stride} being within three standard errors of 0; {relaxed}",
    )
    refuse_unless(
        found.chain.root.positive,
        f"no noise of single steps explains the noise over stride={stride} of them: its "
        f"covariance would have a negative eigenvalue; {relaxed}, or record longer",
    )
    # outside of the compiled part: the tail of chi-square compiles once for all shapes
    tests = (
        chi_square_test(memory, lags * d**2) if lags else None,
        chi_square_test(asymmetry, d * (d - 1) // 2) if symmetric else None,
    )
    where = lambda found: (found.residual_test, found.symmetry_test)
    return eqx.tree_at(where, found, tests, is_leaf=lambda leaf: leaf is None)


@eqx.filter_jit
def _fit(
    x: Float[Array, "runs times d"],
    origin: Vector,
    learning_rate: Scalar,
    batch_size: Scalar,
    stride: int,
    symmetric: bool,
    lags: int,
) -> tuple[Fit, Scalar, Scalar, Bool[Array, ""], Bool[Array, ""], Bool[Array, ""]]:
    runs, times, d = x.shape
    data = sums(x[:, :-1].reshape(-1, d), x[:, 1:].reshape(-1, d))
    free = least_squares(data)
    best = symmetric_maximum(data) if symmetric else free
    dof = data.count - 1.0 - ((d + 1) / 2 if symmetric else d)
    inflated = data.count / dof
    noise = best.noise * inflated
    frame, information = best.frame * jnp.sqrt(inflated), best.information * inflated
    root = step_root(best.slope, noise, stride)
    minimum = data.mean - solve(best.slope, data.increment[:, None])[:, 0]
    chain = _Chain(
        root, best.slope, frame, information, noise, minimum - data.mean, data.count, dof,
        learning_rate, batch_size, symmetric,
    )  # fmt: skip
    spread = _regular(data.S)
    moves = jnp.where(spread, _regular(noise), _regular(data.V))  # no spread, no estimate
    determined = jnp.asarray(True) if stride == 1 else _determined(chain)
    good = spread & moves & root.real & determined & root.positive
    masked = lambda value: jnp.where(good, value, jnp.nan)
    drift = -best.slope if stride == 1 else jnp.eye(d, dtype=x.dtype) - root.step
    hessian = 0.5 * (drift + drift.T) / learning_rate
    stage = Stage(
        hessian=masked(hessian),
        noise=masked(chain._scaled(root.noise)),
        minimum=masked(minimum + origin),
        learning_rate=learning_rate,
        batch_size=batch_size,
        steps=stride * (times - 1),
    )
    errors = jax.tree.map(masked, chain.spread(lambda change: change))
    found = Fit(
        stage,
        errors,
        best.log_likelihood,
        dof,
        None,
        None,
        masked(drift / learning_rate),
        good,
        lags,
        runs * (times - 1),
        chain,
    )
    memory = whiteness(x, data, free, lags) if lags else jnp.zeros_like(dof)
    ratio = 2 * jnp.maximum(free.log_likelihood - best.log_likelihood, 0.0)
    # Bartlett: the log-likelihood ratio of a regression is too large by about d / T
    asymmetry = ratio * (data.count - d - 1) / data.count
    return found, memory, asymmetry, spread, moves, determined


def _regular(matrix: Matrix) -> Bool[Array, ""]:
    """Whether a covariance has more than rounding in every direction."""
    values = eigh(matrix)[0]
    return values[0] > 100 * values.shape[0] * jnp.finfo(values.dtype).eps * values[-1]


def _determined(chain: _Chain) -> Bool[Array, ""]:
    """Whether every eigenvalue of the power is three standard errors away from 0."""
    turned = chain.root.vectors.T @ chain.frame
    pair = turned[:, :, None] * turned[:, None, :]
    total = chain.information[:, None] + chain.information[None, :]
    variance = jnp.sum(2 * pair**2 / total[None, :, :], axis=(1, 2))
    return jnp.all(jnp.abs(1.0 - chain.root.power) > 3 * jnp.sqrt(variance))


def _triple(stage: Stage) -> StageErrors:
    return StageErrors(stage.minimum, stage.hessian.dense(), stage.noise.dense())


def _with(stage: Stage, point: StageErrors) -> Stage:
    return Stage(
        hessian=point.hessian,
        noise=point.noise,
        minimum=point.minimum,
        learning_rate=stage.learning_rate,
        batch_size=stage.batch_size,
        steps=stage.steps,
    )
