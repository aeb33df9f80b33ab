"""What a method is: a way to move particles through a stage, and the facts it declares."""

import abc
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from ...laws import Gaussian
from ...linalg import Dense
from ..random import Stream
from .grid import Grid, refuse_too_many_saves


class AbstractMethod(eqx.Module):
    """Moves particles from save point to save point.

    Inside, particles are *columns* and are measured from the stage's centre (its effective
    minimum): a position is (d, rows). That keeps the digits of a narrow law in float32 and makes
    every update one vectorised loop over particles. Between save points a method keeps a state of
    its own (another basis, a velocity), which `enter` and `leave` translate.

    `weak_order` is the order of the step bias in the step size (inf: none), `chain` says which of
    the three laws the particles follow: that of SGD's own chain ("sgd"), of the SDE ("sde"), or
    of an integrator ("integrator"). A run is tested against that law; `approximate` says that it is
    a model of what the particles do, not their exact law.
    """

    weak_order: ClassVar[float]
    chain: ClassVar[Literal["sgd", "sde", "integrator"]]
    approximate: ClassVar[bool] = False

    @abc.abstractmethod
    def steady_law(self, stage):
        """The law of the position that this method converges to on `stage`."""

    @abc.abstractmethod
    def kernel(self, stage):
        """The kernel of the whole stage on the state, as this method moves it."""

    def enter_law(self, process, k: int, law: Gaussian) -> Gaussian:
        """The law of the state with which stage k starts, from that at the end of the last."""
        return process.enter(k, law, flow=self.chain != "sgd")

    def prepare(self, process, particles: int) -> "AbstractMethod":
        """This method, once it knows what it is to run; `process` may hold traced numbers."""
        return self

    def of_stage(self, index: int) -> "AbstractMethod":
        """This method as it plans stage `index`."""
        return self

    def refuse(self, stage, saves: int) -> None:
        """Raise `ValueError` with advice if this method cannot follow the stage; numbers known."""
        refuse_too_many_saves(stage, saves)

    @property
    def has_velocity(self) -> bool:
        """Whether the method gives particles a velocity on stages that have no momentum."""
        return False

    def moves(self, stage) -> int | None:
        """The number of moves in a stage, for a method that loops over them and if it is known."""
        return None

    @abc.abstractmethod
    def grid(self, stage, saves: int) -> Grid:
        """The stage's save points."""

    @abc.abstractmethod
    def plan(self, stage, grid: Grid, centre: Float[Array, " d"], dtype, known: bool) -> Any:
        """Everything that is the same for all particles, as a pytree of arrays.

        `known` says that the numbers of the run are known and that nothing differentiates them, so
        that a plan may use coordinates (an eigenbasis) that have no derivative.
        """

    @abc.abstractmethod
    def coordinates(self, plan: Any) -> int:
        """Independent normals per move and particle."""

    def tile_dimension(self, plan: Any) -> int:
        """Numbers per particle that an inner loop works on; decides how many run together."""
        return self.coordinates(plan)

    def enter(
        self, plan: Any, position: Float[Array, "d rows"], velocity: Float[Array, "d rows"] | None
    ) -> Any:
        """The method's own state at a stage's start; `velocity` is None without momentum."""
        return position if velocity is None else jnp.concatenate([position, velocity])

    def leave(self, plan: Any, state: Any, dimension: int) -> tuple[Array, Array | None]:
        """(position, velocity or None) of a state, as deviations."""
        if state.shape[0] == dimension:
            return state, None
        return state[:dimension], state[dimension:]

    @abc.abstractmethod
    def advance(
        self,
        plan: Any,
        state: Any,
        noise: Stream,
        particles: UInt32[Array, " rows"],
        save: Array,
        stretch: tuple[int, int] | None = None,
    ) -> Any:
        """The state at save point `save` (traced, 1..K) from that at save - 1.

        `stretch`, the fewest and most moves between save points, is given where they are known
        and numbers are traced: loops of known length can be differentiated backwards.
        """


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
    block = Dense(state_law.covariance[:dimension, :dimension], check=False)
    return Gaussian(state_law.mean[:dimension], block, status=state_law.status, check=False)
