"""`verdict`: does a run have its own law, and how far is it from the Gibbs law?"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..laws import Gaussian
from ..particles.run import Run
from ..stages import AbstractChain
from .agreement import compare
from .claims import Claim, claims
from .distance import CONFIDENCE, divergence, equivalence
from .pairing import refuse_diverged, require_pair, require_share
from .plug_in_kl import null_moments
from .record import Budget, Detectable, Divergence, StageVerdict, Test, Verdict
from .sample import FEWEST, Sample, sample_of
from .scores import normal_scores
from .statistics import (
    Covariance,
    MeanChi2,
    MomentsKL,
    TotalVariance,
    as_statistics,
    evaluate,
    evaluate_moments,
    holm,
    standard,
)
from .whitening import SAFETY, Whitening, whitening

POWER = 0.8


def verdict(
    run: Any,
    process: Any,
    *,
    level: Any = 0.01,
    margin: Any = None,
    statistics: Any = None,
) -> Verdict:
    """Test a run at every stage's end against the law its particles must have there.

    That law is the run's *own*: SGD's chain for `SGD`, the SDE for `Exact` and `Diffrax`, the
    integrator's chain for `EulerMaruyama`, each at the finite time where the stage ended. Stages
    with a loss that is not quadratic are held against their Gibbs law, in one and two dimensions.

    **Arguments:** `run` and the `process` it is claimed to follow; `level`, the probability of any
    false alarm among all tests of all stages; `margin`, in nats: with it the verdict also says
    whether each stage's end is shown to be within it of the Gibbs law (99 % confidence);
    `statistics`: those of `ou.convergence.statistics` to use, by default `standard(pairs=False)`,
    the ten in linear time; `standard()` adds four over pairs of particles. The decision is by the
    smallest p-value, whose law under the claim is simulated for all of them together.

    **Returns** a `Verdict`; `print` it. A run too large to keep its particles is judged by its
    moments. Cost per stage O(particles d^2 + d^3); null laws are simulated once per (particles,
    dimension), in seconds, and kept. Pairs are those of at most 20,000 particles.

    Raises `ValueError` for fewer than 100 particles, particles that are not numbers, and a process
    that the run cannot be of.

    >>> import jax, jaxou as ou
    >>> from jaxou.convergence.statistics import MeanChi2
    >>> stage = ou.Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10,
    ...                  steps=99)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([1.0], 1.0))
    >>> run = ou.simulate(chain, particles=500, key=jax.random.key(0))
    >>> wrong = ou.Chain([stage.replace(minimum=1.0)], initial=chain.initial)
    >>> [verdict(run, c, statistics=(MeanChi2(),)).decision for c in (chain, wrong)]
    ['consistent', 'rejected']
    """
    _check(run, process, level, margin)
    margin = None if margin is None else float(margin)
    statistics = standard(pairs=False) if statistics is None else as_statistics(statistics)
    stages = [
        _examine(run, k, process, claim, statistics)
        for k, claim in enumerate(claims(run.method, process))
    ]
    count = sum(found.family is not None for found in stages)
    flat = [t.p_value for found in stages for t in found.tests if t.p_value is not None]
    adjusted = iter(holm(flat))
    verdicts = []
    for k, found in enumerate(stages):
        tests = tuple(
            t if t.p_value is None else dataclasses.replace(t, adjusted=next(adjusted))
            for t in found.tests
        )
        # one family per stage; Bonferroni over stages, whose particles are the same
        p = None if found.family is None else min(1.0, count * found.family)
        verdicts.append(
            StageVerdict(
                name=run.names[k],
                law=found.claim.text,
                particles=run.particles,
                rank=found.rank,
                dimension=run.dimension,
                tests=tests,
                p_value=p,
                family=found.how,
                decision="untested" if p is None else "rejected" if p < level else "consistent",
                own=found.own,
                steady=found.steady,
                gibbs=found.gibbs,
                budget=found.budget,
                detectable=_detectable(found, run.particles, level / max(len(flat), 1)),
                equivalence=equivalence(
                    found.gibbs, margin, found.rank, run.particles, found.truth
                ),
                notes=found.notes,
            )
        )
    return Verdict(tuple(verdicts), type(run.method).__name__, float(level), margin)


class _Stage(NamedTuple):
    """What was found at one stage's end."""

    claim: Claim
    rank: int
    tests: tuple[Test, ...]
    family: float | None
    how: str
    own: Divergence
    steady: Divergence
    gibbs: Divergence
    budget: Budget
    truth: float | None
    notes: tuple[str, ...]


