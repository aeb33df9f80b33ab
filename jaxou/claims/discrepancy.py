"""Claim 5: the domain discrepancy decides generalisation. Measured gaps of real SGD say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..config import ClaimsConfig
from . import images, regression
from .claim import Claim, Finding, within
from .ranks import Correlation, difference, partial_spearman, spearman

SENTENCE = (
    "Generalisation is decided by a domain discrepancy made of covariances and the shift of the "
    "minimum."
)
PREDICTORS = (
    "discrepancy",
    "shift part",
    "covariance part",
    "discrepancy / N",
    "1 / N",
    "zero-shot loss",
    "parameter distance",
    "training loss",
    "tr(A^-1 C) / N",
)
WORDS = {
    "synthetic": "linear-Gaussian pairs",
    "shift alone": "linear-Gaussian pairs that differ in their shift alone",
    "images": "digit images",
    "images, 0-1": "digit images, gap of the 0-1 loss",
}


def finding(outcomes: list[str]) -> Finding:
    """Shown to decide everywhere: holds; somewhere: with conditions; refuted everywhere: fails."""
    if all(one == "shown" for one in outcomes):
        return "holds"
    if "shown" in outcomes:
        return "holds with conditions"
    return "fails" if all(one == "refuted" for one in outcomes) else "undecided"


def decides(found: Correlation, strength: float) -> str:
    """Whether a rank correlation is shown to be above `strength`, shown to be below, or neither.

    >>> [decides(Correlation(*x, 100), 0.5) for x in ((0.9, 0.8, 0.95), (0.1, 0.0, 0.2))]
    ['shown', 'refuted']
    """
    return within(-found.upper, -found.lower, -strength)


def examine(config: ClaimsConfig, folder: Path) -> Claim:
    """Rank correlations of the discrepancy, its parts and its rivals with measured gaps."""
    sets, lost, steps = _data(config, folder)
    tests = sum(len(s) for s in steps.values())
    level = config.level / tests
    rows, partials, outcomes = [], {}, {}
    for kind, seen in sets.items():
        for k, n in enumerate(steps[kind]):
            for name in PREDICTORS:
                numbers = _correlations(seen, name, k, level)
                if numbers is None:  # a constant here
                    continue
                rows.append((WORDS[kind], n, name, *numbers["flat"]))
                partials[kind, n, name] = numbers["partial"] or numbers["raw"]
            outcomes[kind, n] = decides(partials[kind, n, "discrepancy"], config.strength)
    rivals = {kind: _rival(partials, kind, steps[kind][-1]) for kind in ("synthetic", "images")}
    lead = {kind: _lead(sets[kind], rivals[kind], config) for kind in rivals}
    verdict = finding([outcomes[key] for key in outcomes if key[0] != "shift alone"])
    return Claim(
        number=5,
        name="discrepancy",
        sentence=SENTENCE,
        experiment=(
            f"{config.pairs} linear-Gaussian domain pairs ({config.samples} target samples each) "
            f"and {sets['images']['gap'].shape[1]} pairs of digit domains ({lost} of the "
            f"{config.image_pairs} drawn ask for more images of one digit than there are, or have "
            "no finite discrepancy), fine-tuned by real SGD; "
            "Spearman correlation of 2 KL(Q_T || Q_S) with the measured gap, N_T held fixed; "
            f"'decides' means above {config.strength:g}, {100 * (1 - config.level):g} % for all"
        ),
        headline=_headline(partials, steps),
        verdict=verdict,
        condition=_condition(partials, outcomes, steps, rivals, lead, rows),
        numbers=_numbers(partials, outcomes, rivals, lead, lost),
        tables={"discrepancy": ("Rank correlations, with what is measured", HEADER, rows)},
        arrays={
            f"{kind}.{name}": values for kind, seen in sets.items() for name, values in seen.items()
        }
        | {f"{kind}.steps": np.asarray(found) for kind, found in steps.items()},
    )


HEADER = (
    "domains", "steps of fine-tuning", "predictor", "with the gap", "lower", "upper",
    "with the gap, N held fixed", "lower ", "upper ", "with the risk, N held fixed", "pairs",
)  # fmt: skip


def _data(config: ClaimsConfig, folder: Path):
    pairs = regression.random_pairs(config.pairs, config.seed)
    alone = regression.random_pairs(max(config.pairs // 3, 30), config.seed, only_shift=True)
    found, lost, durations = images.measure(config, folder)
    sets = {
        "synthetic": regression.measure(pairs, config.samples, config.seed),
        "shift alone": regression.measure(alone, config.samples, config.seed + 1),
        "images": found,
        "images, 0-1": found | {"gap": found["gap of 0-1 loss"]},
    }
    same = list(regression.STEPS)
    return sets, lost, {"synthetic": same, "shift alone": same, "images": durations,
                        "images, 0-1": durations}  # fmt: skip


def _correlations(seen: dict[str, np.ndarray], name: str, k: int, level: float):
    """Raw and partial correlations of a predictor with the gap; None for a constant."""
    x, gap, size = seen[name][k], seen["gap"][k], seen["n"][k]
    spread = np.ptp(x) > 1e-9 * np.abs(x).max()
    if not spread:
        return None
    raw = spearman(x, gap, level)
    given = [size] if np.ptp(size) > 0 else []
    # 1 / N is nothing once N is held fixed
    partial = None if name == "1 / N" else partial_spearman(x, gap, given, level)
    risk = None if partial is None else partial_spearman(x, seen["risk"][k], given, level).value
    last = (None, None, None) if partial is None else partial[:3]
    return {"raw": raw, "partial": partial, "flat": (*raw[:3], *last, risk, raw.pairs)}


def _rival(partials: dict[Any, Correlation], kind: str, steps: int) -> str:
    """The best predictor that is no part of the discrepancy."""
    names = [n for n in PREDICTORS if "part" not in n.split() and "discrepancy" not in n]
    return max(names, key=lambda n: partials[kind, steps, n].value if n != "1 / N" else -1.0)


def _lead(seen: dict[str, np.ndarray], rival: str, config: ClaimsConfig) -> Correlation:
    """By how much the discrepancy beats its best rival, over pairs, at the longest duration."""
    return difference(
        seen["discrepancy / N"][-1],
        seen[rival][-1],
        seen["gap"][-1],
        seed=config.seed,
        level=config.level,
    )


def _show(found: Correlation) -> str:
    return f"{found.value:.2f} [{found.lower:.2f}, {found.upper:.2f}]"


def _headline(partials: dict[Any, Correlation], steps: dict[str, list[int]]) -> str:
    middle = steps["images"][len(steps["images"]) // 2]
    return (
        f"rank correlation with the measured gap {_show(partials['synthetic', 250, 'discrepancy'])}"
        f" (synthetic), {_show(partials['images', middle, 'discrepancy'])} (images)"
    )


def _condition(partials, outcomes, steps, rivals, lead, rows) -> str:
    by_steps = lambda kind: ", ".join(
        f"{partials[kind, n, 'discrepancy'].value:.2f} after {n}" for n in steps[kind]
    )
    risk = {(r[0], r[1]): r[9] for r in rows if r[2] == "discrepancy"}
    last = {kind: found[-1] for kind, found in steps.items()}
    parts = [
        f"rank correlation with the gap, N held fixed: {by_steps('synthetic')} steps of synthetic "
        f"fine-tuning, {by_steps('images')} of images",
        f"where the shift alone differs {by_steps('shift alone')}: at the steady law the gap is "
        "the target's own affair",
        *(
            f"the best simple predictor, {rivals[kind]}, reaches "
            f"{partials[kind, last[kind], rivals[kind]].value:.2f} in {WORDS[kind]} (discrepancy / "
            f"N less that, N free: {_show(lead[kind])})"
            for kind in rivals
        ),
        "with the target risk itself the discrepancy correlates "
        + ", ".join(
            f"{risk[WORDS[kind], n]:.2f} after {n} ({kind})"
            for kind in ("synthetic", "images")
            for n in (steps[kind][0], steps[kind][-1])
        ),
    ]
    open_ = [f"{WORDS[kind]}, {n} steps" for (kind, n), o in outcomes.items() if o == "undecided"]
    return "; ".join(parts) + (f". Not decided: {'; '.join(open_)}" if open_ else "")


def _numbers(partials, outcomes, rivals, lead, lost) -> dict[str, Any]:
    return {
        "partial": {
            f"{kind}, {n} steps, {name}": found._asdict()
            for (kind, n, name), found in partials.items()
        },
        "outcomes": {f"{kind}, {n} steps": outcome for (kind, n), outcome in outcomes.items()},
        "best_rival": rivals,
        "lead_over_rival": {kind: found._asdict() for kind, found in lead.items()},
        "image_pairs_left_out": lost,
    }
