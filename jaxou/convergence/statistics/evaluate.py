"""All statistics of many draws in one pass, with their null laws and one decision."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._check import as_float
from .base import AbstractSum, as_statistics
from .family import Family, min_p
from .moments import Moments, moments_of, own_root
from .pair_sums import strata
from .simulated import Joint, joint_null
from .streamed import streamed
from .values import pair_values

BLOCK = 8_192
JOINT_RANK = 64
"""Dimensions up to which the joint law of all statistics is simulated."""


@dataclasses.dataclass(frozen=True)
class Test:
    """One statistic of the draws with its null law. Numbers are None where it could not be made.

    `null` names the law under the claim and `kind` says how it is known ("exact", "asymptotic",
    "simulated"); `used` counts the draws that were looked at; `reason` says why a test was not
    made, or what it lost by not using every draw; `adjusted` is Holm's correction over all tests
    of a verdict.
    """

    name: str
    question: str
    statistic: float | None = None
    null: str = ""
    p_value: float | None = None
    adjusted: float | None = None
    reason: str = ""
    standard_error: float | None = None
    kind: str = ""
    used: int = 0


@dataclasses.dataclass(frozen=True)
class Findings:
    """All statistics, and the family-wise p-value of the smallest of their p-values."""

    tests: tuple[Test, ...]
    family: Family
    draws: int
    rank: int

    def __getitem__(self, name: str) -> Test:
        for test in self.tests:
            if test.name == name:
                return test
        raise KeyError(f"{name!r} is none of {[test.name for test in self.tests]}")

    @property
    def p_values(self) -> dict[str, float | None]:
        return {test.name: test.p_value for test in self.tests}


def evaluate(
    statistics: Any,
    z: Any,
    *,
    block: int = BLOCK,
    fitted: bool = False,
    joint: bool | Joint = True,
) -> Findings:
    """Compute statistics of whitened draws, their p-values, and the decision of the family.

    **Arguments:**

    - `statistics`: those of this folder, for instance `standard()`.
    - `z`: draws (n, r), independent N(0, I) if the claim is right; float32 or float64, numpy or
      jax. Rows must be independent: for a time series see `effective_size`.
    - `block`: rows per compiled call. Sums of numbers depend on it in the last digits, counts and
      subsamples not at all.
    - `fitted`: whiten the draws by their own mean and covariance first, for claims whose mean and
      covariance were estimated from the same draws. Statistics of moments then say nothing and are
      left out, and the other null laws are simulated with the same fit.
    - `joint`: simulate the dependence of the statistics for the family's decision (up to r = 64);
      False: Bonferroni. A `Joint` made before is used as it is.

    **Returns** `Findings`.

    Cost: one pass O(n r^2), a second for statistics that whiten by the draws' own moments, and
    O(m^2 r) for pairs of m = min(n, 20,000) draws; memory for one block and those m rows. The first
    call for a new (n, r) simulates null laws (seconds); they are kept.

    >>> from .mean import MeanChi2
    >>> found = evaluate((MeanChi2(),), np.array([[1.0], [-1.0], [0.5], [-0.5]]), joint=False)
    >>> found["mean"].statistic, found.family.p_value
    (0.0, 1.0)
    """
    statistics = as_statistics(statistics)
    z = _checked(z, block)
    n, r = z.shape
    able = tuple(s for s in statistics if not _reason(s, n, r, fitted))
    numbers = _numbers(able, z, block, fitted)
    if joint is True:
        joint = joint_null(able, n, r, fitted=fitted) if r <= JOINT_RANK else None
    return judged(statistics, numbers, n, r, fitted, joint or None)


def judged(
    statistics: tuple,
    numbers: dict[int, tuple[float, float]],
    n: int,
    r: int,
    fitted: bool,
    laws: Joint | None,
) -> Findings:
    """P-values and the family's decision from (value, standard error) by `id(statistic)`.

    >>> from .mean import MeanChi2
    >>> mean = MeanChi2()
    >>> found = judged((mean,), {id(mean): (3.84, 0.0)}, 100, 1, False, None)
    >>> round(found["mean"].p_value, 3)
    0.05
    """
    reasons = {id(s): _reason(s, n, r, fitted) for s in statistics}
    tests = []
    for s in statistics:
        if reasons[id(s)]:
            tests.append(Test(s.name, s.question, reason=reasons[id(s)]))
            continue
        value, error = numbers[id(s)]
        null, used = s.null(n, r, fitted, laws), s.used(n, r)
        made = dict(reason=used.text, standard_error=error, kind=null.kind, used=used.draws)
        p = float(null.p_value(value))
        tests.append(Test(s.name, s.question, value, null.text, p, **made))
    return Findings(tuple(tests), _family(tests, statistics, laws), n, r)


def _family(tests, statistics, joint) -> Family:
    made = [(s, t.p_value) for s, t in zip(statistics, tests, strict=True) if t.p_value is not None]
    if joint is None:
        return min_p([p for _, p in made])
    found = {id(s): p for s, p in made}
    known = [next((p for s, p in made if s == mine), None) for mine in joint.statistics]
    if sum(p is not None for p in known) < len(found):
        return min_p([p for _, p in made])  # a test outside the joint law: Bonferroni for all
    return min_p(known, joint)


def _checked(z, block):
    z = np.asarray(z)
    if z.ndim != 2 or z.dtype.kind != "f" or min(z.shape) < 1:
        raise ValueError(
            f"draws must be floating numbers of shape (n, r), got {z.dtype} of shape {z.shape}"
        )
    if len(z) < 2:
        raise ValueError("one draw says nothing about a law: give at least two")
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        raise ValueError(f"block={block!r} must be a whole number of rows, such as 8192")
    for start in range(0, len(z), 1 << 16):
        if not np.isfinite(z[start : start + (1 << 16)]).all():
            raise ValueError(
                f"draws hold NaN or infinity in rows {start} to {start + (1 << 16)}: the process "
                "diverged, or the claimed law has no spread in some direction (whiten leaves those "
                "out)"
            )
    return z


def _reason(statistic, n, r, fitted) -> str:
    """Why a statistic does not exist for these draws; empty if it does."""
    if fitted and statistic.about_moments:
        return "not available: constant on draws that were whitened by their own moments"
    needed = max(statistic.fewest(r), r + 2 if fitted else 2)
    available = statistic.used(n, r).draws
    if available < needed:
        return f"not available: needs at least {needed} draws in {r} dimensions, got {available}"
    return ""


@eqx.filter_jit
def _finish(statistics, records, n):
    return [
        tuple(as_float(x) for x in s.finish(_typed(record), n))
        for s, record in zip(statistics, records, strict=True)
    ]


def _typed(record):
    return jax.tree.map(lambda x: x if x.dtype.kind == "i" else as_float(x), record)


class _MomentSums(AbstractSum):
    """Only the sums: the first pass for statistics that whiten by the draws' own moments."""

    name = ""
    question = ""

    def reduce(self, block, live):
        return moments_of(block, live)

    def finish(self, summary, n):
        raise NotImplementedError

    def null(self, n, r, fitted=False, joint=None):
        raise NotImplementedError


