"""Better hyper-parameters by descent on a bound in one compiled loop, and what the choice costs."""

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._check import as_count, as_float, is_concrete, refuse_unless, show, show_value
from .._typing import ScalarLike
from ..stages import AbstractChain
from .coordinates import coordinate
from .descent import by_optax, by_optimistix
from .parameters import NUMBERS, Place, find_places

Objective = Callable[[AbstractChain], Float[Array, ""]]
WHOLE = ("batch_size", "steps")


class Tuned(eqx.Module):
    """The best process seen, its objective, and the way there.

    - `history`: the objective along the way, (iterations + 1,); `trajectory`: each hyper-parameter
      along the way, under its name.
    - `price`: for each name "free" (of the posterior: the last stage) or "prior" (of a stage whose
      law is the prior of a later one); `cost_nats`: what to add to log(1/delta) of the target's
      bound, 0 if all is free, log K for K declared candidates, inf for a prior chosen by looking at
      the target sample without any: then `value` bounds nothing. `note` says it in words.
    - `risk_held_fixed`: whether the objective's risk was a number (None: it does not say).

    `batch_size` and `steps` come out as real numbers: `rounded()` makes them whole.
    """

    process: AbstractChain
    value: Float[Array, ""]
    history: Float[Array, " iterations"]
    trajectory: dict[str, Float[Array, "iterations ..."]]
    cost_nats: Float[Array, ""]
    objective: Objective
    over: tuple[str, ...] = eqx.field(static=True)
    prices: tuple[str, ...] = eqx.field(static=True)
    risk_held_fixed: bool | None = eqx.field(static=True)

    @property
    def price(self) -> dict[str, str]:
        """ "free" or "prior" for each name."""
        return dict(zip(self.over, self.prices, strict=True))

    @property
    def initial_value(self) -> Float[Array, ""]:
        """The objective of the process that was given."""
        return self.history[0]

    @property
    def note(self) -> str:
        """What the choice costs, in a sentence for a ledger (concrete results only)."""
        of_prior = [name for name, price in self.price.items() if price == "prior"]
        cost = float(self.cost_nats)
        if not of_prior:
            return "everything that was tuned belongs to the posterior: free"
        names = ", ".join(of_prior)
        if np.isinf(cost):
            return (
                f"{names} belong to the prior, which must not look at the target sample: if the "
                "objective did, its value is no bound. Declare candidates in advance "
                "(prior_choices=K, at log K nats), or tune the last stage only"
            )
        return (
            f"{names} belong to the prior: {np.exp(cost):.6g} candidates declared in advance, "
            f"{cost:.4g} nats; move to the nearest candidate and evaluate there"
        )

    def rounded(self) -> "Tuned":
        """The same with whole batches and steps, those that were tuned, and the value there.

        Of the whole numbers on both sides of each the combination with the smallest objective.
        """
        places = _places(self.process, self.over)
        whole = [place for place in places if place.field in WHOLE]
        if not whole:
            return self
        values = [np.asarray(_get(self.process, place)) for place in whole]
        sides = [(np.maximum(np.floor(v), 1.0), np.maximum(np.ceil(v), 1.0)) for v in values]
        best = None
        for choice in itertools.product(*sides):
            process = eqx.tree_at(
                lambda p: [_get(p, place) for place in whole],
                self.process,
                [jnp.asarray(x, v.dtype) for x, v in zip(choice, values, strict=True)],
            )
            value = _value(self.objective, process)
            if best is None or value < best[0] or bool(jnp.isnan(best[0])):
                best = (value, process)
        return eqx.tree_at(lambda t: (t.value, t.process), self, best)

    def __str__(self) -> str:
        lines = [f"objective {show(self.initial_value)} -> {show(self.value)}"]
        width = max(len(name) for name in self.over)
        for name, place in zip(self.over, _places(self.process, self.over), strict=True):
            start, end = self.trajectory[name][0], _get(self.process, place)
            lines.append(f"{name.ljust(width)}  {show(start)} -> {show(end)}  ({self.price[name]})")
        lines.append(self.note)
        if self.risk_held_fixed:
            lines.append("risk held fixed: the search saw the KL alone")
        return "\n".join(lines)


