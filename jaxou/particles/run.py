"""The record of a simulation."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from .._check import holds_numbers
from .methods import AbstractMethod
from .observe import MomentRecord

SHOWN = 3
"""Coordinates whose moments a printed run shows."""


class Run(eqx.Module):
    """Particles that went through a chain of stages, looked at K times.

    Row 0 of the K save points is the initial state; then come each stage's saves, the last of
    which is the stage's end.

    - `times` (K,): flow time since the start of the chain; `steps` (K,): SGD steps; both
      (particles, K) where every particle had hyper-parameters of its own. `stages` (K,): the stage
      a row belongs to.
    - `moments`: mean and covariance at each row, with standard errors.
    - `observed`: the records of all other observers by name.
    - `paths` (K, k, d): the first k particles at each row, with `observe=Paths(k)`; else None.
    - `final` (particles, d): the particles at the end of the chain, and `stage_ends`
      (stages, particles, d) at the end of every stage.
    - `velocity` (particles, d): theirs at the end, for methods that have one; else None.
    - `dtype`: the precision that the particles were moved in.
    - `deviations` and `centres`: the same ends as `stage_ends`, measured from each stage's centre.
      They have more digits than their sum when the law is narrow. None for a run that was too
      large to keep them.

    `print` it for its moments at the stages' ends and for what it kept.

    >>> import jax, jaxou as ou
    >>> stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=4,
    ...                  steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 0.0))
    >>> run = ou.simulate(chain, particles=500, key=jax.random.key(0), save=2)
    >>> run.steps.tolist(), run.stages.tolist(), run.names, run.final.shape
    ([0.0, 25.0, 50.0], [0, 0, 0], ('stage 0',), (500, 1))
    """

    times: Float[Array, "*particles saves"]
    steps: Float[Array, "*particles saves"]
    stages: Int[Array, " saves"]
    moments: MomentRecord
    paths: Float[Array, "saves k d"] | None
    observed: dict[str, Any]
    deviations: Float[Array, "stages particles d"] | None
    velocity: Float[Array, "particles d"] | None
    centres: Float[Array, "stages d"]
    method: AbstractMethod
    names: tuple[str, ...] = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)

    @property
    def particles(self) -> int:
        """How many particles were followed."""
        return self.moments.count

    @property
    def dimension(self) -> int:
        """d, the number of parameters."""
        return self.centres.shape[1]

    @property
    def stage_ends(self) -> Float[Array, "stages particles d"]:
        return place(self.ends, self.centres[:, None, :])

    @property
    def final(self) -> Float[Array, "particles d"]:
        return _last(self.ends, self.centres)

    @property
    def ends(self) -> Float[Array, "stages particles d"]:
        """`deviations`, or the advice why there are none."""
        if self.deviations is None:
            raise ValueError(
                f"this run of {self.particles:,} particles kept none of them, to stay small: read "
                "run.moments and run.observed; observe=ou.Snapshots(directory) writes all "
                "particles to disk while they run, ou.Paths(k) keeps the first k, and "
                "simulate(..., final=True) keeps the ends whatever their size"
            )
        return self.deviations

    def __str__(self) -> str:
        if not holds_numbers((self.moments, self.steps, self.stages)):
            return repr(self)
        d = self.dimension
        lines = [
            f"{self.particles:,} particles in {d} dimension{'s' * (d > 1)}, moved by "
            f"{type(self.method).__name__}; at the end of"
        ]
        mean, spread = np.asarray(self.moments.mean), np.asarray(self.moments.variance) ** 0.5
        for k, name in enumerate(self.names):
            row = int(np.flatnonzero(np.asarray(self.stages) == k)[-1])
            when = f" (step {float(self.steps[row]):g})" if self.steps.ndim == 1 else ""
            lines.append(
                f"  {name}{when}: mean {_first(mean[row])}, standard deviation "
                f"{_first(spread[row])}"
            )
        kept = {
            "the particles at the stages' ends": self.deviations,
            "their last velocities": self.velocity,
            "the paths of the first": self.paths,
        }
        words = ["moments", *(name for name, value in kept.items() if value is not None)]
        if self.paths is not None:
            words[-1] += f" {self.paths.shape[1]:,}"
        words += [f'observed["{name}"]' for name in self.observed]
        return "\n".join([*lines, f"kept, at {len(self.stages)} save points: {', '.join(words)}"])


def _first(values: np.ndarray) -> str:
    """The first few of many numbers, as people write them."""
    return ", ".join(f"{x:.4g}" for x in values[:SHOWN]) + ", ..." * (len(values) > SHOWN)


@jax.jit
def _last(deviations: Array, centres: Array) -> Array:
    return place(deviations[-1], centres[-1][None, :])


@jax.jit
def place(deviations: Array, centres: Array) -> Array:
    """centre + deviation, added in the wider precision and rounded once."""
    total = centres + deviations.astype(centres.dtype)
    return total.astype(deviations.dtype)
