"""Free coordinates for hyper-parameters: any real number is a value in range.

log     x = e^u                     positive numbers; batches stay at 1 or more
logit   x = limit / (1 + e^-u)      momentum in (0, 1), learning rates below their limit
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._check import is_concrete, show_value
from ..linalg.spectrum import extreme_eigenvalues
from ..stages import Stage
from ..stages.steady import symmetric_hessian


class Coordinate(eqx.Module):
    """How one hyper-parameter is moved; `limit` is None for the logarithm."""

    limit: Float[Array, ""] | None
    lowest: float = eqx.field(static=True)

    def free(self, x):
        """u of a value in range."""
        return jnp.log(x) if self.limit is None else jnp.log(x / (self.limit - x))

    def bound(self, u):
        """The value of any real u."""
        u = self.clip(u)
        return jnp.exp(u) if self.limit is None else self.limit * jax.nn.sigmoid(u)

    def clip(self, u):
        """u, no lower than the smallest value allows."""
        return u if self.lowest == -np.inf else jnp.maximum(u, self.lowest)


def coordinate(process, place, name: str, keep_stable: bool) -> Coordinate:
    """The coordinate of a place; values from which it cannot start are refused."""
    value = getattr(process.stages[place.stage], place.field)
    if is_concrete(value) and not np.all(np.asarray(value) > 0):
        raise ValueError(
            f"{name}={show_value(value)} cannot be tuned in its logarithm: start from a positive "
            "number, however small"
        )
    limit = None
    if place.field == "momentum":
        limit = jnp.ones((), value.dtype)
    elif place.field == "learning_rate" and keep_stable:
        limit = stability_limit(process.stages[place.stage])
        if is_concrete(value, limit) and not np.all(np.asarray(value) < np.asarray(limit)):
            raise ValueError(
                f"{name}={show_value(value)} is not below its stability limit "
                f"{show_value(limit)}: start below it, or tune with keep_stable=False"
            )
    return Coordinate(limit, 0.0 if place.field == "batch_size" else -np.inf)


def stability_limit(stage) -> Float[Array, ""]:
    """2 (1 + momentum) / lambda_max: learning rates below it have a steady law."""
    if not isinstance(stage, Stage):
        raise ValueError(
            "a loss that is not quadratic has no one stability limit: tune with keep_stable=False"
        )
    _, high = extreme_eigenvalues(symmetric_hessian(stage)[0])
    return 2 * (1 + stage.momentum) / high
