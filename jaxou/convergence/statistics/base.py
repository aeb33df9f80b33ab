"""What a statistic of whitened draws is: sums over rows, a number, and the law of that number.

The draws z (n, r) are independent N(0, I) if the claim is right, so every null law here is a
function of n and r alone. There are two kinds. A *sum* reduces a block of rows to a record of
sums; records of blocks are added, leaf by leaf. A *pair statistic* averages a kernel h(z_i, z_j)
over pairs of rows (`pairs.py`).
"""

import abc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._typing import Scalar
from .nulls import AbstractNull

Block = Float[Array, "rows rank"]
Live = Bool[Array, " rows"]


@dataclass(frozen=True)
class Used:
    """How many of the draws a statistic looks at, and in words what that costs."""

    draws: int
    text: str


class AbstractStatistic(eqx.Module):
    """A number whose law under the claim is known.

    - `name`, `question`: what is tested, in plain English.
    - `sides`: "upper" if only large values speak against the claim, else "both".
    - `about_moments`: a function of the mean and the covariance alone. Such a statistic is
      constant, and so says nothing, on draws that were whitened by their own moments.
    - `standardised`: it whitens the draws by their own moments before it looks at them.
    """

    name: eqx.AbstractClassVar[str]
    question: eqx.AbstractClassVar[str]
    sides: ClassVar[str] = "upper"
    about_moments: ClassVar[bool] = False
    standardised: ClassVar[bool] = False

    @abc.abstractmethod
    def null(self, n: int, r: int, fitted: bool = False, joint: Any = None) -> AbstractNull:
        """The law of the value under the claim, for n draws in r dimensions.

        `fitted`: the draws were whitened by their own mean and covariance. `joint`: replicates
        that were simulated for several statistics (`Joint`); laws that need replicates take theirs
        from there, or else simulate their own.
        """

    def fewest(self, r: int) -> int:
        """The smallest number of draws for which the statistic exists in r dimensions."""
        return r + 2 if self.standardised else 2

    def used(self, n: int, r: int = 1) -> Used:
        """How many of n draws in r dimensions are used, and what is lost where it is not all."""
        return Used(n, "")

    def pivot(self, n: int, r: int) -> tuple[float, float]:
        """(offset, factor): (value - offset) factor has a law that depends on n weakly or not
        at all; a null law that was simulated with fewer draws is carried over by it."""
        return 0.0, 1.0


class AbstractSum(AbstractStatistic):
    """A statistic that is a function of sums over the rows."""

    @abc.abstractmethod
    def reduce(self, block: Block, live: Live) -> Any:
        """Sums over the rows of a block for which `live` is true; records are added leaf-wise."""

    @abc.abstractmethod
    def finish(self, summary: Any, n: Scalar) -> tuple[Scalar, Scalar]:
        """(value, its standard error) from the sums over all n rows."""


def as_statistics(statistics: Any) -> tuple[AbstractStatistic, ...]:
    """One statistic or several as a tuple; refused if there is none, or something else among them.

    >>> as_statistics("mean")
    Traceback (most recent call last):
    ...
    TypeError: statistics takes those of jaxou.convergence.statistics, such as (MeanChi2(),
    Covariance()), got 'mean'
    """
    several = isinstance(statistics, Iterable) and not isinstance(statistics, str)
    found = tuple(statistics) if several else (statistics,)
    for each in found:
        if not isinstance(each, AbstractStatistic):
            raise TypeError(
                "statistics takes those of jaxou.convergence.statistics, such as (MeanChi2(), "
                f"Covariance()), got {each!r}"
            )
    if not found:
        raise ValueError("statistics holds no statistic: give at least one, or None for all")
    return found


def masked(block: Block, live: Live) -> Block:
    """The block with the rows that are only padding set to zero."""
    return jnp.where(live[:, None], block, jnp.zeros((), block.dtype))
