"""A theorem about the fine-tuned model: certificate mode of the second-stage bound."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._typing import PRNGKeyArray, Vector
from ..curvature.batching import example_count
from ..curvature.hessian import hessian
from ..curvature.parameters import as_vector, from_vector
from ..linalg.algebra import as_matrix, with_dimension
from .accounts import MONTE_CARLO, complexity, inverted, open_account, upper_risk
from .accounts import MONTE_CARLO_SHARE as MONTE_CARLO_SHARE
from .certificate import Certificate
from .model import cross_entropy
from .optimised import descend
from .optimum import minimise
from .posterior import Posterior, Screen, choose, given_posterior, posterior_family
from .priors import PRIORS as PRIORS
from .priors import (
    PriorShape,
    ScaleGrid,
    laplace_covariance,
    prior_shape,
    source_covariance,
    structured_shape,
)
from .refusals import check_settings, refuse_overlap, refuse_unbounded
from .risk import law_losses
from .store import data_digest

FACTOR_RANK = 16
"""Columns of a low-rank posterior's factor, at most."""


def certify(
    model: Any,
    loss01: Callable[..., Any],
    *,
    prior_center: Any,
    posterior_center: Any,
    target_data: Any,
    source_data: Any = None,
    trainable: Any = None,
    delta: float = 0.05,
    prior: str = "source",
    key: PRNGKeyArray,
    draws: int = 20_000,
    prior_covariance: Any = None,
    posterior_covariance: Any = None,
    scales: ScaleGrid | None = None,
    inflation: float | Sequence[float] = 1.0,
    move_center: bool = False,
    loss: Callable[..., Any] = cross_entropy,
    weight_decay: float = 1e-3,
    chunk: int = 256,
    structure: str = "full",
    shape: str = "steady",
    ridge: float | Sequence[float] = 0.1,
    rank: int = 64,
    optimise: int | None = None,
    rate: float = 0.03,
    split: float = 0.5,
    monte_carlo: str = "kl",
) -> Certificate:
    r"""Bound the target risk of a Gaussian randomised predictor around the fine-tuned model.

    With probability >= 1 - delta over the n target examples and the weight draws,

        R(Q) <= kl_inverse(r_upper, (KL(Q || P_j) + log(2 sqrt(n) / (delta_1 pi_j))) / n),
        r_upper = kl_inverse(mean loss of m weight draws, log(2 / delta_2) / m),

    delta_1 + delta_2 = delta, P_j = N(prior_center, tau_j^2 S), tau_j on a grid fixed in advance
    with weights pi_j (`scales`). A theorem whatever SGD does, if `loss01` lies in [0, 1], the
    target examples are independent draws, and the caller keeps the promise below.

    **The caller's promise**: `prior_center`, `prior_covariance`, `source_data`, `model`, `scales`,
    `inflation`, `ridge`, `split`, `delta` and n do not depend on the target sample. Target examples
    found again in the source sample are refused; other leaks cannot be seen from here.

    - `loss01(model, x, y)`: loss of one example; the model's output is what it makes of it.
    - `prior_center`, `posterior_center`: models like `model`, or vectors (d,).
    - `prior`: "source" has the shape S of `prior_covariance`, else of SGD's steady law on
      `source_data` with `weight_decay`, inflated by `inflation` x its mean variance, or, with
      `shape="laplace"`, of (A_S + ridge I)^-1 (several inflations or ridges are paid for by a union
      bound); without both, the identity. "isotropic" has S = I; "zero" has S = I and centre 0.
      "split" spends the first `split` share of the target examples on the prior: its centre
      minimises their `loss` with `weight_decay`, S = (A_0 + ridge I)^-1, and the bound is on
      the other examples alone; put the examples in random order first.
    - `posterior_covariance`: used as given. If left out, the best full-rank one for the Hessian of
      `loss(model, example)` on the target is chosen, which is free.
    - `move_center=True` lets the posterior's mean give way to the prior where that tightens the
      bound; the certified predictor is then between the two models. Free as well.
    - `optimise`: steps of descent on the bound itself, for mean and covariance (default 0, and
      1,000 for the structures that need it), at `rate`; free, and by far the tightest. `loss` is
      then best a negative log-likelihood.
    - `structure`: "full"; "diagonal" or "low_rank" (`rank` directions of the source's curvature in
      the prior, a low-rank part in the posterior) store O(d rank) numbers and have no limit on d.
    - `monte_carlo="bernstein"` has r_upper = r + sqrt(2 V l / m) + 7 l / (3(m - 1)), l =
      log(2 / delta_2), V the variance between draws: tighter for some thousands of draws.

    Cost: O(d^3) ("full") and `draws` passes over the target sample. Raises `RuntimeError`
    without x64 and `ValueError` on bad input, saying what to do.

    >>> model = {"w": jnp.zeros(2)}
    >>> x = jnp.stack([jnp.linspace(-1, 1, 40), jnp.ones(40)], axis=1)
    >>> wrong = lambda model, x, y: ((model["w"] @ x > 0) != y).astype(float)
    >>> certificate = certify(model, wrong, prior_center=jnp.zeros(2),
    ...     posterior_center=jnp.array([3.0, 0.0]), target_data=(x, x[:, 0] > 0), draws=1000,
    ...     posterior_covariance=0.1, key=jax.random.key(0))
    >>> certificate.risk_mc < certificate.risk_upper < certificate.bound < 0.6
    True
    """
    size = check_settings(
        model, trainable, delta, prior, draws, target_data, structure, monte_carlo, MONTE_CARLO
    )
    steps = _steps(optimise, structure, posterior_covariance)
    center = as_vector(posterior_center, model, trainable, "posterior_center").astype(float)
    prior_center = as_vector(prior_center, model, trainable, "prior_center").astype(float)
    target_data = jax.tree.map(jnp.asarray, target_data)
    refuse_unbounded(model, loss01, target_data, center, trainable)
    if source_data is not None:
        refuse_overlap(source_data, target_data)
    scales = scales or ScaleGrid()
    curve = dict(trainable=trainable, chunk=chunk)
    everything, n_prior = target_data, 0
    if prior == "split":
        n_prior = _cut(split, example_count(target_data))
        source_data = jax.tree.map(lambda leaf: leaf[:n_prior], target_data)
        target_data = jax.tree.map(lambda leaf: leaf[n_prior:], target_data)
        start = from_vector(model, prior_center, trainable)
        found = minimise(start, loss, source_data, weight_decay=weight_decay, **curve)
        prior_center, prior_covariance, shape = found.vector, None, "laplace"
    elif prior != "source":
        prior_covariance, source_data = None, None
    if prior == "zero":
        prior_center = jnp.zeros_like(prior_center)

    made = _Shapes(model, loss, source_data, prior_center, structure, shape, rank, curve)
    if prior_covariance is not None:
        prior_covariance = _covariance(prior_covariance, size, structure, "prior_covariance")
    shapes, values = made.all(
        prior_covariance, _as_tuple(inflation), _as_tuple(ridge), weight_decay
    )

    n = example_count(target_data)
    ledger, delta_pac, delta_mc = open_account(delta, draws, n, scales, len(shapes))
    variances = np.array([scales.variance(j) for j in range(1, scales.count + 1)])
    weights = np.array([scales.weight(j) for j in range(1, scales.count + 1)]) / len(shapes)
    cost = lambda kl, index: complexity(kl, n, delta_pac * weights[index - 1])

    selection, evaluation = jax.random.split(key)
    extra = min(rank, FACTOR_RANK) if structure == "low_rank" else 0
    screen = Screen.make(model, loss01, target_data, size + extra, selection, trainable)
    curved = None
    if posterior_covariance is None and structure == "full":
        curved = hessian(model, loss, everything, at=center, **curve)
    best = None
    for prior_law, value in zip(shapes, values, strict=True):
        if posterior_covariance is not None:
            given = _covariance(posterior_covariance, size, structure, "posterior_covariance")
            law = given_posterior(prior_law, center, given)
            found = _best_scale(law, variances, cost, float(screen(law)))
        elif curved is not None:
            family = posterior_family(prior_law, center, curved)
            # descent may overtake: every shape gets its best start
            limit = np.inf if best is None or steps else best[0][0]
            pull = move_center or steps > 0  # descent wants to start within reach of the prior
            found = choose(family, variances, cost, inverted, screen, n, pull, limit)
            if found is not None:
                scale = variances[found[1] - 1]
                law = family.at(*map(jnp.asarray, (scale, found[2], found[3])))
        else:
            law, found = _first(prior_law, center, variances, extra, selection)
        if found is not None and steps:
            lower = _descended(
                law, found[1], variances, cost, steps, rate, selection,
                model=model, loss=loss, data=target_data, trainable=trainable,
            )  # fmt: skip
            # an optimised law is neither tempered nor pulled
            reached = _best_scale(lower, variances, cost, float(screen(lower)))
            if reached[0] <= found[0]:
                law, found = lower, reached
        if found is not None and (best is None or found[0] < best[0][0]):
            best = (found, law, value)
    (_, index, temperature, pull), law, value = best

    # j is an integer here, and the draws are new: nothing below is chosen by looking at them
    kl = float(law.kl(scales.variance(index)))
    table = law_losses(
        model, loss01, target_data, law, key=evaluation, draws=draws, trainable=trainable
    )
    risk = float(table.risk)
    variance = float(jnp.var(table.by_draw, ddof=1)) if draws > 1 else 0.0
    risk_upper = upper_risk(risk, variance, draws, delta_mc, monte_carlo)
    total = float(cost(kl, index))
    return Certificate(
        bound=inverted(risk_upper, total),
        risk_mc=risk,
        risk_upper=risk_upper,
        kl=kl,
        complexity=total,
        n=n,
        delta=float(delta),
        draws=draws,
        ledger=ledger,
        prior=prior,
        prior_scale_index=index,
        prior_variance=scales.variance(index),
        prior_weight=float(weights[index - 1]),
        inflation=float(value),
        temperature=temperature,
        pull=pull,
        risk_variance=variance,
        monte_carlo=monte_carlo,
        structure=structure,
        shapes=len(shapes),
        n_prior=n_prior,
        optimised=steps,
        data_sha256=data_digest(target_data),
        key_data=tuple(int(word) for word in np.ravel(jax.random.key_data(evaluation))),
        scales=scales,
        law=law,
    )


