"""The two-stage bound of SGD at finite steps over a grid of hyper-parameters, with gradients."""

import math
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._check import as_float, is_concrete, require_finite
from .._status import Status, first_failure, poison, status_if
from .._typing import ScalarLike
from ..laws import Gaussian
from ..linalg.matrices import Dense
from ..linalg.spectrum import extreme_eigenvalues
from ..stages import AbstractChain
from ..stages.steady import symmetric_hessian
from . import modal
from .parameters import FACTORS, NUMBERS, find_places, write
from .rows import Row, find_row
from .stage_bound import Risk, as_risk, known_risks, row_name, sample_size, split_delta
from .stage_laws import prior_of, require_two_stages
from .two_stage import two_stage_bound

CHUNK = 64
"""Cells at once; fewer in many dimensions, so that a chunk's matrices have `NUMBERS_AT_ONCE`."""

NUMBERS_AT_ONCE = 2**22


class BoundGrid(eqx.Module):
    """Bounds on the product of `axes`; arrays have the shape (len(axis) for each axis).

    `value`, `gap`, `kl`, `risk` are the target's, `source_value` and `source_kl` the source's.
    `gradient` (names, *shape) is that of `value` in each axis, None if it was not asked for.
    `status` is ok, or why a cell is NaN: unstable, diverged, bad_input.
    """

    axes: dict[str, Float[Array, " _"]]
    value: Float[Array, "..."]
    gap: Float[Array, "..."]
    kl: Float[Array, "..."]
    risk: Float[Array, "..."]
    source_value: Float[Array, "..."]
    source_kl: Float[Array, "..."]
    gradient: Float[Array, "names ..."] | None
    status: Status
    risk_held_fixed: bool = eqx.field(static=True)
    modal: bool = eqx.field(static=True)

    @property
    def best(self) -> dict[str, Float[Array, ""]]:
        """The hyper-parameters of the cell with the smallest target bound."""
        flat = jnp.argmin(jnp.where(jnp.isnan(self.value), jnp.inf, self.value).reshape(-1))
        index = jnp.unravel_index(flat, self.value.shape)
        return {name: x[i] for (name, x), i in zip(self.axes.items(), index, strict=True)}


def bound_grid(
    process: AbstractChain,
    over: Any,
    *,
    n_source: ScalarLike,
    n_target: ScalarLike,
    risk: ScalarLike | Risk,
    source_risk: ScalarLike | Risk | None = None,
    delta: ScalarLike,
    delta_split: tuple[ScalarLike, ScalarLike] = (0.5, 0.5),
    prior: Gaussian | None = None,
    bound: str | Row = "mcallester_he",
    gradients: bool = True,
) -> BoundGrid:
    """`two_stage_bound(law="finite")` on a grid: `over` maps "stage.argument" to its values.

    Every cell is SGD's own law after each stage's steps. A cell whose learning rate has no steady
    law (2 (1 + momentum) / lambda_max and above), or whose numbers are out of range, is NaN with a
    `status` and disturbs no other. Ask `two_stage_bound` for such a law at finite steps.

    Learning rates, batch sizes, steps, weight decays and Langevin temperatures of plain dense
    stages share one eigendecomposition of each Hessian, and a cell then costs one Cholesky factor
    for each stage that varies (`modal`); anything else, and cells without a Cholesky factor, take
    the general route, tens of times slower. Gradients are along the axes, the matrices held fixed;
    SGD's law has none in whole steps. Reading off the best cell is free for the last stage and paid
    for the prior's, see `tune`.

    >>> from jaxou import Gaussian, Stage, TwoStage
    >>> source = Stage(
    ...     hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10, steps=99
    ... )
    >>> process = TwoStage(source, source.replace(minimum=0.1), Gaussian(0.0, 1.0))
    >>> axes = {"finetune.learning_rate": [0.05, 0.1, 2.5], "finetune.batch_size": [4, 8]}
    >>> grid = bound_grid(process, axes, n_source=9_000, n_target=900, risk=0.1, delta=0.05)
    >>> grid.value.shape, grid.gradient.shape, int(jnp.isnan(grid.value).sum())
    ((3, 2), (2, 3, 2), 2)
    """
    require_two_stages(process)
    if not isinstance(over, dict):
        raise TypeError(f'over={over!r} must be a dict: {{"finetune.learning_rate": [0.05, 0.1]}}')
    places = tuple(find_places(process, over, NUMBERS + FACTORS, "grid's"))
    axes = {name: _axis(values, name) for name, values in over.items()}
    shape = tuple(x.size for x in axes.values())
    cells = jnp.stack([x.reshape(-1) for x in jnp.meshgrid(*axes.values(), indexing="ij")], axis=1)
    deltas, fine = split_delta(delta, delta_split)
    risk, source_risk = known_risks(risk, source_risk)
    given = (
        sample_size(n_source, "n_source"),
        sample_size(n_target, "n_target"),
        risk,
        source_risk,
        deltas,
        fine,
        prior_of(process, prior),
    )
    row, name, fast = find_row(bound), row_name(bound), modal.is_modal(process, places)
    evaluate = partial(_evaluate, row=row, name=name, places=places, gradients=gradients)
    found = evaluate(process, cells, given, fast=fast)
    if fast:
        found = _repair(found, lambda few: evaluate(process, few, given, fast=False), cells)
    cell, gradient = found
    fields = {key: x.reshape(shape) for key, x in cell.items() if key != "status"}
    return BoundGrid(
        axes=axes,
        gradient=None if gradient is None else jnp.moveaxis(gradient, 1, 0).reshape(-1, *shape),
        status=jax.tree.map(lambda x: x.reshape(shape), cell["status"]),
        risk_held_fixed=not callable(risk),
        modal=fast,
        **fields,
    )


