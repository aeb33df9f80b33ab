"""The first particles at every save point."""

from typing import Any, ClassVar

import equinox as eqx

from ..._check import as_count
from .base import AbstractObserver


class Paths(AbstractObserver):
    """Keep the first `count` particles at every save point, as `run.paths` (saves, count, d).

    >>> import jax, jaxou as ou
    >>> stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=4,
    ...                  steps=50)
    >>> chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 0.0))
    >>> run = ou.simulate(chain, particles=500, key=jax.random.key(0), save=5, observe=Paths(3))
    >>> run.paths.shape, bool((run.paths[-1] == run.final[:3]).all())
    ((6, 3, 1), True)
    """

    count: int = eqx.field(static=True)
    exact: ClassVar[bool] = True

    def __init__(self, count: Any):
        self.count = as_count(count, "Paths: count")

    @property
    def name(self) -> str:
        return "paths"

    def look(self, position, centre, live, stage):
        """The machine copies the particles itself; there is nothing to reduce."""
        return ()

    def finish(self, total, context):
        return None
