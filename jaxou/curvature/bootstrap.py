"""What a finite data set leaves uncertain in A, C, and in any function of their stage."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from .._check import as_count, as_key, as_number, refuse_unless, show_value
from .._typing import Matrix, ScalarLike, Vector
from ..linalg.roots import pinv
from .batching import example_count, sum_over
from .estimate import Curvature, measure, product_of, relative_commutator
from .noise import NoiseProduct, noise_product
from .per_example import matrices
from .spectrum import spectrum, without_negative

BUDGET = 2**25
"""Numbers held at once: replicates' matrices, and one block of single examples' matrices."""


class Uncertain(eqx.Module):
    """One number for everything that is measured: the minimum (d,), A and C (d, d), and their
    eigenvalues (d,), ascending."""

    minimum: Vector
    hessian: Matrix
    noise: Matrix
    spectrum: Vector
    noise_spectrum: Vector


class Bootstrap(eqx.Module):
    """The spread of A, C and `function` over resampled data sets.

    - `measured`: the `Curvature` of the data themselves; `value`: `function` of its stage.
    - `standard_errors` and `bias` of A, C, their eigenvalues and the minimum; `value_error` and
      `value_bias` of the function (its own pytree). The bias is already against the truth of the
      resampled world, where C is over 1/n; subtract it to correct.
    - `replicates`: the function's values, (replicates, ...). `failed`: in how many of them it is
      not finite (they are NaN and left out; 0 without a function); `negative`: in how many A had a
      negative eigenvalue.
    """

    measured: Curvature
    standard_errors: Uncertain
    bias: Uncertain
    value: PyTree
    value_error: PyTree
    value_bias: PyTree
    replicates: PyTree
    failed: Int[Array, ""]
    negative: Int[Array, ""]

    def __str__(self) -> str:
        errors, found = self.standard_errors, self.measured
        numbers = (
            ("largest eigenvalue of A", found.spectrum, errors.spectrum),
            ("largest eigenvalue of C", found.noise_spectrum, errors.noise_spectrum),
        )
        lines = [f"{found.point.shape[0]:,} parameters, {found.examples:,} examples resampled:"]
        lines += [
            f"  {what} {float(seen.eigenvalues[-1]):.4g} ± {float(error[-1]):.2g}"
            for what, seen, error in numbers
        ]
        pairs = zip(*map(jax.tree.leaves, (self.value, self.value_error)), strict=True)
        lines += [
            f"  function {float(value):.4g} ± {float(error):.2g}"
            for value, error in pairs
            if value.ndim == 0
        ]
        if int(self.failed):
            lines.append(f"  in {int(self.failed)} replicates the function was not finite")
        return "\n".join(lines)

    def interval(self, level: ScalarLike = 0.95) -> tuple[Any, Any]:
        """Lower and upper ends for the function's value, from the replicates' quantiles.

        Pivotal (basic): replicates spread about the resampled world's value as the value does
        about the truth, so bias and skewness are corrected for.
        """
        level = as_number(level, "level")
        refuse_unless((level > 0) & (level < 1), f"level={show_value(level)} must lie in (0, 1)")

        def end(tail: Any) -> Any:
            def one(value: Array, bias: Array, replicates: Array) -> Array:
                shifted = replicates - (jnp.nanmean(replicates, axis=0) - bias)[None]
                return value - jnp.nanquantile(shifted, tail, axis=0)

            return jax.tree.map(one, self.value, self.value_bias, self.replicates)

        return end((1 + level) / 2), end((1 - level) / 2)


def weights(key: PRNGKeyArray, number: Any, count: int) -> Float[Array, " n"]:
    """How often each of `count` examples is in replicate `number`: multinomial, summing to n.

    >>> float(weights(jax.random.key(0), 3, 10).sum())
    10.0
    """
    drawn = jax.random.randint(jax.random.fold_in(key, number), (count,), 0, count)
    return jnp.bincount(drawn, length=count).astype(jnp.result_type(float))


def bootstrap(
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    function: Callable[..., Any] | None = None,
    *,
    key: PRNGKeyArray,
    replicates: int = 200,
    learning_rate: ScalarLike | None = None,
    batch_size: ScalarLike | None = None,
    steps: ScalarLike | None = None,
    weight_decay: ScalarLike = 0.0,
    minimum: str = "fixed",
    kind: str = "hessian",
    negative: str = "error",
    output_loss: Callable[..., Any] | None = None,
    predict: Callable[..., Any] | None = None,
    resample: Callable[..., Any] | None = None,
    samples: int = 1,
    label_key: PRNGKeyArray | None = None,
    trainable: Any = None,
    chunk: int | None = None,
    **settings: Any,
) -> Bootstrap:
    r"""Standard errors and bias of A, C, their spectra and `function(stage)`, over examples.

    Each replicate gives the examples multinomial weights w (a data set drawn with replacement from
    the data) and has A_w = (1/n) sum_i w_i H_i and C_w, the weighted covariance of the gradients,
    over 1/(n - 1). Every example's matrices are computed once for many replicates, and no data
    are copied. `function` maps a `Stage` to a pytree of arrays: a KL, a bound, a discrepancy, an
    excess loss; it is traced, so a fixed other stage is simply closed over.

    - `minimum="fixed"`: everything at the model's point. "newton" moves the minimum to where a
      replicate's gradient (with the decay) vanishes, by one Newton step from the data's own:
      theta_w = theta - (A_w + weight_decay)^-1 (g_w - g). Take it where the function depends on
      where the minimum is, as a KL between stages does.
    - `negative` is the choice for A as in `measure`; "error" refuses the data's own A only, and
      the replicates keep what they have (counted in `negative`).
    - the other arguments are those of `estimate`; learning rate, batch size and steps are needed
      with `function` only, `label_key` with kind="fisher" (its labels stay drawn once).

    Relative error of a standard error: 1 / sqrt(2 replicates). Where an eigenvalue is at its edge
    (0, or a multiple one) the bootstrap is not consistent (Beran and Srivastava 1985). Cost: n
    dense Hessians of single examples and 2 n d^2 operations per replicate; d up to 2,000.
    Source: Efron 1979, doi:10.1214/aos/1176344552.

    >>> loss = lambda model, z: 0.5 * jnp.sum((model - z) ** 2)
    >>> data = jax.random.normal(jax.random.key(0), (400, 1))
    >>> found = bootstrap(jnp.zeros(1), loss, data, key=jax.random.key(1))
    >>> expected = jnp.sqrt(2 / 400)  # of a normal variance
    >>> bool(abs(found.standard_errors.noise[0, 0] / expected - 1) < 0.3)
    True
    """
    replicates, key = as_count(replicates, "replicates", 2), as_key(key)
    if minimum not in ("fixed", "newton"):
        raise ValueError(f"minimum={minimum!r} must be 'fixed' or 'newton'")
    hyper = {"learning_rate": learning_rate, "batch_size": batch_size, "steps": steps}
    missing = [name for name, value in hyper.items() if value is None]
    if function is not None and missing:
        raise ValueError(f"a function of the stage needs {', '.join(missing)}: give them")
    how = {
        "kind": kind, "output_loss": output_loss, "predict": predict, "resample": resample,
        "samples": samples, "key": label_key, "trainable": trainable,
    }  # fmt: skip
    measured = measure(model, loss, data, negative=negative, **how)
    size, count = measured.point.shape[0], measured.examples
    chunk = chunk or max(1, min(256, BUDGET // size**2))
    bent = product_of(model, loss, data, chunk=chunk, **how)
    noisy = noise_product(model, loss, data, trainable=trainable, chunk=chunk)
    decay = as_number(weight_decay, "weight_decay")
    clip = "clip" if negative == "clip" else "keep"
    if function is None and settings:
        raise TypeError(
            f"bootstrap() does not know {', '.join(sorted(settings))}; settings of the stage need "
            "function(stage), and structure or rank are not among them: all matrices are dense"
        )
    settings = _as_arrays({**hyper, "weight_decay": decay, **settings})

    # the truth of the resampled world: the data's own A, and C over 1/n
    world = eqx.tree_at(lambda c: c.noise, measured, measured.noise * ((count - 1) / count))
    of = lambda found: eqx.filter_jit(_value)(function, found, settings)
    centre = jax.tree.map(jnp.asarray, (_numbers(world), of(world)))
    group = max(1, min(replicates, BUDGET // (2 * size**2)))
    task = _Replicate(bent, noisy, decay, minimum == "newton", clip)
    parts = []
    for start in range(0, replicates, group):
        numbers = jnp.arange(start, start + group)
        real = (numbers < replicates).astype(measured.point.dtype)
        parts.append(_several(task, key, numbers, real, centre[0], function, settings))
    first, second = (
        jax.tree.map(lambda *x: sum(x) / replicates, *(part[i] for part in parts)) for i in (0, 1)
    )
    joined = lambda *x: jnp.concatenate(x)[:replicates]
    values, below = (jax.tree.map(joined, *(part[i] for part in parts)) for i in (2, 3))
    unbiased = replicates / (replicates - 1)
    spread = jax.tree.map(
        lambda m, s: jnp.sqrt(jnp.maximum(s - m**2, 0.0) * unbiased), first, second
    )
    leaves = [x.reshape(replicates, -1) for x in jax.tree.leaves(values)]
    lost = sum((~jnp.all(jnp.isfinite(x), axis=1) for x in leaves), jnp.zeros(replicates, bool))
    values = jax.tree.map(
        lambda x: jnp.where(lost.reshape(-1, *[1] * (x.ndim - 1)), jnp.nan, x), values
    )
    return Bootstrap(
        measured,
        spread,
        first,
        of(measured),
        jax.tree.map(lambda x: jnp.nanstd(x, axis=0, ddof=1), values),
        jax.tree.map(lambda x, c: jnp.nanmean(x, axis=0) - c, values, centre[1]),
        values,
        jnp.sum(lost),
        jnp.sum(below),
    )


class _Replicate(eqx.Module):
    """From weights to the curvature of a replicate."""

    bent: Any
    noisy: NoiseProduct
    decay: Float[Array, ""]
    newton: bool = eqx.field(static=True)
    negative: str = eqx.field(static=True)

    def sums(self, sets: Float[Array, "group n"]) -> Any:
        """(1/n) sum w H, (1/n) sum w g and (1/n) sum w g g' of centred gradients, per replicate."""
        data = (self.bent.data, self.noisy.data, sets.T)

        def block(examples: Any, real: Float[Array, " block"]) -> Any:
            bent, plain, sets = examples
            sets = sets * real[:, None]
            rows = self.noisy.centred(plain)
            square = rows[:, :, None] * rows[:, None, :]
            each = (matrices(self.bent, bent), rows, square)
            return jax.tree.map(lambda x: jnp.tensordot(sets, x, axes=((0,), (0,))), each)

        count = example_count(self.noisy.data)
        total = sum_over(block, data, chunk=self.bent.chunk)
        return jax.tree.map(lambda x: x / count, total)

    def curvature(self, hessian: Matrix, mean: Vector, second: Matrix) -> Curvature:
        count = example_count(self.noisy.data)
        hessian = 0.5 * (hessian + hessian.T)
        noise = (second - jnp.outer(mean, mean)) * (count / (count - 1))
        found = spectrum(hessian)
        hessian = without_negative(hessian, self.negative)
        point = self.noisy.point
        if self.newton:
            eye = jnp.eye(point.shape[0], dtype=point.dtype)
            point = point - pinv(hessian + self.decay * eye) @ mean
        commutator = relative_commutator(hessian, noise)
        zero = jnp.zeros_like(commutator)
        gradient = self.noisy.mean + mean
        return Curvature(
            point, hessian, noise, gradient, found, spectrum(noise), commutator, zero, count
        )


