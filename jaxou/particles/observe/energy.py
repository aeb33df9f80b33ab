"""The loss of the particles at every save point."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...stages import Stage
from .base import AbstractObserver
from .statistic import leaf_means, mean_record, merge_trees


class Energy(AbstractObserver):
    """Keep mean and variance of the loss: `run.observed["energy"]`, a `StatisticRecord`.

    A row's loss is that of the stage it belongs to (row 0: the first stage): for a `Stage` the
    excess loss without its penalty, (x - minimum)^T A (x - minimum) / 2, whose mean is the law's
    `stage.excess_loss(law)`; for a stage with a potential, potential(x). Cost: a Hessian product
    per particle and save point.

    >>> import jaxou as ou
    >>> stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=4,
    ...                  steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 0.0))
    >>> run = ou.simulate(chain, particles=4_000, key=jax.random.key(0), observe=ou.Energy())
    >>> seen = run.observed["energy"]
    >>> gap = seen.mean[1] - stage.excess_loss(chain.law(step=50))
    >>> float(seen.mean[0]), bool(abs(gap) < 4 * seen.standard_error[1])
    (1.0, True)
    """

    stages: tuple | None = None

    @property
    def name(self) -> str:
        return "energy"

    def prepare(self, process):
        return Energy(tuple(process.stages))

    def look(self, position, centre, live, stage):
        if self.stages is None:
            raise ValueError("Energy() does not know its process yet: call prepare(process) first")
        return leaf_means(_loss(self.stages[stage], position, centre), live, position.dtype)

    def merge(self, left, right):
        return merge_trees(left, right)

    def finish(self, total, context):
        return mean_record(total, context.count)


def _loss(
    stage, position: Float[Array, "d rows"], centre: Float[Array, " d"]
) -> Float[Array, " rows"]:
    dtype = position.dtype
    if not isinstance(stage, Stage):
        points = position + centre.astype(dtype)[:, None]
        return jax.vmap(stage.potential, in_axes=1)(points)
    # from the deviations, so that a loss near its minimum keeps its digits
    gap = position + (centre - stage.minimum.astype(centre.dtype)).astype(dtype)[:, None]
    hessian = jax.tree.map(lambda x: x.astype(dtype), stage.hessian)
    with jax.default_matmul_precision("highest"):
        return jnp.sum(gap * hessian.matmat(gap), axis=0) / 2