def tune(
    objective: Any,
    process: Any,
    over: str | tuple[str, ...] = ("finetune.learning_rate", "finetune.batch_size"),
    optimizer=None,
    steps: Any = 200,
    *,
    keep_stable: bool = False,
    prior_choices: ScalarLike | None = None,
) -> Tuned:
    """Minimise `objective(process)` over positive hyper-parameters named "stage.argument".

    Works in free coordinates: logarithms, batches kept at 1 or more, the logit for momentum and,
    with `keep_stable`, for learning rates below 2 (1 + momentum) / lambda_max. `optimizer` is any
    optax optimiser (None takes `optax.adam(0.05)`, that is 5 % a step) or any optimistix minimiser,
    such as `optimistix.BFGS(rtol=1e-10, atol=1e-12)`, which reaches an optimum to all its digits.
    Where the objective stops being finite (beyond the stability limit, say) optax's search goes
    back to the best point and halves its steps. The objective must be differentiable: with a risk
    that is a fixed number it sees the KL alone, so give a callable one such as `SaturatedRisk`;
    `ou.bounds.TargetBound` is an objective that says which it has.

    What may be chosen after seeing the target sample at no cost is everything in the last stage;
    the stages before make the prior and must not look at it. If they are tuned, declare the
    number of candidates that were fixed in advance as `prior_choices`; `cost_nats` is its
    logarithm, and infinite without: see `Tuned`.

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
    >>> best.note
    'everything that was tuned belongs to the posterior: free'
    """
    if not callable(objective):
        raise TypeError(f"objective={objective!r} must be a function of the process to a number")
    over = (over,) if isinstance(over, str) else tuple(over)
    places = _places(process, over)
    coordinates = [
        coordinate(process, place, name, keep_stable)
        for place, name in zip(places, over, strict=True)
    ]
    start = [c.free(_get(process, place)) for c, place in zip(coordinates, places, strict=True)]
    if optimizer is None:
        import optax

        optimizer = optax.adam(0.05)
    if not hasattr(optimizer, "init"):
        raise TypeError(
            f"optimizer={optimizer!r} must be an optimiser of optax, such as optax.adam(0.05), or "
            "a minimiser of optimistix"
        )
    steps = as_count(steps, "steps")
    price = {
        name: "free" if place.stage == len(process.stages) - 1 else "prior"
        for name, place in zip(over, places, strict=True)
    }
    cost = _cost(price, prior_choices)
    _refuse_hopeless(objective, process, places, coordinates, start, over)
    best, value, history, points = _descend(
        objective, process, places, coordinates, start, optimizer, steps
    )
    moved = [c.bound(u) for c, u in zip(coordinates, points, strict=True)]
    return Tuned(
        process=_set(process, places, coordinates, best),
        value=value,
        history=history,
        trajectory=dict(zip(over, moved, strict=True)),
        cost_nats=cost,
        objective=objective if isinstance(objective, eqx.Module) else _Plain(objective),
        over=over,
        prices=tuple(price.values()),
        risk_held_fixed=getattr(objective, "risk_held_fixed", None),
    )


class _Plain(eqx.Module):
    """A function as a module: records that hold it go through `jit` and `vmap`."""

    function: Callable = eqx.field(static=True)

    def __call__(self, process):
        return self.function(process)


def _places(process, over) -> list[Place]:
    return find_places(process, over, NUMBERS, "tunable")


def _get(process, place):
    return getattr(process.stages[place.stage], place.field)


def _set(process, places, coordinates, free):
    get = lambda p: [_get(p, place) for place in places]
    return eqx.tree_at(get, process, [c.bound(u) for c, u in zip(coordinates, free, strict=True)])


def _cost(price, choices) -> Float[Array, ""]:
    if "prior" not in price.values():
        return jnp.zeros((), jnp.result_type(float))
    if choices is None:
        return jnp.full((), jnp.inf, jnp.result_type(float))
    choices = as_float(choices, "prior_choices")
    refuse_unless(
        choices >= 1,
        f"prior_choices={show_value(choices)} must be at least 1: how many candidates for the "
        "prior's hyper-parameters were fixed before the target sample was seen",
    )
    return jnp.log(choices)


def _refuse_hopeless(objective, process, places, coordinates, start, over) -> None:
    value, slope = _evaluate(objective, process, places, coordinates, start)
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


def _hint(over) -> str:
    if not any(name.endswith("steps") for name in over):
        return ""
    return (
        "steps move continuously while they are tuned, and a law has no derivative in step=: use "
        "law(time=stage.duration) in the objective. "
    )


@eqx.filter_jit
def _value(objective, process):
    return objective(process)


@eqx.filter_jit
def _evaluate(objective, process, places, coordinates, free):
    return jax.value_and_grad(lambda u: objective(_set(process, places, coordinates, u)))(free)


@eqx.filter_jit
def _descend(objective, process, places, coordinates, start, optimizer, steps):
    def value(free):
        return objective(_set(process, places, coordinates, free))

    if hasattr(optimizer, "terminate"):  # an optimistix minimiser
        return by_optimistix(value, start, optimizer, steps)

    def clip(free):
        return [c.clip(u) for c, u in zip(coordinates, free, strict=True)]

    return by_optax(jax.value_and_grad(value), start, optimizer, steps, clip)
