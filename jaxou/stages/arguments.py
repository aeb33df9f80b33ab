"""How the matrices and points of one stage fit together."""

import numpy as np
from jaxtyping import Array, Float

from .._check import is_concrete
from .._typing import MatrixLike
from ..linalg.algebra import as_matrix, with_dimension
from ..linalg.matrices import AbstractMatrix, Diagonal, Isotropic, LowRankPlusDiagonal
from .noise import Diffusion, Temperature


def common_dimension(minimum: Float[Array, "..."], *matrices: MatrixLike) -> int:
    """d, from the minimum if that is a vector, else from the first matrix that has it, else 1."""
    if minimum.ndim > 1 or minimum.size == 0:
        raise ValueError(f"minimum must be a vector (d,), got shape {minimum.shape}")
    if minimum.ndim == 1:
        return minimum.shape[0]
    for matrix in matrices:
        matrix = matrix.matrix if isinstance(matrix, Diffusion) else matrix
        size = getattr(matrix, "dimension", None)
        if size is None and matrix is not None and not isinstance(matrix, Isotropic | Temperature):
            size = as_matrix(matrix, "preconditioner").dimension
        if size is not None:
            return size
    return 1


def recognised(hessian: AbstractMatrix) -> AbstractMatrix:
    """Equal numbers on a low-rank Hessian's diagonal are a0 I: its laws keep their structure."""
    if isinstance(hessian, LowRankPlusDiagonal) and isinstance(hessian.base, Diagonal):
        values = hessian.base.values
        if is_concrete(values) and np.all(np.asarray(values) == np.asarray(values)[0]):
            return LowRankPlusDiagonal(values[0], hessian.factor, hessian.weights, check=False)
    return hessian


def noise_with_dimension(noise, d: int):
    """The noise, told its dimension if it is isotropic; refused if it has another one."""
    if isinstance(noise, Temperature):
        return noise
    if isinstance(noise, Diffusion):
        return Diffusion(with_dimension(noise.matrix, d, "noise=Diffusion(D)"))
    return with_dimension(noise, d, "noise")
