"""What a verdict says, stage by stage, as plain numbers and as a page of text."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Test:
    """One statistic with its null law. `p_value` is None where the test could not be made."""

    name: str
    question: str
    statistic: float | None
    null: str
    p_value: float | None
    adjusted: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Divergence:
    """KL(particles || law) in nats: unbiased estimate, and the limit it is below with confidence.

    `upper` is None where it could not be computed; `reason` says why.
    """

    estimate: float | None
    upper: float | None
    confidence: float
    reason: str = ""


@dataclass(frozen=True)
class Budget:
    """Three separate reasons why the particles' moments are not those of the Gibbs law, in nats.

    `sampling`: expected KL of a perfect sample of this size. `step_bias`: KL(steady law of the
    method || Gibbs law). `distance`: KL(law at the end of the stage || steady law of the method).
    None where a law does not exist; `reason` says which and why.
    """

    sampling: float | None
    step_bias: float | None
    distance: float | None
    reason: str = ""


@dataclass(frozen=True)
class Detectable:
    """The smallest deviations that this many particles would have shown with probability `power`.

    `variance`: relative error common to all variances. `shift`: length of a shift of the mean in
    the law's own units. `kl`: nats, None where the KL is not available.
    """

    variance: float
    shift: float
    kl: float | None
    power: float


@dataclass(frozen=True)
class StageVerdict:
    """One stage's end compared with the law that it must have."""

    name: str
    law: str
    particles: int
    rank: int
    dimension: int
    tests: tuple[Test, ...]
    decision: str
    own: Divergence
    gibbs: Divergence
    budget: Budget
    detectable: Detectable
    equivalent: bool | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Whether a run has the law it must have, and how far it is from equilibrium.

    `decision` is "consistent" or "rejected" for the family of all tests together at `level`;
    "consistent" is not "converged". Convergence is `equivalent`: with confidence, KL to the Gibbs
    law is below `margin` at every stage's end (None without a margin).
    """

    stages: tuple[StageVerdict, ...]
    method: str
    level: float
    margin: float | None

    @property
    def decision(self) -> str:
        rejected = any(stage.decision == "rejected" for stage in self.stages)
        return "rejected" if rejected else "consistent"

    @property
    def equivalent(self) -> bool | None:
        if self.margin is None:
            return None
        return all(stage.equivalent is True for stage in self.stages)

    def as_dict(self) -> dict:
        """Numbers, strings and None only: ready for JSON."""
        return dataclasses.asdict(self) | {
            "decision": self.decision,
            "equivalent": self.equivalent,
        }

    def __str__(self) -> str:
        from .text import page

        return page(self)
