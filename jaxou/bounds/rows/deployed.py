"""What is certified about the model that is deployed: one draw, or the majority vote."""

from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from ..inversion import kl_inverse
from .arguments import arguments, maurer_budget, outward
from .seeger import seeger


def single_draw(risk: ArrayLike, kl: ArrayLike, n: ArrayLike, delta: ArrayLike) -> Array:
    """Bound on the true risk of ONE draw h ~ Q: kl(risk(h) || R(h)) <= (log dQ/dP(h) + l) / n.

    l = log(2 sqrt(n)/delta); `risk` is the empirical risk of that draw, and `kl` stands for its own
    log-density ratio log dQ/dP(h), whose mean is the KL and which may be negative. No Monte Carlo
    step is needed. The probability 1 - delta is over the sample and the draw; drawing again spends
    delta again.

    Derived: change of measure, E exp(n kl) <= 2 sqrt(n) (Maurer 2004, arXiv:cs/0411099), Markov.

    >>> f"{single_draw(0.05, 118.0, 5000, 0.05):.5f}"
    '0.11422'
    """
    a = arguments(risk, kl, n, delta, smallest_kl=-jnp.inf)
    # a negative budget has probability < delta and leaves the risk itself
    return a.seal(kl_inverse(a.risk, jnp.maximum(outward(maurer_budget(a)), 0.0)))


def majority_vote(
    risk: ArrayLike,
    kl: ArrayLike,
    n: ArrayLike,
    delta: ArrayLike,
    *,
    row: Any = seeger,
    **parameters: ArrayLike,
) -> Array:
    """R(majority vote of Q) <= 2 R(Q): twice the bound of any `row` on a 0-1 loss.

    `parameters` are the row's own.

    Folklore: a vote that errs has at least half of the weight against it.

    >>> f"{majority_vote(0.05, 120.5, 5000, 0.05):.5f}"
    '0.23001'
    """
    if not callable(row):
        raise TypeError(f"row={row!r} must be a row itself, such as ou.bounds.seeger")
    return 2.0 * row(risk, kl, n, delta, **parameters)
