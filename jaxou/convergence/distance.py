"""How far particles are from a law in KL, with a confidence limit, and the claim made of it."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..laws import Gaussian
from .equivalence import claimable, draws_needed
from .plug_in_kl import PlugInKL, kl_of_moments
from .record import Divergence, Equivalence
from .sample import Sample
from .whitening import whitening

CONFIDENCE = 0.99


def divergence(
    sample: Sample,
    law: Gaussian | None,
    rounding: float,
    origin: np.ndarray,
    exact: Any,
    reason: str,
) -> Divergence:
    """KL(particles || law) by their moments.

    `exact`: the terms of KL(own law || law), None where `law` is the particles' own; `reason`: why
    there is no law.
    """
    none = lambda why: Divergence(None, None, CONFIDENCE, why)
    if law is None:
        return none("not available: " + reason)
    if exact is not None:
        ranks = int(exact.rank), int(exact.reference_rank)
        if ranks[0] != ranks[1] or not math.isfinite(float(exact.value)):
            return none(f"infinite: the run moves in {ranks[0]} directions, the law in {ranks[1]}")
    # what is narrow for either law is lost in the rounding
    white = whitening(law, sample, rounding, origin)
    if exact is not None and white.unresolved:
        why = f"not available: {white.unresolved} directions are narrower than the rounding"
        return none(why + "; use dtype=jnp.float64")
    if not white.rank:
        return none("not available: no direction has any spread")
    if sample.count <= white.rank:
        return none(
            f"not available: needs more than {white.rank} particles, this run has {sample.count}"
        )
    found = kl_of_sample(white.moments(sample), sample.count)
    upper = found.upper_limit(jnp.asarray(1 - CONFIDENCE, found.plug_in.dtype))
    return Divergence(float(found.estimate), float(upper), CONFIDENCE)


def kl_of_sample(moments: tuple[np.ndarray, np.ndarray], count: int) -> PlugInKL:
    """The plug-in KL of whitened particles from their (mean, covariance)."""
    mean, covariance = (jnp.asarray(x) for x in moments)
    return kl_of_moments(mean, covariance, count)


def equivalence(
    found: Divergence, margin: float | None, rank: int, n: int, truth: float | None
) -> Equivalence:
    """The claim that KL to the Gibbs law is below the margin, and what it would need.

    `truth`: the KL of the particles' own law to the Gibbs law, None where it is not known.
    """
    shown = None if margin is None else found.upper is not None and found.upper < margin
    if truth is None or not math.isfinite(truth) or not rank:
        why = found.reason or "the distance of the particles' law from the Gibbs law is not known"
        return Equivalence(margin, shown, CONFIDENCE, None, None, why)
    # the divergence of equal laws may fall below zero by rounding
    alpha, truth = 1 - CONFIDENCE, max(truth, 0.0)
    smallest = claimable(n, rank, kl=truth, alpha=alpha)
    if margin is None:
        return Equivalence(None, None, CONFIDENCE, smallest, None)
    needed = draws_needed(margin, rank, kl=truth, alpha=alpha)
    why = "" if needed is not None else f"the law itself is {truth:.3g} nats from the Gibbs law"
    return Equivalence(margin, shown, CONFIDENCE, smallest, needed, why)
