"""`verdict`: does a run have its own law, and how far is it from the Gibbs law?"""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._typing import Scalar
from ..laws import Gaussian
from ..particles.run import Run
from ..stages import AbstractChain
from .null_laws import chi2_quantile, noncentrality_limit, normal_quantile
from .plug_in_kl import PlugInKL, plug_in_kl
from .record import Budget, Detectable, Divergence, StageVerdict, Test, Verdict
from .statistics import energy_chi2, holm, mahalanobis_ks, mean_chi2
from .whitening import SAFETY, Whitened, whiten

FEWEST = 100
POWER = 0.8
CONFIDENCE = 0.99


def verdict(run: Any, process: Any, *, level: float = 0.01, margin: float | None = None) -> Verdict:
    """Test a run at every stage's end against the law its particles must have there.

    That law is the run's *own*: SGD's chain for `SGD`, the SDE for `Exact` and `Diffrax`, the
    integrator's chain for `EulerMaruyama`, each at the finite time where the stage ended.

    **Arguments:** `run` and the `process` it is claimed to follow; `level`, the probability of any
    false alarm among all tests (Holm); `margin`, in nats: with it the verdict also says whether
    each stage's end is shown to be within it of the Gibbs law (99 % confidence).

    **Returns** a `Verdict`; `print` it. Cost per stage O(particles d^2 + d^3).

    Raises `ValueError` for fewer than 100 particles, or particles that are not numbers.
    """
    _check(run, process, level, margin)
    method, laws = run.method, own_laws(run.method, process)
    deviations, centres = np.asarray(run.deviations), np.asarray(run.centres)
    parts = []
    for k, stage in enumerate(process.stages):
        draws = deviations[k].astype(laws[k].mean.dtype)
        rounding = float(jnp.finfo(run.deviations.dtype).eps)
        own = whiten(draws, laws[k], rounding, centres[k])
        parts.append((k, stage, laws[k], draws, rounding, own, *_tests(own)))
    p_values = [t.p_value for *_, tests, _ in parts for t in tests if t.p_value is not None]
    adjusted = iter(holm(p_values))
    stages = []
    for k, stage, law, draws, rounding, own, tests, found in parts:
        tests = tuple(
            t if t.p_value is None else dataclasses.replace(t, adjusted=next(adjusted))
            for t in tests
        )
        gibbs, steady, reason = _steady_laws(method, stage)
        to_gibbs = _to_gibbs(draws, gibbs, centres[k], rounding, law, reason)
        bad = any(t.adjusted is not None and t.adjusted < level for t in tests)
        stages.append(
            StageVerdict(
                name=run.names[k],
                law=_law_name(method, stage),
                particles=run.particles,
                rank=own.rank,
                dimension=run.dimension,
                tests=tests,
                decision="rejected" if bad else "consistent",
                own=_divergence(own, found),
                gibbs=to_gibbs,
                budget=_budget(found, law, gibbs, steady, reason),
                detectable=_detectable(own, found, level / max(len(p_values), 1)),
                equivalent=None if margin is None else _below(to_gibbs.upper, margin),
                notes=_notes(own),
            )
        )
    return Verdict(tuple(stages), type(method).__name__, float(level), margin)


def own_laws(method, process: AbstractChain) -> list[Gaussian]:
    """The law of the position at every stage's end, as `method` moves the particles."""
    laws, law = [], process.initial
    for k, stage in enumerate(process.stages):
        law = method.kernel(stage)(method.enter_law(process, k, law))
        laws.append(process.position(law))
    return laws


def _check(run, process, level, margin):
    if not isinstance(run, Run):
        raise TypeError(f"verdict takes the run of ou.simulate, got {type(run).__name__}")
    if not isinstance(process, AbstractChain):
        raise TypeError(f"verdict takes a Chain or TwoStage, got {type(process).__name__}")
    if len(process.stages) != run.deviations.shape[0] or process.dimension != run.dimension:
        raise ValueError(
            f"the run has {run.deviations.shape[0]} stages in dimension {run.dimension}, the "
            f"process {len(process.stages)} in dimension {process.dimension}: pass the process "
            "that was run"
        )
    if run.particles < FEWEST:
        raise ValueError(
            f"a verdict on {run.particles} particles would see nothing but gross errors: simulate "
            f"at least {FEWEST}, and more than the dimension ({run.dimension}) to test covariances"
        )
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie in (0, 1): the probability of a false alarm")
    if margin is not None and not margin > 0:
        raise ValueError(f"margin={margin} must be positive: a KL in nats, such as 0.05")
    if not bool(np.isfinite(np.asarray(run.deviations)).all()):
        raise ValueError(
            "the run holds NaN or infinity: the process diverged (a learning rate above "
            "2 / lambda_max?), or its size is beyond the particles' precision"
        )


class Numbers(eqx.Module):
    """All statistics of whitened draws; those of the KL are None where there are too few draws."""

    mean: tuple
    energy: tuple
    shape: tuple
    kl: PlugInKL | None
    p_value: Scalar | None
    estimate: Scalar | None
    upper: Scalar | None
    unit: Scalar | None
    degrees: Scalar | None


@eqx.filter_jit
def _numbers(draws) -> Numbers:
    n, rank = draws.shape
    statistics = (mean_chi2(draws), energy_chi2(draws), mahalanobis_ks(draws))
    if n <= rank:
        return Numbers(*statistics, *[None] * 6)
    kl = plug_in_kl(draws)
    upper = kl.upper_limit(jnp.asarray(1 - CONFIDENCE, draws.dtype))
    return Numbers(*statistics, kl, kl.p_value, kl.estimate, upper, kl.unit, kl.degrees)


