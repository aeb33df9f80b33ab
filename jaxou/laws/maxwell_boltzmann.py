"""The steady law of underdamped Langevin dynamics: positions and velocities are independent."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import (
    as_float,
    as_key,
    as_number,
    holds_numbers,
    refuse_unless,
    show,
    show_value,
)
from .._typing import ScalarLike
from ..linalg.matrices import Dense, Isotropic
from .gaussian import Gaussian
from .gibbs import Gibbs


class MaxwellBoltzmann(eqx.Module):
    """The law of (x, v) with x from a position law, v ~ N(0, T I), independent of each other.

    With the position law exp(-U / T) it is exp(-(U(x) + |v|^2 / 2) / T) / Z, the steady law of
    dx = v ds, dv = -grad U ds - friction v ds + (2 friction T)^(1/2) dW, which `BAOAB` follows.

    **Arguments:** `position`, a `Gibbs` or `Gaussian` law; `temperature`, T > 0, which may be left
    out for a `Gibbs` law, where it is that law's.

    >>> law = MaxwellBoltzmann(Gaussian([0.0], 0.5), 0.5)
    >>> law.joint().covariance.tolist(), round(float(law.log_prob([0.0], [0.0])), 6)
    ([[0.5, 0.0], [0.0, 0.5]], -1.14473)
    """

    position: Gibbs | Gaussian
    temperature: Float[Array, ""]

    def __init__(self, position: Any, temperature: ScalarLike = None):
        if not isinstance(position, Gibbs | Gaussian):
            raise TypeError(
                f"the position's law must be a Gibbs or Gaussian law, got {type(position).__name__}"
            )
        if temperature is None:
            if not isinstance(position, Gibbs):
                raise ValueError(
                    "a Gaussian law does not say its temperature: give MaxwellBoltzmann(law, "
                    "temperature)"
                )
            temperature = position.temperature
        self.position = position
        self.temperature = as_number(temperature, "temperature")
        refuse_unless(
            self.temperature > 0,
            f"temperature={show_value(self.temperature)} must be positive",
        )

    def __str__(self) -> str:
        if not holds_numbers(self.temperature) or self.temperature.ndim:
            return repr(self)
        return f"{self.position}; velocities N(0, {show(self.temperature)} I)"

    @property
    def dimension(self) -> int:
        """d, of the position alone."""
        return self.position.dimension

    @property
    def velocity(self) -> Gaussian:
        """N(0, T I)."""
        zero = jnp.zeros(self.dimension)
        return Gaussian(zero, Isotropic(self.temperature, self.dimension, check=False), check=False)

    def joint(self) -> Gaussian:
        """The Gaussian law of (x, v), (2d,); for a Gaussian position law only."""
        if not isinstance(self.position, Gaussian):
            raise ValueError(
                "the joint law of a position that is not Gaussian is not Gaussian either: use "
                "log_prob(x, v), position and velocity"
            )
        zero = jnp.zeros((self.dimension, self.dimension))
        heat = self.temperature * jnp.eye(self.dimension)
        covariance = jnp.block([[self.position.covariance, zero], [zero, heat]])
        mean = jnp.concatenate([self.position.mean, zero[0]])
        return Gaussian(mean, Dense(covariance, check=False), check=False)

    def log_density(
        self, x: Float[Array, "*batch d"] | Any, v: Float[Array, "*batch d"] | Any
    ) -> Float[Array, "*batch"]:
        """The log density up to a constant, in any dimension."""
        position, v = self.position, as_float(v, "v")
        if v.shape[-1:] != (self.dimension,):
            raise ValueError(f"a velocity has shape (..., {self.dimension}), got {v.shape}")
        prior = position.log_density if isinstance(position, Gibbs) else position.log_prob
        return prior(as_float(x, "x")) - jnp.sum(v**2, axis=-1) / (2 * self.temperature)

    def log_prob(
        self, x: Float[Array, "*batch d"] | Any, v: Float[Array, "*batch d"] | Any
    ) -> Float[Array, "*batch"]:
        """Log density at positions x and velocities v, both (..., d)."""
        return self.position.log_prob(as_float(x, "x")) + self.velocity.log_prob(as_float(v, "v"))

    def sample(self, key, shape: int | tuple[int, ...] = ()) -> tuple[Array, Array]:
        """Independent draws of (x, v), both (*shape, d), where the position law can be drawn."""
        first, second = jax.random.split(as_key(key))
        return self.position.sample(first, shape), self.velocity.sample(second, shape)
