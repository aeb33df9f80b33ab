"""Exact jumps between save points: one draw per particle and save, whatever lies between.

An affine Gaussian kernel with matrix M, offset c and covariance Q moves a particle by

    y <- M y + c + R z,    R R^T = Q,  z ~ N(0, I),

so P particles at K save points cost P K draws, however many steps a stage has.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ...linalg import AbstractMatrix
from ...linalg.algebra import is_elementwise
from ...stages import PotentialStage
from .barrier import made_once
from .columns import LowRankRoot, square_root, times
from .method import AbstractMethod, cast


class Jumps(eqx.Module):
    """The distinct kernels of a stage, stacked, and which of them leads to each save point."""

    matrix: AbstractMatrix
    offset: Float[Array, "kernels D"]
    root: AbstractMatrix | LowRankRoot
    which: Int[Array, " saves"]
    size: int = eqx.field(static=True)


def plan_jumps(kernels: list, which: Array, centre: Float[Array, " D"], dtype) -> Jumps:
    """Kernels on states, as jumps of deviations from `centre`."""
    moves = []
    for kernel in kernels:
        offset = kernel.matrix.matvec(centre) + kernel.offset - centre
        moves.append((kernel.matrix, offset, square_root(kernel.covariance)))
    matrix, offset, root = jax.tree.map(lambda *leaves: jnp.stack(leaves), *moves)
    return Jumps(
        cast(matrix, dtype), cast(offset, dtype), cast(root, dtype), which, centre.shape[0]
    )


class AbstractJump(AbstractMethod):
    """A method that knows its own kernel between any two save points."""

    def refuse(self, stage, saves):
        if isinstance(stage, PotentialStage):
            raise ValueError(
                f"{type(self).__name__}() jumps by closed-form kernels, which a PotentialStage "
                "does not have: use EulerMaruyama(), Heun() or BAOAB(friction)"
            )

    def coordinates(self, plan: Jumps) -> int:
        return plan.size

    def advance(self, plan, state, noise, particles, save, stretch=None):
        kernel = plan.which[save - 1]
        matrix, offset, root = jax.tree.map(
            lambda leaf: leaf[kernel], (plan.matrix, plan.offset, plan.root)
        )
        moved = times(matrix, state) + offset[:, None]
        if is_elementwise(root):
            return moved + times(root, noise.at(particles, save))
        draw = made_once(save > 0, lambda: noise.at(particles, save))
        return moved + times(root, draw)
