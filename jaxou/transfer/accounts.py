"""The arithmetic of a certificate, shared by whoever makes one and whoever checks one."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..bounds.inversion import kl_inverse
from ..bounds.ledger import Ledger
from ..bounds.weights import decimal
from .posterior import Posterior
from .priors import ScaleGrid
from .risk import LossTable

MONTE_CARLO_SHARE = 0.2
"""Share of delta spent on the Monte Carlo step; it enters through a logarithm only."""

MONTE_CARLO = ("kl", "bernstein")
"""Chernoff's kl bound for losses in [0, 1]; Maurer and Pontil's (2009), which sees that draws
of a good posterior hardly differ in risk."""


def open_account(
    delta: float, draws: int, n: int, scales: ScaleGrid, shapes: int
) -> tuple[Ledger, float, float]:
    """The closed account, and what the bound and the Monte Carlo step may use of it."""
    many = f" and every one of {shapes} inflations" if shapes > 1 else ""
    ledger = Ledger(delta)
    share = decimal(MONTE_CARLO_SHARE)
    bound = ledger.choose(
        f"kl bound on {n} target examples, for every prior scale j{many}",
        scales.weights,
        share=1 - share,
        why="the target sample may be unlike its law; scale j has weight pi_j",
    )
    drawn = ledger.spend(
        f"Monte Carlo: empirical risk from {draws} weight draws",
        share=share,
        why="the draws may be unlike the posterior",
    )
    return ledger.close(), bound.delta, drawn.delta


def complexity(kl: Any, n: int, delta: Any) -> Any:
    """(KL + log(2 sqrt(n) / delta)) / n, outward by far more than the rounding of a sum over d."""
    kl = np.asarray(kl) * (1.0 + 1e-10) + 1e-10
    return (kl + np.log(2.0 * np.sqrt(n) / delta)) / n


def upper_risk(risk: float, variance: float, draws: int, delta: float, kind: str) -> float:
    """The limit that the posterior's empirical risk exceeds with probability at most `delta`,
    from the mean and the sample variance of the losses of `draws` independent weight draws."""
    logarithm = np.log(2.0 / delta)
    if kind == "kl":
        return float(kl_inverse(risk, logarithm / draws))
    away = np.sqrt(2.0 * variance * logarithm / draws) + 7.0 * logarithm / (3.0 * (draws - 1))
    return float(min(1.0, (risk + away) * (1.0 + 1e-12)))


class Evaluation(NamedTuple):
    """The numbers of a certificate, from KL in nats to the bound; see `Certificate`."""

    kl: float
    risk: float
    variance: float
    risk_upper: float
    complexity: float
    bound: float


def evaluate(
    law: Posterior, scale: float, table: LossTable, n: int, delta: float, delta_mc: float, kind: str
) -> Evaluation:
    """The bound of `law` against the prior of variance `scale`, from the losses of fresh draws.

    `delta` is what the bound may spend on this prior, `delta_mc` what the draws may.
    """
    draws = table.by_draw.shape[0]
    kl, risk = float(law.kl(scale)), float(table.risk)
    variance = float(jnp.var(table.by_draw, ddof=1)) if draws > 1 else 0.0
    upper = upper_risk(risk, variance, draws, delta_mc, kind)
    total = float(complexity(kl, n, delta))
    return Evaluation(kl, risk, variance, upper, total, inverted(upper, total))


def inverted(risk: float, budget: float) -> float:
    """The kl inverse as a plain number."""
    return float(kl_inverse(risk, budget))
