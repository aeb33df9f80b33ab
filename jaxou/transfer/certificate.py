"""The certificate: one number with everything needed to check it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx

from .._typing import Matrix, PRNGKeyArray, Vector
from ..bounds.ledger import Ledger
from ..bounds.ledger import Receipt as LedgerRow
from ..laws import Gaussian
from .risk import Risk, draw_losses, risk_of


class Certificate(eqx.Module):
    """The randomised predictor `posterior` has true risk on the target domain at most `bound`,

    with probability at least 1 - `delta` over the target sample and the weight draws.

    - `risk_mc`: empirical risk on the `n` target examples, mean over `draws` weight draws;
      `risk_upper`: its upper confidence limit, which enters the bound.
    - `kl`: KL(posterior || prior) in nats; `complexity`: (kl + log(2 sqrt(n) / delta_j)) / n.
    - `prior_scale_index` j, `prior_variance` tau_j^2 (mean variance of a parameter),
      `prior_weight` (share of the PAC-Bayes delta that this prior was given in advance).
    - `temperature`: inverse temperature of the posterior, in examples (0 if the covariance was
      given); `pull`: 1 if the posterior's mean was moved towards the prior, 0 if not.
    - `ledger`: the `ou.bounds.Ledger`, closed: its events and what each of them spent of `delta`.
    """

    bound: float
    risk_mc: float
    risk_upper: float
    kl: float
    complexity: float
    n: int
    delta: float
    draws: int
    ledger: Ledger = eqx.field(static=True)
    prior: str
    prior_scale_index: int
    prior_variance: float
    prior_weight: float
    inflation: float
    temperature: float
    pull: float
    posterior_mean: Vector
    posterior_root: Matrix
    prior_mean: Vector
    prior_root: Matrix

    @property
    def posterior(self) -> Gaussian:
        """The law that was certified, on the trainable parameters (d,)."""
        return _law(self.posterior_mean, self.posterior_root)

    @property
    def prior_law(self) -> Gaussian:
        """The source-only prior that it is compared with."""
        return _law(self.prior_mean, self.prior_root)

    @property
    def vacuous(self) -> bool:
        """Whether the bound says nothing."""
        return self.bound >= 1.0

    def test_risk(
        self,
        model: Any,
        loss01: Callable[..., Any],
        data: Any,
        *,
        key: PRNGKeyArray,
        draws: int = 1000,
        trainable: Any = None,
    ) -> Risk:
        """Risk of the same randomised predictor on other data, with its standard error."""
        mean, root = self.posterior_mean, self.posterior_root
        return risk_of(
            draw_losses(model, loss01, data, mean, root, key=key, draws=draws, trainable=trainable)
        )

    def as_dict(self) -> dict[str, Any]:
        """The numbers, without the laws, ready for JSON."""
        names = [
            name for name in self.__dataclass_fields__ if not name.endswith(("_mean", "_root"))
        ]
        values = {name: getattr(self, name) for name in names}
        return {**values, "ledger": [row.as_dict() for row in self.ledger]}

    def __str__(self) -> str:
        return (
            f"risk <= {self.bound:.4f} with probability {1 - self.delta:g} ({self.prior} prior, "
            f"n = {self.n}): empirical {self.risk_mc:.4f}, at most {self.risk_upper:.4f} after "
            f"{self.draws} draws; KL {self.kl:.1f} nats; prior scale j = {self.prior_scale_index}"
        )


__all__ = ["Certificate", "LedgerRow"]


def _law(mean: Vector, root: Matrix) -> Gaussian:
    covariance = root @ root.T
    return Gaussian(mean, 0.5 * (covariance + covariance.T))
