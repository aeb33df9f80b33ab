"""Claim 3: the bound falls like 1 / sqrt(N). Exact numbers: every row, over five decades of N."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .. import bounds
from ..config import ClaimsConfig
from .claim import Case, Claim, conditions, judge

SENTENCE = "The generalisation bound is of order 1 / sqrt(N)."
SIZES = np.logspace(2, 7, 51)
"""Sample sizes of the fits."""
FAR = np.logspace(10, 13, 31)
"""Sample sizes at which an exponent has reached its limit; a row over a grid of lambdas makes waves
about it, whose periods they average."""
_ALL = np.concatenate([SIZES, FAR])
KL, DELTA = 20.0, 0.05
RISKS = (0.1, 0.0)
TOLERANCE = 0.02
"""Error of an exponent that counts as none."""


class Fit(NamedTuple):
    """Slope of log gap against log N: its least-squares value and standard error over all sizes,
    the slope over the last decade, and the largest distance of a point from the line."""

    slope: float
    error: float
    last: float
    bend: float


def fit(sizes: Any, gaps: Any) -> Fit:
    """The straight line through (log N, log gap).

    The gaps are exact, so the error is not noise: it says how far they are from a power law.

    >>> fit([1e2, 1e3, 1e4], [1e-1, 1e-2, 1e-3]).slope.round(9)
    np.float64(-1.0)
    """
    x, y = np.log(np.asarray(sizes, float)), np.log(np.asarray(gaps, float))
    centred = x - x.mean()
    slope = centred @ y / (centred @ centred)
    left = y - y.mean() - slope * centred
    error = np.sqrt(left @ left / max(len(x) - 2, 1) / (centred @ centred))
    decade = x > x[-1] - np.log(10) * 1.001
    last = (y[-1] - y[decade][0]) / (x[-1] - x[decade][0])
    return Fit(slope, float(error), float(last), float(np.abs(left).max()))


def exponent(gaps: Any, budgets: Any) -> float:
    """p in gap ~ budget^p, by least squares: the log N inside the budget is divided out.

    1/2 is the rate 1 / sqrt(N) up to that logarithm, 1 is 1 / N, 0 is no rate at all.
    """
    return -fit(1 / np.asarray(budgets), gaps).slope


def kl_budget(n: Any, kl: Any = KL) -> Any:
    """(KL + log(2 sqrt(N) / delta)) / N."""
    return (kl + np.log(2 * np.sqrt(n) / DELTA)) / n


def plain_budget(n: Any, kl: Any = KL) -> Any:
    """(KL + log(1 / delta)) / N, of rows that pay no logarithm of N."""
    return (kl - np.log(DELTA)) / n


class Way(NamedTuple):
    """A way to use a row: its gap as a function of (risk, KL, N), and the budget it is made of.

    The budget is that number whose root the gap is at positive risks.
    `home`: as its authors mean it, for a risk that stays above zero.
    """

    row: str
    how: str
    gap: Callable[[Any, Any, Any], Any]
    budget: Callable[..., Any] = kl_budget
    home: bool = True


def ways() -> list[Way]:
    """Every row of the catalogue, with its own parameters in each of the ways that people use."""
    b = bounds
    best = lambda n, scale: np.sqrt(2 * n * (KL - np.log(DELTA)) / scale)  # known before the data

    def less(bound_row: Callable[..., Any], **own: Any) -> Callable[[Any, Any, Any], Any]:
        return lambda r, kl, n: bound_row(r, kl, n, DELTA, **_at(own, r, n)) - r

    found = [
        Way(name, "", less(getattr(b, name)))
        for name in (
            "mcallester_he", "mcallester_loose", "mcallester_2003", "maurer_pinsker",
            "harel_simplified", "seeger", "quadratic", "thiemann", "tolstikhin_seldin_simple",
        )
    ]  # fmt: skip
    root, grown = "lambda ~ sqrt(N)", "lambda ~ N"
    spread = lambda r, n: r * (1 - r) * n / (n - 1)
    free = functools.partial(Way, budget=plain_budget)
    found += [
        free("catoni_linear", root,
             less(b.catoni_linear, catoni_lambda=lambda r, n: 2 * best(n, 1.0))),
        free("catoni_linear", "lambda = 100", less(b.catoni_linear, catoni_lambda=100.0),
             home=False),
        free("catoni_phi", root, less(b.catoni_phi, catoni_lambda=lambda r, n: 2 * best(n, 1.0))),
        free("catoni_phi", grown, less(b.catoni_phi, catoni_lambda=lambda r, n: n), home=False),
        Way("on_lambda_grid", "catoni_phi, 12 lambdas for any N",
            less(b.on_lambda_grid, row=b.catoni_phi), home=False),
        Way("on_lambda_grid", "catoni_phi, lambdas in ratios of e",
            less(b.on_lambda_grid, row=b.catoni_phi, lambdas=np.exp(np.arange(31.0)))),
        Way("emp_bernstein", "V = r (1 - r)", less(b.emp_bernstein, variance=spread)),
        free("sub_gaussian", root,
             less(b.sub_gaussian, variance_proxy=0.25, catoni_lambda=lambda r, n: best(n, 0.25))),
        free("second_moment", root,
             less(b.second_moment, moment=0.2, catoni_lambda=lambda r, n: best(n, 0.2))),
        free("gaussian_residual", root,
             less(b.gaussian_residual, residual_variance=0.2,
                  catoni_lambda=lambda r, n: best(n, 0.02))),
        Way("single_draw", "", less(b.single_draw)),
        Way("majority_vote", "beside twice the risk",
            lambda r, kl, n: b.majority_vote(r, kl, n, DELTA) - 2 * r),
        free("chi_square", "chi2 in place of KL", less(b.chi_square, variance=0.25)),
    ]  # fmt: skip
    return found


def _at(own: Mapping[str, Any], risk: Any, n: Any) -> dict[str, Any]:
    """A row's own parameters, where they depend on the risk or on N."""
    known = ("row", "lambdas")
    return {k: v(risk, n) if callable(v) and k not in known else v for k, v in own.items()}


