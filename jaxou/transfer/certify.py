"""A theorem about the fine-tuned model: certificate mode of the second-stage bound."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._typing import Matrix, PRNGKeyArray, Vector
from ..bounds.inversion import kl_inverse
from ..bounds.ledger import Ledger, Receipt
from ..bounds.weights import decimal
from ..curvature.batching import example_count
from ..curvature.estimate import DENSE_PARAMETERS
from ..curvature.hessian import hessian
from ..curvature.parameters import as_vector, from_vector, to_vector
from ..linalg.algebra import as_matrix, with_dimension
from .certificate import Certificate
from .model import cross_entropy
from .posterior import Posterior, Screen, choose, given_posterior, posterior_family
from .priors import PRIORS, ScaleGrid, prior_shape, source_covariance
from .risk import draw_losses, losses_at

MONTE_CARLO_SHARE = 0.2
"""Share of delta spent on the Monte Carlo step; it enters through a logarithm only."""


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
) -> Certificate:
    r"""Bound the target risk of a Gaussian randomised predictor around the fine-tuned model.

    With probability >= 1 - delta over the n target examples and the weight draws,

        R(Q) <= kl_inverse(r_upper, (KL(Q || P_j) + log(2 sqrt(n) / (delta_1 pi_j))) / n),
        r_upper = kl_inverse(mean loss of m weight draws, log(2 / delta_2) / m),

    delta_1 + delta_2 = delta, P_j = N(prior_center, tau_j^2 S), tau_j on a grid fixed in advance
    with weights pi_j (`scales`). A theorem whatever SGD does, if `loss01` lies in [0, 1], the
    target examples are independent draws, and the caller keeps the promise below.

    **The caller's promise**: `prior_center`, `prior_covariance`, `source_data`, `model`, `scales`,
    `inflation`, `delta` and n do not depend on the target sample. Target examples found again in
    the source sample are refused; other leaks cannot be seen from here.

    - `loss01(model, x, y)`: loss of one example; the model's output is what it makes of it.
    - `prior_center`, `posterior_center`: models like `model`, or vectors (d,).
    - `prior`: "source" has the shape S of `prior_covariance`, else of SGD's steady law on
      `source_data` with `weight_decay`, inflated by `inflation` x its mean variance (several
      values are paid for by a union bound); without both, the identity. "isotropic" has S = I;
      "zero" has S = I and centre 0.
    - `posterior_covariance`: used as given. If left out, the best full-rank one for the Hessian of
      `loss(model, example)` on the target is chosen, which is free.
    - `move_center=True` lets the posterior's mean give way to the prior where that tightens the
      bound; the certified predictor is then between the two models. Free as well.

    Cost: O(d^3) and `draws` passes over the target sample; d up to 2,000. Raises `RuntimeError`
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
    size = _check(model, trainable, delta, prior, draws, target_data)
    center = as_vector(posterior_center, model, trainable, "posterior_center")
    prior_center = as_vector(prior_center, model, trainable, "prior_center")
    center, prior_center = center.astype(float), prior_center.astype(float)
    target_data = jax.tree.map(jnp.asarray, target_data)
    _refuse_unbounded(model, loss01, target_data, center, trainable)
    if source_data is not None:
        _refuse_overlap(source_data, target_data)
    scales = scales or ScaleGrid()
    if prior != "source":
        prior_covariance, source_data = None, None
    if prior == "zero":
        prior_center = jnp.zeros_like(prior_center)
    if prior_covariance is None and source_data is not None:
        prior_covariance = source_covariance(
            model,
            loss,
            source_data,
            prior_center,
            weight_decay=weight_decay,
            trainable=trainable,
            chunk=chunk,
        )
    elif prior_covariance is not None:
        prior_covariance = _dense(prior_covariance, size, "prior_covariance")
    inflations = (0.0,) if prior_covariance is None else _as_tuple(inflation)

    n = example_count(target_data)
    ledger, delta_pac, delta_mc = _ledger(delta, draws, n, scales, len(inflations))
    variances = np.array([scales.variance(j) for j in range(1, scales.count + 1)])
    weights = np.array([scales.weight(j) for j in range(1, scales.count + 1)]) / len(inflations)

    def complexity(kl: Any, index: Any) -> Any:
        # outward by far more than the rounding of a sum over d terms
        kl = np.asarray(kl) * (1.0 + 1e-10) + 1e-10
        return (kl + np.log(2.0 * np.sqrt(n) / (delta_pac * weights[index - 1]))) / n

    selection, evaluation = jax.random.split(key)
    screen = Screen.make(model, loss01, target_data, size, selection, trainable)
    curved = None
    if posterior_covariance is None:
        curved = hessian(model, loss, target_data, at=center, trainable=trainable, chunk=chunk)
    best = None
    for inflate in inflations:
        shape = prior_shape(prior_center, prior_covariance, inflate)
        if curved is None:
            given = _dense(posterior_covariance, size, "posterior_covariance")
            law = given_posterior(shape, center, given)
            found = _best_scale(law, variances, complexity, float(screen(law)))
        else:
            family = posterior_family(shape, center, curved)
            limit = np.inf if best is None else best[0][0]
            found = choose(family, variances, complexity, _bound, screen, n, move_center, limit)
            if found is not None:
                scale = variances[found[1] - 1]
                law = family.at(*map(jnp.asarray, (scale, found[2], found[3])))
        if found is not None and (best is None or found[0] < best[0][0]):
            best = (found, law, shape, inflate)
    (_, index, temperature, pull), law, shape, inflate = best

    # j is an integer here, and the draws are new: nothing below is chosen by looking at them
    scale = scales.variance(index)
    kl = float(law.kl(scale))
    cost = float(complexity(kl, index))
    mean, root = law.mean, law.root
    table = draw_losses(
        model, loss01, target_data, mean, root, key=evaluation, draws=draws, trainable=trainable
    )
    risk_mc = float(table.risk)
    risk_upper = _bound(risk_mc, np.log(2.0 / delta_mc) / draws)
    return Certificate(
        bound=_bound(risk_upper, cost),
        risk_mc=risk_mc,
        risk_upper=risk_upper,
        kl=kl,
        complexity=cost,
        n=n,
        delta=float(delta),
        draws=draws,
        ledger=ledger,
        prior=prior,
        prior_scale_index=index,
        prior_variance=scale,
        prior_weight=float(weights[index - 1]),
        inflation=float(inflate),
        temperature=temperature,
        pull=pull,
        posterior_mean=mean,
        posterior_root=root,
        prior_mean=prior_center,
        prior_root=float(np.sqrt(scale)) * shape.root,
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
    """
    share = delta / len(priors) if simultaneous else delta
    return {name: certify(model, loss01, prior=name, delta=share, **settings) for name in priors}


def _bound(risk: float, budget: float) -> float:
    return float(kl_inverse(risk, budget))


def _best_scale(
    law: Posterior, variances: np.ndarray, complexity: Callable[..., Any], risk: float
) -> tuple[float, int, float, float]:
    """The best prior scale for a given posterior."""
    index = np.arange(1, len(variances) + 1)
    cost = complexity(jax.vmap(law.kl)(jnp.asarray(variances)), index)
    best = int(np.argmin(cost))
    return _bound(risk, float(cost[best])), best + 1, 0.0, 0.0


def _ledger(
    delta: float, draws: int, n: int, scales: ScaleGrid, shapes: int
) -> tuple[Ledger, float, float]:
    """The closed account, and what the bound and the Monte Carlo step may use of it."""
    many = f" and every one of {shapes} inflations" if shapes > 1 else ""
    ledger = Ledger(delta)
    share = decimal(MONTE_CARLO_SHARE)
    bound: Receipt = ledger.choose(
        f"kl bound on {n} target examples, for every prior scale j{many}",
        scales.weights,
        share=1 - share,
        why="the target sample may be unlike its law; scale j has weight pi_j",
    )
    drawn: Receipt = ledger.spend(
        f"Monte Carlo: empirical risk from {draws} weight draws",
        share=share,
        why="the draws may be unlike the posterior",
    )
    return ledger.close(), bound.delta, drawn.delta


def _check(
    model: Any, trainable: Any, delta: float, prior: str, draws: int, target_data: Any
) -> int:
    if jnp.result_type(float) != jnp.float64:
        raise RuntimeError(
            "a certificate is computed in float64 only: run "
            'jax.config.update("jax_enable_x64", True) before any array is made'
        )
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta={delta} must lie in (0, 1)")
    if prior not in PRIORS:
        raise ValueError(f"prior={prior!r} must be 'source', 'isotropic' or 'zero'")
    if draws < 1:
        raise ValueError(f"draws={draws} must be at least 1")
    if example_count(target_data) < 8:
        raise ValueError("target_data must hold at least 8 examples for this bound")
    size = to_vector(model, trainable).shape[0]
    if size > DENSE_PARAMETERS:
        raise ValueError(
            f"the posterior is a full-rank Gaussian and the model has {size} trainable parameters "
            f"(limit {DENSE_PARAMETERS}): certify a part of it with trainable="
        )
    return size


def _refuse_unbounded(
    model: Any, loss01: Callable[..., Any], data: Any, center: Vector, trainable: Any
) -> None:
    from_vector(model, center, trainable)
    losses = np.asarray(losses_at(model, loss01, data, center[None, :], trainable))
    if not ((losses >= 0.0) & (losses <= 1.0)).all():
        worst = losses.flat[np.argmax(np.abs(losses - 0.5))]
        raise ValueError(
            f"loss01 returned {worst:.6g}, outside [0, 1]: the bound holds for bounded losses "
            "only; use the 0-1 loss, or floor the probabilities and divide by log(1/p_min)"
        )


def _refuse_overlap(source: Any, target: Any) -> None:
    """Raise if a target example occurs in the source sample, byte for byte."""
    rows = [set(_rows(data)) for data in (source, target)]
    common = len(rows[0] & rows[1])
    if common:
        raise ValueError(
            f"{common} target examples occur in source_data: a prior that has seen the target "
            "sample voids the bound; remove them from one of the two"
        )


def _rows(data: Any) -> list[bytes]:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(data)]
    return [b"|".join(leaf[i].tobytes() for leaf in leaves) for i in range(len(leaves[0]))]


def _dense(value: Any, size: int, name: str) -> Matrix:
    matrix: Array = with_dimension(as_matrix(value, name), size, name).dense()
    return matrix


def _as_tuple(value: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, Sequence) else (float(value),)
