"""What a verdict says, stage by stage, as plain numbers and as a page of text."""

import dataclasses
from dataclasses import dataclass

from .statistics import Test


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
    the law's own units. `covariance`: Frobenius norm of an error of the covariance, in those units.
    `kl`: nats, None where the KL is not available.
    """

    variance: float
    shift: float
    covariance: float | None
    kl: float | None
    power: float


@dataclass(frozen=True)
class Equivalence:
    """The claim "KL to the Gibbs law is below `margin` with `confidence`", and what it needs.

    `shown` is None without a margin. `smallest_margin`: what this many particles show with
    probability 0.8, given how far their law is from the Gibbs law; `particles_needed`: how many
    show `margin` (None: no number does, `reason` says why).
    """

    margin: float | None
    shown: bool | None
    confidence: float
    smallest_margin: float | None
    particles_needed: int | None
    reason: str = ""


@dataclass(frozen=True)
class StageVerdict:
    """One stage's end compared with the law that it must have, and with two that it approaches.

    `p_value` is the family's: how often all tests of all stages together would show a smallest
    p-value like this stage's, were every law right; `family` says how it was found. `own`, `steady`
    and `gibbs` are the particles' distances to their own law, to the steady law of their method and
    to the Gibbs law of the SDE. `detectable` is None where no direction was tested, as for a law
    that is one point.
    """

    name: str
    law: str
    particles: int
    rank: int
    dimension: int
    tests: tuple[Test, ...]
    p_value: float | None
    family: str
    decision: str
    own: Divergence
    steady: Divergence
    gibbs: Divergence
    budget: Budget
    detectable: Detectable | None
    equivalence: Equivalence
    notes: tuple[str, ...] = ()

    @property
    def equivalent(self) -> bool | None:
        """Whether the margin to the Gibbs law is shown to hold; None without a margin."""
        return self.equivalence.shown


@dataclass(frozen=True)
class Verdict:
    """Whether a run has the law it must have, and how far it is from equilibrium.

    `decision` is "consistent" or "rejected" for the family of all tests of all stages together at
    `level`, or "untested" where no test could be made; "consistent" is not "converged". Convergence
    is `equivalent`: with confidence, KL to the Gibbs law is below `margin` at every stage's end
    (None without a margin).
    """

    stages: tuple[StageVerdict, ...]
    method: str
    level: float
    margin: float | None

    @property
    def decision(self) -> str:
        found = {stage.decision for stage in self.stages}
        return next((d for d in ("rejected", "consistent") if d in found), "untested")

    @property
    def equivalent(self) -> bool | None:
        if self.margin is None:
            return None
        return all(stage.equivalent is True for stage in self.stages)

    def as_dict(self) -> dict:
        """Numbers, strings and None only: ready for JSON."""
        record = dataclasses.asdict(self)
        for stage, mine in zip(record["stages"], self.stages, strict=True):
            stage["equivalent"] = mine.equivalent
        return record | {"decision": self.decision, "equivalent": self.equivalent}

    def __str__(self) -> str:
        from .text import page

        return page(self)
