"""The terms of one stage's bound, under the names of the theory."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..laws import Gaussian, GaussianDivergence


class BoundTerms(eqx.Module):
    """What a bound is made of: trace + shift + dimension + prior_volume + logdet = 2 KL.

    Source stage: prior_volume = log det P0, logdet = -log det S_S. Target stage: prior_volume = 0,
    logdet = log det S_S - log det S_T. The rest: `confidence` = log(1/delta), `log_n`, `fit` the
    empirical risk; `constant` = 2 and `denominator` = 2n - 1 for `mcallester_he`, else None.
    """

    trace: Float[Array, ""]
    shift: Float[Array, ""]
    dimension: Float[Array, ""]
    prior_volume: Float[Array, ""]
    logdet: Float[Array, ""]
    confidence: Float[Array, ""]
    log_n: Float[Array, ""]
    fit: Float[Array, ""]
    constant: Float[Array, ""] | None
    denominator: Float[Array, ""] | None


def bound_terms(
    divergence: GaussianDivergence,
    prior: Gaussian | None,
    risk: Float[Array, ""],
    n: Float[Array, ""],
    delta: Float[Array, ""],
    bound: str,
) -> BoundTerms:
    """The terms; with a `prior` its volume is separated from the log-determinant."""
    volume = jnp.zeros_like(divergence.logdet) if prior is None else prior.logdet()
    he = bound == "mcallester_he"
    return BoundTerms(
        trace=divergence.trace,
        shift=divergence.shift,
        dimension=divergence.dimension,
        prior_volume=volume,
        logdet=divergence.logdet - volume,
        confidence=-jnp.log(delta),
        log_n=jnp.log(n),
        fit=risk,
        constant=jnp.full_like(n, 2.0) if he else None,
        denominator=2.0 * n - 1.0 if he else None,
    )
