"""The smallest deviation that a chi-square test sees with a given power."""

import equinox as eqx
import jax.numpy as jnp

from ..._check import as_float, refuse_unless, show_value
from ..._typing import Scalar, ScalarLike
from ..null_laws import chi2_quantile, noncentrality_limit


class Smallest(eqx.Module):
    """`value`: the smallest deviation that is seen; `text`: what it measures."""

    value: Scalar
    text: str = eqx.field(static=True)


def smallest_noncentrality(degrees: ScalarLike, level: ScalarLike, power: ScalarLike) -> Scalar:
    """The noncentrality at which a chi-square test at `level` rejects with probability `power`.

    Error below 1 % from 10 degrees of freedom on (Sankaran's approximation of the law).

    >>> round(float(smallest_noncentrality(10, 0.05, 0.8)), 1)
    16.2
    """
    level, power = as_float(level, "level"), as_float(power, "power")
    for name, number in (("level", level), ("power", power)):
        good = (number > 0) & (number < 1)
        refuse_unless(good, f"{name}={show_value(number)} must be a probability inside (0, 1)")
    refuse_unless(power > level, "power= must exceed level=: a test rejects true claims that often")
    degrees = as_float(degrees)
    return noncentrality_limit(chi2_quantile(level, degrees), degrees, jnp.asarray(1.0) - power)
