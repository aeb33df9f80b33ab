"""Real minibatch SGD, many independent runs at once: what the theory's law has to match."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._check import (
    as_count,
    as_float,
    as_key,
    as_number,
    refuse_unless,
    require_finite,
    show_value,
)
from .._typing import Particles, PRNGKeyArray, Scalar, ScalarLike, Vector
from ..curvature.batching import example_count
from ..curvature.parameters import bind, from_vector, to_vector
from .optimum import penalty


class Replicas(eqx.Module):
    """Parameter vectors of R runs at K steps: `steps` (K,) and `positions` (K, R, d)."""

    steps: Int[np.ndarray, " saves"]
    positions: Float[Array, "saves particles d"]

    @property
    def final(self) -> Particles:
        """The runs after the last step, (R, d)."""
        return self.positions[-1]

    def mean_model(self, model: Any, trainable: Any = None) -> Any:
        """`model` at the mean of the final runs: the end-of-stage average."""
        return from_vector(model, jnp.mean(self.final, axis=0), trainable)


def sgd_replicas(
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    *,
    starts: Any,
    learning_rate: ScalarLike,
    batch_size: int,
    steps: int,
    key: PRNGKeyArray,
    momentum: ScalarLike = 0.0,
    weight_decay: ScalarLike = 0.0,
    saves: int | Sequence[int] = 1,
    trainable: Any = None,
    chunk: int = 64,
) -> Replicas:
    r"""Run SGD on the real loss from `starts` (R, d), batches drawn with replacement.

        m <- momentum m + g(theta) + weight_decay theta,   theta <- theta - learning_rate m

    with m = 0 at the start (optax's convention). `loss(model, example)` is one example's loss;
    `saves` is a number of equally spaced steps ending at the last one, or the steps themselves
    (0 is the start). Replica r at step k draws its batch from fold_in(fold_in(key, r), k) alone,
    so adding replicas keeps the old ones, and so does any `chunk` up to the order of sums.
    Cost R steps batch_size gradients; memory chunk x batch_size of them. New values of
    learning_rate, momentum, weight_decay and steps do not compile anew. Runs from given points of
    one stage; `RealSGD` is the method for whole chains, their verdicts, checkpoints and schedules.
    Raises `ValueError` naming what cannot be. Runs that diverge end in inf or NaN.

    >>> loss = lambda model, example: 0.5 * (model[0] - example) ** 2
    >>> run = sgd_replicas(jnp.zeros(1), loss, jnp.array([1.0, 3.0]), starts=jnp.zeros((5, 1)),
    ...     learning_rate=0.1, batch_size=2, steps=20, key=jax.random.key(0), saves=[0, 20])
    >>> run.positions.shape, run.steps.tolist()
    ((2, 5, 1), [0, 20])
    """
    size, key = to_vector(model, trainable).shape[0], as_key(key)
    starts = as_float(starts, "starts")
    if starts.ndim != 2 or starts.shape[1] != size:
        raise ValueError(f"starts must have shape (replicas, {size}), got {starts.shape}")
    require_finite(starts, "starts")
    rate, beta = as_number(learning_rate, "learning_rate"), as_number(momentum, "momentum")
    refuse_unless(rate > 0, f"learning_rate={show_value(rate)} must be positive")
    refuse_unless((beta >= 0) & (beta < 1), f"momentum={show_value(beta)} must lie in [0, 1)")
    batch_size = as_count(batch_size, "batch_size")
    save_steps = _save_steps(saves, as_count(steps, "steps"))
    data = jax.tree.map(jnp.asarray, data)
    example_count(data)
    sgd = _SGD(model, loss, data, rate, beta, penalty(weight_decay), key, trainable, batch_size)

    # whole chunks only (the last one repeats replica 0), so that one program serves all of them
    count = starts.shape[0]
    chunk = min(as_count(chunk, "chunk"), count)
    index = np.arange(-(-count // chunk) * chunk)
    index = np.where(index < count, index, 0).reshape(-1, chunk)
    parts = [
        _run_chunk(sgd, starts[rows], jnp.asarray(rows), jnp.asarray(save_steps)) for rows in index
    ]
    return Replicas(save_steps, jnp.concatenate(parts, axis=1)[:, :count])


class _SGD(eqx.Module):
    """Everything but the replica: one step of one run."""

    model: Any
    loss: Callable[..., Any] = eqx.field(static=True)
    data: Any
    learning_rate: Scalar
    momentum: Scalar
    weight_decay: Scalar
    key: PRNGKeyArray
    trainable: Any
    batch_size: int = eqx.field(static=True)

    def step(self, replica: Array, step: Array, state: tuple[Vector, Vector]) -> tuple:
        position, buffer = state
        key = jax.random.fold_in(jax.random.fold_in(self.key, replica), step)
        rows = jax.random.randint(key, (self.batch_size,), 0, example_count(self.data))
        batch = jax.tree.map(lambda leaf: leaf[rows], self.data)
        function = bind(self.model, self.loss, self.trainable)

        def mean_loss(point: Vector) -> Float[Array, ""]:
            return jnp.mean(jax.vmap(lambda example: function(point, example))(batch))

        gradient = jax.grad(mean_loss)(position) + self.weight_decay * position
        buffer = self.momentum * buffer + gradient
        return position - self.learning_rate * buffer, buffer


@eqx.filter_jit
def _run_chunk(
    sgd: _SGD, starts: Particles, replicas: Array, save_steps: Int[Array, " saves"]
) -> Float[Array, "saves particles d"]:
    advance = jax.vmap(sgd.step, in_axes=(0, None, 0))

    def segment(state: Any, ends: tuple[Array, Array]) -> tuple[Any, Particles]:
        state = jax.lax.fori_loop(*ends, lambda k, s: advance(replicas, k, s), state)
        return state, state[0]

    begins = jnp.concatenate([jnp.zeros_like(save_steps[:1]), save_steps[:-1]])
    state = (starts, jnp.zeros_like(starts))
    return jax.lax.scan(segment, state, (begins, save_steps))[1]


def _save_steps(saves: int | Sequence[int], steps: int) -> Int[np.ndarray, " saves"]:
    if isinstance(saves, int | np.integer):
        if not 1 <= saves <= steps:
            raise ValueError(f"saves={saves} must lie between 1 and steps={steps}")
        return np.round(np.linspace(0, steps, int(saves) + 1)[1:]).astype(np.int64)
    chosen = np.asarray(saves)
    whole = chosen.ndim == 1 and chosen.dtype.kind in "iuf" and (chosen == np.floor(chosen)).all()
    if not whole or not len(chosen) or (np.diff(chosen) <= 0).any():
        raise ValueError(f"saves={saves} must be increasing step numbers")
    if chosen[0] < 0 or chosen[-1] > steps:
        raise ValueError(f"saves={saves} must lie between 0 and steps={steps}")
    return chosen.astype(np.int64)
