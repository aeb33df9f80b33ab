"""How a bound answers to every hyper-parameter: slopes, elasticities and curvatures at once."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._check import is_concrete, show
from .._table import aligned
from ..stages import AbstractChain
from .parameters import (
    FACTORS,
    NUMBERS,
    default_names,
    find_places,
    read,
    require_chain,
    write,
)


class Sensitivities(eqx.Module):
    """A scalar of the process, and its derivatives in the hyper-parameters `names`.

    `at` are the hyper-parameters (1 for factors), `gradient` d value / d x, `elasticity`
    d log value / d log x (per cent for one per cent), `hessian` d^2 value / dx dy; shapes (names,),
    (names,) and (names, names). `risk_held_fixed` is None where the objective does not say.
    """

    value: Float[Array, ""]
    at: Float[Array, " names"]
    gradient: Float[Array, " names"]
    hessian: Float[Array, "names names"]
    names: tuple[str, ...] = eqx.field(static=True)
    risk_held_fixed: bool | None = eqx.field(static=True)

    @property
    def elasticity(self) -> Float[Array, " names"]:
        """d log value / d log x: by how many per cent the value moves if x grows by one.

        Infinite or NaN where the value is 0, such as the KL of a law from itself.
        """
        return self.at * self.gradient / self.value

    @property
    def elasticity_hessian(self) -> Float[Array, "names names"]:
        """d^2 log value / d log x d log y."""
        e = self.elasticity
        scaled = self.at[:, None] * self.hessian * self.at[None, :] / self.value
        return scaled + jnp.diag(e) - e[:, None] * e[None, :]

    def __getitem__(self, name: str) -> Float[Array, ""]:
        """The slope in one hyper-parameter, by name."""
        return self.gradient[self.names.index(name)]

    def __str__(self) -> str:
        rows = [("hyper-parameter", "at", "slope", "elasticity", "curvature")]
        curvature = jnp.diagonal(self.hessian)
        numbers = (self.at, self.gradient, self.elasticity, curvature)
        for name, *values in zip(self.names, *(np.asarray(x) for x in numbers), strict=True):
            rows.append((name, *(show(v) for v in values)))
        lines = [f"value {show(self.value)}", aligned(rows, "<>>>>")]
        if self.risk_held_fixed:
            lines.append("risk held fixed: these are the slopes of the KL term alone")
        return "\n".join(lines)


def sensitivities(
    objective: Callable[[AbstractChain], Float[Array, ""]],
    process: Any,
    over: str | tuple[str, ...] | None = None,
) -> Sensitivities:
    """Value, gradient and Hessian of `objective(process)` in named hyper-parameters.

    Names are "stage.argument": learning_rate, batch_size, momentum, weight_decay,
    langevin_temperature, steps (laws at a flow time only), and the factors `hessian`, `noise` and
    `shift` (of the way to the stage's minimum). None takes all that are in use but steps. Numbers
    that are zero may be named: the slope is the one on the side that exists.

    One compiled program, reverse over forward; `jit` and `vmap` go through. Cost: for p names about
    3 p values. `objective` may be an `ou.bounds.TargetBound`, or any function of the process.

    >>> from jaxou import Gaussian, Stage, TwoStage
    >>> source = Stage(
    ...     hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10, steps=9
    ... )
    >>> process = TwoStage(source, source.replace(minimum=0.1), Gaussian(0.0, 1.0))
    >>> kl = lambda p: p.finetune.gibbs().kl(p.pretrain.gibbs())
    >>> print(sensitivities(kl, process, over=("pretrain.learning_rate", "finetune.shift")))
    value 1
    hyper-parameter          at  slope  elasticity  curvature
    pretrain.learning_rate  0.1    -10          -1        250
    finetune.shift            1      2           2          2
    """
    if over is None:
        require_chain(process)
        over = default_names(process)
    over = (over,) if isinstance(over, str) else tuple(over)
    places = tuple(find_places(process, over, NUMBERS + FACTORS, "differentiable"))
    at = jnp.stack([read(process, place) for place in places])
    value, gradient, hessian = _derivatives(objective, process, places, at)
    _refuse_not_finite(value, gradient, over)
    return Sensitivities(
        value=value,
        at=at,
        gradient=gradient,
        hessian=hessian,
        names=over,
        risk_held_fixed=getattr(objective, "risk_held_fixed", None),
    )


@eqx.filter_jit
def _derivatives(objective, process, places, at):
    axes = jnp.eye(at.shape[0], dtype=at.dtype)

    def value(x):
        return objective(write(process, places, x))

    def forward(x):
        values, gradient = jax.vmap(lambda e: jax.jvp(value, (x,), (e,)))(axes)
        return gradient, (values[0], gradient)

    hessian, (value_there, gradient) = jax.jacrev(forward, has_aux=True)(at)
    return value_there, gradient, (hessian + hessian.T) / 2


def _refuse_not_finite(value, gradient, over) -> None:
    if not is_concrete(value, gradient):
        return
    if not np.isfinite(value):
        raise ValueError(
            f"the objective is {show(value)} at this process, so it has no derivatives: look for a "
            "learning rate beyond its limit, or a prior whose range the law leaves"
        )
    lost = [name for name, slope in zip(over, np.asarray(gradient), strict=True) if np.isnan(slope)]
    if lost:
        raise ValueError(
            f"the objective has no derivative in {', '.join(lost)} at this process (NaN): look for "
            "a root or a logarithm of something that is zero there"
        )
