"""What choosing one item of a countable family costs: weights that sum to at most 1.

A bound that holds with probability 1 - delta pi_j for item j holds for all items at once with
probability 1 - delta, whatever picks the item. Choosing j costs log(1/pi_j) nats. Weights are fixed
before the data are seen. Source: the union bound, in the form of Dziugaite and Roy 2017.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from typing import Any


class Weights(ABC):
    """pi_j > 0 with a sum of at most 1, for integers j; an index that is not one of them raises."""

    @abstractmethod
    def weight(self, index: Any) -> float:
        """pi_j."""

    @abstractmethod
    def knows(self, index: Any) -> bool:
        """Whether there is an item j."""

    @property
    @abstractmethod
    def indices(self) -> str:
        """The items, in words."""

    def cost(self, index: Any) -> float:
        """log(1 / pi_j), nats."""
        return -math.log(self.weight(index))

    def check(self, index: Any) -> int:
        """The index as an int, refusing what is not an item: a 2.5 or a -1 by accident."""
        whole = isinstance(index, Integral) and not isinstance(index, bool)
        if not (whole and self.knows(int(index))):
            raise ValueError(
                f"index {index!r} must be an integer: {self.indices}. Optimise a continuous "
                "setting, round it to one of them, and evaluate the bound there"
            )
        return int(index)


@dataclass(frozen=True)
class Zeta(Weights):
    """pi_j = 6 / (pi^2 j^2), j = 1, 2, ...: choosing j costs 2 log j + log(pi^2 / 6).

    >>> round(Zeta().cost(3), 6)
    2.694925
    """

    indices = "j = 1, 2, 3, ..."

    def weight(self, index: Any) -> float:
        return 6.0 / (math.pi * self.check(index)) ** 2

    def knows(self, index: Any) -> bool:
        return index >= 1


@dataclass(frozen=True)
class TwoSided(Weights):
    """pi_j = 1 / ((pi^2/3 - 1) (1 + |j|)^2) for every integer j.

    >>> round(sum(TwoSided().weight(j) for j in range(-9999, 10000)), 3)
    1.0
    """

    indices = "j = ..., -1, 0, 1, ..."

    def weight(self, index: Any) -> float:
        return 1.0 / ((math.pi**2 / 3.0 - 1.0) * (1 + abs(self.check(index))) ** 2)

    def knows(self, index: Any) -> bool:
        return True


@dataclass(frozen=True)
class Geometric(Weights):
    """pi_j = (1 - ratio) ratio^(j-1), j = 1, 2, ...: cheap first items, a linear price later.

    >>> Geometric(0.5).weight(3)
    0.125
    """

    ratio: float = 0.5
    indices = "j = 1, 2, 3, ..."

    def __post_init__(self):
        if not 0.0 < self.ratio < 1.0:
            raise ValueError(f"ratio={self.ratio} must lie in (0, 1), so that the weights sum to 1")

    def weight(self, index: Any) -> float:
        value = (1.0 - self.ratio) * self.ratio ** (self.check(index) - 1)
        if value == 0.0:
            raise ValueError(f"the weight of item {index} underflows to 0: use a ratio nearer to 1")
        return value

    def knows(self, index: Any) -> bool:
        return index >= 1


@dataclass(frozen=True)
class Uniform(Weights):
    """pi_j = 1/count, j = 1 ... count: choosing costs log(count).

    >>> Uniform(4).weight(4)
    0.25
    """

    count: int

    def __post_init__(self):
        if not (isinstance(self.count, Integral) and self.count >= 1):
            raise ValueError(f"count={self.count!r} must be a whole number of at least 1")

    @property
    def indices(self) -> str:
        return f"j = 1 ... {self.count}"

    def weight(self, index: Any) -> float:
        self.check(index)
        return 1.0 / self.count

    def knows(self, index: Any) -> bool:
        return 1 <= index <= self.count


@dataclass(frozen=True)
class Given(Weights):
    """Weights of one's own, item j = 1 first; numbers count as the decimals that they print as.

    >>> Given((0.5, 0.3, 0.2)).weight(3)
    0.2
    """

    values: tuple[float | int, ...]

    def __post_init__(self):
        if not self.values or not all(0.0 < v <= 1.0 for v in self.values):
            raise ValueError(f"weights {self.values} must all lie in (0, 1]; leave out other items")
        total = sum(decimal(v) for v in self.values)
        if total > 1:
            raise ValueError(
                f"the weights sum to {float(total):.6g}, more than 1: divide them by their sum"
            )

    @property
    def indices(self) -> str:
        return f"j = 1 ... {len(self.values)}"

    def weight(self, index: Any) -> float:
        return self.values[self.check(index) - 1]

    def knows(self, index: Any) -> bool:
        return 1 <= index <= len(self.values)


def as_weights(weights: Weights | int | Sequence[float]) -> Weights:
    """Weights as they are, a number of equal ones, or a sequence of one's own."""
    if isinstance(weights, Weights):
        return weights
    if isinstance(weights, Integral):
        return Uniform(int(weights))
    return Given(tuple(float(v) for v in weights))


def decimal(value: float | int | Fraction) -> Fraction:
    """The number that is meant: 0.1 is a tenth, not the float next to it.

    >>> decimal(0.04) + decimal(0.01) == decimal(0.05), 0.04 + 0.01 == 0.05
    (True, True)
    >>> decimal(0.1) * 3 == decimal(0.3), 0.1 * 3 == 0.3
    (True, False)
    """
    if isinstance(value, Fraction | int):
        return Fraction(value)
    return Fraction(repr(float(value)))


def rounded_down(value: Fraction) -> float:
    """The largest float whose decimal is at most `value`."""
    number = float(value)
    while decimal(number) > value:
        number = math.nextafter(number, -math.inf)
    return number