def examine(config: ClaimsConfig) -> Claim:
    """Slopes of every row, where the faster rate appears, and the KLs that break both."""
    cases, rows, curves = [], [], {}
    at_risks, near = np.asarray(RISKS)[:, None], len(SIZES)

    def add(row, how, risk, values, budgets, case, home):
        line, power = fit(SIZES, values[:near]), exponent(values[near:], budgets[near:])
        rows.append((row, how, risk, *line, power, rate_name(power)))
        cases.append(_case(case, power, home))
        curves[f"gaps.{row}.{how}.{risk:g}"] = values[:near]

    for way in ways():
        both = np.asarray(way.gap(at_risks, KL, _ALL[None, :]), float)
        name = f"{way.row}{', ' * bool(way.how)}{way.how}"
        for risk, values in zip(RISKS, both, strict=True):
            add(way.row, way.how, risk, values, way.budget(_ALL), f"{name}, r = {risk:g}", way.home)
    for curve, words in growing():
        values = np.asarray(bounds.mcallester_he(0.1, curve(_ALL), _ALL, DELTA) - 0.1, float)
        add("mcallester_he", words, 0.1, values, np.log(_ALL) / _ALL, words, False)
    risks, local = crossover()
    curves |= {"sizes": SIZES, "cross.risks": risks, "cross.slopes": local}
    faster = [r for r in rows if r[-1] == "1 / N"]
    wrong = [case for case in cases if case.outcome == "refuted"]
    last = [row[5] for row, case in zip(rows, cases, strict=True) if case.home and row[2] == 0.1]
    names = sorted({f"{r[0]}{', ' * bool(r[1])}{r[1]}" for r in faster})
    return Claim(
        number=3,
        name="rate",
        sentence=SENTENCE,
        experiment=(
            f"log gap against log N for every row of the catalogue, N = 100 to 10,000,000, KL = "
            f"{KL:g} nats, delta = {DELTA:g}, risks {RISKS[0]:g} and {RISKS[1]:g}; exponents with "
            "log N divided out at N = 10^12 to 10^13; then KLs that grow with N"
        ),
        headline=(
            f"gaps like N^{min(last):.3f} to N^{max(last):.3f} over the last decade at r = 0.1 "
            f"({len(last)} uses of rows)"
        ),
        verdict=judge(cases),
        condition=(
            conditions(wrong, "no such rate", rate_name)
            + f". Faster, 1 / N, at r = 0 (and for N below about KL / r): {'; '.join(names)}"
        ),
        numbers={
            "kl": KL,
            "delta": DELTA,
            "last_decade_slopes": [min(last), max(last)],
            "faster": names,
            "cases": [case._asdict() for case in cases],
        },
        tables={"rate": ("Slopes of log gap against log N", HEADER, rows)},
        arrays=curves,
    )