def compare_priors(
    model: Any,
    loss01: Callable[..., Any],
    *,
    delta: float = 0.05,
    priors: Sequence[str] = PRIORS,
    simultaneous: bool = False,
    **settings: Any,
) -> dict[str, Certificate]:
    """`certify` for several priors, side by side; `settings` are those of `certify`.

    Each certificate holds with probability 1 - delta. To report the best of them, pass
    `simultaneous=True`: delta is then shared equally and all hold together.

    >>> x = jnp.stack([jnp.linspace(-1, 1, 40), jnp.ones(40)], axis=1)
    >>> wrong = lambda model, x, y: ((model["w"] @ x > 0) != y).astype(float)
    >>> both = compare_priors({"w": jnp.zeros(2)}, wrong, priors=("isotropic", "zero"),
    ...     prior_center=jnp.array([2.0, 0.0]), posterior_center=jnp.array([3.0, 0.0]),
    ...     target_data=(x, x[:, 0] > 0), draws=500, posterior_covariance=0.1,
    ...     key=jax.random.key(0))
    >>> list(both), both["isotropic"].kl < both["zero"].kl
    (['isotropic', 'zero'], True)
    """
    share = delta / len(priors) if simultaneous else delta
    return {name: certify(model, loss01, prior=name, delta=share, **settings) for name in priors}


