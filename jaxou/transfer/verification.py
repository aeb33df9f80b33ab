"""Recompute a saved certificate from its factors and the data, and say what does not agree."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._check import require_float64
from ..curvature.batching import example_count
from .accounts import evaluate, open_account
from .posterior import Posterior
from .priors import ScaleGrid
from .refusals import refuse_unbounded
from .risk import law_losses
from .roots import DenseRoot, LowRankRoot
from .store import (
    bound_examples,
    data_digest,
    factors_digest,
    load_certificate,
    read_record,
    seal,
)

MONTE_CARLO_SLACK = 1e-6
"""Another machine may round a tie between two classes differently: a handful of draws."""


@dataclass(frozen=True)
class Check:
    """One statement about the certificate: what is `stored`, what was `found`."""

    name: str
    stored: Any
    found: Any
    ok: bool


@dataclass(frozen=True)
class Verification:
    """All checks; `ok` if every one holds. `bound` is the recomputed one."""

    checks: tuple[Check, ...]
    bound: float

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not hold, a sentence each."""
        return tuple(
            f"{check.name}: stored {_show(check.stored)}, recomputed {_show(check.found)}"
            for check in self.checks
            if not check.ok
        )

    def __str__(self) -> str:
        if self.ok:
            return f"verified: risk <= {self.bound:.4f}; {len(self.checks)} checks agree"
        return "\n".join(["NOT verified", *(f"  {problem}" for problem in self.problems)])


def verify(
    folder: str | Path,
    model: Any,
    loss01: Callable[..., Any],
    target_data: Any,
    *,
    trainable: Any = None,
) -> Verification:
    """Recompute the certificate in `folder` from scratch: draws, KL, ledger, bound.

    `model`, `loss01`, `target_data` (all of them, in their order) and `trainable` are those of
    `certify`. Nothing that is stored is believed but the primary facts: the two laws, delta, the
    number of draws, the grid and the key; from them and the data every number is computed again.
    Two promises cannot be checked from a folder: that the prior had not seen the target examples
    that the bound is about, and that grid and delta were fixed in advance.

    Cost: that of the certificate's draws. Raises `CertificateError` if the folder cannot be read.

    >>> import tempfile
    >>> import jax, jax.numpy as jnp, jaxou as ou
    >>> x = jnp.stack([jnp.linspace(-1, 1, 40), jnp.ones(40)], axis=1)
    >>> model, data = {"w": jnp.zeros(2)}, (x, x[:, 0] > 0)
    >>> wrong = lambda model, x, y: ((model["w"] @ x > 0) != y).astype(float)
    >>> made = ou.certify(model, wrong, prior_center=jnp.zeros(2), target_data=data, draws=500,
    ...     posterior_center=jnp.array([3.0, 0.0]), posterior_covariance=0.1,
    ...     key=jax.random.key(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = made.save(folder)
    ...     again = ou.transfer.load_certificate(folder)
    ...     verify(folder, model, wrong, data).ok, again.bound == made.bound
    (True, True)
    """
    require_float64("a certificate is verified")
    record, arrays = read_record(folder)
    cert = load_certificate(folder)
    checks: list[Check] = []

    def same(name: str, stored: Any, found: Any, slack: float = 0.0) -> None:
        if isinstance(found, float):
            ok = isinstance(stored, float | int) and abs(stored - found) <= slack + 1e-9 * abs(
                found
            )
        else:
            ok = stored == found
        checks.append(Check(name, stored, found, bool(ok)))

    same("seal of certificate.json", record.get("seal"), seal(record))
    same("digest of factors.npz", record.get("factors_sha256"), factors_digest(arrays))
    data = bound_examples(target_data, cert.n_prior)
    n = example_count(data)
    same("number of target examples", cert.n, n)
    same("digest of the target examples", cert.data_sha256, data_digest(data))
    law = cert.law
    refuse_unbounded(model, loss01, data, law.mean, trainable)

    scales: ScaleGrid = cert.scales
    ledger, delta_pac, delta_mc = open_account(cert.delta, cert.draws, n, scales, cert.shapes)
    rows = [row.as_dict() for row in ledger]
    same("ledger", record["numbers"]["ledger"], rows)
    j = cert.prior_scale_index
    variance, weight = scales.variance(j), scales.weight(j) / cert.shapes
    same("prior variance of scale j", cert.prior_variance, variance)
    same("weight of scale j", cert.prior_weight, weight)
    same("structure", cert.structure, _structure(law))
    proper = bool(jnp.all(law.variances > 0)) and all(
        bool(np.isfinite(array).all()) for array in arrays.values()
    )
    same("the posterior is a proper law", True, proper)
    if cert.prior == "zero":
        same("a prior around zero", True, not bool(jnp.any(law.center != 0.0)))

    key = jax.random.wrap_key_data(jnp.asarray(cert.key_data, jnp.uint32))
    table = law_losses(model, loss01, data, law, key=key, draws=cert.draws, trainable=trainable)
    same("losses outside [0, 1]", 0, int(table.outside))
    found = evaluate(law, variance, table, n, delta_pac * weight, delta_mc, cert.monte_carlo)
    same("KL", cert.kl, found.kl)
    same("empirical risk over the draws", cert.risk_mc, found.risk, MONTE_CARLO_SLACK)
    same("variance between draws", cert.risk_variance, found.variance, MONTE_CARLO_SLACK)
    same("its upper limit", cert.risk_upper, found.risk_upper, 4 * MONTE_CARLO_SLACK)
    same("complexity", cert.complexity, found.complexity)
    same("bound", cert.bound, found.bound, 10 * MONTE_CARLO_SLACK)
    return Verification(tuple(checks), found.bound)


def _structure(law: Posterior) -> str:
    if isinstance(law.basis, DenseRoot):
        return "full"
    low_rank = isinstance(law.basis, LowRankRoot) or law.factor is not None
    return "low_rank" if low_rank else "diagonal"


def _show(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)[:80]
