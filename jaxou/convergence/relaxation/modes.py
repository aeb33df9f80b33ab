"""A stage's modes: the eigenvectors of its Hessian, in the coordinates in which it is symmetric."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...laws import Gaussian
from ...linalg import AbstractMatrix, eigh, pinv
from ...linalg.algebra import densified, entries, is_elementwise
from ...stages import Stage
from ...stages.steady import symmetric_problem


class Modes(eqx.Module):
    """Curvatures (ascending, but in the order of the coordinates where A and C are diagonal).

    `basis` (d, d) has a mode per column, None where they are the coordinate axes; with a
    preconditioner P modes live in the coordinates `inverse` theta = P^-1/2 theta. `rate` is the
    noise's covariance per unit flow time there.
    """

    curvature: Float[Array, " d"]
    basis: Float[Array, "d d"] | None
    root: AbstractMatrix | None
    inverse: Float[Array, "d d"] | None
    rate: AbstractMatrix

    def vector(self, values: Float[Array, " d"]) -> Float[Array, " d"]:
        """The components of a displacement of the parameters along the modes."""
        if self.inverse is not None:
            values = self.inverse @ values
        return values if self.basis is None else self.basis.T @ values

    def spread(self, law: Gaussian) -> Float[Array, "..."]:
        """A covariance in the modes: (d, d), or its diagonal (d,) where all of it is diagonal."""
        if self.basis is None and is_elementwise(law.operator):
            return jnp.broadcast_to(entries(law.operator), law.mean.shape)
        covariance = law.covariance
        if self.inverse is not None:
            covariance = self.inverse @ covariance @ self.inverse
        return covariance if self.basis is None else self.basis.T @ covariance @ self.basis

    def direction(self, index: int) -> Float[Array, " d"]:
        """The unit vector of the parameters' displacement along one mode."""
        if self.basis is None:
            return jnp.zeros_like(self.curvature).at[index].set(1.0)
        vector = self.basis[:, index]
        if self.root is None:
            return vector
        vector = self.root.matvec(vector)
        return vector / jnp.sqrt(jnp.sum(vector**2))


@eqx.filter_jit
def modes_of(stage: Stage) -> Modes:
    """The modes of a stage with constant hyper-parameters. Cost O(d^3) dense, O(d) diagonal."""
    hessian, rate, root = symmetric_problem(stage)
    if root is None and is_elementwise(hessian, rate):
        values = jnp.broadcast_to(entries(hessian), stage.minimum.shape)
        return Modes(values, None, None, None, rate)
    values, basis = eigh(densified(hessian, "the modes of this Hessian").dense())
    inverse = None if root is None else pinv(root.dense())
    return Modes(values, basis, root, inverse, rate)
