"""Integrals of a positive function along a line, in logarithms, so that no tail is lost."""

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

_NODES, _WEIGHTS = (0.5 * part for part in np.polynomial.legendre.leggauss(5))
_NODES = _NODES + 0.5


def log_cells(
    axis: Float[Array, " points"],
    log_values: Float[Array, " points"],
    slopes: Float[Array, " points"],
) -> Float[Array, " cells"]:
    """log of int f over every cell of an equally spaced grid, from log f and its slope at nodes.

    log f is a cubic in each cell, so that smooth functions have errors of order h^4 and a normal
    law none but those of five Gauss-Legendre nodes.

    >>> x = jnp.linspace(0.0, 1.0, 5)
    >>> round(float(jnp.exp(logsumexp(log_cells(x, -3 * x, -3 + 0 * x)))), 9)
    0.316737644
    """
    h = axis[1] - axis[0]
    t = jnp.asarray(_NODES, axis.dtype)[None, :]
    log_weights = jnp.log(jnp.asarray(_WEIGHTS, axis.dtype))[None, :]
    left, right = log_values[:-1, None], log_values[1:, None]
    down, up = h * slopes[:-1, None], h * slopes[1:, None]
    rest = down * (1 - t) - up * t + (right - left) * (2 * t - 1)
    inside = (1 - t) * left + t * right + t * (1 - t) * rest
    return jnp.log(h) + logsumexp(inside + log_weights, axis=1)
