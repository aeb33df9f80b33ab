"""Rows whose lambda is fixed in advance, over a grid of lambdas that is paid for.

With K lambdas on a grid fixed before the data are seen, each row gets delta / K and the smallest
may be reported: log K nats for the choice (Alquier 2024, arXiv 2110.11216, Theorem 2.4). Minimising
over lambda without this price is not a bound.

How fast it falls with n: the gap is nearly log-symmetric around the best lambda, and K points
between 1 and n are a factor n^(1/(K-1)) apart, so that at a fixed K and KL it falls like
n^(-1/2 + 1/(2(K-1))) at worst: n^-0.45 with the 12 points of the default. K growing like log n
keeps the root, at log log n nats.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..._check import as_count, as_float, refuse_unless, show_value

POINTS = 12
"""Points of the default grid: 2.5 nats; at n = 5,000 neighbours differ by a factor of 2.2."""


def lambda_grid(n: ArrayLike, count: Any = POINTS, *, scale: ArrayLike = 1.0) -> Array:
    """`count` lambdas from 1/scale to n/scale in equal ratios; (..., count). It sees n alone.

    `scale` is the size of the loss (its upper end, or the root of its second moment). A traced n or
    scale out of range gives NaN.

    Source: Alquier 2024, arXiv:2110.11216, Theorem 2.4.

    >>> [f"{v:.4g}" for v in lambda_grid(10_000, 3)]
    ['1', '100', '1e+04']
    """
    n, scale = as_float(n, "n"), as_float(scale, "scale")
    count = as_count(count, "count")
    refuse_unless(n >= 1, f"n={show_value(n)} must be at least 1, the number of examples")
    refuse_unless(scale > 0, f"scale={show_value(scale)} must be above 0: it is a size of the loss")
    n, scale = jnp.where(n >= 1, n, jnp.nan), jnp.where(scale > 0, scale, jnp.nan)
    exponents = jnp.linspace(0.0, 1.0, count) if count > 1 else jnp.array([0.5])
    log_n = jnp.log(n)[..., None]
    return jnp.exp(log_n * _aligned(exponents, log_n)) / _aligned(scale[..., None], log_n)


def on_lambda_grid(
    risk: ArrayLike,
    kl: ArrayLike,
    n: ArrayLike,
    delta: ArrayLike,
    *,
    row: Any,
    lambdas: ArrayLike | Sequence[float] | None = None,
    **parameters: ArrayLike,
) -> Array:
    """The smallest `row(risk, kl, n, delta / K, catoni_lambda=...)` over K `lambdas`.

    `row`: catoni_linear, catoni_phi, sub_gaussian, second_moment or gaussian_residual, with its
    other `parameters`. `lambdas` (K,) are fixed before the data are seen; None takes `lambda_grid`
    of n, scaled by what the row knows about the size of the loss. A row for `two_stage_bound`
    through `functools.partial`. Piecewise differentiable. With the default grid of 12 points the
    gap falls like n^-0.45 in the long run at a fixed KL, not n^-1/2; a larger count in
    `lambdas=lambda_grid(n, count)` comes nearer, at log(count) nats. Cost: K rows.

    Source: Alquier 2024, arXiv:2110.11216, Theorem 2.4.

    >>> from jaxou.bounds import catoni_phi
    >>> f"{on_lambda_grid(0.05, 120.5, 5000, 0.05, row=catoni_phi):.4f}"
    '0.1146'
    """
    _refuse_without_lambda(row)
    common = [
        as_float(v, name)
        for v, name in zip((risk, kl, n, delta), ("risk", "kl", "n", "delta"), strict=True)
    ]
    shape = jnp.broadcast_shapes(*(v.shape for v in common))
    risk, kl, n, delta = (jnp.broadcast_to(v, shape)[..., None] for v in common)
    if lambdas is None:
        grid = lambda_grid(n[..., 0], scale=_size(parameters))
    else:
        grid = as_float(lambdas, "lambdas")
        if grid.ndim != 1 or grid.size == 0:
            raise ValueError(
                f"lambdas must be one list of at least one lambda, got shape {grid.shape}"
            )
        refuse_unless(grid > 0, f"lambdas={show_value(grid)} must all be above 0")
    values = _rows(row, risk, kl, n, delta, grid, parameters)
    return jnp.min(values, axis=-1)


def _refuse_without_lambda(row) -> None:
    try:
        inspect.signature(row).bind_partial(catoni_lambda=1.0)
    except (TypeError, ValueError):
        raise TypeError(
            f"row={getattr(row, '__name__', row)!r} has no lambda to put on a grid: give "
            "catoni_linear, catoni_phi, sub_gaussian, second_moment or gaussian_residual"
        ) from None


def _rows(row, risk, kl, n, delta, grid, parameters) -> Float[Array, "... K"]:
    count = grid.shape[-1]
    shape = (*risk.shape[:-1], count)
    own = {name: as_float(v, name) for name, v in parameters.items()}
    own = {name: jnp.broadcast_to(v[..., None], shape) for name, v in own.items()}
    risk, kl, n, delta = (jnp.broadcast_to(v, shape) for v in (risk, kl, n, delta / count))
    grid = jnp.broadcast_to(_aligned(grid, risk), shape)
    return row(risk, kl, n, delta, catoni_lambda=grid, **own)


def _aligned(values, like):
    """`values` with leading axes of size 1 up to the rank of `like`."""
    return values.reshape((1,) * (like.ndim - values.ndim) + values.shape)


def _size(parameters) -> Array:
    """The size of the loss, from what the row was told about its law."""
    if "scale" in parameters:
        return as_float(parameters["scale"], "scale")
    if "variance_proxy" in parameters:
        return 2.0 * jnp.sqrt(as_float(parameters["variance_proxy"], "variance_proxy"))
    if "moment" in parameters:
        return jnp.sqrt(as_float(parameters["moment"], "moment"))
    if "residual_variance" in parameters:
        return as_float(parameters["residual_variance"], "residual_variance")
    return jnp.asarray(1.0, jnp.result_type(float))
