"""The target's bound as a function of the process alone: to be tuned, or differentiated."""

import equinox as eqx
from jaxtyping import Array, Float

from .._typing import ScalarLike
from ..laws import Gaussian
from ..stages import AbstractChain
from .path import law_before, target_at
from .rows import Row, find_row
from .stage_bound import Risk, row_name, sample_size, split_delta
from .two_stage import two_stage_bound


class TargetBound(eqx.Module):
    """process -> the target's bound, with everything else of `two_stage_bound` fixed.

    `law` is "gibbs", "stationary", "finite" (SGD's own steps) or "flow": the SDE after each stage's
    own flow time, learning rate x steps, which is the one with derivatives in `steps`. Out of range
    it is NaN, not an error. `risk_held_fixed` says that `risk` is a number: then tuning and
    sensitivities see the KL alone.

    >>> from jaxou import Gaussian, Stage, TwoStage
    >>> source = Stage(
    ...     hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10, steps=9
    ... )
    >>> process = TwoStage(source, source.replace(minimum=0.1), Gaussian(0.0, 1.0))
    >>> target = TargetBound(n_source=10_000, n_target=1_000, risk=0.1, delta=0.05)
    >>> round(float(target(process)), 4), target.risk_held_fixed
    (0.1825, True)
    """

    n_source: ScalarLike
    n_target: ScalarLike
    risk: ScalarLike | Risk
    delta: ScalarLike
    delta_split: tuple[ScalarLike, ScalarLike] = (0.5, 0.5)
    law: str = eqx.field(static=True, default="gibbs")
    bound: str | Row = eqx.field(static=True, default="mcallester_he")

    @property
    def risk_held_fixed(self) -> bool:
        """Whether the risk is a number, so that no derivative goes through it."""
        return not callable(self.risk)

    def __call__(self, process: AbstractChain) -> Float[Array, ""]:
        """risk + gap of the target stage."""
        if self.law == "flow":
            return self._flow(process)
        return two_stage_bound(
            process,
            n_source=self.n_source,
            n_target=self.n_target,
            risk=self.risk,
            delta=self.delta,
            delta_split=self.delta_split,
            law=self.law,
            bound=self.bound,
            throw=False,
        ).target.value

    def _flow(self, process) -> Float[Array, ""]:
        (_, delta), fine = split_delta(self.delta, self.delta_split)
        n, row = sample_size(self.n_target, "n_target"), find_row(self.bound)
        before: Gaussian = law_before(process, "time")
        end = process.stages[1].duration
        name = row_name(self.bound)
        return target_at(process, end, before, n, delta, fine, self.risk, row, name, "time").value
