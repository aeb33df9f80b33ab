"""A loss with two minima, tilted or not."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..stages import PotentialStage, Temperature


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