@eqx.filter_jit
def _root(moments: Moments, n):
    return own_root(_typed(moments), n)


_pairs = eqx.filter_jit(pair_values)


def _numbers(statistics, z, block, fitted) -> dict[int, tuple[float, float]]:
    (n, r), count = z.shape, as_float(len(z))
    sums = tuple(s for s in statistics if isinstance(s, AbstractSum))
    own = tuple(s for s in sums if s.standardised or fitted)
    plain = tuple(s for s in sums if not (s.standardised or fitted))
    first = plain + ((_MomentSums(),) if own else ())
    records = streamed(first, z, block) if first else []
    if own:
        root = _root(_device(records.pop()), count)
        records += streamed(own, z, block, root)
    found = {}
    for s, pair in zip(plain + own, _finish(plain + own, _device(records), count), strict=True):
        found[id(s)] = pair
    pairs = [s for s in statistics if not isinstance(s, AbstractSum)]
    for m in sorted({s.used(n, r).draws for s in pairs}):
        group = tuple(s for s in pairs if s.used(n, r).draws == m)
        rows = jnp.asarray(z[strata(n, m)])
        for s, pair in zip(group, _pairs(group, rows, fitted), strict=True):
            found[id(s)] = pair
    return {key: (float(a), float(b)) for key, (a, b) in found.items()}


def _device(tree):
    """Sums as arrays: floats in the default precision, counts as integers."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.int32 if x.dtype.kind == "i" else None), tree)
