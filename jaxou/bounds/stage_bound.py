"""The guarantee of one stage: an empirical risk, a KL and a row of the catalogue."""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import as_float, as_number, holds_numbers, refuse_unless, show, show_value
from .._status import Status, first_failure, poison, raise_unless_ok, status_if
from ..laws import Gaussian
from .rows import Row
from .terms import BoundTerms, bound_terms

Risk = Callable[[Gaussian], Float[Array, ""]]


class StageBound(eqx.Module):
    """The guarantee of one stage: `value` = `risk` + `gap`, raw (it may exceed 1).

    Without a given risk (`risk_given` is False) the value is the gap of a zero empirical risk.
    """

    value: Float[Array, ""]
    gap: Float[Array, ""]
    kl: Float[Array, ""]
    risk: Float[Array, ""]
    delta: Float[Array, ""]
    n: Float[Array, ""]
    terms: BoundTerms
    status: Status
    risk_given: bool = eqx.field(static=True)

    def __str__(self) -> str:
        if not holds_numbers(self) or self.value.ndim:
            return repr(self)
        if not bool(self.status == Status.ok):
            return f"no bound: {Status[self.status]}"
        risk = f"risk {show(self.risk)}" if self.risk_given else "no risk given, 0"
        return (
            f"{risk} + gap {show(self.gap)} = {show(self.value)} (KL {show(self.kl)} nats, "
            f"n {float(self.n):,.10g}, delta {show(self.delta)})"
        )


def stage_bound(
    posterior: Gaussian,
    prior: Gaussian,
    risk,
    n,
    delta,
    *,
    row: Row,
    name: str,
    split_is_fine,
    throw: bool,
    is_source: bool = False,
) -> StageBound:
    """`row` at the KL of two laws; where something is out of range NaN and a status, or raised."""
    divergence = posterior.kl_terms(prior)
    given = risk is not None
    empirical = _risk_of(risk if given else 0.0, posterior, "source_risk" if is_source else "risk")
    in_range = (empirical >= 0) & (empirical <= 1) & (n >= 1) & split_is_fine
    status = first_failure(
        prior.status, posterior.status, divergence.status, status_if(~in_range, Status.bad_input)
    )
    raise_unless_ok(status, throw)
    # rows refuse what is not a number, so a lane that failed is evaluated at harmless values
    good = status == Status.ok
    kl = jnp.maximum(jnp.where(good, divergence.value, 0.0), 0.0)
    safe_n, safe_delta = jnp.where(good, n, 8.0), jnp.where(good, delta, 0.5)
    value = row(jnp.where(good, empirical, 0.0), kl, safe_n, safe_delta)
    return StageBound(
        value=poison(value, status),
        gap=poison(value - empirical, status),
        kl=poison(kl, status),
        risk=empirical,
        delta=delta,
        n=n,
        terms=bound_terms(divergence, prior if is_source else None, empirical, n, delta, name),
        status=status,
        risk_given=given,
    )


def _risk_of(risk, law: Gaussian, name: str) -> Float[Array, ""]:
    return as_risk(risk(law), name, law_gave_it=True) if callable(risk) else as_risk(risk, name)


def known_risks(risk, source_risk):
    """Both with numbers as checked arrays, before anything is traced; callables pass."""
    if not callable(risk):
        risk = as_risk(risk, "risk")
    if source_risk is not None and not callable(source_risk):
        source_risk = as_risk(source_risk, "source_risk")
    return risk, source_risk


def as_risk(value, name: str, law_gave_it: bool = False) -> Float[Array, ""]:
    """An empirical risk in [0, 1]; one that a law gave may be NaN, and its status says why."""
    value = as_float(value, name)
    if value.ndim != 0:
        raise ValueError(f"{name} must be one number in [0, 1], got shape {value.shape}")
    refuse_unless(
        ((value >= 0) & (value <= 1)) | (jnp.isnan(value) & law_gave_it),
        f"{name}={show_value(value)} must lie in [0, 1]: it is the empirical risk of a bounded "
        "loss; ou.SaturatedRisk makes one of a quadratic",
    )
    return value


def split_delta(delta, delta_split):
    """(delta, (delta_S, delta_T), whether both are usable), refusing what overspends."""
    delta = as_number(delta, "delta")
    refuse_unless(
        (delta > 0) & (delta < 1),
        f"delta={show_value(delta)} must lie in (0, 1): it is the total failure probability",
    )
    if not hasattr(delta_split, "__len__") or len(delta_split) != 2:
        raise ValueError(f"delta_split={delta_split} must be two shares, source first")
    first, second = (as_number(share, "delta_split") for share in delta_split)
    positive = (first > 0) & (second > 0)
    # a share of 0.1 + 0.9 may be an ulp above 1
    within = first + second <= 1.0 + 4 * float(jnp.finfo(first.dtype).eps)
    refuse_unless(
        positive & within,
        f"delta_split=({show_value(first)}, {show_value(second)}) must be two positive shares with "
        "a sum of at most 1: more would spend the failure probability delta twice",
    )
    fine = (delta > 0) & (delta < 1) & positive & within
    return (delta * first, delta * second), fine


def sample_size(n, name: str) -> Float[Array, ""]:
    """The number of examples as an array; refused below 1."""
    n = as_number(n, name)
    refuse_unless(n >= 1, f"{name}={show_value(n)} must be at least 1, the examples of that sample")
    return n


def row_name(row: str | Row) -> str:
    """The name of a row given by name or as a function, `functools.partial` included."""
    if isinstance(row, str):
        return row
    return getattr(row.func if isinstance(row, partial) else row, "__name__", "custom")
