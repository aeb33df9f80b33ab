"""What the eigenvalues of a measured matrix say, and what to do about negative ones."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._typing import Matrix, Scalar, Vector
from ..linalg.factor import eigh

NEGATIVE = ("error", "clip", "keep")
"""What to do with a Hessian that has negative eigenvalues: refuse it, set them to 0, keep them."""


class Spectrum(eqx.Module):
    """Eigenvalues (d,) ascending, and what is read off them.

    `tolerance` is d x machine epsilon x the largest modulus: anything smaller is rounding.
    `negative` counts eigenvalues below -tolerance, `rank` those of modulus above it. Of a few
    leading pairs also: `residual`, |M u - a u|, the numerical error; and `standard_error`, the
    sampling error of each eigenvalue over examples (both (d,), None for a dense matrix, whose
    eigenvalues are exact and whose sampling errors are those of `jaxou.curvature.bootstrap`).
    """

    eigenvalues: Vector
    tolerance: Scalar
    negative: Int[Array, ""]
    rank: Int[Array, ""]
    residual: Vector | None = None
    standard_error: Vector | None = None

    def __str__(self) -> str:
        values = self.eigenvalues
        return (
            f"{len(values)} eigenvalues from {float(values[0]):.4g} to {float(values[-1]):.4g}, "
            f"rank {int(self.rank)}, {int(self.negative)} negative"
        )


def spectrum(matrix: Matrix) -> Spectrum:
    """The spectrum of a symmetric matrix (d, d); cost O(d^3).

    >>> print(spectrum(jnp.diag(jnp.array([2.0, 0.0, -1.0]))))
    3 eigenvalues from -1 to 2, rank 2, 1 negative
    """
    return spectrum_of(eigh(matrix)[0])


def spectrum_of(
    values: Vector, residual: Vector | None = None, standard_error: Vector | None = None
) -> Spectrum:
    """The record for eigenvalues that are known already, in any order; errors in the same."""
    order = jnp.argsort(values)
    values = values[order]
    epsilon = float(jnp.finfo(values.dtype).eps)
    tolerance = len(values) * epsilon * jnp.max(jnp.abs(values))
    return Spectrum(
        values,
        tolerance,
        jnp.sum(values < -tolerance),
        jnp.sum(jnp.abs(values) > tolerance),
        *(None if error is None else error[order] for error in (residual, standard_error)),
    )


def without_negative(matrix: Matrix, negative: str) -> Matrix:
    """`matrix` after the explicit choice `negative`; see `NEGATIVE`.

    Raises `ValueError` under "error", naming the lowest eigenvalue, if there are any below
    rounding; "clip" is the nearest positive semidefinite matrix.

    >>> without_negative(jnp.diag(jnp.array([1.0, -0.5])), "clip")
    Array([[1., 0.],
           [0., 0.]], dtype=...)
    """
    check_negative(negative)
    if negative == "keep":
        return matrix
    values, vectors = eigh(matrix)
    found = spectrum_of(values)
    if negative == "error":
        refuse_negative(found)
        return matrix
    # rounding below zero is left alone unless something real is below zero
    clipped = (vectors * jnp.maximum(values, 0.0)[None, :]) @ vectors.T
    return jnp.where(found.negative > 0, 0.5 * (clipped + clipped.T), matrix)


def check_negative(negative: str) -> None:
    """Refuse what is not one of `NEGATIVE`."""
    if negative not in NEGATIVE:
        raise ValueError(f"negative={negative!r} must be 'error', 'clip' or 'keep'")


def refuse_negative(found: Spectrum) -> None:
    """Raise `ValueError` if a spectrum has eigenvalues below zero by more than rounding."""
    if int(found.negative):
        raise ValueError(
            f"the Hessian has {int(found.negative)} negative eigenvalues, the lowest "
            f"{float(found.eigenvalues[0]):.4g}: train closer to a minimum, use kind='ggn', or "
            "choose negative='clip' (set them to 0) or negative='keep' (finite-time laws only)"
        )
