"""What every row of the catalogue checks, and the two budgets that most of them share."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from ..._check import as_float, is_concrete, refuse_unless, show_value

Values = Float[Array, "..."]


class Arguments(NamedTuple):
    """The common arguments, broadcast; `valid` is false where a traced one is out of range."""

    risk: Values
    kl: Values
    n: Values
    delta: Values
    valid: Bool[Array, "..."]

    def seal(self, bound: Values) -> Values:
        """The bound, or NaN where an argument was out of range."""
        return jnp.where(self.valid, bound, jnp.nan)

    def close(self, bound: Callable[..., Values], *parameters: Values) -> Values:
        """bound(arguments, *parameters) with everything broadcast together, then sealed."""
        *common, valid = self
        both = jnp.broadcast_arrays(*common, valid, *parameters)
        a = Arguments(*both[:5])
        return a.seal(bound(a, *both[5:]))


def arguments(
    risk: ArrayLike,
    kl: ArrayLike,
    n: ArrayLike,
    delta: ArrayLike,
    *,
    smallest_risk: float = 0.0,
    largest_risk: ArrayLike = 1.0,
    smallest_kl: float = 0.0,
    smallest_n: float = 1.0,
    why_n: str = "the number of examples in the bound",
) -> Arguments:
    """Check and broadcast. Concrete bad values raise with advice, traced ones become invalid."""
    top = as_float(largest_risk, "largest_risk")
    values = jnp.broadcast_arrays(
        as_float(risk, "risk"), as_float(kl, "kl"), as_float(n, "n"), as_float(delta, "delta"), top
    )
    risk, kl, n, delta, top = values
    upper = "infinity" if is_concrete(top) and bool(jnp.all(top == jnp.inf)) else show_value(top)
    checks = (
        (
            (risk >= smallest_risk) & (risk <= top),
            f"risk={show_value(risk)} must lie in [{smallest_risk:g}, {upper}]: it is "
            "the empirical risk of a bounded loss; divide the loss by its bound, or use a row for "
            "unbounded losses (sub_gaussian, second_moment)",
        ),
        (
            kl >= smallest_kl,
            f"kl={show_value(kl)} must be >= 0 nats: posterior first, KL(posterior || prior)",
        ),
        (n >= smallest_n, f"n={show_value(n)} must be at least {smallest_n:g}: it is {why_n}"),
        (
            (delta > 0) & (delta < 1),
            f"delta={show_value(delta)} must lie in (0, 1): it is the probability that the bound "
            "fails; 0.05 is usual",
        ),
    )
    valid = jnp.ones(risk.shape, bool)
    for condition, message in checks:
        refuse_unless(condition, message)
        valid = valid & condition
    return Arguments(risk, kl, n, delta, valid)


def parameter(
    value: ArrayLike,
    name: str,
    what: str,
    *,
    above: float = 0.0,
    below: float = jnp.inf,
    closed: bool = False,
) -> Values:
    """A row's own parameter, strictly between two numbers; NaN where a traced one is not.

    `closed` lets the lower one in.
    """
    value = as_float(value, name)
    good = ((value >= above) if closed else (value > above)) & (value < below)
    lower = f"{'at least' if closed else 'above'} {above:g}"
    upper = "" if below == jnp.inf else f" and below {below:g}"
    refuse_unless(good, f"{name}={show_value(value)} must be {lower}{upper}: {what}")
    return jnp.where(good, value, jnp.nan)


def maurer_budget(a: Arguments) -> Values:
    """c = (KL + log(2 sqrt(n) / delta)) / n, the right side of the PAC-Bayes-kl inequality."""
    return (a.kl + jnp.log(2.0 * jnp.sqrt(a.n) / a.delta)) / a.n


def outward(budget: Values) -> Values:
    """The budget plus 8 ulp: covers its own rounding, so that its kl inverse stands outside."""
    return budget + 8 * float(jnp.finfo(budget.dtype).eps) * jnp.abs(budget)


def catoni_budget(a: Arguments) -> Values:
    """KL + log(1/delta): what bounds with a lambda fixed in advance pay, without log n."""
    return a.kl - jnp.log(a.delta)