def _axis(values, name):
    values = jnp.atleast_1d(as_float(values, name))
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"{name} must be an array (axis,) of one or more, got {values.shape}")
    require_finite(values, name)
    return values


def _repair(found, general, cells):
    """Cells that are fine but had no Cholesky factor, again by the general route."""
    cell, gradient = found
    lost = jnp.isnan(cell["value"]) & (cell["status"] == Status.ok)
    if not is_concrete(lost) or not bool(lost.any()):
        return found
    index = np.flatnonzero(np.asarray(lost))
    # whole powers of two, so that few programs are compiled
    few = np.resize(index, 2 ** math.ceil(math.log2(len(index))))
    again = general(cells[few])
    return jax.tree.map(lambda old, new: old.at[index].set(new[: len(index)]), found, again)


@eqx.filter_jit
def _evaluate(process, cells, given, *, row, name, places, gradients, fast):
    make = _modal_cell if fast else _general_cell
    one = make(process, given, row, name, places)
    if gradients:

        def value_and_cell(x):
            cell = one(x)
            return cell["value"], cell

        def both(x):
            (_, cell), slope = jax.value_and_grad(value_and_cell, has_aux=True)(x)
            return cell, poison(slope, cell["status"])

    else:

        def both(x):
            return one(x), None

    count = cells.shape[0]
    most = max(1, NUMBERS_AT_ONCE // process.dimension**2)
    size = min(CHUNK if fast else 8, most, count)
    padded = jnp.resize(cells, (-(-count // size), size, cells.shape[1]))
    out = jax.lax.map(jax.vmap(both), padded)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], out)


def _checked(changed, limits):
    """Out of range, a number of steps that is not whole, or beyond a stage's stability limit."""
    unstable = [
        stage.learning_rate * (high + (stage.weight_decay if shifts else 0.0))
        >= 2 * (1 + stage.momentum)
        for stage, (high, shifts) in zip(changed.stages, limits, strict=True)
    ]
    broken = [stage.steps != jnp.floor(stage.steps) for stage in changed.stages]
    return first_failure(
        *(stage.status for stage in changed.stages),
        *(status_if(b, Status.bad_input) for b in broken),
        *(status_if(u.any(), Status.unstable) for u in unstable),
    )


def _limits(process):
    """(largest eigenvalue, whether weight decay adds to it) of each stage."""
    found = []
    for stage in process.stages:
        plain = getattr(stage, "preconditioner", None) is None
        matrix = stage.hessian if plain else symmetric_hessian(stage)[0]
        found.append((extreme_eigenvalues(matrix)[1], plain))
    return found


def _general_cell(process, given, row, name, places):
    n_source, n_target, risk, source_risk, (delta_source, delta_target), _, prior = given
    total = delta_source + delta_target
    limits = _limits(process)

    def cell(x):
        changed = write(process, places, list(x))
        b = two_stage_bound(
            changed,
            n_source=n_source,
            n_target=n_target,
            risk=risk,
            source_risk=source_risk,
            delta=total,
            delta_split=(delta_source / total, delta_target / total),
            prior=prior,
            law="finite",
            bound=row,
            throw=False,
        )
        status = first_failure(_checked(changed, limits), b.status)
        t, s = b.target, b.source
        return _cell(t.value, t.gap, t.kl, t.risk, s.value, s.kl, status)

    return cell


def _modal_cell(process, given, row, name, places):
    n_source, n_target, risk, source_risk, (delta_source, delta_target), fine, prior = given
    first, second = (modal.modes(stage) for stage in process.stages)
    limits = [(fixed.rates[-1], True) for fixed in (first, second)]
    start = modal.rotated(process.initial, first.basis)
    before = modal.reference(modal.rotated(prior, first.basis))
    rotation = second.basis.T @ first.basis
    moving = any(place.stage == 0 for place in places)

    def source_of(stage):
        law = modal.after_steps(stage, first, start)
        own = modal.reference(law)
        kl = modal.divergence(law, own.logdet, before)
        value = _row(row, _risk(source_risk, law, first, "source_risk"), kl, n_source, delta_source)
        return modal.turned(law, rotation), modal.turned_reference(own, rotation), value, kl

    once = None if moving else source_of(process.stages[0])

    def cell(x):
        changed = write(process, places, list(x))
        source, reference, source_value, source_kl = (
            source_of(changed.stages[0]) if moving else once
        )
        law = modal.after_steps(changed.stages[1], second, source)
        finite = jnp.isfinite(law.mean).all() & jnp.isfinite(law.covariance).all()
        in_range = (n_source >= 1) & (n_target >= 1) & fine
        status = first_failure(
            _checked(changed, limits),
            status_if(~in_range, Status.bad_input),
            status_if(~finite, Status.diverged),
        )
        kl = modal.divergence(law, modal.reference(law).logdet, reference)
        empirical = _risk(risk, law, second, "risk")
        status = first_failure(
            status, status_if((empirical < 0) | (empirical > 1), Status.bad_input)
        )
        value = _row(row, empirical, kl, n_target, delta_target)
        return _cell(value, value - empirical, kl, empirical, source_value, source_kl, status)

    return cell


def _risk(risk, law, fixed, name):
    if not callable(risk):
        return as_risk(0.0 if risk is None else risk, name)
    covariance = fixed.basis @ law.covariance @ fixed.basis.T
    mean = fixed.basis @ law.mean
    return as_risk(risk(Gaussian(mean, Dense(covariance, check=False), check=False)), name)


def _row(row, risk, kl, n, delta):
    good = jnp.isfinite(kl) & (risk >= 0) & (risk <= 1)
    # rounding may leave -1e-16 where the laws coincide
    value = row(jnp.where(good, risk, 0.0), jnp.maximum(jnp.where(good, kl, 0.0), 0.0), n, delta)
    return jnp.where(good, value, jnp.nan)


def _cell(value, gap, kl, risk, source_value, source_kl, status):
    numbers = dict(value=value, gap=gap, kl=kl, source_value=source_value, source_kl=source_kl)
    sealed = {key: poison(x, status) for key, x in numbers.items()}
    return sealed | dict(risk=risk * jnp.ones_like(value), status=status)
