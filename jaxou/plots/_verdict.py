"""A verdict at a glance: how surprising each test is, stage by stage."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxou.plots._style import COLOURS, SERIES, Number, axes_or_new

SMALLEST = 1e-16
"""p-values below this are drawn here: their bars would dwarf all others."""


def verdict(
    p_values: Any,
    *,
    level: Number = 0.01,
    ax: Axes | None = None,
) -> Axes:
    """Dots of p-values on a log axis, one row per test and one colour per stage.

    `p_values`: a `Verdict`, or stage -> test -> p in the order to draw, with None for a test that
    was not made. Left of the dashed line a test alone would reject at `level`; shaded is what it
    takes in a family of this many tests (Bonferroni).

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> ax = verdict({"fine-tuning": {"mean": 0.4, "covariance": 0.02}}, ax=ax)
    >>> ax.get_xscale()
    'log'
    """
    ax = axes_or_new(ax)
    p_values = p_values if isinstance(p_values, dict) else p_values_of(p_values)
    names = list(dict.fromkeys(test for tests in p_values.values() for test in tests))
    count = sum(p is not None for tests in p_values.values() for p in tests.values())
    ax.axvspan(SMALLEST / 10, level / max(count, 1), color=COLOURS["floor"], alpha=0.45, lw=0)
    ax.axvline(level, color=COLOURS["theory"], linestyle="--", linewidth=1.2)
    offsets = np.linspace(-0.16, 0.16, len(p_values)) if len(p_values) > 1 else [0.0]
    lowest = level / max(count, 1)
    for k, (stage, tests) in enumerate(p_values.items()):
        made = [(names.index(name), p) for name, p in tests.items() if p is not None]
        rows = np.array([row for row, _ in made], float)
        p = np.clip(np.array([p for _, p in made], float), SMALLEST, 1.0)
        lowest = min([lowest, *p])
        ax.plot(p, rows + offsets[k], "o", color=SERIES[k % len(SERIES)], label=stage, markersize=5)
    ax.set_xscale("log")
    ax.set_xlim(lowest / 3, 1.5)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("p-value: how often a right law looks at least this odd")
    ax.legend(loc="best")
    return ax


def p_values_of(found: Any) -> dict[str, dict[str, Number | None]]:
    """The p-values of an `ou.verdict`, as `verdict` draws them.

    >>> import jax, jaxou as ou
    >>> from jaxou.convergence.statistics import MeanChi2
    >>> stage = ou.Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10,
    ...                  steps=99)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([1.0], 1.0))
    >>> run = ou.simulate(chain, particles=500, key=jax.random.key(0))
    >>> found = ou.verdict(run, chain, statistics=(MeanChi2(),))
    >>> {stage: list(tests) for stage, tests in p_values_of(found).items()}
    {'stage 0': ['mean']}
    """
    return {stage.name: {t.name: t.p_value for t in stage.tests} for stage in found.stages}
