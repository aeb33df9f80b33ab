"""From a network and its data to the pair (A, C), and so to a stage of the theory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._check import as_count, as_number, refuse_lost, refuse_unless, show_value
from .._typing import Matrix, Scalar, ScalarLike, Vector
from ..linalg.algebra import as_matrix
from ..linalg.factor import eigh
from ..linalg.matrices import LowRankPlusDiagonal
from .batching import example_count
from .errors import sampling_errors
from .fisher import fisher_gram, fisher_product
from .ggn import ggn_product
from .hessian import dense_from_product, hessian_product
from .low_rank import LeadingPairs, leading_pairs, rest_of_trace
from .noise import NoiseProduct, gradient_gram, noise_product
from .parameters import to_vector
from .spectrum import (
    Spectrum,
    check_negative,
    refuse_negative,
    spectrum,
    spectrum_of,
    without_negative,
)

if TYPE_CHECKING:
    from ..stages import Stage

DENSE_PARAMETERS = 2_000
"""Above this many parameters a dense Hessian is refused, with advice."""

KINDS = ("hessian", "ggn", "fisher")
"""What may stand for A: the Hessian, its Gauss-Newton part, the Fisher information."""


class Curvature(eqx.Module):
    """What was measured at one `point` (d,): the matrices of the quadratic model of training.

    `hessian` is A (after the choice made for negative eigenvalues), `noise` is C, the covariance
    of one example's gradient, `gradient` the mean gradient (d,) without weight decay. `spectrum`
    and `noise_spectrum` are those of the measured A and C (of the leading pairs, if low rank);
    `commutator` is |AC - CA| / |AC| (NaN if low rank): 0 means that A and C commute. Low rank: each
    spectrum carries the pairs' residuals and standard errors over examples, and `rest_error` is
    the standard error of the flat rest of A, estimated from random probes (0 if dense; the rest of
    C comes from its exact trace).
    """

    point: Vector
    hessian: Any
    noise: Any
    gradient: Vector
    spectrum: Spectrum
    noise_spectrum: Spectrum
    commutator: Scalar
    rest_error: Scalar
    examples: int = eqx.field(static=True)

    def __str__(self) -> str:
        slope = float(jnp.linalg.norm(self.gradient))
        apart = float(self.commutator)
        lines = [
            f"curvature of {self.point.shape[0]:,} parameters from {self.examples:,} examples:",
            f"  A: {self.spectrum}",
            f"  C: {self.noise_spectrum}",
            f"  mean gradient of length {slope:.3g} (without weight decay)",
        ]
        if apart == apart:  # of dense matrices only
            lines.append(f"  |AC - CA| / |AC| = {apart:.2g}")
        return "\n".join(lines)

    def stage(
        self,
        *,
        learning_rate: ScalarLike,
        batch_size: ScalarLike,
        steps: ScalarLike,
        weight_decay: ScalarLike = 0.0,
        **settings: Any,
    ) -> Stage:
        """The stage of this curvature; `settings` are those of `jaxou.Stage` (momentum, ...).

        Both the minimum and the anchor of the decay are the point of measurement: there the
        pull of the loss and that of the decay cancel, so the point stays the centre. With
        `population=N` (batches drawn without replacement) the noise is rescaled from 1/(n - 1),
        which is unbiased, to the 1/N that `Stage` expects.
        """
        from ..stages import Stage

        settings.setdefault("anchor", self.point)
        noise, population = self.noise, settings.get("population")
        if population is not None:
            population = as_number(population, "population")
            refuse_unless(
                population >= 2, f"population={show_value(population)} must be at least 2"
            )
            noise = as_matrix(noise, "noise").scale((population - 1) / population)
        return Stage(
            hessian=self.hessian,
            noise=noise,
            minimum=self.point,
            learning_rate=learning_rate,
            batch_size=batch_size,
            steps=steps,
            weight_decay=weight_decay,
            **settings,
        )


def measure(
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    *,
    kind: str = "hessian",
    structure: str = "dense",
    rank: int | None = None,
    negative: str = "error",
    output_loss: Callable[..., Any] | None = None,
    predict: Callable[..., Any] | None = None,
    resample: Callable[..., Any] | None = None,
    samples: int = 1,
    key: PRNGKeyArray | None = None,
    trainable: Any = None,
    chunk: int = 256,
) -> Curvature:
    r"""Measure A and C of `loss` on `data` at the parameters of `model`.

    `loss(model, example)` is one example's loss in nats, without weight decay; `data` a pytree of
    arrays with a leading axis of examples, such as `(x, y)`; measure at the end-of-stage average.

    - `kind`: "hessian"; "ggn" with `output_loss(prediction, example)` and `predict` (see
      `jaxou.curvature.ggn`); "fisher" with labels drawn from the model by `key`, `resample` and
      `samples` per example (see `jaxou.curvature.fisher`, which also says why the empirical
      Fisher, the gradients at the observed labels, is no Hessian).
    - `structure`: "dense" for up to 2,000 parameters; "low_rank" keeps the `rank` leading
      eigenpairs of A over a flat rest that preserves the trace, A = a I + U diag(b) U', and C on
      the span of A's and its own leading pairs.
    - `negative`: what to do with negative eigenvalues of A: "error" (default), "clip", "keep".
    - `trainable`: an Equinox filter for fine-tuning a part of the model.

    Cost: dense, d gradients of the data set for A and n d^2 for C; low rank, 2 (rank + 8) products
    each and half of that for every further cycle (see `leading_pairs`), 64 for the rest of A and
    2 rank for C on both spans.
    Raises `ValueError` on a choice that can not be met and on a loss whose gradient or curvature
    is not finite, saying what to do.

    >>> loss = lambda model, example: 0.5 * jnp.sum((model - example) ** 2)
    >>> found = measure(jnp.zeros(2), loss, jnp.array([[1.0, 0.0], [-1.0, 0.0]]))
    >>> found.noise
    Array([[2., 0.],
           [0., 0.]], dtype=...)
    >>> print(found.spectrum)
    2 eigenvalues from 1 to 1, rank 2, 0 negative
    """
    _check_choices(kind, structure, rank, negative, output_loss, key)
    if structure == "dense":
        _refuse_large(to_vector(model, trainable).shape[0])
    shared = {"trainable": trainable, "chunk": chunk}
    noisy = noise_product(model, loss, data, **shared)
    refuse_lost("the mean gradient of the loss", noisy.mean)
    bent = product_of(
        model, loss, data, kind=kind, output_loss=output_loss, predict=predict,
        resample=resample, samples=samples, key=key, **shared,
    )  # fmt: skip
    rest_error = jnp.zeros((), noisy.point.dtype)
    if structure == "low_rank":
        pairs = leading_pairs(bent, noisy.point, rank)
        refuse_lost("the curvature of the loss", pairs.values)
        rest, rest_error = rest_of_trace(bent, pairs)
        if negative == "error":
            refuse_negative(spectrum_of(pairs.values))
        matrix, found = _low_rank(bent, pairs, rest, negative)
        noise_pairs = leading_pairs(noisy, noisy.point, rank)
        noise = _seen_from(noisy, jnp.concatenate([noise_pairs.vectors, pairs.vectors], axis=1))
        noise_found = _spectrum(noisy, noise_pairs)
        commutator = jnp.full((), jnp.nan)
    else:
        matrix = fisher_gram(bent) if kind == "fisher" else dense_from_product(bent, bent.point)
        refuse_lost("the curvature of the loss", matrix)
        found = spectrum(matrix)
        matrix = without_negative(matrix, negative)
        noise = gradient_gram(noisy)
        noise_found = spectrum(noise)
        commutator = relative_commutator(matrix, noise)
    return Curvature(
        noisy.point,
        matrix,
        noise,
        noisy.mean,
        found,
        noise_found,
        commutator,
        rest_error,
        example_count(data),
    )


def estimate(
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    *,
    learning_rate: ScalarLike,
    batch_size: ScalarLike,
    steps: ScalarLike,
    weight_decay: ScalarLike = 0.0,
    kind: str = "hessian",
    structure: str = "dense",
    rank: int | None = None,
    negative: str = "error",
    output_loss: Callable[..., Any] | None = None,
    predict: Callable[..., Any] | None = None,
    resample: Callable[..., Any] | None = None,
    samples: int = 1,
    key: PRNGKeyArray | None = None,
    trainable: Any = None,
    chunk: int = 256,
    **settings: Any,
) -> Stage:
    """`measure`, then the `jaxou.Stage` of it with SGD's hyper-parameters.

    The arguments up to `weight_decay` and the further `settings` (momentum, preconditioner,
    population, ...) are those of `jaxou.Stage`, the others those of `jaxou.curvature.measure`.

    >>> loss = lambda model, example: 0.5 * jnp.sum((model - example) ** 2)
    >>> data = jnp.array([[1.0, 0.0], [-1.0, 0.5], [0.0, 1.0]])
    >>> stage = estimate(
    ...     jnp.zeros(2), loss, data, learning_rate=0.1, batch_size=2, steps=10, weight_decay=0.1
    ... )
    >>> stage.dimension
    2
    """
    found = measure(
        model, loss, data, kind=kind, structure=structure, rank=rank, negative=negative,
        output_loss=output_loss, predict=predict, resample=resample, samples=samples, key=key,
        trainable=trainable, chunk=chunk,
    )  # fmt: skip
    return found.stage(
        learning_rate=learning_rate,
        batch_size=batch_size,
        steps=steps,
        weight_decay=weight_decay,
        **settings,
    )


def product_of(
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    *,
    kind: str,
    output_loss: Any,
    predict: Any,
    resample: Any,
    samples: int,
    key: Any,
    **shared: Any,
) -> Any:
    """The linear map of one `kind`; arguments as in `measure`."""
    if kind == "ggn":
        return ggn_product(model, output_loss, data, predict=predict, **shared)
    if kind == "fisher":
        drawn = {"key": key, "samples": samples, "resample": resample, "predict": predict}
        return fisher_product(model, loss, data, **drawn, **shared)
    return hessian_product(model, loss, data, **shared)


def relative_commutator(first: Matrix, second: Matrix) -> Scalar:
    """|XY - YX| / |XY| of symmetric X and Y in the Frobenius norm, 0 where the product vanishes.

    >>> float(relative_commutator(jnp.eye(2), jnp.ones((2, 2))))
    0.0
    """
    product = first @ second
    norm = jnp.linalg.norm(product)
    apart = jnp.linalg.norm(product - product.T)
    return jnp.where(norm > 0, apart / jnp.where(norm > 0, norm, 1.0), 0.0)


def _low_rank(
    product: Any, pairs: LeadingPairs, rest: Scalar, negative: str
) -> tuple[LowRankPlusDiagonal, Spectrum]:
    """rest I + U diag(values - rest) U', and the spectrum of the kept pairs with its errors."""
    values = pairs.values
    if negative != "keep":
        values, rest = jnp.maximum(values, 0.0), jnp.maximum(rest, 0.0)
    return LowRankPlusDiagonal(rest, pairs.vectors, values - rest), _spectrum(product, pairs)