class _Shapes(NamedTuple):
    """How candidate prior shapes are made, from what the prior may see."""

    model: Any
    loss: Callable[..., Any]
    data: Any
    center: Vector
    structure: str
    shape: str
    rank: int
    curve: dict[str, Any]

    def all(
        self,
        covariance: Any,
        inflations: tuple[float, ...],
        ridges: tuple[float, ...],
        decay: float,
    ) -> tuple[list[PriorShape], tuple[float, ...]]:
        """The shapes, and the inflation or ridge of each."""
        what = (self.model, self.loss, self.data, self.center)
        if self.structure != "full":
            if covariance is not None:
                raise ValueError(
                    "prior_covariance needs structure='full'; the other structures make their own "
                    "prior from source_data and ridge"
                )
            values = ridges if self.structure == "low_rank" and self.data is not None else (0.0,)
            how = dict(structure=self.structure, rank=self.rank, **self.curve)
            return [structured_shape(*what, ridge=v, **how) for v in values], values
        if covariance is None and self.data is not None and self.shape == "laplace":
            made = [laplace_covariance(*what, v, **self.curve) for v in ridges]
            return [prior_shape(self.center, matrix, 0.0) for matrix in made], ridges
        if covariance is None and self.data is not None:
            covariance = source_covariance(*what, weight_decay=decay, **self.curve)
        values = (0.0,) if covariance is None else inflations
        return [prior_shape(self.center, covariance, v) for v in values], values


