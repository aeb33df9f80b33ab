"""Recompute certificates that others have published, from the columns of their own tables.

A claim holds if it is at least the exact value of its bound at its own numbers. Three slips are
common: a kl inverse by bisection that returns the last midpoint (below the root half of the time),
a failure probability that is spent on two events and stated once, and an inverse that fails at
an empirical risk of 1.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._check import require_float64
from .._claims import WORDS, choose, refuse_unpaid
from .._table import TableError
from .audited import BELOW, HOLDS, OVERSPENT, ROUNDING, UNUSABLE, Audit
from .inversion import kl_inverse
from .published import Published, as_columns, find_defects, read
from .rows import Row, find_row
from .rows.arguments import outward

RESOLUTION = 1e-12
"""The exact value is rounded up by less than this share of itself: less is no shortfall."""

Source = str | float | int | np.number | None


def audit(
    table: Any,
    *,
    risk: str | None = None,
    kl: str | None = None,
    kl_over_n: str | None = None,
    n: Source = None,
    delta: Source = None,
    draws: Source = None,
    delta_mc: Source = None,
    claimed: str | None = None,
    delta_both: bool = False,
    bound: str | Row = "seeger",
    percent: bool | None = None,
    rounded_inputs: bool = False,
    defects: Mapping[int, str] | None = None,
) -> Audit:
    """Recompute published certificates and say which claims fall below the exact value.

        risk_upper = kl_inverse(risk, log(2 / delta_mc) / draws),  or the risk itself without draws
        exact      = min(1, bound(risk_upper, kl, n, delta))

    - `table`: columns {name: values} or a sequence of rows {name: value}; numbers or text.
    - `risk`, `kl` or `kl_over_n`, `n`, `delta`, `draws`, `delta_mc`, `claimed`: the columns to
      take; None looks for a common name and "none" takes nothing. `n`, `delta`, `draws` and
      `delta_mc` may be one number for all rows. `draws` = 0: a risk that is no estimate.
    - `delta_mc`: what the Monte Carlo step spent beside `delta`, with `delta + delta_mc` stated.
      `delta_both=True`: the claim states `delta` and spent it on both events, 2 delta together;
      `exact_as_stated` then has half of it for each.
    - `bound`: a row of the catalogue by name, or a callable row(risk, kl, n, delta) that traces;
      for losses in [0, 1].
    - `percent`: risks and claims are per cent. None refuses a table that looks so; False takes it
      as it is. A cell `12.4 %` is understood anyway.
    - `rounded_inputs`: take risk and KL at the favourable end of what would be printed alike.
    - `defects`: {row from 0: reason} for rows that are known to be bad beforehand.

    Bad rows are set aside with a reason. A wrong table raises `ValueError`; without x64
    `RuntimeError`. Cost: one compiled call over all rows, some microseconds a row.

    Source of the kl inverse's pitfall and of the nested inversion: Perez-Ortiz et al. 2021 (JMLR
    22), Langford and Caruana 2001.

    >>> published = {"risk": [0.05, 0.05, 1.0], "kl": 120.5, "n": 5000, "claim": [0.12, 0.11, 0.0]}
    >>> print(audit(published, delta=0.05).summary())
    3 claims: 1 hold, 2 below the exact value (by at most 1, row 3)
    >>> audit({**published, "claim": "0.115"}, delta=0.05).verdict.tolist()
    ['rounding', 'rounding', 'below']
    """
    require_float64("certificates are audited")
    row = find_row(bound)
    columns = as_columns(table)
    asked = {"risk": risk, "kl": kl, "kl_over_n": kl_over_n, "n": n, "delta": delta}
    asked |= {"draws": draws, "delta_mc": delta_mc, "claimed": claimed}
    chosen = choose(columns, asked)
    refuse_unpaid(chosen, delta_both)
    found = read(columns, chosen, defects or {})
    unit = _to_fractions(found, percent)
    v = found.values
    if "kl_over_n" in chosen:
        v["kl"] = v["kl_over_n"] * v["n"]
    if delta_both:
        v["delta_mc"] = v["delta"]
    stated = v["delta"] if delta_both else v["delta"] + v["delta_mc"]
    find_defects(found)

    numbers = {role: v[role] for role in ("risk", "kl", "n", "delta", "draws", "delta_mc")}
    if rounded_inputs:
        numbers |= _favourable(found, unit)
    upper, exact = _evaluate(row, numbers, found.good)
    as_stated = exact
    if delta_both:
        halves = {"delta": v["delta"] / 2.0, "delta_mc": v["delta"] / 2.0}
        _, as_stated = _evaluate(row, numbers | halves, found.good)
    name = bound if isinstance(bound, str) else getattr(bound, "__name__", "a bound of its own")
    for i in np.flatnonzero(found.good & np.isnan(exact)).tolist():
        found.reasons[i] = f"{name} has no value at n = {v['n'][i]:g}"

    good = found.good
    # only where it matters: reading digits is slow
    half = found.half_units("claimed", good & (v["claimed"] < as_stated)) * unit["claimed"]
    verdict, short = _judge(v["claimed"], exact, as_stated, half, good)
    arrays = {role: v[role] for role in ("risk", "kl", "n", "delta", "draws", "claimed")}
    arrays |= {"delta_mc": v["delta_mc"], "risk_upper": upper, "stated": stated}
    arrays |= {"exact": exact, "exact_as_stated": as_stated}
    return Audit(
        bound=name,
        verdict=verdict,
        short=short,
        half_unit=half,
        reasons=dict(sorted(found.reasons.items())),
        columns={role: str(choice) for role, choice in chosen.items()},
        **{role: np.where(good, array, np.nan) for role, array in arrays.items()},
    )


def _to_fractions(found: Published, percent: bool | None) -> dict[str, np.ndarray]:
    """Turn risks and claims in per cent into fractions; the unit of each cell, for its rounding."""
    v = found.values
    with np.errstate(invalid="ignore"):
        above = {role: (v[role] > 1.0) & (v[role] <= 100.0) for role in ("risk", "claimed")}
    if percent is None:
        known = {role: max(int(np.sum(~np.isnan(v[role]))), 1) for role in above}
        suspects = [role for role in above if 2 * int(above[role].sum()) > known[role]]
        both = above["risk"] & above["claimed"]
        if suspects or both.any():
            role = "risk" if both.any() else suspects[0]
            i = int(np.argmax(both if both.any() else above[role]))
            raise TableError(
                f"the {WORDS[role]} of row {i + 1} is {v[role][i]:g}: per cent? risks and claims "
                "are fractions in [0, 1]; percent=True divides both by 100, percent=False takes "
                "them as they are"
            )
    unit = {}
    for role in above:
        unit[role] = np.full(found.length, 0.01 if percent else 1.0)
        cells = found.cells[role]
        if percent and not isinstance(cells, np.ndarray):
            marked = [isinstance(cell, str) and cell.rstrip().endswith("%") for cell in cells]
            unit[role][np.asarray(marked)] = 1.0
        v[role] = v[role] * unit[role]
    return unit


def _favourable(found: Published, unit: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The smallest risk and KL that are printed alike."""
    v, everywhere = found.values, found.good
    risk = v["risk"] - found.half_units("risk", everywhere) * unit["risk"]
    half = (
        found.half_units("kl_over_n", everywhere) * v["n"]
        if "kl_over_n" in found.cells
        else found.half_units("kl", everywhere)
    )
    return {"risk": np.maximum(risk, 0.0), "kl": np.maximum(v["kl"] - half, 0.0)}


