"""The posterior that a bound would choose: the best Gaussian for a quadratic loss, in closed form.

Catoni's linear bound weighs risk against KL with a fixed lambda. With the quadratic surrogate
L - L* = x^T A x / 2 as the risk, the best of all laws is Gaussian,

    covariance (lambda A + Q0^-1)^-1,     mean m0 + covariance lambda A (theta* - m0),

and how far the law of SGD is from it says what SGD's noise costs.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import as_number, as_point, refuse_unless, show_value
from .._typing import MatrixLike, ScalarLike
from ..laws import Gaussian
from ..laws.gaussian import mean_energy, require_law, require_positive
from ..linalg.algebra import as_matrix, densified, entries, is_elementwise, like, with_dimension
from ..linalg.factor import solve
from ..linalg.matrices import AbstractMatrix, Dense
from .risk import one_plus_product


class BestPosterior(eqx.Module):
    """The minimiser of lambda E_Q[L - L*] + KL(Q || prior) over all laws Q, and the minimum.

    `law` is the minimiser, `value` the minimum in nats.
    """

    law: Gaussian
    value: Float[Array, ""]
    prior: Gaussian
    hessian: AbstractMatrix
    minimum: Float[Array, " d"]
    catoni_lambda: Float[Array, ""]

    def objective(self, law: Gaussian) -> Float[Array, ""]:
        """lambda E_law[L - L*] + KL(law || prior), nats."""
        require_law(law, self.prior.dimension, "the prior")
        excess = mean_energy(law, self.hessian, self.minimum)
        return self.catoni_lambda * excess + law.kl(self.prior)

    def distance(self, law: Gaussian) -> Float[Array, ""]:
        """How far a law is from the best one: objective(law) - value = KL(law || best), nats.

        Divide by lambda for what it costs in catoni_linear's bound.
        """
        return law.kl(self.law)


def best_posterior(
    prior: Gaussian, hessian: MatrixLike, minimum, *, catoni_lambda: ScalarLike
) -> BestPosterior:
    """The best Gaussian posterior of `catoni_linear` for L = L* + x^T A x / 2, x = theta - minimum.

    `hessian` is A, positive semidefinite; `catoni_lambda` > 0 is fixed before the data are seen
    (nats per unit of loss). `value` = log det(I + lambda Q0 A) / 2 + (lambda / 2) x0^T A (I +
    lambda Q0 A)^-1 x0, x0 = m0 - minimum. The prior may be singular. O(d) diagonal, O(d^3) dense.

    The surrogate is unbounded: this chooses a posterior; the bound itself is then evaluated with a
    bounded risk of it.

    >>> best = best_posterior(Gaussian(0.0, 1.0), 1.0, 2.0, catoni_lambda=3.0)
    >>> float(best.law.mean[0]), float(best.law.covariance[0, 0]), round(float(best.value), 6)
    (1.5, 0.25, 2.193147)
    """
    d = prior.dimension
    hessian = as_matrix(hessian, "hessian")
    require_positive(hessian, "hessian")
    hessian = with_dimension(hessian, d, "hessian")
    minimum = as_point(minimum, d, "minimum")
    lam = as_number(catoni_lambda, "catoni_lambda")
    refuse_unless(
        lam > 0, f"catoni_lambda={show_value(lam)} must be > 0: it weighs risk against KL"
    )
    weighted = hessian.scale(lam)
    x = prior.mean - minimum
    covariance = _posterior_covariance(prior.operator, weighted)
    logdet, quadratic = one_plus_product(prior.operator, weighted, x)
    return BestPosterior(
        law=Gaussian(
            prior.mean - covariance.matvec(weighted.matvec(x)),
            covariance,
            status=prior.status,
            check=False,
        ),
        value=(logdet + quadratic) / 2,
        prior=prior,
        hessian=hessian,
        minimum=minimum,
        catoni_lambda=lam,
    )


@eqx.filter_jit
def _posterior_covariance(prior, weighted):
    """(B + Q0^-1)^-1 = (I + Q0 B)^-1 Q0, which needs no inverse of Q0."""
    if is_elementwise(prior, weighted):
        q, b = entries(prior, weighted), entries(weighted, prior)
        return like(q / (1.0 + q * b), prior, weighted)
    why = "the best posterior of these structures"
    q, b = densified(prior, why).dense(), densified(weighted, why).dense()
    covariance = solve(jnp.eye(q.shape[0], dtype=q.dtype) + q @ b, q)
    return Dense((covariance + covariance.T) / 2, check=False)