def _steps(optimise: int | None, structure: str, covariance: Any) -> int:
    if covariance is not None:
        if optimise:
            raise ValueError(
                "posterior_covariance is used as given and optimise= would change it: give one"
            )
        if structure == "low_rank":
            raise ValueError(
                "posterior_covariance needs structure='full' or 'diagonal': leave it out and a "
                "low-rank one is optimised"
            )
        return 0
    if optimise is None:
        return 0 if structure == "full" else 1000
    if optimise < 0 or (optimise == 0 and structure != "full"):
        raise ValueError(
            f"optimise={optimise} must be a number of steps >= 1, or 0 with structure='full'"
        )
    return int(optimise)


def _cut(split: float, n: int) -> int:
    """How many examples a split prior takes."""
    cut = round(split * n) if 0 < split < 1 else 0
    if min(cut, n - cut) < 8:
        raise ValueError(
            f"split={split} of {n} target examples must leave at least 8 on both sides: it is the "
            "share of them that the prior may see, 0.5 for half"
        )
    return cut


def _first(
    shape: PriorShape, center: Vector, variances: np.ndarray, rank: int, key: PRNGKeyArray
) -> tuple[Posterior, tuple[float, int, float, float]]:
    """Where descent starts without a target Hessian: the fine-tuned centre, well inside the prior.

    The prior's scale is such that the fine-tuned centre lies at one standard deviation.
    """
    size = center.shape[0]
    shift = shape.whiten(center)
    ideal = max(float(shift @ shift) / size, 1e-6)
    index = int(np.argmin(np.abs(np.log(variances / ideal)))) + 1
    scale = variances[index - 1]
    factor = None
    if rank:
        factor = 1e-2 * np.sqrt(scale) * jax.random.normal(key, (size, rank))
    law = Posterior(shape.center, shape.root, jnp.full(size, 0.6 * scale), shift, factor)
    return law, (1.0, index, 0.0, 0.0)


def _descended(
    law: Posterior,
    index: int,
    variances: np.ndarray,
    cost: Callable[..., Any],
    steps: int,
    rate: float,
    key: PRNGKeyArray,
    **problem: Any,
) -> Posterior:
    """Half of the steps with tau free, then tau on the grid and the rest."""
    n = example_count(problem["data"])
    price = lambda j: float(cost(0.0, np.asarray(j))) * n
    how = dict(rate=rate, **problem)
    first, second = jax.random.split(key)
    half = max(steps // 2, 1)
    law, scale = descend(
        law, float(variances[index - 1]), constant=price(index), key=first, steps=half, **how
    )
    index = int(np.argmin(np.abs(np.log(variances / scale)))) + 1
    scale = float(variances[index - 1])
    return descend(
        law, scale, constant=price(index), key=second, steps=half, free_scale=False, **how
    )[0]


def _best_scale(
    law: Posterior, variances: np.ndarray, cost: Callable[..., Any], risk: float
) -> tuple[float, int, float, float]:
    """The best prior scale for a given posterior."""
    index = np.arange(1, len(variances) + 1)
    found = cost(jax.vmap(law.kl)(jnp.asarray(variances)), index)
    best = int(np.argmin(found))
    return inverted(risk, float(found[best])), best + 1, 0.0, 0.0


def _covariance(value: Any, size: int, structure: str, name: str) -> Array:
    matrix: Array = with_dimension(as_matrix(value, name), size, name).dense()
    if structure == "full":
        return matrix
    if bool(jnp.any(matrix != jnp.diag(jnp.diagonal(matrix)))):
        raise ValueError(f"{name} must be diagonal with structure={structure!r}: give a vector")
    return jnp.diagonal(matrix)


def _as_tuple(value: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, Sequence) else (float(value),)
