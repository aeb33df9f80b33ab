"""Steady laws of a stage: the SDE's (Gibbs), SGD's own (the chain's), with and without momentum.

A constant preconditioner P is handled in the coordinates P^-1/2 theta, where the Hessian is
P^1/2 A P^1/2, the gradient noise P^1/2 C P^1/2, and everything is symmetric again.
"""

import jax.numpy as jnp

from .._check import is_concrete
from .._status import Status, first_failure, poison, raise_unless_ok, status_if
from ..laws import Gaussian
from ..linalg.algebra import add, congruence, entries, is_elementwise, like
from ..linalg.equations import LYAPUNOV, heavy_ball, stein, underdamped
from ..linalg.matrices import DENSE_LIMIT, AbstractMatrix, Dense
from ..linalg.roots import pinv, sqrtm
from ..linalg.spectral import solve_spectral
from ..linalg.spectrum import extreme_eigenvalues
from .transition import gradient_noise_rate, langevin_rate


def symmetric_hessian(stage) -> tuple[AbstractMatrix, AbstractMatrix | None]:
    """(P^1/2 A P^1/2, P^1/2 or None), of schedules too: neither has a learning rate in it."""
    if stage.preconditioner is None:
        return stage.effective_hessian, None
    root = matrix_root(stage.preconditioner)
    return congruence(root, stage.effective_hessian), root


def symmetric_problem(stage) -> tuple[AbstractMatrix, AbstractMatrix, AbstractMatrix | None]:
    """(P^1/2 A P^1/2, noise rate in those coordinates, P^1/2 or None)."""
    hessian, root = symmetric_hessian(stage)
    noise = gradient_noise_rate(stage)
    noise = noise if root is None else congruence(root, noise)
    return hessian, add(noise, langevin_rate(stage)), root


def matrix_root(matrix: AbstractMatrix) -> AbstractMatrix:
    """The symmetric square root, of the same structure where that is one."""
    if is_elementwise(matrix):
        return like(jnp.sqrt(entries(matrix)), matrix)
    return Dense(sqrtm(matrix.dense()), check=False)


def gibbs(stage, throw: bool) -> Gaussian:
    """A S + S A = R, or with friction g = 1 - beta: g (A S + S A) + eta [A, [A, S]] / (2 g) = R."""
    hessian, rate, root = symmetric_problem(stage)
    low, high = extreme_eigenvalues(hessian)
    # an eigenvalue that is zero up to rounding has no steady law either
    flat = low <= stage.dimension * jnp.finfo(low.dtype).eps * jnp.abs(high)
    status = first_failure(stage.status, status_if(flat, Status.no_steady_law))
    raise_unless_ok(
        status,
        throw,
        f"no Gibbs law: the smallest eigenvalue of the Hessian is {_show(low)}; "
        f"{Status[Status.no_steady_law]}"
        if _fails(status, Status.no_steady_law)
        else "",
    )
    eta, friction = stage.learning_rate, 1 - stage.momentum
    equation = underdamped(friction, eta) if stage.has_momentum else LYAPUNOV
    covariance = solve_spectral(equation, hessian, rate)
    phase = None
    if stage.has_momentum and stage.dimension < DENSE_LIMIT:
        h, x = eta * hessian.dense(), covariance.dense()
        hx = h @ x
        velocity, cross = (hx + hx.T) / 2, (hx - hx.T) / (2 * friction)
        phase = _joint(stage, x, cross, velocity, root, root, status)
    return _law(stage, covariance, root, status, phase)


def stationary(stage, throw: bool) -> Gaussian:
    """A S + S A - eta A S A = R, or with momentum the heavy-ball equation."""
    hessian, rate, root = symmetric_problem(stage)
    low, high = extreme_eigenvalues(hessian)
    eta, beta = stage.learning_rate, stage.momentum
    limit = 2 * (1 + beta) / high
    flat = low <= stage.dimension * jnp.finfo(low.dtype).eps * jnp.abs(high)
    status = first_failure(
        stage.status,
        status_if(flat, Status.no_steady_law),
        status_if(eta >= limit, Status.unstable),
    )
    message = ""
    if _fails(status, Status.unstable):
        formula = "2 (1 + momentum)/λ_max" if stage.has_momentum else "2/λ_max"
        message = (
            f"learning_rate {_show(eta)} is unstable: SGD on this Hessian needs less than "
            f"{formula} = {_show(limit)}; lower it, or ask for the law at a finite step"
        )
    raise_unless_ok(status, throw, message)
    equation = heavy_ball(eta, beta) if stage.has_momentum else stein(eta)
    covariance = solve_spectral(equation, hessian, rate)
    phase = None
    if stage.has_momentum and stage.dimension < DENSE_LIMIT:
        # from x_{n-1} = x_n + eta m_n at stationarity: E m m^T and E x m^T follow from E x x^T
        x = covariance.dense()
        ax = hessian.dense() @ x
        buffer = (ax + ax.T) / (eta * (1 + beta))
        cross = (ax.T - eta * buffer) / (1 - beta)
        inverse = None if root is None else Dense(pinv(root.dense()), check=False)
        phase = _joint(stage, x, cross, buffer, root, inverse, status)
    return _law(stage, covariance, root, status, phase)


def _law(stage, covariance, root, status, phase):
    if root is not None:
        covariance = congruence(root, covariance)
    nan = poison(jnp.ones((), stage.minimum.dtype), status)
    return Gaussian(
        stage.effective_minimum, covariance.scale(nan), status=status, phase=phase, check=False
    )


def _joint(stage, position, cross, second, root, second_root, status):
    if root is not None:
        r, q = root.dense(), second_root.dense()
        position, cross, second = r @ position @ r, r @ cross @ q, q @ second @ q
    mean = jnp.concatenate([stage.effective_minimum, jnp.zeros_like(stage.minimum)])
    covariance = jnp.block([[position, cross], [cross.T, second]])
    nan = poison(jnp.ones((), mean.dtype), status)
    return Gaussian(mean, Dense(nan * covariance, check=False), status=status, check=False)


def _fails(status, kind) -> bool:
    return is_concrete(status) and bool(status == kind)


def _show(value) -> str:
    return f"{float(value):.4g}"
