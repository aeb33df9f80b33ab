"""Real minibatch SGD on the user's own loss, as one more way to move particles."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt32

from .._check import as_count, is_concrete
from ..curvature.batching import example_count
from ..curvature.parameters import as_vector, bind, to_vector
from ..linalg import AbstractMatrix
from ..particles.methods import AbstractMethod
from ..particles.methods.columns import times
from ..particles.methods.grid import step_grid
from ..particles.methods.method import cast
from ..particles.random import Stream
from ..stages import Stage
from .minibatches import shuffled, with_replacement

WIDTHS = (1, 2, 4, 8, 16, 32)
"""Examples whose gradients are computed together."""

TOGETHER = 2**17
"""Parameters of replicas that step together: they, their batch and gradients stay in a cache."""

MOST = 1024
"""Most replicas that step together; a block of the engine."""


class _Order(eqx.Module):
    """What a method knows once it is told what to run: how many runs, and each stage's width."""

    particles: UInt32[Array, ""]
    widths: tuple[int, ...] = eqx.field(static=True)
    index: int = eqx.field(static=True)


class _Steps(eqx.Module):
    """One stage's numbers, the same for all replicas."""

    ticks: Float[Array, " points"]
    learning_rate: Float[Array, "..."]
    batch_size: Float[Array, "..."]
    momentum: Float[Array, ""]
    weight_decay: Float[Array, ""]
    preconditioner: AbstractMatrix | None
    centre: Float[Array, " d"]
    anchor: Float[Array, " d"]
    index: int = eqx.field(static=True)


