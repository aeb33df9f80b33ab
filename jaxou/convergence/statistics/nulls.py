"""Null laws as objects: a p-value for a value, a quantile for a tail, a mean, and words."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammainc, ndtr, ndtri
from jaxtyping import Array, Float

from ..._check import as_float, show_value
from ..._typing import Scalar, ScalarLike
from ..null_laws import LARGE, bisect, chi2_quantile, chi2_tail, kolmogorov_tail


class AbstractNull(eqx.Module):
    """The law of a statistic's value under the claim.

    `kind` is "exact", "asymptotic" (a limit law, or one with some exact moments) or "simulated";
    `text` names the law; `p_value(value)` is the probability of a value at least as extreme, on
    one side or on both as the statistic demands; `quantile(tail)` is the value that is exceeded
    with probability `tail`.
    """

    kind: eqx.AbstractVar[str]
    sides: eqx.AbstractVar[str]
    text: eqx.AbstractVar[str]

    @property
    @abc.abstractmethod
    def mean(self) -> Scalar:
        """The mean of the value under the claim."""

    @abc.abstractmethod
    def tails(self, value: Scalar) -> tuple[Scalar, Scalar]:
        """(P(V >= value), P(V <= value))."""

    @abc.abstractmethod
    def quantile(self, tail: ScalarLike) -> Scalar:
        """The value that is exceeded with probability `tail`."""

    def p_value(self, value: ScalarLike) -> Scalar:
        """The p-value; NaN for a value that is NaN."""
        value = as_float(value)
        upper, lower = self.tails(value)
        p = upper if self.sides == "upper" else 2 * jnp.minimum(upper, lower)
        return jnp.where(jnp.isnan(value), jnp.nan, jnp.clip(p, 0.0, 1.0))


class Chi2(AbstractNull):
    """shift + unit x chi-square with `degrees` degrees of freedom, which need not be whole.

    `matched(mean, deviation)` has a given mean and standard deviation; with `skewness` also that
    (Pearson's third type). `exact(degrees)` is chi-square itself.

    >>> law = Chi2.matched(10.0, 2.0, text="example")
    >>> round(float(law.mean), 6), round(float(law.p_value(law.quantile(0.01))), 6)
    (10.0, 0.01)
    """

    unit: Scalar
    degrees: Scalar
    shift: Scalar
    text: str = eqx.field(static=True)
    kind: str = eqx.field(static=True)
    sides: str = eqx.field(static=True)

    @staticmethod
    def exact(degrees: ScalarLike, sides: str = "upper") -> "Chi2":
        text = f"chi2({show_value(degrees)})"
        return Chi2(as_float(1.0), as_float(degrees), as_float(0.0), text, "exact", sides)

    @staticmethod
    def matched(
        mean: ScalarLike,
        deviation: ScalarLike,
        skewness: ScalarLike | None = None,
        *,
        text: str,
        sides: str = "upper",
        kind: str = "asymptotic",
    ) -> "Chi2":
        mean, deviation = as_float(mean), as_float(deviation)
        if skewness is None:
            skewness = 2 * deviation / mean
        # below 1e-3 the law is normal to 1e-4, and the degrees of freedom stay finite
        skewness = jnp.maximum(as_float(skewness), 1e-3)
        degrees = 8 / skewness**2
        unit = deviation / jnp.sqrt(2 * degrees)
        return Chi2(unit, degrees, mean - unit * degrees, text, kind, sides)

    @property
    def mean(self):
        return self.shift + self.unit * self.degrees

    @property
    def deviation(self) -> Scalar:
        """The standard deviation of the value under the claim."""
        return self.unit * jnp.sqrt(2 * self.degrees)

    def tails(self, value):
        x = jnp.maximum((value - self.shift) / self.unit, 0.0)
        return chi2_tail(x, self.degrees), chi2_below(x, self.degrees)

    def quantile(self, tail):
        return self.shift + self.unit * chi2_quantile(as_float(tail), self.degrees)


@jax.jit
def chi2_below(x: Scalar, degrees: Scalar) -> Scalar:
    """P(chi2_degrees < x), accurate where it is small.

    >>> round(float(chi2_below(jnp.asarray(3.841459), jnp.asarray(1.0))), 6)
    0.95
    """
    small = jnp.minimum(degrees, LARGE)
    exact = gammainc(small / 2, jnp.where(degrees > LARGE, small, x) / 2)
    spread = 2 / (9 * degrees)  # Wilson and Hilferty 1931, as in `chi2_tail`
    z = (jnp.cbrt(x / degrees) - 1 + spread) / jnp.sqrt(spread)
    return jnp.where(degrees > LARGE, ndtr(z), exact)


class Kolmogorov(AbstractNull):
    """The Kolmogorov-Smirnov distance of n draws: Kolmogorov's law of
    (sqrt(n) + 0.12 + 0.11 / sqrt(n)) D (Stephens 1970, doi:10.1111/j.2517-6161.1970.tb00821.x).

    >>> law = Kolmogorov(100)
    >>> round(float(law.p_value(0.13403)), 4)
    0.0501
    """

    factor: Scalar
    text: str = eqx.field(static=True, default="Kolmogorov")
    kind: str = eqx.field(static=True, default="asymptotic")
    sides: str = eqx.field(static=True, default="upper")

    def __init__(self, n: ScalarLike):
        root = jnp.sqrt(as_float(n))
        self.factor = root + 0.12 + 0.11 / root
        self.text, self.kind, self.sides = "Kolmogorov", "asymptotic", "upper"

    @property
    def mean(self):
        return jnp.sqrt(jnp.pi / 2) * jnp.log(2.0) / self.factor

    def tails(self, value):
        p = kolmogorov_tail(value * self.factor)
        return p, 1 - p

    def quantile(self, tail):
        tail, zero = as_float(tail), as_float(0.0)
        x = bisect(lambda x: kolmogorov_tail(x) > tail, zero, zero + 30.0)
        return x / self.factor


class Largest(AbstractNull):
    """The largest of `count` independent |N(0, 1)|: Sidak's law, exact.

    >>> law = Largest(10)
    >>> round(float(law.p_value(law.quantile(0.05))), 6)
    0.05
    """

    count: Scalar
    text: str = eqx.field(static=True)
    kind: str = eqx.field(static=True)
    sides: str = eqx.field(static=True)

    def __init__(self, count: int):
        self.count = as_float(count)
        self.text, self.kind, self.sides = f"largest of {count} |N(0, 1)|", "exact", "upper"

    @property
    def mean(self):
        x = jnp.linspace(0.0, 12.0, 4_001, dtype=self.count.dtype)
        upper = -jnp.expm1(self.count * jnp.log1p(-jnp.minimum(2 * ndtr(-x), 1.0)))
        return jnp.trapezoid(upper, x)

    def tails(self, value):
        single = jnp.minimum(2 * ndtr(-value), 1.0)
        below = jnp.exp(self.count * jnp.log1p(-single))
        return -jnp.expm1(self.count * jnp.log1p(-single)), below

    def quantile(self, tail):
        single = -jnp.expm1(jnp.log1p(-as_float(tail)) / self.count)
        return -ndtri(single / 2)


TAIL = 0.05
"""The part of the replicates whose mean excess continues a simulated law beyond the last one."""

CAUTION = 1.2
"""The mean excess is multiplied by this. A sum of weighted chi-squares has an exponential tail
whose scale is at most 1.2 times its mean excess over the 95 % point (chi-square_1 is the worst)."""


class Simulated(AbstractNull):
    """The empirical law of replicates under the claim.

    P(V >= v) is (1 + number of replicates >= v) / (1 + replicates), a valid p-value for any number
    of replicates. Beyond the 95 % point it may be as small as an exponential tail with the mean
    excess of the replicates (times `CAUTION` and one standard error more) says: larger than the
    truth for the laws of this package, and so usable far below 1 / replicates.

    >>> law = Simulated(jnp.linspace(0.0, 1.0, 1_001), 0.0, 1.0, "example")
    >>> round(float(law.p_value(0.9)), 3), bool(law.p_value(3.0) < 1e-4)
    (0.102, True)
    """

    replicates: Float[Array, " replicates"]
    offset: Scalar
    factor: Scalar
    text: str = eqx.field(static=True)
    sides: str = eqx.field(static=True)
    kind: str = eqx.field(static=True)

    def __init__(
        self, pivots, offset: ScalarLike, factor: ScalarLike, text: str, sides: str = "upper"
    ):
        self.replicates = jnp.sort(as_float(pivots))
        self.offset, self.factor = as_float(offset), as_float(factor)
        self.text, self.sides, self.kind = text, sides, "simulated"

    @property
    def mean(self):
        return self.offset + jnp.mean(self.replicates) / self.factor

    def tails(self, value):
        x = (value - self.offset) * self.factor
        return _tail(self.replicates, x), _tail(-self.replicates[::-1], -x)

    def quantile(self, tail):
        tail = as_float(tail)
        low, high = self.replicates[0], self.replicates[-1]
        wide = 100 * (high - low)
        x = bisect(lambda x: _tail(self.replicates, x) > tail, low - 1e-9 * wide, high + wide)
        return self.offset + x / self.factor


@jax.jit
def _tail(ascending, x):
    count = ascending.shape[0]
    k = max(int(TAIL * count), 2)
    start = ascending[count - k]
    excess = jnp.mean(ascending[count - k :] - start)
    scale = jnp.maximum(CAUTION * (1 + 1 / k**0.5) * excess, jnp.finfo(x.dtype).tiny)
    below = jnp.searchsorted(ascending, x, side="left")
    empirical = (1.0 + count - below.astype(x.dtype)) / (1.0 + count)
    continued = k / (1.0 + count) * jnp.exp(-(x - start) / scale)
    return jnp.where(x > ascending[-1], jnp.minimum(empirical, continued), empirical)


class Distribution(AbstractNull):
    """A law that is known through `tail(x)` = P(V >= x), a function of a scalar."""

    tail: Callable = eqx.field(static=True)
    average: Scalar
    text: str = eqx.field(static=True)
    kind: str = eqx.field(static=True)
    sides: str = eqx.field(static=True, default="upper")

    @property
    def mean(self):
        return self.average

    def tails(self, value):
        p = self.tail(value)
        return p, 1 - p

    def quantile(self, tail):
        tail, far = as_float(tail), as_float(200.0)
        return bisect(lambda x: self.tail(x) > tail, -far, far)


@jax.jit
def tracy_widom_tail(x: Scalar) -> Scalar:
    """P(TW_1 > x), Tracy and Widom's law for real matrices, by a shifted gamma law.

    Error below 1e-3. Source: Chiani 2014, doi:10.1016/j.jmva.2014.04.002.

    >>> round(float(tracy_widom_tail(jnp.asarray(0.9793))), 3)
    0.05
    """
    k, theta, alpha = 46.446, 0.186054, 9.84801
    return chi2_tail(2 * jnp.maximum(x + alpha, 0.0) / theta, as_float(2 * k))


def skewness_of(sample: np.ndarray) -> tuple[float, float, float]:
    """(mean, standard deviation, skewness) of numbers."""
    centred = sample - sample.mean()
    deviation = float(np.sqrt(np.mean(centred**2)))
    return float(sample.mean()), deviation, float(np.mean(centred**3)) / max(deviation, 1e-300) ** 3
