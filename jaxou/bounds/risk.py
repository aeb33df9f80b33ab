"""An empirical risk to differentiate through: the saturated loss of a quadratic, in closed form."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import as_float, as_number, as_point, refuse_unless, show_value
from .._typing import MatrixLike, ScalarLike
from ..laws import Gaussian
from ..laws.gaussian import require_law, require_positive
from ..linalg.algebra import (
    as_low_rank,
    as_matrix,
    densified,
    entries,
    is_elementwise,
    is_structured,
    with_dimension,
)
from ..linalg.factor import logabsdet, solve
from ..linalg.matrices import AbstractMatrix, LowRankPlusDiagonal


class SaturatedRisk(eqx.Module):
    """law -> E_law[1 - exp(-L/M)] in [0, 1), for L = floor + x^T A x / 2, x = theta - minimum.

        1 - exp(-floor/M) det(I + S A/M)^-1/2 exp(-x^T (A/M) (I + S A/M)^-1 x / 2),   x = mean - min

    By Jensen's inequality it bounds the mean of the saturated loss 1 - exp(-loss/M) of any loss >=
    0 whose mean over the data is L, so it may stand as `risk` in every row for losses in [0, 1].
    `hessian` A is positive semidefinite, `floor` L* >= 0, `scale` M > 0; laws may be singular.
    O(d^3) dense, O(d (r_A + r_S)^2) structured. By Jensen and a Gaussian integral.

    >>> risk = SaturatedRisk(2.0, [0.0], floor=0.1, scale=1.0)
    >>> round(float(risk(Gaussian([0.5], 0.25))), 6)
    0.374622
    """

    hessian: AbstractMatrix
    minimum: Float[Array, " d"]
    floor: Float[Array, ""]
    scale: Float[Array, ""]

    def __init__(
        self,
        hessian: MatrixLike,
        minimum,
        floor: ScalarLike = 0.0,
        scale: ScalarLike = 1.0,
    ):
        hessian = as_matrix(hessian, "hessian")
        require_positive(hessian, "hessian")
        minimum = as_float(minimum, "minimum")
        d = minimum.size if hessian.dimension is None else hessian.dimension
        self.hessian = with_dimension(hessian, d, "hessian")
        self.minimum = as_point(minimum, d, "minimum")
        self.floor = as_number(floor, "floor")
        self.scale = as_number(scale, "scale")
        refuse_unless(
            self.floor >= 0,
            f"floor={show_value(self.floor)} must be a finite number >= 0: it is the loss at the "
            "minimum; shift the loss if it is negative",
        )
        refuse_unless(
            self.scale > 0,
            f"scale={show_value(self.scale)} must be a finite number > 0: it is the loss at which "
            "the saturated one reaches 1 - 1/e",
        )

    def __call__(self, law: Gaussian) -> Float[Array, ""]:
        """The risk of the randomised predictor that draws its parameters from `law`."""
        require_law(law, self.minimum.shape[0], "the risk's minimum")
        matrix = self.hessian.scale(1.0 / self.scale)
        logdet, quadratic = one_plus_product(law.operator, matrix, law.mean - self.minimum)
        exponent = self.floor / self.scale + (logdet + quadratic) / 2.0
        good = (self.floor >= 0) & (self.scale > 0)
        # rounding may leave an exponent of -1e-17 where law and minimum coincide
        value = -jnp.expm1(-jnp.where(exponent > 0, exponent, 0.0))
        return jnp.where(good & ~jnp.isnan(exponent), value, jnp.nan)


@eqx.filter_jit
def one_plus_product(covariance: AbstractMatrix, matrix: AbstractMatrix, x):
    """log det(I + S B) and x^T B (I + S B)^-1 x. The eigenvalues of I + S B are at least 1."""
    if is_elementwise(covariance, matrix):
        b = jnp.broadcast_to(entries(matrix), x.shape)
        product = jnp.broadcast_to(entries(covariance), x.shape) * b
        return jnp.sum(jnp.log1p(product)), jnp.sum(b * x**2 / (1.0 + product))
    if is_structured(covariance, matrix):
        return _low_rank(as_low_rank(covariance), as_low_rank(matrix), x)
    why = "the risk of laws of these structures"
    s, b = densified(covariance, why).dense(), densified(matrix, why).dense()
    one_plus = jnp.eye(x.size, dtype=x.dtype) + s @ b
    return logabsdet(one_plus), x @ b @ solve(one_plus, x[:, None])[:, 0]


def _low_rank(covariance: LowRankPlusDiagonal, matrix: LowRankPlusDiagonal, x):
    # S = E + F W F^T and B = G + U K U^T:  I + S B = (I + E G) + [S U K, F W] [U, G F]^T,
    # so only matrices of size r_B + r_S are factorised.
    e = jnp.broadcast_to(entries(covariance.base), x.shape)
    g = jnp.broadcast_to(entries(matrix.base), x.shape)
    left = jnp.concatenate(
        [covariance.matmat(matrix.factor @ matrix.core), covariance.factor @ covariance.core],
        axis=1,
    )
    right = jnp.concatenate([matrix.factor, g[:, None] * covariance.factor], axis=1)
    base = 1.0 + e * g
    scaled = left / base[:, None]
    inner = jnp.eye(left.shape[1], dtype=x.dtype) + right.T @ scaled
    logdet = jnp.sum(jnp.log1p(e * g)) + logabsdet(inner)
    y = x / base
    y = y - scaled @ solve(inner, (right.T @ y)[:, None])[:, 0]
    return logdet, matrix.matvec(x) @ y
