"""The exact Gaussian law as control variate: expectations under a loss that is nearly quadratic.

Particles on the true loss U and on its quadratic approximation are driven by the same noise, which
is a pure function of (stage, particle, step, coordinate). What the second ones do on average is
known exactly, from the kernel of their own integrator, so the noise that both share is removed:

    estimate = mean of f(x_i) - beta . (g(y_i) - E g(y)),    beta = Cov(g)^-1 Cov(g, f)

Sources: Glasserman 2003, "Monte Carlo Methods in Financial Engineering", section 4.1.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .._check import as_count, as_float, show
from ..laws import Gaussian
from ..linalg import Dense, pinv
from ..particles import EulerMaruyama, simulate
from ..particles.arguments import require_chain
from ..stages import AbstractChain, Chain, PotentialStage, Stage
from .claims import own_laws

FOLDS = 4
"""A particle's coefficients come from the other folds, which keeps the estimate unbiased."""

QUADRATIC_LIMIT = 30
"""Dimensions up to which all products of two coordinates are controls."""

NODES = (24, 16)
"""Gauss-Hermite nodes per axis for E f(y), and for its error."""

TENSOR_LIMIT = 3


class ControlledEstimate(eqx.Module):
    """E f(x) at the end of a run, with and without its control variate; shapes as f returns.

    `variance_removed` = 1 - (standard_error / plain_error)^2 is the share of the variance that the
    Gaussian process explains: x particles do the work of x / (1 - variance_removed). `controls` is
    how many functions of the approximation were used.
    """

    estimate: Float[Array, "..."]
    standard_error: Float[Array, "..."]
    plain: Float[Array, "..."]
    plain_error: Float[Array, "..."]
    controls: int = eqx.field(static=True)

    def __str__(self) -> str:
        return (
            f"{show(self.estimate)} ± {show(self.standard_error)} (without control variates "
            f"{show(self.plain)} ± {show(self.plain_error)}): {self.controls} controls remove "
            f"{show(jnp.round(100 * self.variance_removed, 1))} % of the variance"
        )

    @property
    def variance_removed(self) -> Float[Array, "..."]:
        zero = self.plain_error == 0
        return jnp.where(
            zero, 0.0, 1 - (self.standard_error / jnp.where(zero, 1.0, self.plain_error)) ** 2
        )


def control_variate(
    process: Any,
    function: Callable,
    *,
    particles: Any,
    key,
    method: Any = None,
    approximation: AbstractChain | None = None,
    dtype: Any = None,
) -> ControlledEstimate:
    """E[f(x)] at the end of a chain of any losses, with the Gaussian chain as control variate.

    **Arguments:** `process`, a chain whose stages may be `PotentialStage`; `function`, x (d,) -> a
    number or a vector; `method`, `EulerMaruyama()` by default; `approximation`, a chain of `Stage`
    with the same initial law, numbers of steps and learning rates, by default `quadratic(process)`.

    Controls are the coordinates of the approximation's particles, their products (d <= 30), and
    f(y) itself where d <= 3 and its Gaussian expectation is certain. The answer is about `process`
    as `method` moves it, with that method's step bias. Cost: two runs, and the second is cheap.
    Raises `ValueError` for too few particles, an approximation with another clock, and an f that is
    not finite where the particles are.

    >>> well = PotentialStage(lambda x: x @ x / 2 + 0.05 * jnp.sum(x**4), dimension=1, noise=1.0,
    ...                       learning_rate=0.1, batch_size=4, steps=60)
    >>> chain = Chain([well], initial=Gaussian([1.0], 0.0))
    >>> found = control_variate(chain, lambda x: x @ x, particles=2000, key=jax.random.key(0))
    >>> bool(found.variance_removed > 0.9), bool(found.standard_error < 0.3 * found.plain_error)
    (True, True)
    """
    require_chain(process, "control_variate")
    method = EulerMaruyama() if method is None else method
    approximation = quadratic(process) if approximation is None else approximation
    _refuse_other_clocks(process, approximation)
    _refuse_too_few(as_count(particles, "particles"), process.dimension)
    numbers = dict(particles=particles, key=key, method=method, dtype=dtype, final=True)
    runs = [simulate(chain, **numbers) for chain in (process, approximation)]
    x, y = (as_float(run.final) for run in runs)
    law = own_laws(method, approximation)[-1]
    values, same = _each(function, x), _each(function, y)
    expected = _expectation(function, law, same)
    shape = values.shape[1:]
    flat, same = values.reshape(len(values), -1), same.reshape(len(values), -1)
    if not bool(jnp.isfinite(flat).all()):
        raise ValueError(
            "f is NaN or infinite at some particles: the method is unstable on this loss (use more "
            "substeps=), or f is not defined there"
        )
    controls = _moments(y, law)
    if expected is not None:
        controls = jnp.concatenate([controls, same - expected.reshape(1, -1)], axis=1)
    left = _residuals(flat, controls)
    mean_and_error = lambda v: (v.mean(axis=0), v.std(axis=0, ddof=1) / len(v) ** 0.5)
    numbers = [part.reshape(shape) for v in (left, flat) for part in mean_and_error(v)]
    return ControlledEstimate(*numbers, controls.shape[1])


