"""Failure as data: what went wrong in a computation that could not raise, in words of advice.

Inside `jit` and `vmap` nothing can be raised for one lane without losing the others. There a
law or a bound carries a `status`, and its number is NaN exactly where the status is not `ok`.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._check import is_concrete


class Status(eqx.Enumeration):
    """The outcome of a computation; `Status[status]` is the sentence that belongs to it.

    >>> import jax, jaxou as ou
    >>> bowl = lambda rate: ou.Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=rate,
    ...                              batch_size=1, steps=1).stationary(throw=False).status
    >>> (jax.vmap(bowl)(jax.numpy.array([0.1, 3.0])) == Status.ok).tolist()
    [True, False]
    """

    ok = ""
    bad_input = (
        "an input is NaN, infinite or out of its range: look at the stage's hyper-parameters"
    )
    no_steady_law = (
        "the Hessian has an eigenvalue <= 0, so the process has no steady law: add weight decay "
        "(weight_decay=...), or ask for the law at a finite time"
    )
    unstable = (
        "the learning rate is unstable: SGD on this Hessian needs less than 2 (1 + momentum) / "
        "lambda_max; lower learning_rate or ask for a finite step"
    )
    not_contracting = "this kernel does not contract, so it has no fixed point; use power(n)"
    diverged = (
        "the law has left the range of floating-point numbers: the learning rate is above the "
        "stability limit 2 (1 + momentum) / lambda_max; lower it or ask for fewer steps"
    )
    not_positive = "a covariance has a negative eigenvalue: look at the matrices it was built from"


def first_failure(*statuses: Status) -> Status:
    """The first status that is not ok, else ok; vmappable."""
    outcome = statuses[0]
    for status in statuses[1:]:
        outcome = Status.where(outcome == Status.ok, status, outcome)
    return outcome


def status_if(failed: Bool[Array, ""], failure: Status) -> Status:
    """`failure` where `failed`, else ok."""
    return Status.where(failed, failure, Status.ok)


def poison(value: Float[Array, "..."], status: Status) -> Float[Array, "..."]:
    """`value`, or NaN where the status is not ok: a wrong number is never returned silently."""
    return jnp.where(status == Status.ok, value, jnp.nan)


def raise_unless_ok(status: Status, throw: bool, message: str = "") -> None:
    """Raise `ValueError` with the status's advice, outside tracing and with `throw` only."""
    if throw and is_concrete(status) and not bool(status == Status.ok):
        raise ValueError(message or Status[status])
