"""Which bound to take: the catalogue of rows, and the ones that apply to a given loss."""

import itertools
import textwrap
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, get_args

from .._table import aligned
from .losses import Loss
from .rows.records import RECORDS, BoundRow

Predictor = Literal["randomised", "single draw", "majority vote"]


class Catalogue(tuple[BoundRow, ...]):
    """The rows; a tuple that prints as a table and finds a row by its name."""

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        found = [row for row in self if row.name == key]
        if not found:
            near = get_close_matches(key, [row.name for row in self], 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise KeyError(f"there is no row {key!r} in the catalogue{hint}")
        return found[0]

    def __str__(self) -> str:
        rows = [(row.name, f"R <= {row.statement}", row.tightest) for row in self]
        return _table(("row", "with probability 1 - delta", "when to take it"), rows)


def catalogue() -> Catalogue:
    """Every PAC-Bayes row of this package, as records.

    >>> rows = catalogue()
    >>> rows["seeger"].statement, len(rows)
    ('sup {p : kl(r || p) <= c}', 18)
    """
    return Catalogue(RECORDS)


@dataclass(frozen=True)
class Applicability:
    """Whether `row` holds for the loss; if not, why. `parameters` follow from the loss's facts."""

    row: BoundRow
    applies: bool
    reason: str = ""
    parameters: dict[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.applies


class Applicable(tuple[Applicability, ...]):
    """The answers for all rows; iterate, or look at `rows`. Prints as a table."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows that apply."""
        return tuple(answer.row.name for answer in self if answer)

    def why_not(self, name: str) -> str:
        """Why a row does not apply; empty if it does."""
        found = [answer for answer in self if answer.row.name == name]
        if not found:
            raise KeyError(f"there is no row {name!r}; see ou.bounds.catalogue()")
        return found[0].reason

    def __str__(self) -> str:
        lines = []
        for answer in sorted(self, key=lambda a: not a.applies):
            own = ", ".join(f"{k}={v:g}" for k, v in answer.parameters.items())
            text = answer.reason if not answer else f"{own}{'; ' * bool(own)}{answer.row.tightest}"
            lines.append((answer.row.name, "yes" if answer else "no", text))
        return _table(("row", "holds", "with, and when; or why not"), lines)


def applicable(
    loss: Loss,
    *,
    predictor: str = "randomised",
    n: int | None = None,
) -> Applicable:
    """Which rows hold for `loss` (a `Bounded`, `ZeroOne`, `Unbounded`, ... of `bounds`).

    `predictor` is what is deployed: the "randomised" predictor that draws from Q for every use, a
    "single draw" of it, or its "majority vote". `n` leaves out rows that need more examples.

    >>> from jaxou.bounds.losses import Unbounded
    >>> found = applicable(Unbounded(second_moment=4.0))
    >>> found.rows
    ('second_moment', 'chi_square')
    >>> found.why_not("seeger")
    'the loss has no known upper end: this row needs one in [0, 1]; clip or saturate the loss'
    """
    if not isinstance(loss, Loss):
        raise TypeError(
            f"loss={loss!r} must say what is known about the loss: ZeroOne(), Bounded(upper=1.0), "
            "Unbounded(second_moment=...), SubGaussian(variance_proxy=...), "
            "BoundedVariance(variance=...) or GaussianResidual(residual_variance=...)"
        )
    if predictor not in get_args(Predictor):
        raise ValueError(
            f"predictor={predictor!r} must be one of {', '.join(map(repr, get_args(Predictor)))}"
        )
    if n is not None and n < 1:
        raise ValueError(f"n={n} must be at least 1, the number of examples in the bound")
    return Applicable(_answer(row, loss, predictor, n) for row in RECORDS)


def _answer(row: BoundRow, loss: Loss, predictor: str, n: int | None) -> Applicability:
    reason = _other_predictor(row, predictor) or _missing_fact(row, loss)
    if not reason and n is not None and n < row.smallest_n:
        reason = f"this row needs n >= {row.smallest_n} and there are {n} examples"
    if reason:
        return Applicability(row, False, reason)
    facts = {name: float(getattr(loss, fact)) for name, fact in row.facts.items()}
    return Applicability(row, True, "", facts)


def _other_predictor(row: BoundRow, predictor: str) -> str:
    if row.about == predictor:
        return ""
    if row.about != "randomised":
        return f"this row is about a {row.about}, and the predictor is the {predictor} one"
    if predictor == "majority vote":
        return "this row bounds the randomised predictor: give it to majority_vote as row="
    return "this row bounds the mean over draws, not the one draw that is deployed: use single_draw"


def _missing_fact(row: BoundRow, loss: Loss) -> str:
    """Why the loss does not have what the row rests on; empty if it does."""
    kind = row.loss
    if kind == "binary":
        return "" if loss.binary else f"a vote needs the 0-1 loss, and this is {loss.words}"
    if kind == "unit":
        if loss.upper is None:
            return (
                "the loss has no known upper end: this row needs one in [0, 1]; clip or saturate "
                "the loss"
            )
        if loss.upper > 1:
            return (
                f"the loss goes up to {loss.upper:g}, beyond 1: divide it by {loss.upper:g}, then "
                f"multiply the bound by {loss.upper:g}"
            )
        return ""
    if kind == "bounded":
        return "" if loss.upper is not None else "the loss has no known upper end M"
    if getattr(loss, kind) is not None:
        return ""
    if kind == "second_moment" and not loss.nonnegative:
        return "the loss may be negative: this row needs a loss >= 0 with a bound on E[loss^2]"
    return {
        "second_moment": "no bound on E[loss^2] is known",
        "variance_proxy": (
            "no sub-Gaussian proxy is known: light tails must be assumed or proved, a moment does "
            "not give them"
        ),
        "variance": "no bound on the variance of the loss is known",
        "residual_variance": "the loss is not known to be half of a squared Gaussian residual",
    }[kind]


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]], width: int = 52) -> str:
    lines = []
    for row in [header, *rows]:
        cells = [textwrap.wrap(cell, width) for cell in row]
        lines += itertools.zip_longest(*cells, fillvalue="")
    return aligned(lines, "<" * len(header))
