"""One cell of real digits: optimum, curvature and noise of both stages, theory, and real SGD."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .... import bounds
from ...._status import Status, first_failure, status_if
from ....laws import Gaussian
from ....linalg.factor import solve
from ....linalg.matrices import Dense
from ....linalg.spectrum import extreme_eigenvalues
from ....stages import Stage, TwoStage
from ....transfer.domains import CLASSES
from ..base import Outcome
from .config import DigitsConfig
from .images import Images, domains


class Fit(NamedTuple):
    """The optimum of a penalised loss (d,), and A and C there; how long the gradient still is."""

    point: Any
    hessian: Any
    noise: Any
    gradient: Any


def evaluate(
    configs: list[DigitsConfig], quantities: tuple[str, ...], size: int, devices: int
) -> list[Outcome]:
    """The outcomes, one cell after the other; about a second each once compiled."""
    with jax.enable_x64(True):
        return [_cell(config, quantities) for config in configs]


def _cell(config: DigitsConfig, quantities: tuple[str, ...]) -> Outcome:
    data = domains(config)
    stages, fits = [], []
    start = jnp.zeros(CLASSES * data.source.x.shape[1])
    for name, sample in (("pretrain", data.source), ("finetune", data.target)):
        about = getattr(config, name)
        found = fit(sample, jnp.asarray(about.weight_decay), start)
        start = found.point
        fits.append(found)
        stages.append(
            Stage(
                hessian=found.hessian,
                noise=Dense(found.noise, check=False),
                minimum=found.point,
                anchor=found.point,  # the optimum of the penalised loss: nothing pulls it away
                learning_rate=about.learning_rate,
                batch_size=about.batch_size,
                steps=about.steps,
                momentum=about.momentum,
                weight_decay=about.weight_decay,
            )
        )
    lost = max(float(found.gradient) for found in fits)
    if not lost < 1e-7:
        return Outcome(
            dict.fromkeys(quantities, float("nan")),
            f"the optimum was not found, the gradient is still {lost:.1e}: raise weight_decay",
        )
    initial = Gaussian(jnp.zeros_like(start), config.initial_scale**2)
    theory, status, law = _theory(config, TwoStage(*stages, initial=initial))
    ends = _replicas(config, data)
    measured = _measured(data, *ends, fits)
    spread = jnp.trace(jnp.cov(ends[1].T)) / jnp.trace(law.covariance)
    risk = measured["train_error"]
    found = measured | theory | {"trace_ratio": spread}
    n, half = config.data.n_target, config.bound.delta / 2
    if bool(status == Status.ok) and not np.isnan(float(theory["kl"])):
        row = bounds.find_row(config.bound.row)
        found["target_bound"] = row(float(risk), max(float(theory["kl"]), 0.0), n, half)
        found["gap"] = found["target_bound"] - risk
    else:
        found |= dict.fromkeys(("target_bound", "gap", *theory), float("nan"))
    values = {name: float(found[name]) for name in quantities}
    return Outcome(values, Status[status])


def _theory(config: DigitsConfig, process: TwoStage):
    """What the laws say, whether they exist, and the target's law."""
    found = bounds.discrepancy(process, law=config.law, throw=False)
    source, target = process.stages
    unstable = [
        s.learning_rate * extreme_eigenvalues(s.effective_hessian)[1] >= 2 * (1 + s.momentum)
        for s in process.stages
    ]
    status = first_failure(*(status_if(u, Status.unstable) for u in unstable), found.status)
    d = process.dimension
    left = jnp.zeros((d, d))
    if config.law == "finite":
        left = target.kernel(target.steps).matrix.dense()[:d, :d]
    tilted = solve(target.effective_hessian.dense(), target.noise.dense())
    numbers = {
        "discrepancy": found.value,
        "discrepancy_trace": found.trace,
        "discrepancy_logdet": found.logdet,
        "discrepancy_shift": found.shift,
        "kl": found.kl,
        "kl_source": found.source.kl(process.initial),
        "transfer_gain": found.target.kl(process.initial) - found.kl,
        "expected_gap": jnp.trace((jnp.eye(d) - left) @ tilted) / config.data.n_target,
        "sharpness": extreme_eigenvalues(target.effective_hessian)[1],
    }
    return numbers, status, found.target


