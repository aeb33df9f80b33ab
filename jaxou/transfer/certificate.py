"""The certificate: one number with everything needed to check it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp

from .._typing import Matrix, PRNGKeyArray, Vector
from ..bounds.ledger import Ledger
from ..bounds.ledger import Receipt as LedgerRow
from ..laws import Gaussian
from .posterior import Posterior
from .priors import ScaleGrid
from .risk import Risk, law_losses, risk_of

if TYPE_CHECKING:
    from .deployed import Deployed

__all__ = ["Certificate", "LedgerRow"]


class Certificate(eqx.Module):
    """The randomised predictor `posterior` has true risk on the target domain at most `bound`,

    with probability at least 1 - `delta` over the target sample and the weight draws.

    - `risk_mc`: empirical risk on the `n` target examples, mean over `draws` weight draws;
      `risk_upper`: its upper confidence limit, which enters the bound; `risk_variance`: between
      draws; `monte_carlo`: the inequality of that limit, "kl" or "bernstein".
    - `kl`: KL(posterior || prior) in nats; `complexity`: (kl + log(2 sqrt(n) / delta_j)) / n.
    - `prior_scale_index` j, `prior_variance` tau_j^2 (mean variance of a parameter),
      `prior_weight` (share of the PAC-Bayes delta that this prior was given in advance), `shapes`:
      how many prior shapes could have been chosen.
    - `n_prior`: target examples that went into the prior and so not into the bound.
    - `temperature`: inverse temperature of the posterior, in examples (0 if the covariance was
      given); `pull`: 1 if the posterior's mean was moved towards the prior, 0 if not; `optimised`:
      steps of descent on the bound itself.
    - `ledger`: the `ou.bounds.Ledger`, closed: its events and what each of them spent of `delta`.
    - `law`: the posterior in the prior's coordinates, of the stated `structure`; `scales`: the
      grid; `key_data` and `data_sha256` say which draws and which examples made the number.

    It is about a predictor that draws weights anew for every example. For one model that is
    drawn once and kept, see `deployed`; for the vote of all, `majority_bound`.
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
    risk_variance: float
    monte_carlo: str
    structure: str
    shapes: int
    n_prior: int
    optimised: int
    data_sha256: str
    key_data: tuple[int, ...] = eqx.field(static=True)
    scales: ScaleGrid = eqx.field(static=True)
    law: Posterior

    @property
    def posterior_mean(self) -> Vector:
        """The centre of the certified law (d,)."""
        return self.law.mean

    @property
    def posterior_root(self) -> Matrix:
        """A dense square root of its covariance."""
        return self.law.root

    @property
    def prior_mean(self) -> Vector:
        """The centre of the prior (d,)."""
        return self.law.center

    @property
    def prior_root(self) -> Matrix:
        """A dense square root of the prior's covariance."""
        return jnp.sqrt(self.prior_variance) * self.law.basis.dense()

    @property
    def posterior(self) -> Gaussian:
        """The law that was certified, on the trainable parameters (d,); dense, for small d."""
        return _law(self.posterior_mean, self.posterior_root)

    @property
    def prior_law(self) -> Gaussian:
        """The prior that it is compared with; dense, for small d."""
        return _law(self.prior_mean, self.prior_root)

    @property
    def vacuous(self) -> bool:
        """Whether the bound says nothing."""
        return self.bound >= 1.0

    @property
    def majority_bound(self) -> float:
        """Bound on the 0-1 risk of the majority vote of the posterior: twice the bound."""
        return min(1.0, 2.0 * self.bound)

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
        return risk_of(
            law_losses(model, loss01, data, self.law, key=key, draws=draws, trainable=trainable)
        )

    def deployed(
        self, model: Any, loss01: Callable[..., Any], target_data: Any, *, trainable: Any = None
    ) -> Deployed:
        """One model drawn from the posterior, with a bound of its own: see `deploy`."""
        from .deployed import deploy

        return deploy(self, model, loss01, target_data, trainable=trainable)

    def save(self, folder: str | Path, *, experiment: dict[str, Any] | None = None) -> Path:
        """Write what `verify` needs to recompute everything: see `save_certificate`."""
        from .store import save_certificate

        return save_certificate(self, folder, experiment=experiment)

    def as_dict(self) -> dict[str, Any]:
        """The numbers, without the laws, ready for JSON."""
        values = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("law", "scales", "ledger", "key_data")
        }
        return {**values, "ledger": [row.as_dict() for row in self.ledger]}

    def __str__(self) -> str:
        return (
            f"risk <= {self.bound:.4f} with probability {1 - self.delta:g} ({self.prior} prior, "
            f"n = {self.n}): empirical {self.risk_mc:.4f}, at most {self.risk_upper:.4f} after "
            f"{self.draws} draws; KL {self.kl:.1f} nats; prior scale j = {self.prior_scale_index}"
        )


def _law(mean: Vector, root: Matrix) -> Gaussian:
    covariance = root @ root.T
    return Gaussian(mean, 0.5 * (covariance + covariance.T))
