"""What is known about a loss, as types: which bounds apply depends on nothing else.

Facts belong to the data's law and hold for every parameter; they are assumed or proved, never
estimated from the sample that the bound is about.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any


class Loss(ABC):
    """A loss with the facts that rows ask for; a fact that is not known is None."""

    upper: float | int | None = None
    """Largest value, the smallest being 0."""
    second_moment: float | int | None = None
    """Bound on E[loss^2] for every parameter."""
    variance_proxy: float | int | None = None
    """s^2 with E exp(t (E loss - loss)) <= exp(s^2 t^2 / 2) for t >= 0 and every parameter."""
    variance: float | int | None = None
    """Bound on the loss's variance for every parameter."""
    residual_variance: float | int | None = None
    """Bound on s^2 where the loss is residual^2 / 2 of a residual N(0, s^2)."""
    nonnegative: bool = True
    binary: bool = False

    @property
    @abstractmethod
    def words(self) -> str:
        """The loss in words."""


def _positive(loss: Loss, *names: str) -> None:
    for name in names:
        value = getattr(loss, name)
        try:
            fine = not isinstance(value, str) and 0 < float(value) < float("inf")
        except (TypeError, ValueError):
            fine = False
        if not fine:
            raise ValueError(
                f"{type(loss).__name__}({name}={value}) must be a finite number above 0"
            )


def _set(loss: Loss, **facts: Any) -> None:
    for name, value in facts.items():
        object.__setattr__(loss, name, value)


@dataclass(frozen=True)
class Bounded(Loss):
    """A loss in [0, upper], such as a clipped or saturated one.

    >>> Bounded(2.0).variance, Bounded(2.0).second_moment
    (1.0, 4.0)
    """

    upper: float | int = 1.0

    def __post_init__(self):
        _positive(self, "upper")
        square = float(self.upper) ** 2
        _set(self, second_moment=square, variance_proxy=square / 4, variance=square / 4)

    @property
    def words(self) -> str:
        return f"a loss in [0, {self.upper:g}]"


@dataclass(frozen=True)
class ZeroOne(Loss):
    """The 0-1 loss of a classifier: in [0, 1], and of a majority vote too.

    >>> ZeroOne().upper, ZeroOne().words
    (1.0, 'the 0-1 loss of a classifier')
    """

    upper = 1.0
    second_moment = 1.0
    variance_proxy = 0.25
    variance = 0.25
    binary = True

    @property
    def words(self) -> str:
        return "the 0-1 loss of a classifier"


@dataclass(frozen=True)
class Unbounded(Loss):
    """A loss >= 0 without an upper end; `second_moment` bounds E[loss^2] for every parameter.

    >>> Unbounded(2.0).words
    'an unbounded loss >= 0 with E[loss^2] <= 2'
    """

    second_moment: float | int

    def __post_init__(self):
        _positive(self, "second_moment")
        _set(self, variance=self.second_moment)

    @property
    def words(self) -> str:
        return f"an unbounded loss >= 0 with E[loss^2] <= {self.second_moment:g}"


@dataclass(frozen=True)
class SubGaussian(Loss):
    """A loss of any sign with E exp(t (E loss - loss)) <= exp(variance_proxy t^2 / 2), t >= 0.

    >>> SubGaussian(2.0).words
    'a sub-Gaussian loss with variance proxy 2'
    """

    variance_proxy: float | int
    nonnegative = False

    def __post_init__(self):
        _positive(self, "variance_proxy")
        _set(self, variance=self.variance_proxy)

    @property
    def words(self) -> str:
        return f"a sub-Gaussian loss with variance proxy {self.variance_proxy:g}"


@dataclass(frozen=True)
class BoundedVariance(Loss):
    """A loss of any sign of which only a bound on the variance is known.

    >>> BoundedVariance(2.0).words
    'a loss with a variance of at most 2'
    """

    variance: float | int
    nonnegative = False

    def __post_init__(self):
        _positive(self, "variance")

    @property
    def words(self) -> str:
        return f"a loss with a variance of at most {self.variance:g}"


@dataclass(frozen=True)
class GaussianResidual(Loss):
    """residual^2 / 2, the residual N(0, s^2) under the data's law, s^2 <= `residual_variance`.

    >>> GaussianResidual(2.0).second_moment
    3.0
    """

    residual_variance: float | int

    def __post_init__(self):
        _positive(self, "residual_variance")
        square = float(self.residual_variance) ** 2
        # E[loss^2] = 3/4 s^4; from below the loss is sub-Gaussian: u - log(1+u) <= u^2/2
        _set(self, second_moment=0.75 * square, variance_proxy=square / 2, variance=square / 2)

    @property
    def words(self) -> str:
        return f"half of a squared Gaussian residual of variance <= {self.residual_variance:g}"
