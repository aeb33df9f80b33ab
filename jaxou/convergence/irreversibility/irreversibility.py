"""`irreversibility`: does SGD sample a Gibbs law of the loss? For this Hessian and noise."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ..._check import as_key
from ..._typing import StageLike
from ...stages import AbstractChain, PotentialStage, Stage
from ..pairing import require_pair, require_run
from .current import SteadyCurrent, steady_current
from .reversal import Reversal, reversal

CASES = ("boltzmann", "isotropic", "effective potential", "current")


@dataclass(frozen=True)
class IrreversibilityReport:
    """The answer, by `case`:

    - "boltzmann": isotropic noise; the steady law is exp(-(L - L*) / T), T = `temperature`;
    - "isotropic": C = c A; the law is isotropic and blind to curvature; reversible;
    - "effective potential": A and C commute; the Gibbs law of x^T A C^-1 x / 2; reversible;
    - "current": a Gaussian law with a stationary current, not in equilibrium in any potential.

    `current` holds the matrices, rotation frequencies and measures; `reversal` what particles say,
    None (with the reason in `no_reversal`) without a run that kept paths. `print` it.
    """

    case: str
    current: SteadyCurrent
    temperature: float
    entropy_production: float
    entropy_production_per_step: float
    reversal: Reversal | None
    no_reversal: str

    @property
    def sentence(self) -> str:
        """The answer in plain words."""
        return _sentence(self)

    def as_dict(self) -> dict:
        """Numbers, lists, strings and None: ready for JSON but for infinities."""
        m = self.current.measures
        seen = None
        if self.reversal is not None:
            seen = dataclasses.asdict(self.reversal)
            seen = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in seen.items()}
        return {
            "case": self.case,
            "sentence": self.sentence,
            "temperature": self.temperature,
            "entropy_production": self.entropy_production,
            "entropy_production_per_step": self.entropy_production_per_step,
            "antisymmetric": np.asarray(self.current.antisymmetric).tolist(),
            "frequencies": np.asarray(self.current.frequencies).tolist(),
            "commutator": float(m.commutator),
            "anisotropy": float(m.anisotropy),
            "equipartition": float(m.equipartition),
            "reversal": seen,
            "no_reversal": self.no_reversal,
        }

    def __str__(self) -> str:
        return "\n".join([self.sentence, *_seen(self)])


def irreversibility(
    process: Any, *, run: Any = None, stage: StageLike = -1, key: Any = None
) -> IrreversibilityReport:
    """Whether the steady law of a stage is a Gibbs law of the loss, and what flows if it is not.

    **Arguments:**

    - `process`: a `Stage`, or the chain that was run.
    - `run`: a run with paths at rest, `ou.simulate(process, save=K, observe=ou.Paths(k))`. The
      save points where the law is at rest are found by propagating the start, known from a chain,
      or the run's moments at the stage's start if only a stage is given. Start at rest
      (`initial=stage.stationary()` for SGD) to use them all.
    - `stage`: which stage of the chain, and of the run.
    - `key`: draws the flips of time; by default `jax.random.key(0)`, so that a run has one p-value.

    **Returns** an `IrreversibilityReport`. From the law: R = A S - D, the current -R S^-1 x p(x),
    its frequencies, the entropy production. From particles and without that law: an exact test of
    reversibility, the size and sign of the current, R with standard errors, and the entropy
    production over the lag between save points. A short lag shows more of the production, a lag
    near 1 / curvature more of the current.

    Raises `ValueError` with advice for momentum, schedules, no noise at all, where there is no
    steady law, and for a run that is none of the process.
    Cost O(d^3), and O(saves k d^2) for the run.

    >>> from jaxou import Stage
    >>> stage = Stage(hessian=[1.0, 3.0], noise=2.0, minimum=0.0, learning_rate=0.1, batch_size=10,
    ...               steps=100)
    >>> report = irreversibility(stage)
    >>> report.case, round(report.temperature, 12), report.entropy_production
    ('boltzmann', 0.01, 0.0)
    """
    chain = process if isinstance(process, AbstractChain) else None
    if chain is None and not isinstance(process, Stage | PotentialStage):
        raise TypeError(
            f"irreversibility takes a Stage, a Chain or a TwoStage, got {type(process).__name__}"
        )
    one = process if chain is None else chain.stages[chain.index(stage)]
    if isinstance(one, PotentialStage):
        raise ValueError(
            "irreversibility needs a quadratic loss, whose steady law is known: use ou.Stage with "
            "the loss's Hessian at its minimum"
        )
    seen: Any = "no run was given"
    if run is not None and chain is not None:
        require_pair(run, chain, "irreversibility")
    current = steady_current(one)
    if run is not None:
        which = _which(run, stage, one) if chain is None else chain.index(stage)
        key = jax.random.key(0) if key is None else as_key(key)
        seen = reversal(one, run, which, chain, key)
    production = float(current.entropy_production)
    return IrreversibilityReport(
        case=_case(current),
        current=current,
        temperature=float(current.measures.temperature),
        entropy_production=production,
        entropy_production_per_step=production * float(one.learning_rate),
        reversal=seen if isinstance(seen, Reversal) else None,
        no_reversal="" if isinstance(seen, Reversal) else seen,
    )


def _which(run, stage, one) -> int:
    """The position of a lone stage in a run."""
    require_run(run, "irreversibility")
    if isinstance(stage, str):
        if stage not in run.names:
            raise ValueError(f"there is no stage {stage!r} in the run; its stages are {run.names}")
        stage = run.names.index(stage)
    if not -len(run.names) <= stage < len(run.names):
        raise ValueError(f"stage={stage} of a run with {len(run.names)} stages")
    if run.dimension != one.dimension:
        raise ValueError(
            f"the run has dimension {run.dimension}, the stage {one.dimension}: pass what was run"
        )
    return stage % len(run.names)


def _case(current: SteadyCurrent) -> str:
    m, d = current.measures, current.law.dimension
    rounding = 1e2 * d * float(np.finfo(np.asarray(current.antisymmetric).dtype).eps)
    if float(m.anisotropy) <= rounding:
        return CASES[0]
    if float(current.proportionality) <= rounding:
        return CASES[1]
    return CASES[2] if float(m.commutator) <= rounding else CASES[3]


def _sentence(report: IrreversibilityReport) -> str:
    m, t = report.current.measures, report.temperature
    if report.case == "boltzmann":
        return (
            f"Yes: the noise is isotropic, and the steady law is the loss's Gibbs law (Maxwell-"
            f"Boltzmann) at temperature {t:.4g}."
        )
    if report.case == "isotropic":
        return (
            f"No: the noise is proportional to the Hessian, so the steady law is isotropic and "
            f"blind to curvature. It is reversible; its mean temperature is {t:.4g}."
        )
    if report.case == "effective potential":
        return (
            "No: Hessian and noise commute, but the noise is not isotropic. The steady law is the "
            "Gibbs law of another potential, x^T A C^-1 x / 2; it is reversible. The mean "
            f"temperature is {t:.4g}, and modes have mean energies up to a factor "
            f"{float(m.equipartition):.3g} apart."
        )
    fastest = float(report.current.frequencies[0])
    return (
        "No: Hessian and noise do not commute, so the steady law is no equilibrium in any "
        f"potential: probability rotates at up to {fastest:.4g} radians per unit flow time, and "
        f"entropy is produced at {report.entropy_production:.4g} nats per unit flow time "
        f"({report.entropy_production_per_step:.3g} per step). Non-commutation "
        f"{float(m.commutator):.3g}, anisotropy {float(m.anisotropy):.3g}, mean temperature "
        f"{t:.4g}."
    )


def _seen(report: IrreversibilityReport) -> list[str]:
    seen = report.reversal
    if seen is None:
        no_run = report.no_reversal == "no run was given"
        return [] if no_run else [f"Particles say nothing: {report.no_reversal}."]
    lines = [
        f"{seen.particles} particles ({seen.method}) at {len(seen.rows)} save points, "
        f"{seen.lag:.4g} apart in flow time:",
        f"  reversible? p = {seen.p_reversible:.3g} ({seen.null}); the predicted current? "
        f"p = {seen.p_law:.3g}",
    ]
    if seen.amplitude is not None:
        lines.append(
            f"  current / predicted current = {seen.amplitude:.4g} +- {seen.amplitude_error:.2g}"
        )
    lines.append(
        f"  entropy production over this lag {seen.production:.4g} +- {seen.production_error:.2g} "
        f"per flow time, predicted {seen.production_exact:.4g} (for vanishing lag "
        f"{report.entropy_production:.4g})"
    )
    return lines
