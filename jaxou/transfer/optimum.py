"""The minimiser of a regularised training loss, to the last digits: damped Newton."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import as_count, as_number, refuse_lost, refuse_unless, show_value
from .._typing import Matrix, Scalar, ScalarLike, Vector
from ..curvature.batching import example_count, sum_over
from ..curvature.hessian import hessian
from ..curvature.parameters import from_vector, losses_of, to_vector

LARGEST = 10_000
"""Most parameters of Newton's method here: their Hessian takes 800 MB."""


class Optimum(eqx.Module):
    """A minimiser: the `model` there, its parameter `vector` (d,), the objective's `value` in nats
    (decay included), the length of its gradient and the Newton steps taken."""

    model: Any
    vector: Vector
    value: Scalar
    gradient_norm: Scalar
    steps: int = eqx.field(static=True)

    def __str__(self) -> str:
        return (
            f"value {float(self.value):.6g} nats after {self.steps} steps, "
            f"{self.vector.shape[0]:,} parameters; gradient of length "
            f"{float(self.gradient_norm):.2g}"
        )


def minimise(
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    *,
    weight_decay: ScalarLike = 1e-3,
    trainable: Any = None,
    tolerance: float | None = None,
    max_steps: int = 100,
    chunk: int = 256,
) -> Optimum:
    r"""argmin over theta of (1/n) sum_i l(theta, z_i) + (weight_decay/2) |theta|^2, from `model`.

    Newton's method with the exact Hessian and step halving (Armijo), for models of up to some
    thousand parameters; the Hessian is shifted until it is positive definite, and kept for as long
    as each step shortens the gradient fivefold. Stops when the gradient is shorter than
    `tolerance` (default 1e-10 in float64, 1e-5 in float32). Cost: some five Hessians (see
    `jaxou.curvature.hessian`), each with one d x d factorisation. Raises `RuntimeError` if
    `max_steps` do not suffice, and `ValueError` on a loss that is not finite and for more than
    10,000 parameters.

    >>> loss = lambda model, example: 0.5 * (model[0] - example) ** 2
    >>> found = minimise(jnp.zeros(1), loss, jnp.array([1.0, 3.0]), weight_decay=1.0)
    >>> round(float(found.vector[0]), 6)
    1.0
    """
    vector = to_vector(model, trainable)
    if vector.shape[0] > LARGEST:
        raise ValueError(
            f"the Hessian of {vector.shape[0]:,} parameters is too large for Newton's method "
            f"(limit {LARGEST:,}): train by minibatches and end with `polish`, or minimise over a "
            "part of the model with trainable="
        )
    data = jax.tree.map(jnp.asarray, data)
    decay = penalty(weight_decay).astype(vector.dtype)
    max_steps = as_count(max_steps, "max_steps", 0)
    if tolerance is None:
        tolerance = 1e-10 if vector.dtype == jnp.float64 else 1e-5
    objective = Objective(model, loss, data, decay, trainable, chunk)

    factor, last = None, float("inf")
    for step in range(max_steps + 1):
        value, gradient = _value_and_gradient(objective, vector)
        norm = jnp.linalg.norm(gradient)
        refuse_lost("the loss or its gradient", norm)
        if norm <= tolerance:
            return Optimum(from_vector(model, vector, trainable), vector, value, norm, step)
        if factor is None or norm > 0.2 * last:
            curvature = hessian(model, loss, data, at=vector, trainable=trainable, chunk=chunk)
            factor = _factorise(curvature, decay)
        vector = _newton_step(objective, vector, value, gradient, factor)
        last = norm
    raise RuntimeError(
        f"the gradient is still {float(norm):.2g} long after {max_steps} Newton steps "
        f"(tolerance {tolerance:.2g}): raise weight_decay (now {float(decay):g}), which makes the "
        "minimum sharper, or start nearer to it"
    )


def penalty(weight_decay: ScalarLike) -> Scalar:
    """The weight decay as an array; `ValueError` if it is negative."""
    decay = as_number(weight_decay, "weight_decay")
    refuse_unless(decay >= 0, f"weight_decay={show_value(decay)} must not be negative")
    return decay


class Objective(eqx.Module):
    """The penalised training loss as a function of the parameter vector, in blocks of `chunk`."""

    model: Any
    loss: Callable[..., Any] = eqx.field(static=True)
    data: Any
    decay: Scalar
    trainable: Any
    chunk: int = eqx.field(static=True)

    def __call__(self, vector: Vector) -> Float[Array, ""]:
        def block(examples: Any, weights: Float[Array, " block"]) -> Float[Array, ""]:
            return weights @ losses_of(self.model, self.loss, self.trainable, examples)(vector)

        mean = sum_over(block, self.data, chunk=self.chunk) / example_count(self.data)
        return mean + 0.5 * self.decay * (vector @ vector)


@eqx.filter_jit
def _value_and_gradient(objective: Objective, vector: Vector) -> tuple[Scalar, Vector]:
    return jax.value_and_grad(objective)(vector)


@eqx.filter_jit
def _newton_step(
    objective: Objective, vector: Vector, value: Scalar, gradient: Vector, factor: Matrix
) -> Vector:
    """One step along -(A + lambda I)^-1 g, halved until it descends by Armijo's rule."""
    solve = lambda rhs, trans: jax.lax.linalg.triangular_solve(
        factor, rhs, left_side=True, lower=True, transpose_a=trans
    )
    direction = -solve(solve(gradient[:, None], False), True)[:, 0]
    slope = gradient @ direction

    def too_long(state: tuple[Array, Array]) -> Array:
        size, halvings = state
        # a few rounding errors of the value are no ascent: near the minimum Newton is right
        allowed = value + 1e-4 * size * slope + 8 * jnp.finfo(value.dtype).eps * jnp.abs(value)
        return (objective(vector + size * direction) > allowed) & (halvings < 30)

    size, _ = jax.lax.while_loop(
        too_long,
        lambda state: (0.5 * state[0], state[1] + 1),
        (jnp.ones_like(value), jnp.asarray(0)),
    )
    return vector + size * direction


@jax.jit
def _factorise(curvature: Matrix, decay: Scalar) -> Matrix:
    """Cholesky factor of A + decay I, plus a shift raised tenfold until the factor exists."""
    eye = jnp.eye(curvature.shape[0], dtype=curvature.dtype)
    first = 1e-3 * (jnp.mean(jnp.abs(jnp.diagonal(curvature))) + decay)

    def factor(shift: Scalar) -> Matrix:
        return jax.lax.linalg.cholesky(curvature + (decay + shift) * eye, symmetrize_input=False)

    def body(state: tuple[Scalar, Matrix]) -> tuple[Scalar, Matrix]:
        shift = jnp.maximum(10.0 * state[0], first)
        return shift, factor(shift)

    zero = jnp.zeros_like(decay)
    return jax.lax.while_loop(
        lambda state: ~jnp.all(jnp.isfinite(state[1])) & (state[0] < 1e12 * first),
        body,
        (zero, factor(zero)),
    )[1]
