"""The equations of `equations` for structured matrices: the structure of the law from (A, C)."""

import equinox as eqx

from .algebra import densified, entries, is_elementwise, like
from .equations import Coefficients, solve_spectral_dense, symbol
from .lift import is_liftable, lift
from .matrices import AbstractMatrix, Dense, Isotropic


@eqx.filter_jit
def solve_spectral(
    coefficients: Coefficients, matrix: AbstractMatrix, rhs: AbstractMatrix
) -> AbstractMatrix:
    """The solution in the smallest structure that holds it.

    Isotropic or diagonal pairs cost O(d); a Hessian a0 I + U W U^T costs O(d r^2) with isotropic,
    diagonal or low-rank-plus-diagonal right-hand sides; other pairs are made dense, O(d^3), below
    5,000 dimensions and refused with advice above.

    >>> from .equations import LYAPUNOV
    >>> import jaxou as ou
    >>> solution = solve_spectral(LYAPUNOV, ou.Diagonal([1.0, 3.0]), ou.Diagonal([6.0, 6.0]))
    >>> type(solution).__name__, solution.dense().diagonal().tolist()
    ('Diagonal', [3.0, 1.0])
    """
    if isinstance(matrix, Isotropic):
        return rhs.scale(1 / symbol(coefficients, matrix.value, matrix.value))
    if is_elementwise(matrix, rhs):
        a = entries(matrix, rhs)
        return like(entries(rhs, matrix) / symbol(coefficients, a, a), matrix, rhs)
    if is_liftable(matrix, rhs):
        return lift(lambda a, r: solve_spectral_dense(coefficients, a, r), matrix, rhs)
    why = "the law of this pair of Hessian and noise"
    a, r = densified(matrix, why).dense(), densified(rhs, why).dense()
    return Dense(solve_spectral_dense(coefficients, a, r), check=False)
