"""What a method is: a way to move particles through a stage, and the facts it declares."""

import abc
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from ..laws import Gaussian
from .grid import Grid, refuse_too_many_saves
from .noise import Stream


class AbstractMethod(eqx.Module):
    """Moves particles from save point to save point.

    Inside, particles are *columns* and are measured from the stage's centre (its effective
    minimum): a state is (D, rows), where D is d, or 2d with momentum. That keeps the digits of a
    narrow law in float32 and makes every update one vectorised loop over particles.

    `weak_order` is the order of the step bias in the step size (inf: none), `chain` says which of
    the three laws the particles follow: that of SGD's own chain ("sgd"), of the SDE ("sde"), or
    of an integrator ("integrator"). A run is tested against that law.
    """

    weak_order: ClassVar[float]
    chain: ClassVar[Literal["sgd", "sde", "integrator"]]

    @abc.abstractmethod
    def steady_law(self, stage):
        """The law of the position that this method converges to on `stage`."""

    @abc.abstractmethod
    def kernel(self, stage):
        """The kernel of the whole stage on the state, as this method moves it."""

    def refuse(self, stage, saves: int) -> None:
        """Raise `ValueError` with advice if this method cannot follow the stage; numbers known."""
        refuse_too_many_saves(stage, saves)

    @abc.abstractmethod
    def grid(self, stage, saves: int) -> Grid:
        """The stage's save points."""

    @abc.abstractmethod
    def plan(self, stage, grid: Grid, centre: Float[Array, " D"], dtype) -> Any:
        """Everything that is the same for all particles, as a pytree of arrays."""

    @abc.abstractmethod
    def coordinates(self, plan: Any) -> int:
        """Independent normals per move and particle."""

    @abc.abstractmethod
    def advance(
        self,
        plan: Any,
        state: Float[Array, "D rows"],
        noise: Stream,
        particles: UInt32[Array, " rows"],
        save: Array,
    ) -> Float[Array, "D rows"]:
        """The state at save point `save` (traced, 1..K) from that at save - 1."""


def cast(tree: Any, dtype) -> Any:
    """Every floating leaf in the particles' precision."""

    def convert(leaf):
        if eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf.astype(dtype)
        return leaf

    return jax.tree.map(convert, tree)


def position_law(state_law: Gaussian, dimension: int) -> Gaussian:
    """The law of the position, the first `dimension` coordinates of a state."""
    if state_law.dimension == dimension:
        return state_law
    return Gaussian(
        state_law.mean[:dimension],
        state_law.covariance[:dimension, :dimension],
        status=state_law.status,
        check=False,
    )
