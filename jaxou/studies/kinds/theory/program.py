"""Many cells of one shape in one compiled program.

Everything but the shape is an array argument, so a study compiles once. On a CPU the cells of a
batch run one after another inside the program: a cell's matrices stay in the cache, and its bits
cannot depend on its place in the batch. On an accelerator they run side by side.
"""

from __future__ import annotations

import functools
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...._status import Status, first_failure, poison, status_if
from ....bounds import SaturatedRisk, find_row
from ....bounds.modal import State, divergence, reference
from ....config import leaves
from ....laws import Gaussian
from ....linalg.matrices import Dense
from ....stages import Stage
from ..base import Outcome
from .config import TheoryConfig
from .laws import Bowl, bowl_of, reach, slowest
from .problem import Draw, draw, noise_weights, spectrum, turned_pairs
from .quantities import ROWS

WELL = 1e11
"""Spread of variances up to which a Cholesky factor serves; beyond, the general route."""


class Shape(NamedTuple):
    """What the program is compiled for."""

    dimension: int
    law: str
    row: str
    risk: str
    pretrain_momentum: bool
    finetune_momentum: bool


def evaluate(
    configs: list[TheoryConfig], quantities: tuple[str, ...], size: int, devices: int
) -> list[Outcome]:
    """The outcomes of cells of one shape; `configs` are filled up to `size` per device."""
    from . import _shape

    shape = Shape(*_shape(configs[0]))
    filled = configs + configs[-1:] * (size * devices - len(configs))
    numbers = _numbers(filled)
    draws = [draw(c.problem.seed, shape.dimension) for c in filled]
    stacked = Draw(*(np.stack(parts) for parts in zip(*draws, strict=True)))
    with jax.enable_x64(True):
        program = _program(shape, quantities, devices)
        values, status, fragile = jax.tree.map(np.asarray, program(numbers, stacked))
    codes = _code(status)
    outcomes = []
    for lane, config in enumerate(configs):
        if fragile[lane]:
            from .general import evaluate_one

            outcomes.append(evaluate_one(config, quantities))
            continue
        found = {name: float(values[name][lane]) for name in quantities}
        outcomes.append(Outcome(found, words(found, _sentences()[int(codes[lane])])))
    return outcomes


@functools.cache
def _sentences() -> dict[int, str]:
    """Code of a status -> its words; looking one up costs no array."""
    every = (
        Status.ok,
        Status.bad_input,
        Status.no_steady_law,
        Status.unstable,
        Status.not_contracting,
        Status.diverged,
        Status.not_positive,
    )
    return {_code(status).item(): Status[status] for status in every}


def _code(status: Status) -> Any:
    (code,) = jax.tree.leaves(status)
    return np.asarray(code)


def words(values: dict[str, float], status: str) -> str:
    """The status, or which quantities have no value where it is ok."""
    undefined = [name for name, value in values.items() if np.isnan(value)]
    return status or (f"no value for {', '.join(undefined)} at these settings" * bool(undefined))


def _numbers(configs: list[TheoryConfig]) -> dict[str, np.ndarray]:
    """Every number of the settings as an array over the cells."""
    names = [name for name, value, _ in leaves(configs[0]) if isinstance(value, int | float)]
    read = operator.attrgetter(*names)
    table = np.array([read(config) for config in configs], dtype=float)
    return dict(zip(names, table.T.copy(), strict=True))


@functools.lru_cache(maxsize=32)
def _program(shape: Shape, quantities: tuple[str, ...], devices: int) -> Any:
    one = functools.partial(_cell, shape, quantities)
    on_cpu = jax.default_backend() == "cpu"
    many = (lambda *xs: lax.map(lambda x: one(*x), xs)) if on_cpu else jax.vmap(one)
    if devices == 1:
        return jax.jit(many)
    mesh = jax.make_mesh(
        (devices,),
        ("cells",),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.local_devices()[:devices],
    )
    spec = jax.sharding.PartitionSpec("cells")
    return jax.jit(jax.shard_map(many, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False))


