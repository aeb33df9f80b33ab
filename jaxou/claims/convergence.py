"""Claim 1: pre-training converges to a Maxwell-Boltzmann law, and where it does not."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..config import ClaimsConfig
from ..laws import Gaussian
from ..stages import Chain, Stage
from . import diabetes
from .bowls import (
    BATCH,
    LOOKS,
    SMALL,
    SOURCE,
    bins_of,
    end_kl,
    followed,
    gaussian_of,
    key_of,
    row_kl,
    stage,
)
from .claim import Case, Claim, case_table, conditions, judge, within
from .distances import BINS, Interval, binned_kl
from .wells import crossed

SENTENCE = "Pre-training converges to a Maxwell-Boltzmann (Gibbs) law."
PRODUCTS = (0.02, 0.1, 0.2, 0.4, 0.8, 1.2, 1.6)
"""Learning rate x largest curvature: SGD is unstable at 2."""
RELAXATIONS = 12
"""Relaxation times of the slowest direction that count as long."""
REAL_RATES = (0.005, 0.05, 0.2)
CASES = 19
"""At most so many statements; the level is divided among them."""


def examine(config: ClaimsConfig) -> Claim:
    """Particles held against Gibbs laws: home cases, then assumptions broken one by one."""
    level = config.level / (2 * CASES)
    cases: list[Case] = []

    def add(name: str, condition: str, home: bool, found: Interval) -> None:
        outcome = within(found.lower, found.upper, config.margin)
        cases.append(Case(name, condition, home, outcome, *found))

    arrays = _steps(config, level, add)
    numbers = _noise(config, level, add)
    _flat(config, level, add)
    _wells(config, level, add)
    real = _real(config, level, add)
    threshold = largest_rate(config.margin)
    home = [case for case in cases if case.home]
    worst = max(home, key=lambda case: case.upper)
    return Claim(
        number=1,
        name="convergence",
        sentence=SENTENCE,
        experiment=(
            f"{config.particles:,} particles stepped one by one, and {config.replicas:,} runs of "
            "real minibatch SGD; KL to the Gibbs law by moments and radii, an equivalence test "
            f"against {config.margin:g} nats, {100 * (1 - config.level):g} % for all statements"
        ),
        headline=f"KL to the Gibbs law below {worst.upper:.2g} nats with small steps and time",
        verdict=judge(cases),
        condition=conditions(cases)
        + f". SGD's own steady law leaves the margin at learning rate x largest curvature = "
        f"{threshold:.2g}",
        numbers={
            "margin": config.margin,
            "cases": [case._asdict() for case in cases],
            "rate_at_margin": threshold,
            **numbers,
            **real,
        },
        tables={"convergence": case_table("KL to the Gibbs law, nats", cases, "KL")},
        arrays=arrays,
    )


def steady_kl(product: float) -> float:
    """KL of SGD's exact steady law to the Gibbs law at learning rate x largest curvature."""
    one = stage(SOURCE, product, 1)
    return float(one.stationary().kl(one.gibbs()))


def largest_rate(margin: float) -> float:
    """The learning rate x largest curvature at which SGD's steady law leaves the margin."""
    low, high = 1e-3, 1.99
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if steady_kl(middle) < margin else (low, middle)
    return (low + high) / 2


def _start() -> Gaussian:
    return Gaussian(np.zeros(3), np.eye(3))


def _follow(config: ClaimsConfig, one: Stage, start: Gaussian, *path: int) -> Any:
    """Particles of one stage, after a single step of it that is a stage of its own.

    So the run has the shape of two stages, which the next claim needs, and compiles for both.
    """
    both = [one.replace(steps=1), one]
    return followed(both, start, config.particles, key_of(config.seed, *path))


def _steps(config: ClaimsConfig, level: float, add: Any):
    """Learning rates from small to nearly unstable, each given twelve relaxation times."""
    found, arrays = [], {}
    for k, product in enumerate(PRODUCTS):
        one = stage(SOURCE, product, RELAXATIONS)
        run = _follow(config, one, _start(), 1, k)
        kl = end_kl(run, one.gibbs(), level)
        found.append(kl)
        name = f"general noise, learning rate x curvature {product:g}"
        add(name, f"learning rate x largest curvature {product:g}", product <= SMALL, kl)
        if product == SMALL:
            arrays = _time(run, one, level, add)
    grid = np.logspace(-2, np.log10(1.9), 24)
    return arrays | {
        "steps.products": np.asarray(PRODUCTS),
        "steps.found": np.asarray(found),
        "steps.grid": grid,
        "steps.exact": np.array([steady_kl(product) for product in grid]),
    }


