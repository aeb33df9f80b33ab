"""Claim 2: fine-tuning takes the pre-trained law to the target's, and what keeps it from there."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..config import ClaimsConfig
from ..laws import Gaussian
from ..stages import Chain, Stage
from . import diabetes
from .bowls import (
    BATCH,
    SMALL,
    SOURCE,
    TARGET,
    bins_of,
    end_kl,
    followed,
    key_of,
    row_kl,
    stage,
)
from .claim import Case, Claim, case_table, conditions, judge, within
from .distances import BINS, Interval, binned_kl
from .wells import crossed

SENTENCE = "Fine-tuning transports the pre-trained law to another Maxwell-Boltzmann law."
PRETRAIN, FINETUNE = 12, 12
"""Relaxation times of the slowest direction of either stage."""
CASES = 24
COLD, WARM = 0.015, 0.15
"""Temperatures of the double well."""
TILT = 0.1
NOT = {"shown": "refuted", "refuted": "shown", "undecided": "undecided"}


def examine(config: ClaimsConfig) -> Claim:
    """Particles from the source's law: the path, the end, and three things that hold them back."""
    level = config.level / (2 * CASES)
    cases: list[Case] = []

    def add(name: str, condition: str, home: bool, found: Interval, apart: bool = False) -> None:
        outcome = within(found.lower, found.upper, config.margin)
        outcome = NOT[outcome] if apart else outcome
        cases.append(Case(name, condition, home, outcome, *found))

    arrays, numbers = _bowls(config, level, add)
    numbers |= _flat(config, level, add)
    _wells(config, level, add)
    numbers |= _real(config, level, add)
    two = numbers["apart"]
    return Claim(
        number=2,
        name="transport",
        sentence=SENTENCE,
        experiment=(
            f"{config.particles:,} particles stepped through both stages and {config.replicas:,} "
            "runs of real minibatch SGD from one domain to the other; equivalence tests against "
            f"{config.margin:g} nats, {100 * (1 - config.level):g} % for all statements"
        ),
        headline=(
            f"from within {numbers['start_upper']:.2g} nats of Q_S to within "
            f"{numbers['end_upper']:.2g} of Q_T, which is {two:.3g} nats from Q_S"
        ),
        verdict=judge(cases),
        condition=conditions(cases),
        numbers={"margin": config.margin, "cases": [c._asdict() for c in cases], **numbers},
        tables={"transport": case_table("KL to the law named, nats", cases, "KL")},
        arrays=arrays,
    )


def _bowls(config: ClaimsConfig, level: float, add: Any):
    """Two bowls: Q_S before, every law on the way, Q_T after, and how soon."""
    first, second = stage(SOURCE, SMALL, PRETRAIN), stage(TARGET, SMALL, FINETUNE)
    start = Gaussian(np.zeros(3), np.eye(3))
    run = followed([first, second], start, config.particles, key_of(config.seed, 21))
    source, target = first.gibbs(), second.gibbs()
    before, after = end_kl(run, source, level, 0), end_kl(run, target, level)
    add("before fine-tuning: the source's law", "", True, before)
    add("after fine-tuning: the target's law", "", True, after)
    chain = Chain([first, second], initial=start)
    rows = np.flatnonzero(np.asarray(run.stages) == 1)
    begin = float(run.steps[rows[0] - 1])
    steps = np.asarray(run.steps, float)[np.r_[rows[0] - 1, rows]] - begin
    path, to_target, to_source, exact = [], [], [], []
    for row, n in zip(np.r_[rows[0] - 1, rows], steps, strict=True):
        law = chain.law(stage=1, step=n)
        path.append(row_kl(run, row, law, level))
        to_target.append(row_kl(run, row, target, level))
        to_source.append(row_kl(run, row, source, level))
        exact.append((float(law.kl(target)), float(law.kl(source))))
    worst = max(path, key=lambda found: found.upper)
    add("on the way: the farthest of 25 looks from the exact law of SGD", "", True, worst)
    # the two laws are two: what fine-tuning leaves behind must be refuted at the end
    apart = to_source[-1]
    add("after fine-tuning: not the source's law any more", "", True, apart, apart=True)
    short = to_target[4]  # two relaxation times
    add("two relaxation times of fine-tuning",
        "fine-tuning for two relaxation times of its slowest mode", False, short)  # fmt: skip
    exact = np.asarray(exact)
    low = float(np.linalg.eigvalsh(TARGET["hessian"])[0])
    clock = steps * float(second.learning_rate) * low
    return {
        "path.relaxations": clock,
        "path.to_target": np.asarray(to_target),
        "path.to_source": np.asarray(to_source),
        "path.exact": exact,
    }, {
        "apart": float(target.kl(source)),
        "start_upper": before.upper,
        "end_upper": after.upper,
        "relaxations_to_margin": float(np.interp(
            -np.log(config.margin), -np.log(np.maximum(exact[:, 0], 1e-12)), clock)),
    }  # fmt: skip


def _flat(config: ClaimsConfig, level: float, add: Any) -> dict[str, Any]:
    """A direction that the target neither curves nor shakes keeps what pre-training gave it.

    Two pre-trainings that differ in their noise alone, then one and the same fine-tuning: the laws
    at the end are held against each other.
    """
    keep = np.diag([0.0, 1.0, 1.0])
    bowl = {**TARGET, **{name: keep @ TARGET[name] @ keep for name in ("hessian", "noise")}}
    eta = SMALL / float(np.linalg.eigvalsh(bowl["hessian"])[-1])
    second = Stage(**bowl, learning_rate=eta, batch_size=BATCH, steps=round(FINETUNE / eta / 0.6))
    first = stage(SOURCE, SMALL, PRETRAIN)
    start = Gaussian(np.zeros(3), np.eye(3))
    other = Chain([first.replace(batch_size=2 * BATCH), second], initial=start)
    law = other.law(stage=1, step=second.steps)
    run = followed([first, second], start, config.particles, key_of(config.seed, 22))
    found = end_kl(run, law, level)
    words = "a direction that the target neither curves nor shakes, where the source's law remains"
    add("flat target: against the same fine-tuning after another pre-training", words, False, found)
    return {"flat_memory": float(Chain([first, second], initial=start).law(
        stage=1, step=second.steps).kl(law))}  # fmt: skip


def _wells(config: ClaimsConfig, level: float, add: Any) -> None:
    """From the right well of an even loss to one whose left well is deeper, warm and cold."""
    for k, (temperature, words) in enumerate(
        ((WARM, "a barrier of about T to the better minimum"),
         (COLD, "a barrier of 10 T to the better minimum"))
    ):  # fmt: skip
        law, points = crossed(temperature, TILT, config.particles, key_of(config.seed, 23, k))
        counts = bins_of(law, points, BINS)
        add(f"double well, {words}", words, False, binned_kl(counts, level))


def _real(config: ClaimsConfig, level: float, add: Any) -> dict[str, Any]:
    """Real SGD from one sex of the diabetes data to the other, seven relaxation times."""
    eta = 0.05 if config.quick else 0.01
    found = diabetes.stages(eta)
    source, target = (law.gibbs() for law in found)
    steps = diabetes.steps(found[1], 7)
    chain = diabetes.chain(found, source, round(1 / eta), steps)
    run = diabetes.followed(chain, config.replicas, key_of(config.seed, 24))
    words = f"real SGD on diabetes at eta = {eta:g}"
    add(f"{words}: the target's Gibbs law", words, False, end_kl(run, target, level))
    return {"real_apart": float(target.kl(source))}
