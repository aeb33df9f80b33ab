"""Experiments with data of their own: `jaxou run diabetes` and `jaxou run network`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from ... import transfer
from ...config import DiabetesConfig, NetworkConfig
from ...curvature import to_vector
from ...curvature.estimate import DENSE_PARAMETERS
from ...transfer.experiment import diabetes as _diabetes
from ...transfer.headline import perceptron
from .user import Report, Step, run


def run_diabetes(config: DiabetesConfig, step: Step) -> Report:
    """Ridge regression, one sex to the other: three theories beside real SGD, and the report."""
    source, target = _diabetes.domains()
    found = []
    for rate in _diabetes.LEARNING_RATES:
        with step(f"Running SGD {config.replicas:,} times at learning rate {rate:g}"):
            found.append(
                _diabetes.compare(
                    (source, target), rate, runs=config.replicas, seed=config.seed,
                    batch_size=config.batch_size,
                )
            )  # fmt: skip
    return run(
        jnp.zeros(source.x.shape[1]),
        _diabetes.squared_error,
        tuple(source),
        tuple(target),
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        steps=round(_diabetes.FLOW_TIME / config.learning_rate),
        weight_decay=_diabetes.WEIGHT_DECAY,
        replicas=config.replicas,
        seed=config.seed,
        out=config.out,
        title="Ridge regression on diabetes, from one sex to the other",
        extra={"theories": found},
        step=step,
    )


def run_network(config: NetworkConfig, step: Step) -> Report:
    """A small dense network from MNIST to UCI digits, by optax; all layers or the last one."""
    data = transfer.load(config.n_target)
    source, target, test = data.source_train, data.target_train, data.target_test
    if config.poses:
        with step("Turning and stretching MNIST"):
            source, _ = transfer.posed_source(poses=transfer.mnist_poses(config.poses))
    some = slice(None, None, 1 + config.poses)  # enough for curvature, and of every pose
    network = perceptron(config.width, config.activation, config.seed)
    trainable = None
    with step("Pre-training on MNIST"):
        pretrained = _adam(network, source, config.pretrain_steps, config, 1)
    if config.layers == "last":
        nothing = jax.tree.map(lambda _: False, network)
        chosen = lambda n: (n.layers[-1].weight, n.layers[-1].bias)
        trainable = eqx.tree_at(chosen, nothing, replace=(True, True))
        finetuned = None  # a convex loss: its optimum
    else:
        with step("Fine-tuning on UCI digits"):
            finetuned = _adam(pretrained, target, config.finetune_steps, config, 2)
            # a law about a point asks for one where the gradient vanishes
            finetuned = transfer.polish(
                finetuned, transfer.cross_entropy, tuple(target), weight_decay=config.weight_decay
            ).model
    size = to_vector(pretrained, trainable).size
    return run(
        pretrained,
        transfer.cross_entropy,
        (source.x[some], source.y[some]),
        tuple(target),
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        steps=config.steps,
        weight_decay=config.weight_decay,
        loss01=transfer.loss01,
        test=tuple(test),
        pretrained=pretrained,
        finetuned=finetuned,
        trainable=trainable,
        replicas=config.replicas,
        draws=config.draws,
        seed=config.seed,
        out=config.out,
        title=f"A network 64-{config.width}-10 from MNIST to UCI digits, {config.layers} layer(s)",
        # the steady law's shape is the better one for many parameters, by runs of both
        certificate=dict(shape="steady", monte_carlo="bernstein")
        if size > DENSE_PARAMETERS
        else dict(shape="laplace"),
        # other layers than the last could not be made again without training
        experiment=None if trainable is not None else dict(
            name="digits", kind="perceptron", n_target=config.n_target, seed=0,
            width=config.width, activation=config.activation,
        ),
        step=step,
    )  # fmt: skip


def _adam(model: Any, data: Any, steps: int, config: NetworkConfig, number: int) -> Any:
    """Minibatch Adam on the penalised loss; every number is an argument of one program."""
    x, y = map(jnp.asarray, data)
    key = jax.random.fold_in(jax.random.key(config.seed), number)
    return _train(model, x, y, key, jnp.asarray(steps), jnp.asarray(config.weight_decay))


@eqx.filter_jit
def _train(model, x, y, key, steps, weight_decay):
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    rate = lambda k: 3e-3 * jnp.where(k < steps // 2, 1.0, 0.1)
    optimiser = optax.adam(rate)

    def loss(w, rows):
        one = lambda x, y: transfer.cross_entropy(eqx.combine(w, rest), (x, y))
        penalty = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(w))
        return jnp.mean(jax.vmap(one)(x[rows], y[rows])) + 0.5 * weight_decay * penalty

    def body(k, carry):
        w, state = carry
        rows = jax.random.randint(jax.random.fold_in(key, k), (64,), 0, x.shape[0])
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
            change, state = optimiser.update(jax.grad(loss)(w, rows), state, w)
        return optax.apply_updates(w, change), state

    start = (weights, optimiser.init(weights))
    return eqx.combine(jax.lax.fori_loop(0, steps, body, start)[0], rest)


BUILT_IN: dict[str, Callable[[Any, Step], Report]] = {
    "diabetes": run_diabetes,
    "network": run_network,
}
