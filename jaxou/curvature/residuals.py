"""Do the residuals of a fitted chain remember anything?"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._typing import Scalar
from ..convergence.null_laws import chi2_tail
from ..linalg.factor import logabsdet, solve
from .autoregression import Regression, Sums


class ChiSquareTest(eqx.Module):
    """A `statistic` that is chi-square with `degrees` of freedom if the model holds, and its
    upper tail `p_value`."""

    statistic: Scalar
    degrees: Scalar
    p_value: Scalar


def chi_square_test(statistic: Scalar, degrees: int) -> ChiSquareTest:
    """The record; no degrees of freedom leave nothing to reject."""
    some = jnp.asarray(float(max(degrees, 1)), statistic.dtype)
    p_value = chi2_tail(statistic, some) if degrees else jnp.ones_like(statistic)
    return ChiSquareTest(statistic, jnp.asarray(float(degrees), statistic.dtype), p_value)


def whiteness(x: Float[Array, "runs times d"], data: Sums, free: Regression, lags: int) -> Scalar:
    r"""Do residuals of the last `lags` steps help to predict the next one?

    Regresses the residual e_k on x_k and e_(k-1), ..., e_(k-lags) and compares, by Wilks' Lambda
    with Bartlett's factor, with the regression on x_k alone: a statistic that is chi-square with
    lags d^2 degrees under independent noise, also where the chain mixes slowly (the usual sum of
    squared autocorrelations needs many lags there).
    Source: Breusch 1978, Godfrey 1978 (doi:10.2307/1913829); Edgerton, Shukur 1999.
    """
    runs, times, d = x.shape
    frame, information = free.frame, free.information
    centred = x - data.mean[None, None, :]
    # frame' x has the covariance diag(information), frame^-1 e that of independent normals
    white = (centred[:, :-1] @ frame) / jnp.sqrt(information)[None, None, :]
    residual = x[:, 1:] - x[:, :-1] - data.increment[None, None, :]
    residual = residual - centred[:, :-1] @ free.slope.T
    residual = residual @ solve(frame, jnp.eye(d, dtype=x.dtype)).T
    steps = times - 1
    rows = lambda block: block.reshape(-1, block.shape[-1])
    response = rows(residual[:, lags:])
    ones = jnp.ones((response.shape[0], 1), x.dtype)
    small = jnp.concatenate([ones, rows(white[:, lags:])], axis=1)
    past = [rows(residual[:, lags - l : steps - l]) for l in range(1, lags + 1)]
    full = jnp.concatenate([small, *past], axis=1)
    p, q = d, d * lags
    left = response.shape[0] - full.shape[1]
    ratio = _left_over(full, response) - _left_over(small, response)
    statistic = -(left - (p - q + 1) / 2) * ratio
    return jnp.maximum(statistic, 0.0)


def _left_over(regressors: Float[Array, "n k"], response: Float[Array, "n d"]) -> Scalar:
    """log det of the residual sum of squares; columns are scaled to equal length."""
    columns = regressors / jnp.linalg.norm(regressors, axis=0, keepdims=True)
    coefficients = solve(columns.T @ columns, columns.T @ response)
    left = response - columns @ coefficients
    return logabsdet(left.T @ left)


def largest_lag(runs: int, times: int, d: int, wanted: int) -> int:
    """At most `wanted` lags, so that a test keeps ten rows for every regressor; 0 if none does."""
    fits = [
        lags
        for lags in range(1, wanted + 1)
        if runs * (times - 1 - lags) >= 10 * (1 + d + d * lags)
    ]
    return max(fits, default=0)
