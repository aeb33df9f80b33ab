"""The stationary current of a stage's SDE, in closed form.

With F = P A the drift's matrix (P the preconditioner, I if none), D the diffusion matrix and S the
steady covariance, F S = D + R with R antisymmetric, and probability flows along the level sets:

    J(x) = v(x) p(x),    v(x) = -R S^-1 (x - theta*).

R S^-1 is similar to an antisymmetric matrix, so its eigenvalues are +-i w: the cloud rotates with
angular frequencies w per unit flow time.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._check import refuse_unless
from ..._typing import Scalar
from ...laws import Gaussian
from ...linalg import pinv, svd
from ...linalg.factor import eigh
from ...linalg.roots import range_mask
from ...stages import Irreversibility, Stage
from ...stages.steady import symmetric_problem


class SteadyCurrent(eqx.Module):
    """The steady law, its current, and how far it is from a Gibbs law of the loss.

    - `law`: the steady law; `diffusion` D and `antisymmetric` R, (d, d);
    - `rotation` = R S^-1 (d, d), `frequencies` (d // 2,), largest first, in radians per flow time;
    - `measures`: entropy production per flow time, non-commutation, anisotropy, temperature and
      equipartition, in the coordinates in which a preconditioner is symmetric;
    - `proportionality` = |C - c A| / |C| for the nearest c: zero where the law is isotropic.
    """

    law: Gaussian
    diffusion: Float[Array, "d d"]
    antisymmetric: Float[Array, "d d"]
    rotation: Float[Array, "d d"]
    frequencies: Float[Array, " planes"]
    measures: Irreversibility
    proportionality: Scalar

    @property
    def entropy_production(self) -> Scalar:
        """Per unit flow time; per step multiply by the learning rate."""
        return self.measures.entropy_production

    def velocity(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
        """v(x) = -R S^-1 (x - theta*), the mean velocity of the flow of probability at x."""
        flat = x.reshape(-1, x.shape[-1]) - self.law.mean[None, :]
        return (-flat @ self.rotation.T).reshape(x.shape)

    def current(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
        """J(x) = v(x) p(x); a law of full rank."""
        return self.velocity(x) * jnp.exp(self.law.log_prob(x))[..., None]


def steady_current(stage: Stage) -> SteadyCurrent:
    """The current of a stage with constant hyper-parameters and no momentum. Cost O(d^3).

    Raises `ValueError` with advice where there is no steady law or no noise, with momentum (its
    entropy production needs velocity reversal) or with a schedule.

    >>> stage = Stage(hessian=[[2.0, 0.6], [0.6, 1.0]], noise=[[1.0, -0.4], [-0.4, 0.5]],
    ...               minimum=0.0, learning_rate=0.1, batch_size=8, steps=1)
    >>> found = steady_current(stage)
    >>> round(float(found.antisymmetric[1, 0]), 12), round(float(found.entropy_production), 9)
    (0.001458333333, 0.480392157)
    """
    measures = stage.irreversibility()
    refuse_unless(
        measures.temperature > 0,
        "this stage has no noise, so that its steady law is one point and nothing flows: give "
        "noise= or langevin_temperature=",
    )
    return _current(stage, stage.gibbs(), measures)


@eqx.filter_jit
def _current(stage, law, measures):
    system = stage.sde()
    flow = system.drift.dense() @ law.covariance
    antisymmetric = (flow - flow.T) / 2
    values, vectors = eigh(law.covariance)
    inside = range_mask(values)
    half = vectors * jnp.where(inside, 1 / jnp.sqrt(jnp.where(inside, values, 1.0)), 0.0)[None, :]
    turn = half.T @ antisymmetric @ half
    _, singular, _ = svd((turn - turn.T) / 2)
    return SteadyCurrent(
        law=law,
        diffusion=system.noise.dense() / 2,
        antisymmetric=antisymmetric,
        rotation=antisymmetric @ pinv(law.covariance),
        frequencies=singular[: 2 * (singular.size // 2) : 2],
        measures=measures,
        proportionality=_proportionality(stage),
    )


def _proportionality(stage):
    hessian, rate, _ = symmetric_problem(stage)
    a, c = hessian.dense(), rate.dense()
    factor = jnp.sum(a * c) / jnp.sum(a**2)
    return jnp.sqrt(jnp.sum((c - factor * a) ** 2) / jnp.sum(c**2))