@eqx.filter_jit
def _seen_from(noisy: NoiseProduct, columns: Float[Array, "d _"]) -> LowRankPlusDiagonal:
    """C, exact on the span of `columns` and flat outside, with its trace.

    The span holds A's leading directions as well as C's own: SGD's variance along an eigenvector
    u of A is eta u'Cu / (2 b a), and the directions of largest noise alone get u'Cu wrong.
    """
    span = jnp.linalg.qr(columns)[0]
    images = jax.lax.map(noisy, span.T, batch_size=16)
    inside = images @ span
    values, turn = eigh((inside + inside.T) / 2)
    size, width = span.shape
    rest = jnp.maximum(noisy.trace() - jnp.sum(values), 0.0) / max(size - width, 1)
    return LowRankPlusDiagonal(rest, span @ turn, jnp.maximum(values, 0.0) - rest)


def _spectrum(product: Any, pairs: LeadingPairs) -> Spectrum:
    return spectrum_of(pairs.values, pairs.residual, sampling_errors(product, pairs))


def _check_choices(
    kind: str, structure: str, rank: int | None, negative: str, output_loss: Any, key: Any
) -> None:
    check_negative(negative)
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} must be 'hessian', 'ggn' or 'fisher'")
    if kind == "fisher" and key is None:
        raise ValueError("kind='fisher' draws labels from the model: give key=jax.random.key(...)")
    if structure not in ("dense", "low_rank"):
        raise ValueError(f"structure={structure!r} must be 'dense' or 'low_rank'")
    if kind == "ggn" and output_loss is None:
        raise ValueError(
            "kind='ggn' needs output_loss(prediction, example): the loss as a function of the "
            "model's output (and predict(model, example), if that is not model(example[0]))"
        )
    if structure == "low_rank" and rank is None:
        raise ValueError("structure='low_rank' needs rank=, the number of eigenpairs to keep")
    if structure == "dense" and rank is not None:
        raise ValueError(f"rank={rank!r} keeps a few eigenpairs: give structure='low_rank' with it")
    if rank is not None:
        as_count(rank, "rank")


def _refuse_large(size: int) -> None:
    if size > DENSE_PARAMETERS:
        raise ValueError(
            f"a dense Hessian of {size} parameters is too large (limit {DENSE_PARAMETERS}): use "
            "structure='low_rank' with rank=, or trainable= to fine-tune a part of the model"
        )
