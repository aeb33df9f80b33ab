"""Where the failure probability goes: every event spends, nothing is spent twice.

A certificate with several random events (the bound itself, a Monte Carlo step, a choice among
priors) fails with probability at most the sum of what its events spend. The usual slips are to use
the same delta in two places, to forget an event, and to choose among bounds without paying.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .._table import aligned
from .weights import Weights, as_weights, decimal, rounded_down

Amount = float | int | Fraction


@dataclass(frozen=True)
class Receipt:
    """What one event was given. `spent` (also `.delta`) goes into its row; it is rounded down."""

    event: str
    spent: float
    why: str = ""
    share: float = 1.0
    weights: Weights | None = None

    @property
    def delta(self) -> float:
        """The failure probability of this event."""
        return self.spent

    def delta_of(self, index: Any) -> float:
        """The part of it that item `index` of a choice has: delta pi_j goes into its row."""
        return self.spent * self._choice().weight(index)

    def cost_of(self, index: Any) -> float:
        """log(1/pi_j): the nats that choosing item `index` costs."""
        return self._choice().cost(index)

    def _choice(self) -> Weights:
        if self.weights is None:
            raise ValueError(
                f"{self.event!r} is one event without a choice: use .delta, or spend by "
                "ledger.choose(event, weights, ...) before the data are seen"
            )
        return self.weights

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dict(event=self.event, spent=self.spent, why=self.why, share=self.share)


class Ledger:
    """The account of one failure probability `delta`.

    `spend` hands out receipts whose `.delta` goes into a row; `choose` does so for a union over a
    family of items. Spending the same event twice, more than there is, or nothing at all is
    refused. Sums are exact: numbers count as the decimals that they print as, so that 0.04 and 0.01
    fit into 0.05. `close` ends it; a closed ledger hands out nothing more.

    >>> from jaxou.bounds.weights import Uniform
    >>> ledger = Ledger(0.05)
    >>> pac = ledger.choose("bound", Uniform(10), share=0.8, why="for each of ten prior scales")
    >>> mc = ledger.spend("Monte Carlo", 0.01, why="the empirical risk is estimated")
    >>> pac.delta, round(pac.delta_of(3), 6), ledger.remaining
    (0.04, 0.004, 0.0)
    >>> print(ledger.close())
    event        what for                          delta  share
    bound        for each of ten prior scales       0.04   80 %
    Monte Carlo  the empirical risk is estimated    0.01   20 %
    delta        closed                             0.05  100 %
    """

    def __init__(self, delta: Any):
        self._delta = _number(delta, "delta")
        if not 0 < self._delta < 1:
            raise ValueError(
                f"delta={float(self._delta):g} must lie in (0, 1): it is the probability that the "
                "whole certificate fails; 0.05 is usual"
            )
        self._receipts: tuple[Receipt, ...] = ()
        self._left = self._delta
        self._closed = False

    @property
    def delta(self) -> float:
        """The whole failure probability."""
        return float(self._delta)

    @property
    def remaining(self) -> float:
        """What is left to spend, rounded down: it may be spent as it is."""
        return rounded_down(self._left)

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """What was spent, in order."""
        return self._receipts

    @property
    def closed(self) -> bool:
        """Whether nothing more may be spent."""
        return self._closed

    def spend(
        self,
        event: str,
        delta: Amount | None = None,
        *,
        share: Amount | None = None,
        why: str = "",
    ) -> Receipt:
        """Give `event` a failure probability: `delta` itself, or a `share` of the whole.

        Raises `ValueError` with the remaining amount when it does not fit.
        """
        return self._give(event, delta, share, why, None)

    def choose(
        self,
        event: str,
        weights: Weights | int | Sequence[float],
        delta: Amount | None = None,
        *,
        share: Amount | None = None,
        why: str = "",
    ) -> Receipt:
        """The same for an event per item of a family; `.delta_of(j)` goes into the row of item j.

        `weights`: a number of equally likely items, their weights, or a `Weights`. Which item is
        reported may then depend on the data.
        """
        return self._give(event, delta, share, why, as_weights(weights))

    def close(self) -> "Ledger":
        """No more spending from here on. What remains is given away. Returns the ledger."""
        self._closed = True
        return self

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dict(
            delta=self.delta,
            remaining=self.remaining,
            closed=self.closed,
            events=[receipt.as_dict() for receipt in self],
        )

    def _give(self, event, delta, share, why, weights) -> Receipt:
        if self._closed:
            raise ValueError(
                f"this ledger is closed and {event!r} cannot be paid from it: spend every event "
                "before close(), or open a new ledger for another statement"
            )
        if any(receipt.event == event for receipt in self):
            raise ValueError(
                f"{event!r} has been paid already: a second use of the same delta is not covered. "
                "Name the second event differently and give it its own share"
            )
        if (delta is None) == (share is None):
            raise ValueError(
                f"{event!r}: give either delta= (a probability) or share= (of {self.delta:g})"
            )
        if share is None:
            amount = _number(delta, "delta")
        else:
            amount = _number(share, "share") * self._delta
        if amount <= 0:
            raise ValueError(
                f"{event!r} was given {float(amount):g}: an event that may fail needs a positive "
                "amount; leave it out of the ledger if it cannot fail"
            )
        if amount > self._left:
            raise ValueError(
                f"{event!r} asks for {float(amount):g} and {self.remaining:g} of "
                f"delta={self.delta:g} is left: make the shares smaller; together they are at "
                "most delta"
            )
        part = float(amount / self._delta)
        receipt = Receipt(event, rounded_down(amount), why, part, weights)
        self._left -= amount
        self._receipts += (receipt,)
        return receipt

    def __iter__(self) -> Iterator[Receipt]:
        return iter(self._receipts)

    def __len__(self) -> int:
        return len(self._receipts)

    def __getitem__(self, event: int | str) -> Receipt:
        if isinstance(event, str):
            for receipt in self:
                if receipt.event == event:
                    return receipt
            raise KeyError(f"no event {event!r}; there are {[r.event for r in self]}")
        return self._receipts[event]

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Ledger)
        return same and (self._delta, self._receipts) == (other._delta, other._receipts)

    def __hash__(self) -> int:
        return hash((self._delta, self._receipts))

    def __repr__(self) -> str:
        return f"Ledger(delta={self.delta:g}, remaining={self.remaining:g}, events={len(self)})"

    def __str__(self) -> str:
        rows = [(r.event, r.why, f"{r.spent:g}", f"{100 * r.share:.4g} %") for r in self]
        if self._left > 0:
            left = float(self._left / self._delta)
            rows.append(("(unspent)", "", f"{self.remaining:g}", f"{100 * left:.4g} %"))
        state = "closed" if self._closed else "open"
        table = [("event", "what for", "delta", "share"), *rows]
        table.append(("delta", state, f"{self.delta:g}", "100 %"))
        return aligned(table, "<<>>")


def _number(value: Any, name: str) -> Fraction:
    try:
        return decimal(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{name}={value!r} must be one finite number that is known when the ledger is written "
            "(not a traced one): shares of delta are fixed before the data are seen"
        ) from None
