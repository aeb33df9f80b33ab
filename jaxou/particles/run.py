"""The record of a simulation."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int

from .method import AbstractMethod
from .observe import MomentRecord


class Run(eqx.Module):
    """Particles that went through a chain of stages, looked at K times.

    Row 0 of the K save points is the initial state; then come each stage's saves, the last of
    which is the stage's end.

    - `times` (K,): flow time since the start of the chain; `steps` (K,): SGD steps; `stages` (K,):
      the stage a row belongs to.
    - `moments`: mean and covariance at each row, with standard errors.
    - `paths` (K, k, d): the first k particles at each row, with `observe=Paths(k)`; else None.
    - `final` (particles, d): the particles at the end of the chain, and `stage_ends`
      (stages, particles, d) at the end of every stage.
    - `deviations` and `centres`: the same ends as `stage_ends`, measured from each stage's centre.
      They have more digits than their sum when the law is narrow.
    """

    times: Float[Array, " saves"]
    steps: Float[Array, " saves"]
    stages: Int[Array, " saves"]
    moments: MomentRecord
    paths: Float[Array, "saves k d"] | None
    deviations: Float[Array, "stages particles d"]
    centres: Float[Array, "stages d"]
    method: AbstractMethod
    names: tuple[str, ...] = eqx.field(static=True)

    @property
    def particles(self) -> int:
        """How many particles were followed."""
        return self.deviations.shape[1]

    @property
    def dimension(self) -> int:
        return self.deviations.shape[2]

    @property
    def stage_ends(self) -> Float[Array, "stages particles d"]:
        return place(self.deviations, self.centres[:, None, :])

    @property
    def final(self) -> Float[Array, "particles d"]:
        return place(self.deviations[-1], self.centres[-1][None, :])


@jax.jit
def place(deviations: Array, centres: Array) -> Array:
    """centre + deviation, added in the wider precision and rounded once."""
    total = centres + deviations.astype(centres.dtype)
    return total.astype(deviations.dtype)