HEADER = (
    "row", "use", "risk", "slope", "standard error of the fit", "slope over the last decade",
    "largest bend", "exponent without log N", "rate",
)  # fmt: skip


def rate_name(power: float) -> str:
    """The rate that an exponent means.

    >>> rate_name(0.5), rate_name(0.999), rate_name(0.0), rate_name(0.2)
    ('1 / sqrt(N)', '1 / N', 'none', 'N^-0.2')
    """
    for value, name in ((0.5, "1 / sqrt(N)"), (1.0, "1 / N"), (0.0, "none")):
        if abs(power - value) <= TOLERANCE:
            return name
    return f"N^{-power:.2g}"


def _case(name: str, power: float, home: bool) -> Case:
    """O(1 / sqrt(N)): the exponent is at least a half. Exact numbers: no interval but rounding."""
    good = power >= 0.5 - TOLERANCE
    return Case(name, name, home, "shown" if good else "refuted", power, power, power)


def crossover() -> tuple[Float[np.ndarray, " risks"], Float[np.ndarray, "risks sizes"]]:
    """(risks, slopes of `seeger` in log N at every size): -1 below N = KL / r, -1/2 above."""
    risks = np.concatenate([[0.0], np.logspace(-6, np.log10(0.3), 24)])
    gap = lambda r, log_n: jnp.log(bounds.seeger(r, KL, jnp.exp(log_n), DELTA) - r)
    slope = jax.jit(jax.vmap(jax.vmap(jax.grad(gap, 1), (None, 0)), (0, None)))
    return risks, np.asarray(slope(jnp.asarray(risks), jnp.log(jnp.asarray(SIZES))))


def growing() -> list[tuple[Callable[[Any], Any], str]]:
    """KLs as functions of N, because the training noise eps = eta / b shrinks like 1 / N or not.

    Those of exact Gibbs laws of a synthetic problem in ten dimensions, by the theory of studies,
    and their exact continuation to sizes that are out of reach (affine in log eps and 1 / eps).
    """
    return [
        (_kl_curve("none"), "KL fixed: eps fixed in both stages"),
        (_kl_curve("target"), "target law sharpened, eps_T ~ 1 / N: KL ~ (d / 2) log N"),
        (_kl_curve("both"), "both laws sharpened, eps ~ 1 / N, minima apart: KL ~ N"),
    ]


def _kl_curve(which: str) -> Callable[[Any], Any]:
    """KL(Q_T || Q_S) as a function of N: c0 + c1 log N + c2 N + c3 / N, fitted to exact values."""
    from ..studies.kinds import find_kind
    from ..studies.kinds.theory import TheoryConfig

    kind = find_kind("theory")
    base = TheoryConfig(law="gibbs")
    base = replace(base, problem=replace(base.problem, dimension=10, shift=0.05))
    sizes = np.logspace(2, 7, 16)
    cells = []
    for n in sizes:
        stages = {}
        for name in ("pretrain", "finetune"):
            sharp = which == "both" or (which == "target" and name == "finetune")
            # eps = eta / b; a batch may not exceed the sample, so the learning rate is changed
            rate = 0.1 * (100.0 / n if sharp else 1.0)
            stages[name] = replace(getattr(base, name), learning_rate=rate)
        cells.append(replace(base, **stages))
    values = np.array([o.values["kl"] for o in kind.evaluate(cells, ("kl", "kl_source"), 1)])
    terms = lambda n: np.stack([np.ones_like(n), np.log(n), n, 1 / n], axis=-1)
    scale = 1 / np.maximum(values, 1e-12)
    solved = np.linalg.lstsq(terms(sizes) * scale[:, None], values * scale, rcond=1e-14)[0]
    off = np.abs(terms(sizes) @ solved * scale - 1).max()
    if not off < 1e-6 or not math.isfinite(off):
        raise ValueError(f"the KL is not affine in (log N, N, 1/N): off by {off:.2g}")
    return lambda n: np.maximum(terms(np.asarray(n, float)) @ solved, 0.0)
