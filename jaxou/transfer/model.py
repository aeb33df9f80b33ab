"""The super-model of the main experiment: softmax regression, and its losses."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import refuse_unless
from .domains import CLASSES, FEATURES


class SoftmaxRegression(eqx.Module):
    """Logits W x + b of one example x (features,): 10 x 64 + 10 = 650 parameters by default.

    Its logits are linear in the parameters, so its Hessian is its Gauss-Newton matrix, always
    positive semidefinite, and singular: adding one vector to every class changes nothing.

    >>> model = SoftmaxRegression.zeros()
    >>> model(jnp.ones(64)).shape
    (10,)
    """

    weight: Float[Array, "classes features"]
    bias: Float[Array, " classes"]

    @classmethod
    def zeros(cls, features: int = FEATURES, classes: int = CLASSES) -> "SoftmaxRegression":
        """The model that knows nothing: every class has probability 1/classes."""
        return cls(jnp.zeros((classes, features)), jnp.zeros(classes))

    def __call__(self, x: Float[Array, " features"]) -> Float[Array, " classes"]:
        return self.weight @ x + self.bias


def cross_entropy(model: Any, example: tuple[Any, Any]) -> Float[Array, ""]:
    """-log p(y | x) in nats for one example (x, y); weight decay is not part of it.

    Labels y are 0 to classes - 1. Another label raises `ValueError`, or is NaN where it is traced.

    >>> example = (jnp.ones(64), jnp.asarray(3))
    >>> round(float(cross_entropy(SoftmaxRegression.zeros(), example)), 4)  # log 10
    2.3026
    """
    x, y = example
    logs = jax.nn.log_softmax(model(jnp.asarray(x)))
    known = (y >= 0) & (y < logs.shape[0])  # indexing would take the nearest class
    refuse_unless(known, f"label {y} must lie from 0 to {logs.shape[0] - 1}: number classes so")
    # a factor of an entry that exists, so that the gradient is NaN too
    entry = logs[jnp.clip(y, 0, logs.shape[0] - 1)]
    return -entry * jnp.where(known, 1.0, jnp.nan).astype(logs.dtype)


def loss01(model: Any, x: Any, y: Any) -> Float[Array, ""]:
    """1 if the largest logit of one example is not its label's, else 0.

    >>> loss01(SoftmaxRegression.zeros(), jnp.ones(64), jnp.asarray(3))
    Array(1., dtype=...)
    """
    logits = model(jnp.asarray(x))
    return (jnp.argmax(logits) != y).astype(logits.dtype)


@eqx.filter_jit
def _mean_loss01(model: Any, x: Array, y: Array) -> Float[Array, ""]:
    return jnp.mean(jax.vmap(lambda x, y: loss01(model, x, y))(x, y))


def accuracy(model: Any, examples: tuple[Any, Any]) -> float:
    """Share of the examples (x, y) whose largest logit is their label's.

    >>> accuracy(SoftmaxRegression.zeros(), (jnp.zeros((4, 64)), jnp.array([0, 0, 1, 2])))
    0.5
    """
    x, y = examples
    return 1.0 - float(_mean_loss01(model, jnp.asarray(x), jnp.asarray(y)))
