"""Is the steady law a Gibbs law of the loss? Only if A and C commute; this says how far it is.

The steady law N(theta*, S) always looks like exp(-x^T S^-1 x / 2). With D = R / 2 the diffusion
matrix, A S = D + Q, and the antisymmetric Q = (A S - S A) / 2 drives a stationary current
-Q S^-1 x p(x) along the level sets. These are equivalent: no current; Q = 0;
A S = S A; A C = C A; no entropy production.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._status import poison
from ..linalg.algebra import densified, is_elementwise
from ..linalg.equations import LYAPUNOV, solve_spectral_dense
from ..linalg.factor import eigh
from ..linalg.matrices import Isotropic
from ..linalg.roots import pinv, range_mask
from .steady import symmetric_problem

WHY = "entropy production"


class Irreversibility(eqx.Module):
    """Five numbers about one steady law; all are zero or one for a Gibbs law of the loss.

    `entropy_production` per unit flow time; `antisymmetric` = (A S - S A)/2 (d, d);
    `commutator` = |AC - CA| / (|A| |C|), Frobenius; `anisotropy` = |C - tr(C)/d I| / |C|;
    `temperature` = tr(noise rate) / (2 d); `equipartition` = largest over smallest mean energy of a
    curvature mode.
    """

    entropy_production: Float[Array, ""]
    antisymmetric: Float[Array, "d d"]
    commutator: Float[Array, ""]
    anisotropy: Float[Array, ""]
    temperature: Float[Array, ""]
    equipartition: Float[Array, ""]

    def __str__(self) -> str:
        if float(self.commutator) > 1e-10:
            verdict = "SGD does not sample a Gibbs law of any potential in equilibrium: it rotates"
        elif float(self.anisotropy) > 1e-10:
            verdict = "reversible, but a Gibbs law of another potential than the loss"
        else:
            verdict = "the steady law is the loss's Gibbs law"
        return (
            f"{verdict} (entropy production {float(self.entropy_production):.4g} per unit flow "
            f"time, commutator {float(self.commutator):.3g}, anisotropy "
            f"{float(self.anisotropy):.3g}, temperature {float(self.temperature):.4g})"
        )


def _refuse_momentum(stage):
    if stage.has_momentum:
        raise ValueError(
            "entropy production with momentum needs velocity reversal and is not defined here; "
            "use stage.replace(momentum=0.0)"
        )


def entropy_production(stage) -> Float[Array, ""]:
    """tr(Q^T D^-1 Q S^-1) per unit flow time at the steady law; +inf if Q leaves the range of D."""
    _refuse_momentum(stage)
    status = stage.gibbs().status  # refuses with advice where there is no steady law
    hessian, rate, _ = symmetric_problem(stage)
    if is_elementwise(hessian, rate) or Isotropic in (type(hessian), type(rate)):
        return poison(jnp.zeros((), stage.minimum.dtype), status)
    a, c = densified(hessian, WHY).dense(), densified(rate, WHY).dense()
    return poison(_entropy_production(a, c), status)


@eqx.filter_jit
def _entropy_production(hessian, rate):
    covariance = solve_spectral_dense(LYAPUNOV, hessian, rate)
    current = hessian @ covariance
    current = (current - current.T) / 2
    inverse = pinv(rate / 2)
    value = jnp.sum((inverse @ current) * (current @ pinv(covariance)))
    values, vectors = eigh(lax.stop_gradient(rate))
    null = ~range_mask(values)
    leak = jnp.sqrt(jnp.sum((vectors.T @ current) ** 2, axis=1))
    scale = jnp.sqrt(jnp.sum((hessian @ covariance) ** 2))
    allowed = 1e2 * values.size * jnp.finfo(values.dtype).eps * scale
    return jnp.where(jnp.any(null & (leak > allowed)), jnp.inf, value)


def irreversibility(stage) -> Irreversibility:
    """All measures at once. Cost O(d^3)."""
    production = entropy_production(stage)  # refuses where there is no steady law
    hessian, rate, _ = symmetric_problem(stage)
    a, c = densified(hessian, WHY).dense(), densified(rate, WHY).dense()
    covariance = solve_spectral_dense(LYAPUNOV, a, c)
    current = a @ covariance
    values, vectors = eigh(lax.stop_gradient(a))
    energy = values * jnp.sum((covariance @ vectors) * vectors, axis=0)
    norm = lambda m: jnp.sqrt(jnp.sum(m**2))
    # without noise the law is a point, at temperature zero: nothing rotates and nothing is unequal
    share = lambda x, y, if_zero: jnp.where(y == 0, if_zero, x / jnp.where(y == 0, 1.0, y))
    isotropic = jnp.trace(c) / c.shape[0] * jnp.eye(c.shape[0], dtype=c.dtype)
    return Irreversibility(
        entropy_production=production,
        antisymmetric=(current - current.T) / 2,
        commutator=share(norm(a @ c - c @ a), norm(a) * norm(c), 0.0),
        anisotropy=share(norm(c - isotropic), norm(c), 0.0),
        temperature=jnp.trace(c) / (2 * c.shape[0]),
        equipartition=share(jnp.max(energy), jnp.min(energy), jnp.where(norm(c) > 0, jnp.inf, 1.0)),
    )
