"""Noise as a pure function of the key and four numbers: stage, particle, step, coordinate.

Nothing here has a state. A normal is looked up by its place, so it is the same whichever chunk,
device or resumed run asks for it, and more particles or more saves never change the old ones.

    words(stage, coordinate, particle, step) = Threefry(key of (stage, coordinate),
                                                        counter (particle, step))

In float32 the two words of a block feed two neighbours: two coordinates of a *jump* (`at`), or two
successive *steps* of one coordinate (`pair`). In float64 a block makes one normal.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt32

from .normal import normal_from_word, normal_from_words
from .threefry import threefry2x32

INITIAL = 0
"""The stream of the initial draw; stage k has stream k + 1."""


JUMPS = 2**31
"""Jumps count from here and steps from zero, so the two never share a block."""


class Stream(eqx.Module):
    """The noise of one stage: `keys[c]` is the Threefry key of coordinate c."""

    keys: UInt32[Array, "coordinates 2"]
    dtype: jnp.dtype = eqx.field(static=True)

    @property
    def coordinates(self) -> int:
        return self.keys.shape[0]

    def _blocks(self, keys, particles, step):
        columns = (keys[:, 0, None], keys[:, 1, None])
        steps = jnp.broadcast_to(step.astype(jnp.uint32), (1, particles.shape[0]))
        return threefry2x32(columns, (particles[None, :], steps))

    def at(
        self, particles: UInt32[Array, " rows"], index: Array
    ) -> Float[Array, "coordinates rows"]:
        """The normals of one jump: `index` is the number of the save it leads to."""
        index = index.astype(jnp.uint32) + jnp.uint32(JUMPS)
        if self.dtype == jnp.float64:
            return normal_from_words(*self._blocks(self.keys, particles, index))
        first, second = self._blocks(self.keys[::2], particles, index)
        words = jnp.stack([first, second], axis=1).reshape(-1, particles.shape[0])
        return normal_from_word(words[: self.coordinates]).astype(self.dtype)

    def pair(self, particles: UInt32[Array, " rows"], pair: Array) -> tuple[Array, Array]:
        """The normals of steps 2 * pair and 2 * pair + 1, each (coordinates, rows)."""
        if self.dtype == jnp.float64:
            first = normal_from_words(*self._blocks(self.keys, particles, 2 * pair))
            return first, normal_from_words(*self._blocks(self.keys, particles, 2 * pair + 1))
        first, second = self._blocks(self.keys, particles, pair)
        return normal_from_word(first).astype(self.dtype), normal_from_word(second).astype(
            self.dtype
        )


def stream(key: Key[Array, ""] | UInt32[Array, "..."], number: int, coordinates: int, dtype):
    """The `Stream` number `number` of a key, for `coordinates` normals per step.

    >>> rows = jnp.arange(4, dtype=jnp.uint32)
    >>> a = stream(jax.random.key(0), 1, 3, jnp.float32).at(rows, jnp.array(2))
    >>> b = stream(jax.random.key(0), 1, 3, jnp.float32).at(rows[2:], jnp.array(2))
    >>> a.shape, bool(jnp.all(a[:, 2:] == b))
    ((3, 4), True)
    """
    base = jax.random.fold_in(key, number)
    words = jax.vmap(lambda c: jax.random.bits(jax.random.fold_in(base, c), (2,), jnp.uint32))
    return Stream(words(jnp.arange(coordinates)), jnp.dtype(dtype))