def _time(run: Any, one: Stage, level: float, add: Any):
    """The same run at earlier times: KL to the Gibbs law, measured and exact."""
    times = np.arange(LOOKS + 1) * RELAXATIONS / LOOKS
    law, chain = one.gibbs(), Chain([one], initial=_start())
    found = [row_kl(run, 1 + k, law, level) for k in range(LOOKS + 1)]
    exact = [float(chain.law(step=n).kl(law)) for n in np.asarray(run.steps)[1:]]
    two = found[2 * LOOKS // RELAXATIONS]
    add("two relaxation times", "two relaxation times of the slowest mode", False, two)
    return {
        "time.relaxations": times,
        "time.found": np.asarray(found),
        "time.exact": np.asarray(exact),
    }


def _noise(config: ClaimsConfig, level: float, add: Any) -> dict[str, Any]:
    """Isotropic noise: the Boltzmann law of the loss. General noise: of another potential."""
    isotropic = {**SOURCE, "noise": np.eye(3)}
    one = stage(isotropic, SMALL, RELAXATIONS)
    run = _follow(config, one, _start(), 3)
    temperature = float(one.learning_rate) / (2 * BATCH)
    law = Gaussian(isotropic["minimum"], temperature * np.linalg.inv(isotropic["hessian"]))
    add("isotropic noise: exp(-loss / T)", "isotropic noise", True, end_kl(run, law, level))
    general = stage(SOURCE, SMALL, RELAXATIONS)
    steady = general.gibbs()
    best = float(np.trace(SOURCE["hessian"] @ np.asarray(steady.covariance))) / 3
    boltzmann = Gaussian(SOURCE["minimum"], best * np.linalg.inv(SOURCE["hessian"]))
    run = _follow(config, general, _start(), 4)
    add(
        "general noise: exp(-loss / T) at the best T",
        "the literal Maxwell-Boltzmann law exp(-loss / T), best T, where noise is not isotropic",
        False,
        end_kl(run, boltzmann, level),
    )
    return {
        "temperature": temperature,
        "kl_steady_to_boltzmann": float(steady.kl(boltzmann)),
        "entropy_production": float(general.entropy_production()),
    }


def _flat(config: ClaimsConfig, level: float, add: Any) -> None:
    """A direction without curvature: the spread grows for ever, no steady law exists."""
    values, vectors = np.linalg.eigh(SOURCE["hessian"])
    bowl = {**SOURCE, "hessian": (vectors * (values * [0, 1, 1])) @ vectors.T}
    eta = SMALL / values[-1]
    long = round(RELAXATIONS / (eta * values[1]))
    one = Stage(**bowl, learning_rate=eta, batch_size=BATCH, steps=2 * long)
    # from a narrow start: a wide one would hide how the noise adds up
    start = Gaussian(SOURCE["minimum"], 1e-6 * np.eye(3))
    run = _follow(config, one, start, 5)
    chain = Chain([one], initial=start)
    add(
        "a flat direction: law at twice the time against the law before",
        "a direction without curvature, where no steady law exists",
        False,
        end_kl(run, chain.law(step=long), level),
    )


def _wells(config: ClaimsConfig, level: float, add: Any) -> None:
    """A loss with two minima, started in one of them: warm enough to cross, and too cold."""
    for k, (temperature, words) in enumerate(
        ((0.15, "barrier of 1.7 T, not quadratic"), (0.015, "barrier of 17 T between two minima"))
    ):
        law, points = crossed(temperature, 0.0, config.particles, key_of(config.seed, 6, k))
        counts = bins_of(law, points, BINS)
        add(f"double well, {words}", words, False, binned_kl(counts, level))


def _real(config: ClaimsConfig, level: float, add: Any) -> dict[str, Any]:
    """Real minibatch SGD on the diabetes data, from a law four times as wide as its Gibbs law.

    One step on the other sex comes before: a start is a start, and the run then has a shape that
    the next claim needs too.
    """
    facts = {}
    for k, eta in enumerate(REAL_RATES[config.quick :]):
        both = diabetes.stages(eta)
        law = both[1].gibbs()
        start = Gaussian(law.mean, 4.0 * law.covariance)
        chain = diabetes.chain(both, start, 1, diabetes.steps(both[1], 5))
        run = diabetes.followed(chain, config.replicas, key_of(config.seed, 7, k))
        found = end_kl(run, law, level)
        top = diabetes.curvatures(both[1])[1]
        words = f"real SGD on diabetes, eta = {eta:g} (x curvature {eta * top:.2g})"
        add(words, words, False, found)
        points = np.asarray(run.deviations[-1], np.float64)
        trace = float(np.trace(np.asarray(gaussian_of(points).covariance)))
        facts[f"real_{eta:g}_trace_over_gibbs"] = trace / float(np.trace(law.covariance))
    return facts
