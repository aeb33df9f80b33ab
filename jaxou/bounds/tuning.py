"""Better hyper-parameters by gradient descent on a bound, in one compiled loop."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._check import is_concrete, show_value
from ..stages import AbstractChain

_FIELDS = ("learning_rate", "batch_size", "steps", "weight_decay", "langevin_temperature")


class Tuned(eqx.Module):
    """The best process seen, its objective, and the objective along the way, (steps + 1,).

    `batch_size` and `steps` come out as real numbers: round them, and evaluate again.
    """

    process: AbstractChain
    value: Float[Array, ""]
    history: Float[Array, " iterations"]
    over: tuple[str, ...] = eqx.field(static=True)

    @property
    def initial_value(self) -> Float[Array, ""]:
        """The objective of the process that was given."""
        return self.history[0]


def tune(
    objective: Callable[[AbstractChain], Float[Array, ""]],
    process: AbstractChain,
    over: str | tuple[str, ...] = ("finetune.learning_rate", "finetune.batch_size"),
    optimizer=None,
    steps: int = 200,
) -> Tuned:
    """Minimise `objective(process)` over positive hyper-parameters named "stage.argument".

    Works in the logarithms of the hyper-parameters, batches kept at 1 or more; `optimizer` is any
    optax optimiser, None takes `optax.adam(0.05)`, that is 5 % a step. Where the objective stops
    being finite (beyond the stability limit, say) the search goes back to the best point and halves
    its steps. The objective must be differentiable: with a risk that is a fixed number it sees the
    KL alone, so give a callable one such as `SaturatedRisk`. What may be chosen after seeing the
    target sample at no cost is everything in the fine-tuning stage; the pre-training stage is the
    prior and must not look at it.

    Refuses unknown names, values that are not positive, and an objective that is not finite at the
    start. Cost: `steps` gradients, compiled once for each objective.

    >>> from jaxou import Gaussian, Stage, TwoStage
    >>> source = Stage(
    ...     hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10, steps=9
    ... )
    >>> process = TwoStage(source, source.replace(batch_size=40), Gaussian(0.0, 1.0))
    >>> kl = lambda p: p.finetune.gibbs().kl(p.pretrain.gibbs())
    >>> best = tune(kl, process, over=("finetune.batch_size",), steps=100)
    >>> round(float(best.process.finetune.batch_size), 1), float(best.value) < 1e-4
    (10.0, True)
    """
    over = (over,) if isinstance(over, str) else tuple(over)
    places = [_place(process, name) for name in over]
    start = [
        _positive(_get(process, place), name) for place, name in zip(places, over, strict=True)
    ]
    if optimizer is None:
        import optax

        optimizer = optax.adam(0.05)
    if not (isinstance(steps, int) and steps >= 1):
        raise ValueError(f"steps={steps!r} must be a whole number of at least 1")
    value, slope = _evaluate(objective, process, places, start)
    if is_concrete(value) and not (np.isfinite(value) and all(np.isfinite(g).all() for g in slope)):
        raise ValueError(
            _hint(over)
            + f"the objective is {show_value(value)} at the given process, or its gradient is not "
            "finite, so there is nothing to descend: start from hyper-parameters at which it is "
            f"(gradient {dict(zip(over, map(str, slope), strict=True))})"
        )
    for name, g in zip(over, slope, strict=True):
        if is_concrete(g) and not np.any(np.asarray(g)):
            raise ValueError(
                f"the objective does not depend on {name}, or has no derivative in it: laws have "
                "derivatives in the number of steps for time= only (time=stage.duration), not for "
                "step="
            )
    best, value, history = _descend(objective, process, places, start, optimizer, steps)
    return Tuned(process=_set(process, places, best), value=value, history=history, over=over)


def _place(process: AbstractChain, name: str) -> tuple[int, str]:
    choices = [f"{stage}.{field}" for stage in process.names for field in _FIELDS]
    if name not in choices:
        raise ValueError(f"over={name!r} is not one of the tunable names: {', '.join(choices)}")
    stage, field = name.rsplit(".", 1)
    return process.index(stage), field


def _get(process, place):
    return getattr(process.stages[place[0]], place[1])


def _hint(over) -> str:
    if not any(name.endswith("steps") for name in over):
        return ""
    return (
        "steps move continuously while they are tuned, and a law has no derivative in step=: use "
        "law(time=stage.duration) in the objective. "
    )


def _positive(value, name):
    if is_concrete(value) and not np.all(np.asarray(value) > 0):
        raise ValueError(
            f"{name}={show_value(value)} cannot be tuned in its logarithm: start from a positive "
            "number, however small"
        )
    return jnp.log(value)


def _set(process, places, logs):
    get = lambda p: [_get(p, place) for place in places]
    return eqx.tree_at(get, process, [jnp.exp(u) for u in logs])


@eqx.filter_jit
def _evaluate(objective, process, places, logs):
    return jax.value_and_grad(lambda u: objective(_set(process, places, u)))(logs)


@eqx.filter_jit
def _descend(objective, process, places, start, optimizer, steps):
    evaluate = jax.value_and_grad(lambda u: objective(_set(process, places, u)))
    lowest = [0.0 if field == "batch_size" else -jnp.inf for _, field in places]

    def iterate(carry, _):
        logs, state, best, best_value, pace = carry
        value, slope = evaluate(logs)
        finite = jnp.isfinite(value) & jnp.stack([jnp.isfinite(g).all() for g in slope]).all()
        better = finite & (value < best_value)
        best = _where(better, logs, best)
        best_value = jnp.where(better, value, best_value)
        slope = _where(finite, slope, _zeros(slope))
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its integer count with floats
            updates, moved = optimizer.update(slope, state, logs)
        ahead = [
            jnp.maximum(u + pace * step, low)
            for u, step, low in zip(logs, updates, lowest, strict=True)
        ]
        logs = _where(finite, ahead, best)
        state = _where(finite, moved, optimizer.init(logs))
        return (logs, state, best, best_value, jnp.where(finite, pace, pace / 2.0)), value

    one = jnp.ones((), start[0].dtype)
    carry = (start, optimizer.init(start), start, jnp.inf * one, one)
    (_, _, best, best_value, _), history = jax.lax.scan(iterate, carry, None, length=steps + 1)
    return best, best_value, history


def _where(condition, left, right):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), left, right)


def _zeros(tree):
    return jax.tree.map(jnp.zeros_like, tree)
