"""One decision from many dependent tests."""

import dataclasses
from typing import Any

import numpy as np

from .simulated import Joint


@dataclasses.dataclass(frozen=True)
class Family:
    """The probability, under the claim, of a smallest p-value as small as the one seen.

    `p_value` is the number to decide by; `bonferroni` is the bound without any knowledge of the
    dependence, never below it; `how` says which of the two decided.
    """

    p_value: float
    bonferroni: float
    smallest: float
    tests: int
    how: str


def min_p(p_values: Any, joint: Joint | None = None) -> Family:
    """The family-wise p-value of the smallest of several p-values.

    **Arguments:** `p_values`, in the order of `joint.statistics`, or, without `joint`, in any; None
    and NaN stand for tests that could not be made. `joint`: replicates of the statistics under the
    claim (`joint_null`); the p-values of a replicate are the ranks of its values.

    Where the smallest p-value is below 10 / replicates the joint law is not known well enough, and
    Bonferroni's bound is used. The result is never above that bound. Source of the method: Westfall
    and Young 1993, "Resampling-based multiple testing".

    >>> min_p([0.01, 0.5, None]).p_value
    0.02
    """
    made = [None if p is None or np.isnan(float(p)) else float(p) for p in p_values]
    present = [p for p in made if p is not None]
    if not present:
        return Family(1.0, 1.0, 1.0, 0, "no test could be made")
    smallest, count = min(present), len(present)
    bound = min(1.0, count * smallest)
    if joint is None:
        return Family(bound, bound, smallest, count, "Bonferroni")
    if len(made) != len(joint.statistics):
        raise ValueError(
            f"min_p got {len(made)} p-values for the {len(joint.statistics)} statistics of the "
            "joint law: pass them in the order of joint.statistics"
        )
    lowest = smallest_p_law(joint, np.array([p is not None for p in made]))
    replicates = len(lowest)
    if smallest < 10 / replicates:
        how = f"Bonferroni (the joint law is known down to {10 / replicates:.2g})"
        return Family(bound, bound, smallest, count, how)
    share = (1 + int((lowest <= smallest).sum())) / (1 + replicates)
    how = f"joint law of {replicates:,} replicates of {joint.draws:,} draws"
    return Family(min(share, bound), bound, smallest, count, how)


def smallest_p_law(joint: Joint, use: np.ndarray | None = None) -> np.ndarray:
    """The smallest p-value of every replicate, from the ranks of its values.

    >>> from .mean import MeanChi2
    >>> from .simulated import joint_null
    >>> law = smallest_p_law(joint_null((MeanChi2(),), 200, 1, replicates=50))
    >>> law.shape, bool(0 < law.min() <= law.max() < 1)
    ((50,), True)
    """
    values = np.asarray(joint.values, np.float64)
    count = len(values)
    order = values.argsort(axis=0).argsort(axis=0)
    upper, lower = (count - order) / (count + 1.0), (order + 1) / (count + 1.0)
    both = np.array([s.sides == "both" for s in joint.statistics])
    p = np.where(both[None, :], 2 * np.minimum(upper, lower), upper)
    return p[:, slice(None) if use is None else use].min(axis=1)


def holm(p_values: list[float]) -> list[float]:
    """Holm's adjusted p-values: reject those below the level and all errors together stay below it.

    Valid for dependent tests. Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for position, i in enumerate(order):
        worst = max(worst, (len(p_values) - position) * p_values[i])
        adjusted[i] = min(1.0, worst)
    return adjusted
