"""A claim, what was found about it, and how cases add up to a verdict."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

Finding = Literal["holds", "holds with conditions", "fails", "undecided"]
Outcome = Literal["shown", "refuted", "undecided"]
Table = tuple[str, tuple[str, ...], list[tuple[Any, ...]]]


class Case(NamedTuple):
    """One experiment under a claim.

    `home`: it stands under the claim's own assumptions; a case that does not asks how far the
    claim reaches. `outcome` comes from an interval: shown inside, shown outside, or neither.
    `estimate` with `lower` and `upper` is that interval.
    """

    name: str
    condition: str
    home: bool
    outcome: Outcome
    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Claim:
    """A sentence of the abstract with its experiment's result.

    - `condition`: under which conditions the sentence fails (or holds), in words made of numbers.
    - `numbers`: what was measured, ready for JSON; `arrays`: what the figures draw.
    - `tables`: name -> (caption, header, rows).
    """

    number: int
    name: str
    sentence: str
    experiment: str
    headline: str
    verdict: Finding
    condition: str
    numbers: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def within(lower: float, upper: float, margin: float) -> Outcome:
    """Equivalence: shown if the whole interval is below the margin, refuted if it is above.

    >>> within(0.0, 0.01, 0.02), within(0.03, 0.1, 0.02), within(0.0, 0.1, 0.02)
    ('shown', 'refuted', 'undecided')
    """
    if upper < margin:
        return "shown"
    return "refuted" if lower > margin else "undecided"


def judge(cases: Iterable[Case]) -> Finding:
    """The verdict: by the cases under the claim's own assumptions, then by the others.

    "fails" if one of the former is refuted; "undecided" if one of them could not be decided;
    "holds with conditions" if they are all shown and a case beyond them is refuted or could not be
    decided; else "holds".

    >>> home = Case("a", "", True, "shown", 0.0, 0.0, 0.0)
    >>> judge([home]), judge([home, home._replace(home=False, outcome="refuted")])
    ('holds', 'holds with conditions')
    >>> judge([home, home._replace(outcome="refuted")])
    'fails'
    """
    cases = list(cases)
    own = {case.outcome for case in cases if case.home}
    if not own:
        raise ValueError("a claim needs at least one case under its own assumptions")
    if "refuted" in own:
        return "fails"
    if "undecided" in own:
        return "undecided"
    return "holds" if all(c.outcome == "shown" for c in cases) else "holds with conditions"


def nats(value: float) -> str:
    """A KL in words; what rounding leaves of 0 is 0."""
    return f"{round(value, 4):.3g} nats"


def conditions(
    cases: Sequence[Case], words: str = "it fails", show: Callable[[float], str] = nats
) -> str:
    """Where the cases beyond the assumptions went wrong, and their estimates, in one sentence."""
    parts = [
        f"{case.condition} ({show(case.estimate)})" for case in cases if case.outcome == "refuted"
    ]
    open_ = [case.condition for case in cases if case.outcome == "undecided"]
    text = f"{words} with {'; '.join(parts)}" if parts else "no case was found in which it fails"
    return text + (f". Not decided: {'; '.join(open_)}" if open_ else "")


def case_table(caption: str, cases: Sequence[Case], what: str) -> Table:
    """The cases as a table."""
    header = ("case", "assumptions of the claim", what, "lower limit", "upper limit", "outcome")
    rows = [
        (c.name, "yes" if c.home else "no", c.estimate, c.lower, c.upper, c.outcome) for c in cases
    ]
    return caption, header, rows
