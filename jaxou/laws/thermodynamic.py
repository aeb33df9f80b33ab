"""The temperature integral: free energies and divergences from samples at several temperatures.

Between a normalised reference law q and an unnormalised density exp(f) lies the path

    q_l = exp(l V) q / Z(l),    V = f - log q,    0 <= l <= 1,    log Z(1) = log int exp(f),

along which d/dl log Z = E_l[V] and d/dl E_l[V] = Var_l[V]. Hence, with no determinant and no
density of the end point,

    log Z(1) = int_0^1 E_l[V] dl,        KL(q_1 || q) = E_1[V] - int_0^1 E_l[V] dl.

With V = -beta r this is KL(G_beta || prior) = int_0^beta E_g[r] dg - beta E_beta[r], the identity
behind bounds for Gibbs posteriors. Source of the corrected rule: Friel, Hurn and Wyse 2014,
doi:10.1007/s11222-013-9397-1.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

Rungs = Float[Array, "*batch rungs"]


def ladder_integral(points: Float[Array, " rungs"], means: Rungs, variances: Rungs) -> Array:
    """int E_l[V] dl over the rungs, from mean and variance of V at each; shape (*batch,).

    Trapezoids with the end correction of their known slopes, of fourth order in the spacing.

    >>> l = jnp.linspace(0.0, 1.0, 5)
    >>> round(float(ladder_integral(l, l**3, 3 * l**2)), 12)
    0.25
    """
    gaps = jnp.diff(points)
    middle = (means[..., 1:] + means[..., :-1]) / 2
    bend = (variances[..., 1:] - variances[..., :-1]) / 12
    return middle @ gaps - bend @ gaps**2


def ladder_kl(points: Float[Array, " rungs"], means: Rungs, variances: Rungs) -> Array:
    """KL(end of the path || reference) = E_1[V] - int E_l[V] dl, from mean and variance of V.

    The first rung must be 0 and the last 1; errors of the means enter once each, so the standard
    error comes from independent replicas (`*batch`).

    >>> l = jnp.linspace(0.0, 1.0, 3)
    >>> float(ladder_kl(l, 2 * l, 2 + 0 * l))
    1.0
    """
    return means[..., -1] - ladder_integral(points, means, variances)