def _tests(own: Whitened) -> tuple[list[Test], Numbers | None]:
    n, rank = own.draws.shape
    tests, found = [], None
    if rank:
        found = _numbers(own.draws)
        tests += [
            _test("mean", "is the mean right?", found.mean, f"chi2({rank})"),
            _test("total variance", "is its scale right?", found.energy, f"chi2({n * rank})"),
            _test("shape (Mahalanobis)", "is it Gaussian?", found.shape, "Kolmogorov"),
        ]
        name, question = "all moments (KL)", "are mean and every covariance right?"
        if found.kl is None:
            tests.append(Test(name, question, None, "", None, reason=_too_few(own)))
        else:
            null = f"{float(found.unit):.3g} x chi2({float(found.degrees):.4g})"
            tests.append(_test(name, question, (found.kl.plug_in, found.p_value), null))
    if own.leak > 0:
        # an exact statement: directions without noise do not move, up to rounding
        p = 0.0 if own.leak > SAFETY else 1.0
        question = "do directions without noise stay at rest?"
        tests.append(Test("flat directions", question, own.leak, "rounding", p))
    return tests, found


def _too_few(own: Whitened) -> str:
    n, rank = own.draws.shape
    return f"not available: needs more than {rank} particles, this run has {n}"


def _test(name, question, result, null) -> Test:
    statistic, p = (float(x) for x in result)
    return Test(name, question, statistic, null, p)


def _divergence(own: Whitened, found: Numbers | None) -> Divergence:
    if found is None:
        return Divergence(None, None, CONFIDENCE, "not available: no direction has any spread")
    if found.kl is None:
        return Divergence(None, None, CONFIDENCE, _too_few(own))
    return Divergence(float(found.estimate), float(found.upper), CONFIDENCE)


def _steady_laws(method, stage):
    """(Gibbs law or None, the method's steady law or None, why one is missing)."""
    gibbs, steady, reasons = None, None, []
    if stage.scheduled:
        return None, None, "a stage with a schedule has no steady law"
    try:
        gibbs = stage.gibbs()
    except ValueError as error:
        reasons.append(str(error))
    try:
        steady = method.steady_law(stage)
    except ValueError as error:
        reasons.append(str(error))
    return gibbs, steady, "; ".join(dict.fromkeys(reasons))


def _to_gibbs(draws, gibbs, origin, rounding, law, reason) -> Divergence:
    if gibbs is None:
        return Divergence(None, None, CONFIDENCE, "not available: " + reason)
    exact = law.kl_terms(gibbs)
    if int(exact.rank) != int(exact.reference_rank) or not math.isfinite(float(exact.value)):
        why = (
            f"infinite: the run moves in {int(exact.rank)} directions, the Gibbs law in "
            f"{int(exact.reference_rank)}"
        )
        return Divergence(None, None, CONFIDENCE, why)
    # what is narrow for either law is lost in the rounding
    white = whiten(draws, gibbs, rounding, origin)
    if white.unresolved:
        why = f"not available: {white.unresolved} directions are narrower than the rounding"
        return Divergence(None, None, CONFIDENCE, why + "; use dtype=jnp.float64")
    return _divergence(white, _numbers(white.draws) if white.rank else None)


def _budget(found: Numbers | None, law, gibbs, steady, reason) -> Budget:
    sampling = None if found is None or found.kl is None else float(found.kl.null_mean)
    bias = None if gibbs is None or steady is None else float(steady.kl(gibbs))
    distance = None if steady is None else float(law.kl(steady))
    return Budget(sampling, bias, distance, reason)


@eqx.filter_jit
def _smallest(rank, degrees, alpha):
    """What tests at level alpha find with probability `POWER`: standard errors of one normal
    number, and noncentralities of chi-square with `rank` and with `degrees` degrees of freedom."""
    miss = jnp.asarray(1 - POWER, alpha.dtype)
    sigmas = normal_quantile(alpha / 2) + normal_quantile(miss)
    lengths = [noncentrality_limit(chi2_quantile(alpha, k), k, miss) for k in (rank, degrees)]
    return sigmas, *lengths


def _detectable(own: Whitened, found: Numbers | None, level: float) -> Detectable:
    n, rank = own.draws.shape[0], max(own.rank, 1)
    has_kl = found is not None and found.kl is not None
    k = np.asarray(float(rank), own.draws.dtype)
    degrees = found.degrees if has_kl else k
    sigmas, length, moments = _smallest(k, degrees, np.asarray(level, own.draws.dtype))
    return Detectable(
        variance=float(sigmas) * math.sqrt(2 / (n * rank)),
        shift=math.sqrt(float(length) / n),
        kl=float(found.unit) * float(moments) if has_kl else None,
        power=POWER,
    )


def _below(upper: float | None, margin: float) -> bool:
    return upper is not None and upper < margin


def _notes(own: Whitened) -> tuple[str, ...]:
    if not own.unresolved:
        return ()
    return (
        f"{own.unresolved} directions are narrower than the particles' rounding and were not "
        "tested; simulate(..., dtype=jnp.float64) resolves them",
    )


def _law_name(method, stage) -> str:
    if method.chain == "sde":
        exact = math.isinf(method.weak_order)
        approximately = "" if exact else ", which the solver approximates"
        return f"the SDE at flow time {float(stage.duration):.4g}{approximately}"
    steps = f"{float(stage.steps):g} steps"
    if method.chain == "sgd":
        return f"SGD's chain after {steps}"
    return f"the integrator's chain after {steps} of SGD"