def quadratic(process: AbstractChain) -> Chain:
    """The chain with every `PotentialStage` replaced by its expansion at its `centre`.

    Second order for the loss, zeroth for noise that depends on the state. Give the stages
    `centre=` near the minimum that the particles are in.

    >>> import jaxou as ou
    >>> well = ou.PotentialStage(lambda x: (x[0] ** 2 - 1) ** 2 / 4, dimension=1, steps=10,
    ...                          noise=ou.Temperature(0.1), learning_rate=0.01, centre=[1.0])
    >>> bowl = quadratic(ou.Chain([well], initial=ou.Gaussian([1.0], 0.0))).stages[0]
    >>> float(bowl.hessian.dense()[0, 0]), float(bowl.minimum[0])
    (2.0, 1.0)
    """
    stages = [_expanded(s) if isinstance(s, PotentialStage) else s for s in process.stages]
    return Chain(stages, process.initial, process.names, process.carry_momentum)


@eqx.filter_jit
def _each(function, points):
    # a user's function mixes Python numbers, arrays and precisions as it likes
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return jax.vmap(lambda point: as_float(function(point)))(points)


@eqx.filter_jit
def _expansion(stage: PotentialStage):
    """(Hessian, gradient, covariance of state-dependent noise or None) at the stage's centre."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        hessian = jax.hessian(stage.potential)(stage.centre)
        slope = jax.grad(stage.potential)(stage.centre)
        noise = None
        if stage.state_dependent:
            root = jnp.asarray(stage.noise(stage.centre))
            noise = root**2 if root.ndim == 1 else root @ root.T
    return (hessian + hessian.T) / 2, slope, noise


def _expanded(stage: PotentialStage) -> Stage:
    hessian, slope, noise = _expansion(stage)
    return Stage(
        hessian=Dense(hessian),
        noise=stage.noise if noise is None else noise,
        minimum=stage.centre - pinv(hessian) @ slope,
        learning_rate=stage.learning_rate,
        batch_size=stage.batch_size,
        steps=stage.steps,
        langevin_temperature=stage.langevin_temperature,
    )


def _refuse_other_clocks(process, approximation):
    require_chain(approximation, "approximation=")
    if not all(isinstance(stage, Stage) for stage in approximation.stages):
        raise TypeError("the approximation must be a chain of ou.Stage, whose law is known exactly")
    clocks = [[(s.steps, s.learning_rate) for s in p.stages] for p in (process, approximation)]
    same = len(clocks[0]) == len(clocks[1]) and all(
        np.array_equal(a, b)
        for one, two in zip(*clocks, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    if not same:
        raise ValueError(
            "process and approximation share their noise only if they have the same stages, steps "
            "and learning rates"
        )


def _refuse_too_few(particles, d: int):
    controls = d + 1 + (d * (d + 1) // 2 if d <= QUADRATIC_LIMIT else 0)
    if particles < 10 * FOLDS * controls:
        raise ValueError(
            f"particles={particles} are too few for {controls} controls: give at least "
            f"{10 * FOLDS * controls}"
        )


def _moments(y, law: Gaussian):
    """Coordinates and their products, minus their exact means."""
    gaps = y - law.mean[None, :]
    if law.dimension > QUADRATIC_LIMIT:
        return gaps
    rows, columns = np.triu_indices(law.dimension)
    return jnp.concatenate(
        [gaps, gaps[:, rows] * gaps[:, columns] - law.covariance[rows, columns][None, :]], axis=1
    )


def _expectation(function, law: Gaussian, seen):
    """E f(y) by Gauss-Hermite quadrature, or None where two orders differ by a visible amount."""
    if law.dimension > TENSOR_LIMIT:
        return None
    fine, coarse = (_hermite_mean(function, law, count) for count in NODES)
    error = jnp.abs(fine - coarse)
    visible = 0.01 * jnp.std(seen, axis=0) / len(seen) ** 0.5
    return fine if bool(jnp.all(error <= visible)) else None


def _hermite_mean(function, law: Gaussian, count: int):
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    mesh = np.stack(np.meshgrid(*(nodes,) * law.dimension, indexing="ij"), axis=-1)
    shares = np.ones(())
    for _ in range(law.dimension):
        shares = np.multiply.outer(shares, weights / weights.sum())
    points = law.mean[None, :] + as_float(mesh.reshape(-1, law.dimension)) @ law.root().T
    return jnp.tensordot(as_float(shares.reshape(-1)), _each(function, points), axes=1)


@jax.jit
def _residuals(values, controls):
    """f - beta . control, with beta of a particle from the folds that it is not in."""
    scale = jnp.std(controls, axis=0)
    controls = controls / jnp.where(scale > 0, scale, 1.0)[None, :]
    fold = jnp.arange(len(values)) % FOLDS

    def coefficients(k):
        others = (fold != k).astype(values.dtype)[:, None]
        share = others / jnp.sum(others)
        gaps = controls - jnp.sum(share * controls, axis=0)[None, :]
        return pinv(gaps.T @ (share * gaps)) @ (gaps.T @ (share * values))

    betas = lax.map(coefficients, jnp.arange(FOLDS))
    left = values
    for k in range(FOLDS):
        left = jnp.where((fold == k)[:, None], values - controls @ betas[k], left)
    return left