def _examine(run: Run, k: int, process: AbstractChain, claim: Claim, statistics) -> _Stage:
    if isinstance(claim.own, Gaussian):
        return _examine_gaussian(run, k, process.stages[k], claim, statistics)
    missing = Divergence(None, None, CONFIDENCE, "not available: " + claim.reason)
    budget, notes = Budget(None, None, None, claim.reason), ()
    empty = _Stage(claim, 0, (), None, "", missing, missing, missing, budget, None, notes)
    if claim.gibbs is None or run.deviations is None or isinstance(claim.gibbs, Gaussian):
        return empty
    scores = np.asarray(normal_scores(np.asarray(run.stage_ends[k]), claim.gibbs))
    found = evaluate(statistics, scores)
    if not found.family.tests:
        return empty._replace(tests=found.tests)
    note = (
        "a rejection here may mean that the stage was too short to reach its Gibbs law, or that "
        "its steps were too large for it: no closed form separates the two. Run it longer, and "
        "with more substeps"
    )
    return empty._replace(
        rank=scores.shape[1],
        tests=found.tests,
        family=found.family.p_value,
        how=found.family.how,
        notes=(note,),
    )


def _examine_gaussian(run: Run, k: int, stage: Any, claim: Claim, statistics: tuple) -> _Stage:
    sample, origin = _sample(run, k), np.asarray(run.centres[k])
    rounding = float(jnp.finfo(run.dtype).eps)
    own = whitening(claim.own, sample, rounding, origin)
    leak = own.leak(sample)
    found, notes = None, _notes(own)
    if own.rank and run.deviations is not None:
        found = evaluate(statistics, own.draws(np.asarray(run.deviations[k])))
        if run.method.approximate:
            gaps = np.asarray(run.deviations[k])
            notes += (compare(stage, run.names[k], claim.own, gaps, origin).sentence(),)
    elif own.rank:
        found = evaluate_moments(statistics, *own.moments(sample), sample.count)
        notes += (
            "the run kept no particles: its moments alone were tested, and nothing was seen of its "
            "shape. simulate(..., final=True) keeps them",
        )
    tests = () if found is None else found.tests
    made = found is not None and found.family.tests > 0
    family, how = (found.family.p_value, found.family.how) if made else (None, "")
    if leak > 0:
        # an exact statement: directions without noise do not move, up to rounding
        p = 0.0 if leak > SAFETY else 1.0
        question = "do directions without noise stay at rest?"
        tests += (Test("flat directions", question, leak, "rounding", p, kind="exact"),)
        family = p if family is None else min(family, p) if p == 0 else family
        how = how or "exact"
    exact = [
        None if law is None else claim.own.kl_terms(law) for law in (claim.steady, claim.gibbs)
    ]
    distance = lambda law, exact, why: divergence(sample, law, rounding, origin, exact, why)
    to_steady, truth = (None if terms is None else float(terms.value) for terms in exact)
    both = claim.gibbs is not None and claim.steady is not None
    budget = Budget(
        _null_mean(own.rank, sample.count),
        float(claim.steady.kl_terms(claim.gibbs).value) if both else None,
        to_steady,
        claim.reason,
    )
    return _Stage(
        claim,
        own.rank,
        tests,
        family,
        how,
        distance(claim.own, None, ""),
        distance(claim.steady, exact[0], claim.reason),
        distance(claim.gibbs, exact[1], claim.reason),
        budget,
        truth,
        notes,
    )


def _sample(run: Run, k: int) -> Sample:
    if run.deviations is not None:
        return sample_of(run.deviations[k])
    row = int(np.flatnonzero(np.asarray(run.stages) == k)[-1])
    moments = run.moments
    mean = np.asarray(moments.mean[row], np.float64) - np.asarray(run.centres[k], np.float64)
    covariance = np.asarray(moments.covariance[row], np.float64)
    # over n - 1 in the record, over n here
    return Sample(run.particles, mean, covariance * (1 - 1 / run.particles))


def _null_mean(rank: int, n: int) -> float | None:
    if not 0 < rank < n:
        return None
    return float(null_moments(n, rank)[0])


def _detectable(found: _Stage, n: int, level: float) -> Detectable | None:
    if not found.rank:
        return None
    seen = lambda s: float(s.smallest(n, found.rank, level, POWER).value)
    enough = n > found.rank
    return Detectable(
        variance=seen(TotalVariance()),
        shift=seen(MeanChi2()),
        covariance=seen(Covariance()),
        kl=seen(MomentsKL()) if enough else None,
        power=POWER,
    )


def _notes(own: Whitening) -> tuple[str, ...]:
    if not own.unresolved:
        return ()
    return (
        f"{own.unresolved} directions are narrower than the particles' rounding and were not "
        "tested; simulate(..., dtype=jnp.float64) resolves them",
    )


def _check(run, process, level, margin):
    require_pair(run, process, "verdict")
    if run.particles < FEWEST:
        raise ValueError(
            f"a verdict on {run.particles} particles would see nothing but gross errors: simulate "
            f"at least {FEWEST}, and more than the dimension ({run.dimension}) to test covariances"
        )
    require_share(level, "level", "the probability of a false alarm")
    if margin is not None and not margin > 0:
        raise ValueError(f"margin={margin} must be positive: a KL in nats, such as 0.05")
    refuse_diverged(run.moments.variance if run.deviations is None else run.deviations)
