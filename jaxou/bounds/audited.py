"""What an audit of published certificates found, and how it says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

HOLDS, BELOW, ROUNDING, OVERSPENT, UNUSABLE = "holds", "below", "rounding", "overspent", "unusable"
_NAMED = 5  # rows of a kind that a page names
_MIDPOINT = 2e-5  # of the value: the error of two nested bisections that stop at 1e-5


@dataclass(frozen=True, eq=False)
class Audit:
    """Published claims beside the values recomputed from their own columns; arrays (rows,).

    - `verdict`: "holds"; "below": less than `exact`; "rounding": less, by no more than half a unit
      in the last place printed; "overspent": not below `exact`, but below `exact_as_stated`;
      "unusable": `reasons[row]` says why, and the numbers of that row are NaN.
    - `exact`: the bound recomputed, rounded up, at most 1, with what the claim spent: `delta` on
      the PAC-Bayes event and `delta_mc` (0 if none) on the Monte Carlo step, `spent` together.
      `exact_as_stated`: the same with `stated`, the failure probability that the claim admits.
    - `short`: by how much a claim falls short of `exact` ("overspent": of `exact_as_stated`), else
      0. `half_unit`: what rounding in print can explain.
    - `risk_upper`: the empirical risk after the Monte Carlo step.

    Rows are counted from 0 here and from 1 in words.
    """

    bound: str
    verdict: np.ndarray
    risk: np.ndarray
    risk_upper: np.ndarray
    kl: np.ndarray
    n: np.ndarray
    delta: np.ndarray
    delta_mc: np.ndarray
    stated: np.ndarray
    draws: np.ndarray
    claimed: np.ndarray
    exact: np.ndarray
    exact_as_stated: np.ndarray
    short: np.ndarray
    half_unit: np.ndarray
    reasons: Mapping[int, str]
    columns: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.verdict)

    @property
    def spent(self) -> np.ndarray:
        """The probability of failure of both events together."""
        return self.delta + self.delta_mc

    @property
    def all_hold(self) -> bool:
        """Whether no claim is below or overspent; rounding in print and bad rows do not count."""
        return not (self.count(BELOW) or self.count(OVERSPENT))

    def count(self, verdict: str) -> int:
        """How many rows have this verdict."""
        return int(np.sum(self.verdict == verdict))

    def worst(self, count: int = 10) -> np.ndarray:
        """Rows that do not hold, those below first, the largest shortfall first."""
        bad = np.flatnonzero(np.isin(self.verdict, (BELOW, OVERSPENT, ROUNDING)))
        rank = {BELOW: 0, OVERSPENT: 1, ROUNDING: 2}
        order = np.lexsort((-self.short[bad], [rank[v] for v in self.verdict[bad]]))
        return bad[order][:count]

    def as_dict(self) -> dict[str, Any]:
        """The summary and one record a row, ready for JSON: NaN is None."""
        return {
            "bound": self.bound,
            "columns": dict(self.columns),
            "counts": {v: self.count(v) for v in (HOLDS, BELOW, ROUNDING, OVERSPENT, UNUSABLE)},
            "largest_shortfall": float(np.max(self.short, initial=0.0)),
            "rows": list(self.records()),
        }

    def records(self) -> Iterator[dict[str, Any]]:
        """One dictionary a row: what was read, what was recomputed, the verdict and its reason."""
        names = ("risk", "risk_upper", "kl", "n", "draws", "delta", "delta_mc", "claimed", "exact")
        names += ("exact_as_stated", "short")
        numbers = {name: getattr(self, name).tolist() for name in names}
        for row, verdict in enumerate(self.verdict.tolist()):
            values = {name: column[row] for name, column in numbers.items()}
            yield {
                "row": row + 1,
                **{name: None if value != value else value for name, value in values.items()},
                "verdict": verdict,
                "reason": self.reasons.get(row, ""),
            }

    def summary(self) -> str:
        """One line: how many hold, how many do not, by how much."""
        parts = [f"{self.count(HOLDS)} hold"]
        if below := self.count(BELOW):
            parts.append(f"{below} below the exact value{self._by(BELOW)}")
        else:
            parts.append("none below the exact value")
        if count := self.count(ROUNDING):
            parts.append(f"{count} below by less than the rounding in print")
        if count := self.count(OVERSPENT):
            parts.append(f"{count} need more than the stated delta{self._by(OVERSPENT)}")
        if count := self.count(UNUSABLE):
            parts.append(f"{count} unusable")
        return f"{len(self)} claim{'s' * (len(self) != 1)}: " + ", ".join(parts)

    def _by(self, verdict: str) -> str:
        short = np.where(self.verdict == verdict, self.short, 0.0)
        row = int(np.argmax(short))
        return f" (by at most {short[row]:.2g}, row {row + 1})"

    def _spending(self) -> str:
        usable = self.verdict != UNUSABLE
        if not usable.any():
            return "nothing could be recomputed"
        delta, extra = _range(self.delta[usable]), self.delta_mc[usable]
        if not extra.any():
            return f"{delta} on the PAC-Bayes event, no Monte Carlo step"
        together, stated = _range(self.spent[usable]), _range(self.stated[usable])
        words = f"{delta} on the PAC-Bayes event + {_range(extra)} on the Monte Carlo step"
        over = self.spent[usable] > self.stated[usable] * (1.0 + 1e-9)
        return f"{words} = {together}" + (f", where {stated} is stated" if over.any() else "")

    def __str__(self) -> str:
        used = ", ".join(f"{role} = {source}" for role, source in self.columns.items())
        lines = [
            f"audit against {self.bound}, from {used}",
            f"failure probability spent: {self._spending()}",
        ]
        for row, reason in list(self.reasons.items())[:_NAMED]:
            lines.append(f"row {row + 1} is unusable: {reason}")
        if (more := len(self.reasons) - _NAMED) > 0:
            lines.append(f"{more} more rows are unusable")
        for row in self.worst(_NAMED).tolist():
            lines.append(
                f"row {row + 1} {self.verdict[row]}: claimed {self.claimed[row]:.8g}, exact "
                f"{self.exact[row]:.8g}, short by {self.short[row]:.2g}"
            )
        return "\n".join([*lines, *self.remarks(), self.summary()])

    def remarks(self) -> list[str]:
        """What the shortfalls look like, and how far the claims that hold are above."""
        lines = []
        below = self.verdict == BELOW
        near = below & (self.short <= _MIDPOINT * np.maximum(self.exact, 0.0))
        if count := int(near.sum()):
            lines.append(
                f"{count} of those below miss it by less than {_MIDPOINT:.0e} of its value, as a "
                "bisection does that stops at 1e-5 and returns its last midpoint"
            )
        holds = self.verdict == HOLDS
        if holds.any():
            above = np.maximum(self.claimed[holds] - self.exact[holds], 0.0)
            lines.append(
                f"claims that hold exceed the exact value by {np.median(above):.2g} in the median "
                f"and {above.max():.2g} at most"
            )
        return lines


def _range(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
