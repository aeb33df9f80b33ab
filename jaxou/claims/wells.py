"""A loss with two minima, tilted or not."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..laws import Gaussian
from ..particles import EulerMaruyama, simulate
from ..stages import Chain, PotentialStage, Temperature


class Tilted(eqx.Module):
    """U(x) = (x^2 - 1)^2 / 4 + tilt x; a number in a field, so that no tilt recompiles."""

    tilt: Float[Array, ""]

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        return jnp.sum((x**2 - 1.0) ** 2) / 4 + self.tilt * jnp.sum(x)


def double_well(temperature: float, tilt: float = 0.0, **changes: Any) -> PotentialStage:
    """Langevin dynamics on the line; without a tilt the barrier is 1/4."""
    settings = dict(dimension=1, learning_rate=0.01, steps=6000) | changes
    return PotentialStage(
        Tilted(jnp.asarray(float(tilt))), noise=Temperature(temperature), **settings
    )


def crossed(temperature: float, tilt: float, particles: int, key: Any) -> tuple[Any, Any]:
    """(law, points): particles from the right well of the even loss, at the end of a tilted one."""
    stages = [double_well(temperature, steps=300), double_well(temperature, tilt)]
    run = simulate(
        Chain(stages, initial=Gaussian(np.ones(1), 0.01 * np.eye(1))),
        particles=particles,
        key=key,
        method=EulerMaruyama(),
        progress=False,
    )
    return stages[1].gibbs(), run.final
