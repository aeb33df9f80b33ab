"""From the chain that is seen every few steps to the chain of single steps.

In the eigenbasis of the symmetric matrix M of one step, s steps have the matrix mu^s and the noise
Q_s = Q_1 k(mu_i, mu_j), k(x, y) = sum_(l < s) (x y)^l.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .._typing import Matrix, Vector
from ..linalg.factor import eigh


class StepRoot(eqx.Module):
    """`decay` (d,), 1 - mu of one step in the basis `vectors`; `power` 1 - mu^s; `noise` Q_1;
    whether it is `real` (a real M exists) and the noise `positive`."""

    decay: Vector
    power: Vector
    vectors: Matrix
    noise: Matrix
    stride: int = eqx.field(static=True)
    real: Bool[Array, ""]
    positive: Bool[Array, ""]

    @property
    def step(self) -> Matrix:
        """M, the matrix of one step."""
        return (self.vectors * (1.0 - self.decay)[None, :]) @ self.vectors.T

    def slope_change(self, change: Matrix) -> Matrix:
        """dM for a change of M^s: a divided difference of the root, in the eigenbasis."""
        if self.stride == 1:
            return change
        mu, s = 1.0 - self.decay, self.stride
        gap = self.power[None, :] - self.power[:, None]
        tie = jnp.abs(gap) <= 1e-6 * jnp.max(jnp.abs(self.power))
        quotient = (self.decay[None, :] - self.decay[:, None]) / jnp.where(tie, 1.0, gap)
        middle = 0.5 * (mu[:, None] + mu[None, :])
        table = jnp.where(tie, middle ** (1 - s) / s, quotient)
        return self.vectors @ (table * (self.vectors.T @ change @ self.vectors)) @ self.vectors.T

    def noise_change(self, change: Matrix, slope_change: Matrix) -> Matrix:
        """dQ_1 for changes of Q_s and of M."""
        if self.stride == 1:
            return change
        forward = lambda M: _several(M, self.noise, self.stride)
        moved = jax.jvp(forward, (self.step,), (slope_change,))[1]
        return self._divided(change - moved)

    def _divided(self, noise: Matrix) -> Matrix:
        k = _geometric(self.decay, self.power, self.stride)
        return self.vectors @ ((self.vectors.T @ noise @ self.vectors) / k) @ self.vectors.T


def step_root(slope: Matrix, noise: Matrix, stride: int) -> StepRoot:
    """The symmetric root of I + slope nearest the identity, and the noise of one step.

    Odd strides have one real root; even ones two per direction, of which mu >= 0 is taken.
    """
    delta, vectors = eigh(0.5 * (slope + slope.T))
    if stride == 1:
        yes = jnp.asarray(True)
        return StepRoot(-delta, -delta, vectors, noise, 1, yes, yes)
    phi = 1.0 + delta
    real = jnp.all(phi > 0.0) if stride % 2 == 0 else jnp.asarray(True)
    safe = jnp.where(phi > 0.0, delta, 0.0)
    below = 1.0 + jnp.abs(phi) ** (1.0 / stride)
    decay = jnp.where(phi > 0.0, -jnp.expm1(jnp.log1p(safe) / stride), below)
    root = StepRoot(decay, -delta, vectors, noise, stride, real, jnp.asarray(True))
    first = root._divided(noise)
    first = 0.5 * (first + first.T)
    values = eigh(first)[0]
    positive = values[0] > -values.shape[0] * jnp.finfo(values.dtype).eps * values[-1]
    return eqx.tree_at(lambda r: (r.noise, r.positive), root, (first, positive))


def _geometric(decay: Vector, power: Vector, stride: int) -> Matrix:
    """k(mu_i, mu_j), from 1 - mu and 1 - mu^s so that slow directions lose no digits."""
    product = lambda a: a[:, None] + a[None, :] - a[:, None] * a[None, :]
    below = product(decay)
    tie = jnp.abs(below) < 1e-14
    return jnp.where(tie, float(stride), product(power) / jnp.where(tie, 1.0, below))


def _several(M: Matrix, Q: Matrix, stride: int) -> Matrix:
    return jax.lax.fori_loop(0, stride, lambda _, total: M @ total @ M + Q, jnp.zeros_like(Q))
