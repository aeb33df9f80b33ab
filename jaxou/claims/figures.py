"""The figure of each claim, from its arrays to PNG bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from ..plots import COLOURS, style
from ..plots import _claims as draw
from ..report.figures import legend_once, png
from .claim import Claim
from .discrepancy import PREDICTORS, WORDS
from .rate import KL


def figure_of(claim: Claim) -> bytes:
    """The claim's figure as PNG."""
    with style():
        figure = Figure(figsize=(9.6, 4.3))
        FIGURES[claim.name](claim, figure)
        return png(figure)


def convergence(claim: Claim, figure: Figure) -> None:
    """KL to the Gibbs law against the learning rate and against time."""
    left, right = figure.subplots(1, 2)
    a, margin = claim.arrays, claim.numbers["margin"]
    exact = (a["steps.grid"], a["steps.exact"])
    draw.kl_against(a["steps.products"], a["steps.found"], exact=exact, margin=margin, ax=left)
    left.set_xscale("log")
    left.set_xlabel("learning rate x largest curvature")
    left.set_title("Larger steps: another law")
    exact = (a["time.relaxations"], a["time.exact"])
    draw.kl_against(a["time.relaxations"], a["time.found"], exact=exact, margin=margin, ax=right)
    right.set_xlabel("relaxation times of the slowest direction")
    right.set_title("Less time: not there yet")
    left.legend()


def transport(claim: Claim, figure: Figure) -> None:
    """KL to both laws along fine-tuning."""
    ax = figure.subplots()
    a, x = claim.arrays, claim.arrays["path.relaxations"]
    for k, (name, colour, label) in enumerate(
        (("to_target", COLOURS["finetune"], "to the target's law"),
         ("to_source", COLOURS["pretrain"], "to the source's law"))
    ):  # fmt: skip
        exact = (x, a["path.exact"][:, k])
        draw.kl_against(
            x, a[f"path.{name}"], exact=exact, margin=claim.numbers["margin"], colour=colour,
            label=label, ax=ax,
        )  # fmt: skip
    ax.set_xlabel("relaxation times of the slowest direction, fine-tuning")
    ax.set_title("From one law to the other")
    legend_once(ax)


def rate(claim: Claim, figure: Figure) -> None:
    """Gaps of a few rows, and the map of the local slope."""
    left, right = figure.subplots(1, 2)
    a = claim.arrays
    known = {
        "mcallester_he, r = 0.1": "gaps.mcallester_he..0.1",
        "seeger, r = 0.1": "gaps.seeger..0.1",
        "seeger, r = 0": "gaps.seeger..0",
        "catoni_linear, lambda = 100": "gaps.catoni_linear.lambda = 100.0.1",
        "KL ~ N": next(k for k in a if k.startswith("gaps.mcallester_he.both")),
    }
    draw.rate_curves(a["sizes"], {k: a[v] for k, v in known.items()}, ax=left)
    left.set_title("Every rate there is")
    left.legend(fontsize=8)
    draw.rate_map(a["sizes"], a["cross.risks"], a["cross.slopes"], kl=KL, ax=right)
    right.set_title("Where the faster one is (seeger)")
    right.legend()


def dominance(claim: Claim, figure: Figure) -> None:
    """The share of problems against N_S / N_T, and the boundary."""
    left, right = figure.subplots(1, 2)
    a = claim.arrays
    draw.dominance_share(a["ratios"], a["change"], a["axes"][:, 0], ax=left)
    left.legend()
    left.set_title("How often fine-tuning dominates")
    kl_ratio = a["source_kl"] / a["target_kl"]
    draw.dominance_boundary(kl_ratio, a["change"], a["axes"][:, 0], ax=right)
    right.legend(fontsize=8)
    right.set_title("From where on")


def discrepancy(claim: Claim, figure: Figure) -> None:
    """Gap against discrepancy, and the correlations of all predictors."""
    left, right = figure.subplots(1, 2)
    a, found = claim.arrays, claim.numbers["partial"]
    x = a["synthetic.discrepancy"][-1]
    draw.gap_scatter(x, a["synthetic.gap"][-1], error=a["synthetic.gap_error"][-1], ax=left)
    left.set_xlabel("discrepancy 2 KL(Q_T || Q_S), nats")
    left.set_title("Synthetic pairs, at the steady law")
    names = [name for name in PREDICTORS if name != "1 / N"]
    kinds = {kind: a[f"{kind}.steps"][-1] for kind in ("synthetic", "images", "images, 0-1")}
    values = {}
    for kind, n in kinds.items():
        rows = [found.get(f"{kind}, {n} steps, {name}") for name in names]
        numbers = [
            [np.nan] * 3 if r is None else [r["value"], r["lower"], r["upper"]] for r in rows
        ]
        values[f"{WORDS[kind]}, {n} steps"] = numbers
    draw.correlations(names, values, ax=right)
    right.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.4, -0.16))
    right.set_title("What goes with the gap")


FIGURES: dict[str, Callable[[Claim, Figure], None]] = {
    "convergence": convergence,
    "transport": transport,
    "rate": rate,
    "dominance": dominance,
    "discrepancy": discrepancy,
}