def _evaluate(
    row: Row, numbers: dict[str, np.ndarray], good: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(risk_upper, exact) of the good rows, NaN elsewhere; padded to powers of two."""
    size = 1 << max(6, int(good.sum() - 1).bit_length())
    harmless = {"risk": 0.5, "kl": 1.0, "n": 100.0, "delta": 0.5, "draws": 0.0, "delta_mc": 0.0}
    padded = {}
    for role, filler in harmless.items():
        padded[role] = np.full(size, filler)
        padded[role][: good.sum()] = numbers[role][good]
    results = _recompute(row, **{role: jnp.asarray(x) for role, x in padded.items()})
    upper, exact = np.full((2, good.size), np.nan)
    upper[good], exact[good] = (np.asarray(x)[: good.sum()] for x in results)
    return upper, exact


@partial(jax.jit, static_argnums=0)
def _recompute(
    row: Row, risk: Array, kl: Array, n: Array, delta: Array, draws: Array, delta_mc: Array
) -> tuple[Array, Array]:
    estimated = draws > 0
    budget = jnp.log(2.0 / jnp.where(estimated, delta_mc, 1.0)) / jnp.where(estimated, draws, 1.0)
    upper = jnp.where(estimated, kl_inverse(risk, outward(budget)), risk)
    return upper, jnp.minimum(row(upper, kl, n, delta), 1.0)


def _judge(
    claimed: np.ndarray,
    exact: np.ndarray,
    as_stated: np.ndarray,
    half: np.ndarray,
    good: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Verdict and shortfall of every row."""
    with np.errstate(invalid="ignore"):
        short, stated_short = exact - claimed, as_stated - claimed
        explained = half * (1.0 + 1e-9)
        missing = good & (short > RESOLUTION * exact)
        stated_missing = good & (stated_short > RESOLUTION * as_stated)
        below = missing & (short > explained)
        overspent = stated_missing & (stated_short > explained) & ~below
        rounding = (missing | stated_missing) & ~below & ~overspent
    verdict = np.select(
        [~good, below, overspent, rounding], [UNUSABLE, BELOW, OVERSPENT, ROUNDING], HOLDS
    )
    amount = np.where(overspent | (rounding & ~missing), stated_short, short)
    return verdict, np.where(below | overspent | rounding, amount, 0.0)
