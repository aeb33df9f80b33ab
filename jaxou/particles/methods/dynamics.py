"""A stage's SDE as stepping methods see it: a force, a kick, and coordinates for both.

dy = push(y) ds + kick(y, dW),    y = deviation from the stage's centre
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...linalg import AbstractMatrix, Dense, Diagonal, General, eigh
from ...linalg.algebra import is_elementwise
from ...stages import PotentialStage
from .columns import LowRankRoot, product, square_root, times
from .method import cast


class LinearPush(eqx.Module):
    """pull - F y."""

    drift: AbstractMatrix
    pull: Float[Array, " D"]

    def __call__(self, state: Float[Array, "D rows"]) -> Float[Array, "D rows"]:
        return self.pull[:, None] - times(self.drift, state)

    @property
    def elementwise(self) -> bool:
        return is_elementwise(self.drift) or self.pull.shape[0] == 1


class PotentialPush(eqx.Module):
    """- grad U(centre + y), particle by particle."""

    potential: Callable
    centre: Float[Array, " d"]

    def __call__(self, state: Float[Array, "d rows"]) -> Float[Array, "d rows"]:
        # a user's function mixes Python numbers, arrays and precisions as it likes
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            point = self.centre[:, None] + state
            slope = jax.vmap(jax.grad(self.potential), in_axes=1, out_axes=1)(point)
        return -slope.astype(state.dtype)

    @property
    def elementwise(self) -> bool:
        return self.centre.shape[0] == 1


class AdditiveKick(eqx.Module):
    """R z, the same everywhere; `beforehand` computes it for many steps at once."""

    root: AbstractMatrix | LowRankRoot
    size: int = eqx.field(static=True)

    def beforehand(self, normals: Float[Array, "D columns"]) -> Float[Array, "D columns"]:
        return times(self.root, normals)

    def __call__(self, state, normals: Float[Array, "D rows"]) -> Float[Array, "D rows"]:
        return normals

    @property
    def elementwise(self) -> bool:
        return self.size == 1 or is_elementwise(self.root)

    @property
    def coordinates(self) -> int:
        return self.size


class StateKick(eqx.Module):
    """strength B(x) z with B given by the user: a vector (d,), or a matrix (d, r); Ito."""

    root: Callable
    strength: Float[Array, ""]
    centre: Float[Array, " d"]
    columns: int | None = eqx.field(static=True)

    @property
    def beforehand(self) -> None:
        return None

    def __call__(self, state, normals):
        def kick(y, z):
            factor = self.root(self.centre + y)
            return self.strength * (factor * z if self.columns is None else factor @ z)

        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            moved = jax.vmap(kick, in_axes=1, out_axes=1)(state, normals)
        return moved.astype(state.dtype)

    @property
    def elementwise(self) -> bool:
        return self.centre.shape[0] == 1 and self.columns is None

    @property
    def coordinates(self) -> int:
        return self.centre.shape[0] if self.columns is None else self.columns


class Dynamics(eqx.Module):
    """push and kick in the coordinates y' = inverse y (y' = y where there is no basis)."""

    push: LinearPush | PotentialPush
    kick: AdditiveKick | StateKick
    basis: tuple[Float[Array, "D D"], Float[Array, "D D"]] | None

    @property
    def fused(self) -> bool:
        """Whether each coordinate of an update needs its own normal and its own coordinate only."""
        return self.push.elementwise and self.kick.elementwise

    @property
    def coordinates(self) -> int:
        return self.kick.coordinates

    def enter(self, position):
        return position if self.basis is None else product(self.basis[1], position)

    def leave(self, state):
        return state if self.basis is None else product(self.basis[0], state)


def dynamics(
    stage: Any,
    centre: Float[Array, " d"],
    dtype,
    known: bool,
    *,
    push: Array,
    kick: Array,
) -> Dynamics:
    """The stage's SDE with its force times `push` and its noise times `kick`, both numbers.

    Where the numbers are known and the Hessian is dense, the coordinates are its eigenvectors:
    the drift is then one multiplication, and the noise the only matrix product of a step.
    """
    if isinstance(stage, PotentialStage):
        return _of_potential(stage, centre, dtype, push, kick)
    system = stage.sde()
    pull = push * system.drift.matvec(system.fixed_point - centre)
    drift, root = system.drift.scale(push), square_root(system.noise)
    size = centre.shape[0]
    basis = None
    symmetric = isinstance(drift, Dense) and not stage.has_momentum
    if known and symmetric and stage.preconditioner is None and size > 1:
        values, vectors = eigh(drift.dense())
        drift, pull = Diagonal(values, check=False), vectors.T @ pull
        root = General(vectors.T @ _dense(root, size), check=False)
        basis = (vectors, vectors.T)
    root = _scaled(root, kick)
    return Dynamics(
        LinearPush(*cast((drift, pull), dtype)),
        AdditiveKick(cast(root, dtype), size),
        cast(basis, dtype),
    )


def _of_potential(stage: PotentialStage, centre, dtype, push, kick):
    potential = eqx.Partial(_times_potential, stage.potential, push.astype(dtype))
    force = PotentialPush(potential, cast(centre, dtype))
    if stage.state_dependent:
        strength = jnp.sqrt(stage.ratio) * kick
        noise = StateKick(stage.noise, strength.astype(dtype), cast(centre, dtype), stage.columns)
    else:
        root = _scaled(square_root(stage.noise_rate()), kick)
        noise = AdditiveKick(cast(root, dtype), centre.shape[0])
    return Dynamics(force, noise, None)


def _times_potential(potential, factor, x):
    # the step size enters before the gradient, so that a step is one multiplication shorter
    return factor * potential(x)


def _dense(root, size):
    if isinstance(root, LowRankRoot):
        return root.matmat(jnp.eye(size, dtype=root.scale.dtype))
    return root.dense()


def _scaled(root, factor):
    if isinstance(root, LowRankRoot):
        return eqx.tree_at(lambda r: r.scale, root, root.scale * factor)
    return root.scale(factor)
