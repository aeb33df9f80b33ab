"""The risk of a randomised predictor by drawing its weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._check import as_count, as_key
from .._typing import PRNGKeyArray, Scalar, Vector
from ..curvature.batching import example_count
from ..curvature.parameters import call_loss, from_vector


class Risk(NamedTuple):
    """A mean loss and its standard error, which counts both the draws and the examples."""

    value: float
    standard_error: float


class LossTable(eqx.Module):
    """Mean loss of every draw (draws,) and of every example (examples,), and how many single
    losses were `outside` [0, 1] or NaN."""

    by_draw: Float[Array, " draws"]
    by_example: Float[Array, " examples"]
    outside: Int[Array, ""]

    @property
    def risk(self) -> Scalar:
        """The mean over all draws and examples."""
        return jnp.mean(self.by_draw)


def draw_losses(
    model: Any,
    loss01: Callable[..., Any],
    data: Any,
    mean: Vector,
    root: Float[Array, "d k"],
    *,
    key: PRNGKeyArray,
    draws: int,
    trainable: Any = None,
) -> LossTable:
    """Losses of `draws` weight vectors mean + root xi, xi ~ N(0, I), on every example of `data`.

    Cost draws (2 d k + one pass over the data); blocks of draws keep memory flat.

    >>> table = draw_losses(jnp.zeros(1), lambda m, z: (m[0] > z).astype(float), jnp.zeros(4),
    ...     jnp.zeros(1), jnp.ones((1, 1)), key=jax.random.key(0), draws=1000)
    >>> bool(abs(table.risk - 0.5) < 0.05)
    True
    """
    law = _Affine(mean, root)
    return law_losses(model, loss01, data, law, key=key, draws=draws, trainable=trainable)


def law_losses(
    model: Any,
    loss01: Callable[..., Any],
    data: Any,
    law: Any,
    *,
    key: PRNGKeyArray,
    draws: int,
    trainable: Any = None,
) -> LossTable:
    """The same for any `law` with `law.width` normals a draw and `law.draw(normals)`."""
    data, key = jax.tree.map(jnp.asarray, data), as_key(key)
    draws = as_count(draws, "draws")
    block = int(min(draws, max(1, min(256, 400_000 // example_count(data)))))
    return _draw_losses(model, loss01, data, law, key, draws, block, trainable)


class _Affine(eqx.Module):
    """Draws mean + root xi."""

    mean: Vector
    root: Float[Array, "d k"]

    @property
    def width(self) -> int:
        return self.root.shape[1]

    def draw(self, noise: Float[Array, "draws k"]) -> Float[Array, "draws d"]:
        return self.mean[None, :] + noise @ self.root.T


@eqx.filter_jit
def _draw_losses(
    model: Any,
    loss01: Callable[..., Any],
    data: Any,
    law: Any,
    key: PRNGKeyArray,
    draws: int,
    block: int,
    trainable: Any,
) -> LossTable:
    blocks = -(-draws // block)

    def one(index: Array) -> tuple[Array, Array, Array]:
        noise = jax.random.normal(jax.random.fold_in(key, index), (block, law.width))
        losses = losses_at(model, loss01, data, law.draw(noise), trainable)
        used = (index * block + jnp.arange(block) < draws)[:, None]
        outside = used & ~((losses >= 0.0) & (losses <= 1.0))
        by_example = jnp.sum(jnp.where(used, losses, 0.0), axis=0)
        return jnp.mean(losses, axis=1), by_example, jnp.sum(outside)

    by_draw, by_example, outside = jax.lax.map(one, jnp.arange(blocks))
    means = by_draw.reshape(-1)[:draws], jnp.sum(by_example, axis=0) / draws
    return LossTable(*means, jnp.sum(outside))


def losses_at(
    model: Any,
    loss01: Callable[..., Any],
    data: Any,
    weights: Float[Array, "draws d"],
    trainable: Any = None,
) -> Float[Array, "draws examples"]:
    """The loss of every weight vector on every example."""

    def one(vector: Vector) -> Float[Array, " examples"]:
        candidate = from_vector(model, vector, trainable)
        return jax.vmap(lambda example: call_loss(loss01, candidate, example))(data)

    losses = jax.vmap(one)(weights)
    if losses.ndim != 2:
        raise ValueError(
            f"loss01(model, x, y) must return one number for one example, got shape "
            f"{losses.shape[2:]}: x and y come without a batch axis"
        )
    return losses.astype(weights.dtype)


def risk_of(table: LossTable) -> Risk:
    """Value and standard error of a loss table."""
    draws, examples = table.by_draw.shape[0], table.by_example.shape[0]
    variance = jnp.var(table.by_draw) / draws + jnp.var(table.by_example) / examples
    return Risk(float(table.risk), float(jnp.sqrt(variance)))
