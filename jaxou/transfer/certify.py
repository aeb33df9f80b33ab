"""A theorem about the fine-tuned model: certificate mode of the second-stage bound."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._check import as_count, as_key, refuse_lost
from .._typing import PRNGKeyArray, Vector
from ..curvature.batching import example_count
from ..curvature.hessian import hessian
from ..curvature.parameters import as_vector, from_vector
from ..linalg.algebra import as_matrix, with_dimension
from .accounts import MONTE_CARLO_SHARE as MONTE_CARLO_SHARE
from .accounts import complexity, evaluate, open_account
from .certificate import Certificate
from .model import cross_entropy
from .optimum import minimise
from .posterior import Screen
from .priors import PRIORS as PRIORS
from .priors import ScaleGrid, ShapeMaker
from .refusals import check_settings, refuse_outside, refuse_overlap, refuse_unbounded, several
from .risk import law_losses
from .search import FACTOR_RANK, Search
from .store import bound_examples, data_digest


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
    without x64 and `ValueError` on bad input and on a loss outside [0, 1], saying what to do.

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
        model, target_data, trainable=trainable, delta=delta, draws=draws, prior=prior,
        structure=structure, shape=shape, monte_carlo=monte_carlo, rank=rank, rate=rate,
        weight_decay=weight_decay,
    )  # fmt: skip
    draws, rank, key = int(draws), int(rank), as_key(key)
    steps = _steps(optimise, structure, posterior_covariance)
    center = as_vector(posterior_center, model, trainable, "posterior_center").astype(float)
    prior_center = as_vector(prior_center, model, trainable, "prior_center").astype(float)
    everything = jax.tree.map(jnp.asarray, target_data)
    refuse_unbounded(model, loss01, everything, center, trainable)
    if source_data is not None:
        refuse_overlap(source_data, everything)
    scales = scales or ScaleGrid()
    curve = dict(trainable=trainable, chunk=chunk)

    seen = _seen_by_prior(
        prior, prior_center, prior_covariance, source_data, shape, everything, split,
        lambda center, examples: minimise(
            from_vector(model, center, trainable), loss, examples, weight_decay=weight_decay,
            **curve,
        ).vector,
    )  # fmt: skip
    data = bound_examples(everything, seen.examples)
    covariance = seen.covariance
    if covariance is not None:
        covariance = _covariance(covariance, size, structure, "prior_covariance")
    shapes, values = ShapeMaker(
        model, loss, seen.data, seen.center, structure, seen.shape, rank, curve
    ).all(
        covariance,
        several(inflation, "inflation", positive=False),
        several(ridge, "ridge", positive=True),
        weight_decay,
    )

    # the account of delta, and what a KL costs by it
    n = example_count(data)
    ledger, delta_pac, delta_mc = open_account(delta, draws, n, scales, len(shapes))
    variances = np.array([scales.variance(j) for j in range(1, scales.count + 1)])
    weights = np.array([scales.weight(j) for j in range(1, scales.count + 1)]) / len(shapes)
    cost = lambda kl, index: complexity(kl, n, delta_pac * weights[index - 1])

    # the posterior, by looking at the target as much as it likes
    selection, evaluation = jax.random.split(key)
    columns = min(rank, FACTOR_RANK) if structure == "low_rank" else 0
    given, curved = posterior_covariance, None
    if given is not None:
        given = _covariance(given, size, structure, "posterior_covariance")
    elif structure == "full":
        curved = hessian(model, loss, everything, at=center, **curve)
        refuse_lost("the Hessian of `loss` at posterior_center", curved)
    screen = Screen.make(model, loss01, data, size + columns, selection, trainable)
    chosen, value = Search(
        model=model, loss=loss, data=data, trainable=trainable, center=center,
        variances=variances, cost=cost, screen=screen, given=given, hessian=curved,
        move_center=move_center, columns=columns, steps=steps, rate=rate, key=selection,
    ).best(shapes, values)  # fmt: skip

    # j is an integer here, and the draws are new: nothing below is chosen by looking at them
    j, law = chosen.scale, chosen.law
    scale, weight = scales.variance(j), float(weights[j - 1])
    table = law_losses(model, loss01, data, law, key=evaluation, draws=draws, trainable=trainable)
    refuse_outside(table)
    found = evaluate(law, scale, table, n, delta_pac * weight, delta_mc, monte_carlo)
    return Certificate(
        bound=found.bound,
        risk_mc=found.risk,
        risk_upper=found.risk_upper,
        kl=found.kl,
        complexity=found.complexity,
        n=n,
        delta=float(delta),
        draws=draws,
        ledger=ledger,
        prior=prior,
        prior_scale_index=j,
        prior_variance=scale,
        prior_weight=weight,
        inflation=float(value),
        temperature=chosen.temperature,
        pull=chosen.pull,
        risk_variance=found.variance,
        monte_carlo=monte_carlo,
        structure=structure,
        shapes=len(shapes),
        n_prior=seen.examples,
        optimised=steps,
        data_sha256=data_digest(data),
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
    if not priors:
        raise ValueError(f"priors={priors!r} is empty: name one or more, as in {PRIORS}")
    share = delta / len(priors) if simultaneous else delta
    return {name: certify(model, loss01, prior=name, delta=share, **settings) for name in priors}


class _Seen(NamedTuple):
    """What the prior is made from, and how many target examples that took."""

    center: Vector
    covariance: Any
    data: Any
    shape: str
    examples: int


def _seen_by_prior(
    prior: str,
    center: Vector,
    covariance: Any,
    source_data: Any,
    shape: str,
    target_data: Any,
    split: float,
    trained: Callable[[Vector, Any], Vector],
) -> _Seen:
    """Everything that `prior` may see; `trained(center, examples)` minimises from a centre."""
    if prior == "source":
        return _Seen(center, covariance, source_data, shape, 0)
    if prior == "split":
        cut = _cut(split, example_count(target_data))
        examples = jax.tree.map(lambda leaf: leaf[:cut], target_data)
        return _Seen(trained(center, examples), None, examples, "laplace", cut)
    return _Seen(jnp.zeros_like(center) if prior == "zero" else center, None, None, shape, 0)


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
    steps = as_count(optimise, "optimise", 0)
    if steps == 0 and structure != "full":
        raise ValueError("optimise=0 must be a number of steps >= 1, or 0 with structure='full'")
    return steps


def _cut(split: float, n: int) -> int:
    """How many examples a split prior takes."""
    cut = round(split * n) if 0 < split < 1 else 0
    if min(cut, n - cut) < 8:
        raise ValueError(
            f"split={split} of {n} target examples must leave at least 8 on both sides: it is the "
            "share of them that the prior may see, 0.5 for half"
        )
    return cut


def _covariance(value: Any, size: int, structure: str, name: str) -> Array:
    matrix: Array = with_dimension(as_matrix(value, name), size, name).dense()
    if structure == "full":
        return matrix
    if bool(jnp.any(matrix != jnp.diag(jnp.diagonal(matrix)))):
        raise ValueError(f"{name} must be diagonal with structure={structure!r}: give a vector")
    return jnp.diagonal(matrix)