@jax.jit
def fit(sample: Images, decay: Any, start: Any) -> Fit:
    """Newton's method on (1/n) sum_i cross-entropy + decay / 2 |theta|^2, softmax regression.

    Convex: steps are halved until they descend. A is the exact Hessian without the decay, C the
    covariance over 1 / (n - 1) of one example's gradient.
    """
    share = sample.weight / jnp.sum(sample.weight)
    x, labels = sample.x, jax.nn.one_hot(sample.y, CLASSES)
    d = start.size

    def value(point):
        scores = x @ point.reshape(CLASSES, -1).T
        losses = jax.nn.logsumexp(scores, axis=1) - jnp.sum(scores * labels, axis=1)
        return jnp.sum(share * losses) + decay / 2 * (point @ point)

    def hessian(point):
        p = jax.nn.softmax(x @ point.reshape(CLASSES, -1).T, axis=1)
        outer = jnp.einsum("n,ni,nj->ijn", share, x, x)
        inner = jnp.einsum("na,ab->abn", p, jnp.eye(CLASSES)) - jnp.einsum("na,nb->abn", p, p)
        features = x.shape[1]
        flat = inner.reshape(CLASSES**2, -1) @ outer.reshape(features**2, -1).T
        blocks = flat.reshape(CLASSES, CLASSES, features, features)
        full = blocks.transpose(0, 2, 1, 3).reshape(d, d)
        return (full + full.T) / 2

    def body(state):
        point, gradient, count = state
        step = solve(hessian(point) + decay * jnp.eye(d), gradient[:, None])[:, 0]
        here, slope = value(point), gradient @ step

        def too_long(carry):
            length, halvings = carry
            allowed = here - 1e-4 * length * slope + 1e-14 * jnp.abs(here)
            return (value(point - length * step) > allowed) & (halvings < 30)

        halve = lambda carry: (carry[0] / 2, carry[1] + 1)
        length, _ = lax.while_loop(too_long, halve, (jnp.ones(()), 0))
        new = point - length * step
        return new, jax.grad(value)(new), count + 1

    def unfinished(state):
        _, gradient, count = state
        return (jnp.linalg.norm(gradient) > 1e-10) & (count < 50)

    first = (start, jax.grad(value)(start), 0)
    point, gradient, _ = lax.while_loop(unfinished, body, first)
    pull = jax.nn.softmax(x @ point.reshape(CLASSES, -1).T, axis=1) - labels
    each = (pull[:, :, None] * x[:, None, :]).reshape(x.shape[0], d)
    centred = each - (share @ each)[None, :]
    n = jnp.sum(sample.weight)
    noise = (centred * share[:, None]).T @ centred * (n / (n - 1))
    return Fit(point, hessian(point), (noise + noise.T) / 2, jnp.linalg.norm(gradient))


def _replicas(config: DigitsConfig, data: Any):
    """End points (replicas, d) of real SGD after each stage."""
    key = jax.random.key(config.seed)
    d = CLASSES * data.source.x.shape[1]
    position = config.initial_scale * jax.random.normal(
        jax.random.fold_in(key, 0), (config.replicas, d)
    )
    ends = []
    for number, (name, sample) in enumerate((("pretrain", data.source), ("finetune", data.target))):
        about = getattr(config, name)
        numbers = [about.learning_rate, about.momentum, about.weight_decay]
        position = _sgd(
            sample,
            position,
            jax.random.fold_in(key, 1 + number),
            jnp.asarray(numbers),
            jnp.asarray(about.steps),
            about.batch_size,
        )
        ends.append(position)
    return ends


@functools.partial(jax.jit, static_argnames="batch")
def _sgd(sample: Images, starts, key, numbers, steps, batch: int):
    """Minibatch SGD from each start, batches drawn with replacement from the real examples."""
    rate, momentum, decay = numbers
    count = jnp.sum(sample.weight).astype(int)
    replicas = starts.shape[0]

    def body(k, state):
        position, buffer = state
        rows = jax.random.randint(jax.random.fold_in(key, k), (replicas, batch), 0, count)
        x, y = sample.x[rows], sample.y[rows]
        weights = position.reshape(replicas, CLASSES, -1)
        p = jax.nn.softmax(jnp.einsum("rbf,rcf->rbc", x, weights), axis=2)
        pull = (p - jax.nn.one_hot(y, CLASSES)) / batch
        gradient = jnp.einsum("rbc,rbf->rcf", pull, x).reshape(position.shape)
        buffer = momentum * buffer + gradient + decay * position
        return position - rate * buffer, buffer

    return lax.fori_loop(0, steps, body, (starts, jnp.zeros_like(starts)))[0]


@jax.jit
def _errors(points, sample: Images):
    """(0-1 errors, cross-entropies) of each point (m, d) on a weighted sample."""
    share = sample.weight / jnp.sum(sample.weight)

    def one(point):
        scores = sample.x @ point.reshape(CLASSES, -1).T
        own = jnp.take_along_axis(scores, sample.y[:, None], axis=1)[:, 0]
        wrong = (jnp.argmax(scores, axis=1) != sample.y).astype(scores.dtype)
        return share @ wrong, share @ (jax.nn.logsumexp(scores, axis=1) - own)

    return lax.map(one, points)


def _measured(data: Any, middle, end, fits: list[Fit]) -> dict[str, Any]:
    test, test_loss = _errors(end, data.target_test)
    train, train_loss = _errors(end, data.target)
    mean = lambda points, sample: jnp.mean(_errors(points, sample)[0])
    return {
        "test_error": test.mean(),
        "test_error_se": test.std(ddof=1) / np.sqrt(test.size),
        "train_error": train.mean(),
        "generalisation_gap": (test - train).mean(),
        "test_loss": test_loss.mean(),
        "train_loss": train_loss.mean(),
        "generalisation_gap_loss": (test_loss - train_loss).mean(),
        "zero_shot_error": mean(middle, data.target_test),
        "source_test_error": mean(middle, data.source_test),
        "forgetting_error": mean(end, data.source_test),
        "optimum_error": mean(fits[1].point[None, :], data.target_test),
        "shift_length": jnp.linalg.norm(fits[1].point - fits[0].point),
    }
