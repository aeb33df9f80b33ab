"""The first particles at every save point."""

from typing import ClassVar

import equinox as eqx

from .base import AbstractObserver


class Paths(AbstractObserver):
    """Keep the first `count` particles at every save point, as `run.paths` (saves, count, d)."""

    count: int = eqx.field(static=True)
    exact: ClassVar[bool] = True

    def __check_init__(self):
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise ValueError(f"Paths(count) needs a whole number of at least 1, got {self.count!r}")

    @property
    def name(self) -> str:
        return "paths"

    def look(self, position, centre, live, stage):
        """The machine copies the particles itself; there is nothing to reduce."""
        return ()

    def finish(self, total, context):
        return None