def _cell(shape: Shape, quantities: tuple[str, ...], x: dict[str, Any], parts: Draw) -> Any:
    """One cell: (its quantities, its status, whether it needs the general route)."""
    d, law = shape.dimension, shape.law
    angle = x["problem.tilt"] * (np.pi / 180)
    to_target = lambda y: turned_pairs(y, -angle, jnp)
    first_minimum = x["problem.distance"] * parts.start
    second_minimum = to_target(first_minimum + x["problem.shift"] * parts.shift)
    source = _bowl(x, "pretrain", shape.pretrain_momentum, parts.source_basis, first_minimum)
    target = _bowl(x, "finetune", shape.finetune_momentum, parts.target_basis, second_minimum)
    variance = x["problem.tau"] ** 2
    start = State(jnp.zeros(d), variance * jnp.eye(d))

    reached_source = reach(source, start, law).law
    own = reference(reached_source)
    turned = State(to_target(reached_source.mean), _both_sides(reached_source.covariance, angle))
    reached = reach(target, turned, law)
    last = reference(reached.law)
    prior = own._replace(mean=turned.mean, inverse=_both_sides(own.inverse, angle))

    trace = jnp.sum(prior.inverse * reached.law.covariance)
    delta = reached.law.mean - prior.mean
    shift = delta @ prior.inverse @ delta
    kl = jnp.maximum(divergence(reached.law, last.logdet, prior), 0.0)
    kl_source = _kl_isotropic(reached_source, own.logdet, variance)
    kl_scratch = _kl_isotropic(reached.law, last.logdet, variance)

    status = first_failure(
        *(_stability(bowl, law) for bowl in (source, target)),
        *(status_if(~_finite(state), Status.diverged) for state in (reached_source, reached.law)),
    )
    spread = jnp.maximum(_spread(reached_source, own), _spread(reached.law, last))
    fragile = (status == Status.ok) & ~((spread < WELL) & jnp.isfinite(kl))

    risks = [
        _risk(shape, x, bowl, state)
        for bowl, state in ((source, reached_source), (target, reached.law))
    ]
    kls, sizes = (kl_source, kl), (x["bound.n_source"], x["bound.n_target"])
    half = x["bound.delta"] / 2

    def bound(row: str, stage: int):
        good = jnp.isfinite(kls[stage]) & (status == Status.ok)
        safe = jnp.where(good, kls[stage], 0.0), jnp.where(good, risks[stage], 0.0)
        return jnp.where(good, find_row(row)(safe[1], safe[0], sizes[stage], half), jnp.nan)

    bounds = [bound(shape.row, stage) for stage in (0, 1)]
    in_source = State(
        turned_pairs(reached.law.mean, angle, jnp), _both_sides(reached.law.covariance, -angle)
    )
    gaps = [bounds[k] - risks[k] for k in (0, 1)]
    found = {
        "discrepancy": 2 * kl,
        "discrepancy_trace": trace,
        "discrepancy_logdet": own.logdet - last.logdet,
        "discrepancy_shift": shift,
        "discrepancy_covariance": 2 * kl - shift,
        "kl": kl,
        "kl_source": kl_source,
        "kl_scratch": kl_scratch,
        "transfer_gain": kl_scratch - kl,
        "risk": risks[1],
        "source_risk": risks[0],
        "target_bound": bounds[1],
        "gap": gaps[1],
        "source_bound": bounds[0],
        "gap_source": gaps[0],
        "gap_sum": gaps[0] + gaps[1],
        "excess_loss": _excess(target, reached.law),
        "excess_loss_source": _excess(source, reached_source),
        "zero_shot": _excess(target, turned),
        "forgetting": _excess(source, in_source),
        "expected_gap": jnp.sum((1 - reached.left) * jnp.diag(target.modes.noise) / target.rates)
        / x["bound.n_target"],
        "relaxation_steps": slowest(target, law),
        "relaxation_steps_source": slowest(source, law),
        "temperature": target.stage.noise_ratio
        * jnp.mean(jnp.diag(target.modes.noise))
        / (2 * (1 - target.stage.momentum)),
        **{f"target_bound.{row}": bound(row, 1) for row in ROWS},
    }
    return {name: poison(found[name], status) for name in quantities}, status, fragile


def _bowl(x, name: str, momentum: bool, basis, minimum) -> Bowl:
    d = basis.shape[0]
    values = spectrum(x[f"{name}.sharpness"], x[f"{name}.condition"], d, jnp)
    weights = noise_weights(x[f"{name}.noise_rank"], x[f"{name}.noise_condition"], d, jnp)
    share = x[f"{name}.alignment"]
    random = (basis * weights[None, :]) @ basis.T
    noise = x[f"{name}.noise"] * (
        share * jnp.diag(values / jnp.mean(values)) + (1 - share) * (random + random.T) / 2
    )
    stage = Stage(
        hessian=values,
        noise=Dense(noise, check=False),
        minimum=minimum,
        learning_rate=x[f"{name}.learning_rate"],
        batch_size=x[f"{name}.batch_size"],
        steps=x[f"{name}.steps"],
        momentum=x[f"{name}.momentum"] if momentum else 0.0,
        weight_decay=x[f"{name}.weight_decay"],
    )
    return bowl_of(stage, values, noise, minimum)


def _both_sides(matrix, angle):
    """R^T M R for the turn R by `angle`."""
    once = turned_pairs(matrix, -angle, jnp)
    return turned_pairs(once.T, -angle, jnp).T


def _kl_isotropic(state: State, logdet, variance):
    """KL(state || N(0, variance I))."""
    d = state.mean.size
    energy = (jnp.trace(state.covariance) + state.mean @ state.mean) / variance
    return jnp.maximum((energy - d + d * jnp.log(variance) - logdet) / 2, 0.0)


def _stability(bowl: Bowl, law: str) -> Status:
    stage = bowl.stage
    if law == "gibbs":
        return stage.status
    unstable = stage.learning_rate * bowl.rates.max() >= 2 * (1 + stage.momentum)
    return first_failure(stage.status, status_if(unstable, Status.unstable))


def _finite(state: State):
    return jnp.isfinite(state.mean).all() & jnp.isfinite(state.covariance).all()


def _spread(state: State, own):
    """At least the condition number of the covariance over d^2, at most the condition number."""
    return jnp.max(jnp.diag(state.covariance)) * jnp.max(jnp.diag(own.inverse))


def _risk(shape: Shape, x, bowl: Bowl, state: State):
    if shape.risk == "fixed":
        return x["bound.floor"]
    risk = SaturatedRisk(
        bowl.stage.hessian, bowl.modes.minimum, floor=x["bound.floor"], scale=x["bound.scale"]
    )
    return risk(Gaussian(state.mean, Dense(state.covariance, check=False), check=False))


def _excess(bowl: Bowl, state: State):
    gap = state.mean - bowl.modes.minimum
    values = bowl.modes.rates
    return (jnp.sum(values * jnp.diag(state.covariance)) + jnp.sum(values * gap**2)) / 2
