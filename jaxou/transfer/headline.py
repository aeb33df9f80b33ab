"""Certificates for fine-tuning from MNIST to UCI digits, set up the same way everywhere.

Two models: softmax regression (650 parameters) and a dense network 64-72-10 (5,410). The source
model, its weight decay by source validation, and all prior shapes see source images only.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._typing import PRNGKeyArray, Vector
from ..curvature.parameters import from_vector, to_vector
from .data import TransferData, coarser, load
from .descent import adam
from .domains import CLASSES, FEATURES, Examples
from .model import SoftmaxRegression, accuracy, cross_entropy
from .poses import posed_source

HIDDEN = 72
"""Hidden units of the network: 64 x 72 + 72 + 72 x 10 + 10 = 5,410 parameters."""

DECAYS = (1e-5, 1e-4, 1e-3)
"""Weight decays of the source model among which source validation chooses."""


class DenseNetwork(eqx.Module):
    """One hidden layer of rectified units; logits of one example x (features,).

    >>> to_vector(DenseNetwork.random(jax.random.key(0))).shape
    (5410,)
    """

    inner: Float[Array, "hidden features"]
    inner_bias: Float[Array, " hidden"]
    outer: Float[Array, "classes hidden"]
    outer_bias: Float[Array, " classes"]

    @classmethod
    def random(
        cls,
        key: PRNGKeyArray,
        features: int = FEATURES,
        hidden: int = HIDDEN,
        classes: int = CLASSES,
    ) -> "DenseNetwork":
        """He's random weights (2015), biases zero."""
        one, two = jax.random.split(key)
        inner = jax.random.normal(one, (hidden, features)) * np.sqrt(2.0 / features)
        outer = jax.random.normal(two, (classes, hidden)) / np.sqrt(hidden)
        return cls(inner, jnp.zeros(hidden), outer, jnp.zeros(classes))

    def __call__(self, x: Float[Array, " features"]) -> Float[Array, " classes"]:
        return self.outer @ jax.nn.relu(self.inner @ x + self.inner_bias) + self.outer_bias


class Problem(NamedTuple):
    """Everything that `certify` is given: a `model` of the right shape, the target `data`, the
    `source` images, both trained vectors (d,) and the `record` by which `jaxou verify` finds it."""

    model: Any
    data: TransferData
    source: Examples
    source_vector: Vector
    target_vector: Vector
    record: dict[str, Any]

    def arguments(self, shape_examples: int = 4000) -> dict[str, Any]:
        """Keyword arguments for `certify`; the prior's shape sees every k-th source image."""
        some = slice(None, None, max(1, len(self.source.y) // shape_examples))
        return dict(
            prior_center=self.source_vector,
            posterior_center=self.target_vector,
            target_data=self.data.target_train,
            source_data=Examples(self.source.x[some], self.source.y[some]),
            loss=cross_entropy,
        )


def digits_problem(
    kind: str = "softmax",
    *,
    n_target: int = 1200,
    seed: int = 0,
    posed: bool = True,
    poses: Any = None,
    decays: tuple[float, ...] = DECAYS,
    steps: int = 3000,
) -> Problem:
    """Train the source model, then fine-tune it on `n_target` labels.

    `posed` trains the source on its images in random poses too (`posed_source`), else on the
    images as they are. About 10 s for "softmax", 20 s for "network".
    """
    start, trial, tune = jax.random.split(jax.random.key(seed), 3)
    model = untrained(kind, start)
    data = load(n_target, seed=seed)
    train_set, test_set = data.source_train, data.source_test
    if posed:
        train_set, test_set = posed_source(seed, poses=poses)
    rate = 0.02 if kind == "softmax" else 2e-3
    found = [
        train(model, train_set, weight_decay=decay, steps=steps, rate=rate, key=trial)
        for decay in decays
    ]
    right = [accuracy(from_vector(model, vector), test_set) for vector in found]
    best = int(np.argmax(right))
    source = found[best]
    target = train(
        from_vector(model, source),
        data.target_train,
        weight_decay=decays[best],
        steps=steps // 3,
        rate=rate / 4,
        key=tune,
    )
    record = dict(name="digits", kind=kind, n_target=n_target, seed=seed)
    return Problem(model, data, train_set, source, target, record)


def untrained(kind: str, key: PRNGKeyArray | None = None, side: int = 8) -> Any:
    """The model of that kind before training, for its structure; `side` pixels for "softmax"."""
    if kind == "softmax":
        return SoftmaxRegression.zeros(side**2)
    if kind == "network":
        return DenseNetwork.random(jax.random.key(0) if key is None else key)
    raise ValueError(f"kind={kind!r} must be 'softmax' or 'network'")


def perceptron(width: int, activation: str = "tanh", seed: int = 0) -> eqx.nn.MLP:
    """64-width-10 before training; `activation` is a function of `jax.nn` by name."""
    key = jax.random.key(seed)
    return eqx.nn.MLP(FEATURES, CLASSES, width, 1, getattr(jax.nn, activation), key=key)


def train(
    model: Any,
    examples: Examples,
    *,
    weight_decay: float,
    steps: int,
    rate: float,
    key: PRNGKeyArray,
    batch: int = 128,
    loss: Callable[..., Any] = cross_entropy,
) -> Vector:
    """Adam on the mean loss + (weight_decay/2) |theta|^2 in float32, cosine rate: a vector (d,)."""
    low = lambda array: jnp.asarray(array, jnp.float32)
    vector = low(to_vector(model))
    shell = jax.tree.map(lambda a: low(a) if eqx.is_inexact_array(a) else a, model)
    return _train(
        shell, vector, low(examples.x), jnp.asarray(examples.y), jnp.float32(weight_decay),
        jnp.float32(rate), key, steps, min(batch, len(examples.y)), loss,
    ).astype(float)  # fmt: skip


@eqx.filter_jit
def _train(
    model: Any, vector: Vector, x: Array, y: Array, decay: Array, rate: Array, key: PRNGKeyArray,
    steps: int, batch: int, loss: Callable[..., Any],
) -> Vector:  # fmt: skip
    def objective(vector: Vector, rows: Array) -> Array:
        candidate = from_vector(model, vector)
        losses = jax.vmap(lambda x, y: loss(candidate, (x, y)))(x[rows], y[rows])
        return jnp.mean(losses) + 0.5 * decay * (vector @ vector)

    def slope(vector: Vector, index: Array) -> Vector:
        rows = jax.random.randint(jax.random.fold_in(key, index), (batch,), 0, x.shape[0])
        return jax.grad(objective)(vector, rows)

    return adam(slope, vector, steps=steps, rate=rate)


def recorded(record: dict[str, Any]) -> tuple[Any, Examples]:
    """Model and target sample of a built-in experiment from its record in a saved certificate."""
    if record.get("name") != "digits":
        raise ValueError(f"experiment {record.get('name')!r} is not built in; there is 'digits'")
    side = int(record.get("side", 8))
    data = coarser(load(int(record["n_target"]), seed=int(record["seed"])), side)
    if record["kind"] == "perceptron":
        return perceptron(int(record["width"]), record["activation"]), data.target_train
    return untrained(record["kind"], side=side), data.target_train
