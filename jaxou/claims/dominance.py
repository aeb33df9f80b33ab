"""Claim 4: the error of fine-tuning dominates the bound. Where it does, exactly, and where not."""

import itertools
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ..bounds import dominance_of
from ..config import ClaimsConfig
from ..studies.kinds import find_kind
from ..studies.kinds.theory import TheoryConfig
from .claim import Claim, Finding

SENTENCE = "The fine-tuning term dominates the generalisation bound."
DIMENSIONS = (2, 10, 50, 200)
TAUS = (0.1, 0.3, 1.0, 3.0, 10.0)
EPSILONS = (1e-4, 1e-3, 1e-2, 1e-1)
SHIFTS = (0.01, 0.1, 1.0)
N_TARGET = 1000.0
RATIOS = np.logspace(-1, 4, 41)
"""N_S / N_T."""
USUAL = (10.0, 1000.0)
"""The N_S / N_T for which one pre-trains at all."""
BATCH = 16.0


class Map(NamedTuple):
    """Cells (cells, axes): d, tau, eps, shift, seed; KLs (cells,); the N_S / N_T of the change."""

    axes: Float[np.ndarray, "cells 5"]
    source_kl: Float[np.ndarray, " cells"]
    target_kl: Float[np.ndarray, " cells"]
    change: Float[np.ndarray, " cells"]

    def dominated(self) -> np.ndarray:
        """(cells, ratios): whether fine-tuning has the larger gap."""
        return RATIOS[None, :] > self.change[:, None]


def cells_of(dimensions: Any, problems: int, seed: int) -> Map:
    """Exact Gibbs laws of random problems over the whole grid, and the exact boundary of each.

    Fine-tuning's gap is the larger iff (KL_T + l_T) / (2 N_T - 1) > (KL_S + l_S) / (2 N_S - 1).
    """
    kind = find_kind("theory")
    axes, kls = [], []
    for d in dimensions:
        configs = []
        for tau, eps, shift, k in itertools.product(TAUS, EPSILONS, SHIFTS, range(problems)):
            base = TheoryConfig(law="gibbs")
            about = replace(
                base.problem, dimension=d, tau=tau, shift=shift, seed=(seed + k) % 2**32
            )
            stages = {
                name: replace(getattr(base, name), learning_rate=eps * BATCH, batch_size=BATCH)
                for name in ("pretrain", "finetune")
            }
            stages["finetune"] = replace(stages["finetune"], condition=10.0, noise_condition=5.0)
            axes.append((d, tau, eps, shift, k))
            configs.append(replace(base, problem=replace(about, tilt=20.0), **stages))
        size = kind.batch(kind.shape(configs[0]))
        for first in range(0, len(configs), size):
            found = kind.evaluate(configs[first : first + size], ("kl", "kl_source"), 1)
            kls += [(one.values["kl_source"], one.values["kl"]) for one in found]
    source, target = np.array(kls).T
    sizes = dict(n_source=N_TARGET, n_target=N_TARGET)
    of = lambda s, t: dominance_of(source_kl=s, target_kl=t, **sizes).n_source_at_change
    change = np.asarray(jax.jit(jax.vmap(of))(source, target))
    return Map(np.array(axes), source, target, change / N_TARGET)


def finding(dominated: np.ndarray, ratios: Float[np.ndarray, " ratios"]) -> Finding:
    """Everywhere: holds. In most cells of the usual sample sizes: with conditions. Else: fails."""
    if dominated.all():
        return "holds"
    usual = (ratios >= USUAL[0]) & (ratios <= USUAL[1])
    return "holds with conditions" if dominated[:, usual].mean() > 0.5 else "fails"


def examine(config: ClaimsConfig) -> Claim:
    """The map over N_S / N_T, d, tau, eps and the shift of the minimum."""
    dimensions = (2, 50, 200) if config.quick else DIMENSIONS
    found = cells_of(dimensions, config.problems, config.seed)
    dominated = found.dominated()
    usual = (RATIOS >= USUAL[0]) & (RATIOS <= USUAL[1])
    share = lambda rows, columns: float(dominated[np.ix_(rows, columns)].mean())
    every = np.ones(len(found.change), bool)
    names = ("d", "tau", "eps", "shift")
    by_ratio = [
        (f"N_S / N_T = {r:g}", float((r > found.change).mean())) for r in (0.1, 1, 10, 100, 1e3)
    ]
    by_axis = [
        (f"{name} = {value:g}", share(found.axes[:, k] == value, usual))
        for k, name in enumerate(names)
        for value in np.unique(found.axes[:, k])
    ]
    rule = found.source_kl / found.target_kl
    known = np.isfinite(found.change) & (found.change > 0)
    off = np.log(found.change[known] / rule[known])
    large = np.minimum(found.source_kl, found.target_kl)[known] > 30
    worst, best = min(by_axis, key=lambda x: x[1]), max(by_axis, key=lambda x: x[1])
    in_usual, larger_kl = share(every, usual), float((found.target_kl > found.source_kl).mean())
    needed = float(np.max(found.change))
    return Claim(
        number=4,
        name="dominance",
        sentence=SENTENCE,
        experiment=(
            f"{len(found.change):,} synthetic problems (exact Gibbs laws; d, tau, eps = eta / b, "
            f"shift) x {len(RATIOS)} ratios N_S / N_T at N_T = {N_TARGET:g}; the exact condition"
        ),
        headline=(
            f"larger in {100 * in_usual:.0f} % of the problems with N_S = {USUAL[0]:g} to "
            f"{USUAL[1]:g} N_T, in {100 * dict(by_ratio)['N_S / N_T = 1']:.0f} % at N_S = N_T"
        ),
        verdict=finding(dominated, RATIOS),
        condition=(
            "it needs N_S / N_T above about KL_S / KL_T (right within a factor "
            f"{np.exp(np.median(np.abs(off))):.2f} in the median, {np.exp(np.abs(off).max()):.3g} "
            f"at worst; {np.exp(np.abs(off[large]).max(initial=0.0)):.3g} where both KLs exceed 30 "
            f"nats); least often at {worst[0]} ({100 * worst[1]:.0f} %), most often at {best[0]} "
            f"({100 * best[1]:.0f} %). KL_T itself exceeds KL_S in {100 * larger_kl:.0f} % only"
        ),
        numbers={
            "share_usual": in_usual,
            "share_by_ratio": dict(by_ratio),
            "share_by_axis": dict(by_axis),
            "share_kl_larger": larger_kl,
            "largest_ratio_needed": needed,
            "rule_median_factor": float(np.exp(np.median(np.abs(off)))),
            "problems": len(found.change),
        },
        tables={
            "dominance": (
                "Share of problems in which fine-tuning has the larger gap",
                ("where", "share"),
                [*by_ratio, *by_axis],
            ),
            "dominance_cells": (
                "Every problem: KLs in nats, and N_S / N_T from which fine-tuning dominates",
                ("d", "tau", "eps", "shift", "problem", "KL_S", "KL_T", "change", "KL_S / KL_T"),
                [
                    (*row, *numbers)
                    for row, *numbers in zip(
                        found.axes.tolist(), found.source_kl, found.target_kl, found.change, rule,
                        strict=True,
                    )
                ],
            ),
        },
        arrays={
            "ratios": RATIOS,
            "axes": found.axes,
            "source_kl": found.source_kl,
            "target_kl": found.target_kl,
            "change": found.change,
        },
    )  # fmt: skip