class RealSGD(AbstractMethod):
    """Minibatch SGD on a real loss and real examples: every particle is one training run.

        g = mean of grad loss(theta, example) over the minibatch + weight_decay (theta - anchor)
        m <- momentum m + g,    theta <- theta - learning_rate P m

    with the learning rate, batch size, steps, momentum, weight decay, preconditioner P and
    schedules of the chain's stages; their Hessian and noise move nothing. These are the model
    that a run is held against: `ou.verdict(run, chain)` says whether SGD has the law of its
    quadratic model, and in which directions.

    **Arguments:**

    - `model`, `loss`, `trainable`: as in `ou.curvature.measure`; the model's numbers are not used,
      particles start from the chain's initial law.
    - `data`: arrays with a leading axis of examples, such as (x, y); a *list* has one such entry
      per stage.
    - `replacement`: whether a minibatch's examples are independent draws. If not, `reshuffle` says
      when the order of examples is drawn anew, for every run by itself: each "epoch" (of
      floor(n / batch_size) steps; the rest of the order is left out), or each "step", which is
      what `Stage(population=n)` describes.
    - `anchor`: where weight decay pulls to; None is 0, the usual L2 penalty. The stage's own
      anchor is a matter of its quadratic model and is not read.
    - `chunk`: runs that step together, a power of two up to 1,024; by default by size.

    Minibatches are a pure function of the key, stage, particle, step and slot: more runs keep the
    old ones, and neither memory, threads nor a resumed checkpoint changes them. Cost: particles x
    steps x batch_size gradients; without replacement a sort of n numbers per epoch. Derivatives in
    the stage's numbers: forward mode. With `each=` every run may have a learning rate of its own.

    >>> import jaxou as ou
    >>> loss = lambda model, example: 0.5 * jnp.sum((model - example) ** 2)
    >>> data = jnp.array([[0.0], [2.0]])
    >>> stage = ou.Stage(hessian=1.0, noise=1.0, minimum=[1.0], learning_rate=0.5, batch_size=2,
    ...                  steps=20)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 0.0))
    >>> run = ou.simulate(chain, particles=100, key=jax.random.key(0),
    ...                   method=RealSGD(jnp.zeros(1), loss, data))
    >>> run.final.shape, bool(abs(run.final.mean() - 1) < 0.2)
    ((100, 1), True)
    """

    model: Any
    loss: Callable[..., Any] = eqx.field(static=True)
    data: list
    trainable: Any
    anchor: Any
    order: _Order | None
    replacement: bool = eqx.field(static=True)
    reshuffle: Literal["epoch", "step"] = eqx.field(static=True)
    chunk: int | None = eqx.field(static=True)
    weak_order: ClassVar[float] = 1.0
    chain: ClassVar = "sgd"
    approximate: ClassVar[bool] = True

    def __init__(
        self,
        model: Any,
        loss: Callable[..., Any],
        data: Any,
        *,
        replacement: bool = True,
        reshuffle: str = "epoch",
        trainable: Any = None,
        anchor: Any = None,
        chunk: int | None = None,
    ):
        to_vector(model, trainable)
        entries = data if isinstance(data, list) else [data]
        for entry in entries:
            example_count(entry)
        if reshuffle not in ("epoch", "step"):
            raise ValueError(f"reshuffle={reshuffle!r} must be 'epoch' or 'step'")
        if chunk is not None:
            chunk = as_count(chunk, "chunk")
            if chunk > MOST or chunk & (chunk - 1):
                raise ValueError(f"chunk={chunk} must be a power of two from 1 to {MOST}")
        self.model, self.loss, self.trainable = model, loss, trainable
        self.data = jax.tree.map(jnp.asarray, entries)
        self.anchor = None if anchor is None else as_vector(anchor, model, trainable, "anchor")
        self.replacement, self.reshuffle = bool(replacement), reshuffle
        self.chunk, self.order = chunk, None

    # --- the law that it is held against: SGD's quadratic model ------------------------------

    def steady_law(self, stage):
        return stage.stationary()

    def kernel(self, stage):
        return stage.kernel(stage.steps)

    # --- what the engine asks ----------------------------------------------------------------

    def prepare(self, process, particles):
        stages = len(process.stages)
        if len(self.data) not in (1, stages):
            raise ValueError(
                f"RealSGD has a list of {len(self.data)} data sets for {stages} stages: give one "
                "per stage, or one data set (not in a list) for all"
            )
        widths = tuple(_width(stage) for stage in process.stages)
        return self._with(_Order(jnp.uint32(particles), widths, 0))

    def of_stage(self, index):
        return self._with(_Order(self.order.particles, self.order.widths, index))

    def _with(self, order):
        return eqx.tree_at(lambda m: m.order, self, order, is_leaf=lambda x: x is None)

    def refuse(self, stage, saves):
        super().refuse(stage, saves)
        if not isinstance(stage, Stage):
            raise ValueError(
                "RealSGD reads learning_rate, batch_size and steps from an ou.Stage, got "
                f"{type(stage).__name__}: measure one with ou.curvature.estimate(model, loss, data)"
            )
        size, data = to_vector(self.model, self.trainable).shape[0], self.data_of(self.order.index)
        examples = example_count(data)
        if size != stage.dimension:
            raise ValueError(
                f"the model has {size} trainable parameters and the stage {stage.dimension}: "
                "were they made with the same trainable=?"
            )
        if is_concrete(stage.langevin_temperature) and float(stage.langevin_temperature) > 0:
            raise ValueError("RealSGD adds no noise of its own: use langevin_temperature=0")
        if self.replacement and stage.population is not None:
            raise ValueError(
                "the stage's population= describes batches without replacement: use "
                "RealSGD(..., replacement=False), or a stage without population="
            )
        if not self.replacement:
            if stage.batch_size.ndim > 0:
                raise ValueError("replacement=False needs a constant batch_size")
            if is_concrete(stage.batch_size) and float(stage.batch_size) > examples:
                raise ValueError(
                    f"batch_size={float(stage.batch_size):g} exceeds the {examples} examples: "
                    "without replacement a batch cannot be larger than the data"
                )

    def grid(self, stage, saves):
        return step_grid(stage, saves)

    def plan(self, stage, grid, centre, dtype, known):
        centre = centre[: stage.dimension]
        anchor = jnp.zeros_like(centre) if self.anchor is None else self.anchor
        numbers = (stage.learning_rate, stage.momentum, stage.weight_decay)
        numbers = cast((*numbers, stage.preconditioner, centre, anchor.astype(centre.dtype)), dtype)
        return _Steps(grid.ticks, numbers[0], stage.batch_size, *numbers[1:], self.order.index)

    def coordinates(self, plan):
        return 1  # one key; batch slots have keys that are derived from it

    def tile_dimension(self, plan):
        return plan.centre.shape[0]

    def advance(self, plan, state, noise: Stream, particles, save, stretch=None):
        first, last = (plan.ticks[k].astype(jnp.int32) for k in (save - 1, save))
        block = min(self._chunk(plan.centre.shape[0]), particles.shape[0])
        task = _Task(self, plan, noise.keys[0], state.dtype)

        def move(part):
            columns, replicas = part
            # the engine's blocks are full: runs beyond the last one that is wanted stay where
            # they are
            return lax.cond(
                replicas[0] < self.order.particles,
                lambda: task.walk(columns, replicas, first, last),
                lambda: columns,
            )

        if block == particles.shape[0]:
            return move((state, particles))
        moved = lax.map(
            move, (jnp.moveaxis(state.reshape(-1, particles.shape[0] // block, block), 1, 0),
                   particles.reshape(-1, block))
        )  # fmt: skip
        return jnp.moveaxis(moved, 0, 1).reshape(state.shape)

    def _chunk(self, size: int) -> int:
        if self.chunk is not None:
            return self.chunk
        return min(MOST, 2 ** (max(8, TOGETHER // size).bit_length() - 1))

    def data_of(self, index: int) -> Any:
        """The examples of one stage."""
        return self.data[min(index, len(self.data) - 1)]


class _Task:
    """The steps of one stage, with everything in the particles' precision."""

    def __init__(self, method: RealSGD, plan: _Steps, key, dtype):
        self.plan, self.key = plan, key
        self.data = cast(method.data_of(plan.index), dtype)
        self.loss = bind(cast(method.model, dtype), method.loss, method.trainable)
        self.examples = example_count(self.data)
        self.width = method.order.widths[plan.index]
        self.replacement = method.replacement
        self.every_step = method.reshuffle == "step"

    def walk(self, state, replicas, first, last):
        if self.replacement:
            step = lambda k, state: self._step(k, state, replicas, None)
            return lax.fori_loop(first, last, step, state)
        batch = self.plan.batch_size.astype(jnp.int32)
        length = jnp.ones_like(batch) if self.every_step else self.examples // batch
        draw = lambda epoch: shuffled(self.key, replicas, epoch, self.examples)

        def step(k, carry):
            state, order = carry
            new = (k % length == 0) & (k > first)
            order = lax.cond(new, lambda: draw(k // length), lambda: order)
            return self._step(k, state, replicas, (order, k % length * batch)), order

        return lax.fori_loop(first, last, step, (state, draw(first // length)))[0]

    def _step(self, k, state, replicas, order):
        plan, d = self.plan, self.plan.centre.shape[0]
        at = lambda x: x if x.ndim == 0 else x[jnp.clip(k, 0, x.shape[0] - 1)]
        rate, batch = at(plan.learning_rate), at(plan.batch_size).astype(jnp.int32)
        position = state[:d]
        gradient = self._gradient(k, plan.centre[:, None] + position, replicas, batch, order)
        away = position + (plan.centre - plan.anchor)[:, None]
        gradient = gradient + plan.weight_decay * away
        buffer = gradient
        if state.shape[0] > d:
            buffer = plan.momentum * state[d:] + gradient
        push = buffer if plan.preconditioner is None else times(plan.preconditioner, buffer)
        position = position - rate * push
        return position if state.shape[0] == d else jnp.concatenate([position, buffer])

    def _gradient(self, k, points, replicas, batch, order):
        """The mean gradient of every replica's minibatch, `width` examples at a time."""
        slots = jnp.arange(self.width, dtype=jnp.int32)

        def total(point, rows, inside):
            examples = jax.tree.map(lambda leaf: leaf[rows], self.data)
            losses = jax.vmap(lambda example: self.loss(point, example))(examples)
            return jnp.sum(jnp.where(inside, losses, 0))

        gradients = jax.vmap(jax.grad(total), in_axes=(1, 1, None), out_axes=1)

        def some(group, so_far):
            start = group * self.width
            if order is None:
                rows = with_replacement(self.key, replicas, k, start, self.width, self.examples)
            else:
                place = jnp.minimum(order[1] + start + slots, self.examples - 1)
                rows = order[0][place]
            # a user's function mixes Python numbers, arrays and precisions as it likes
            with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
                found = gradients(points, rows, start + slots < batch)
            return so_far + found.astype(points.dtype)

        groups = (batch + self.width - 1) // self.width
        found = lax.fori_loop(0, groups, some, jnp.zeros_like(points))
        return found / batch.astype(points.dtype)


def _width(stage) -> int:
    """How many examples to take at once: little is computed for nothing, in few rounds."""
    if not is_concrete(stage.batch_size):
        return 8
    most = int(jnp.max(stage.batch_size))
    return min(WIDTHS, key=lambda width: -(-most // width) * (width + 2))