@eqx.filter_jit
def _several(
    task: _Replicate,
    key: PRNGKeyArray,
    numbers: Int[Array, " group"],
    real: Float[Array, " group"],
    centre: Uncertain,
    function: Callable[..., Any] | None,
    settings: dict[str, Any],
) -> Any:
    """Sums and sums of squares about `centre` over a group, its values, and who was negative."""
    count = example_count(task.noisy.data)
    sets = jax.vmap(lambda number: weights(key, number, count))(numbers)

    def one(parts: Any) -> Any:
        found = task.curvature(*parts)
        moved = jax.tree.map(jnp.subtract, _numbers(found), centre)
        return moved, _value(function, found, settings), found.spectrum.negative > 0

    moved, values, below = jax.lax.map(one, task.sums(sets))
    total = lambda x: jnp.tensordot(real, x, axes=1)
    first, second = jax.tree.map(total, moved), jax.tree.map(lambda x: total(x**2), moved)
    return first, second, values, below


def _value(function: Callable[..., Any] | None, found: Curvature, settings: Any) -> Any:
    return () if function is None else function(found.stage(**settings))


def _as_arrays(settings: dict[str, Any]) -> dict[str, Any]:
    """Numbers as arrays, so that a new one does not compile again; a schedule keeps its length."""
    scheduled = any(
        callable(settings[name]) or jnp.ndim(settings[name]) > 0
        for name in ("learning_rate", "batch_size")
        if settings[name] is not None
    )
    kept = ("steps",) if scheduled else ()
    is_number = lambda x: isinstance(x, int | float) and not isinstance(x, bool)
    return {
        name: jnp.asarray(value, float) if is_number(value) and name not in kept else value
        for name, value in settings.items()
    }


def _numbers(found: Curvature) -> Uncertain:
    values = spectrum(found.noise).eigenvalues
    return Uncertain(found.point, found.hessian, found.noise, found.spectrum.eigenvalues, values)
