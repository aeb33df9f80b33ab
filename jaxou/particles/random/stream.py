"""Noise as a pure function of the key and four numbers: stage, particle, step, coordinate.

Nothing here has a state. A normal is looked up by its place, so it is the same whichever chunk,
device or resumed run asks for it, and more particles or more saves never change the old ones.

    words(stage, coordinate, particle, pair) = Threefry(key of (stage, coordinate),
                                                        counter (particle, pair of steps))

In float32 the two words of a block make the normals of two successive *steps*, 2 pair and
2 pair + 1, of one coordinate. In float64 a block makes one normal, and its counter is the step.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float, Integer, Key, UInt32

from .normal import normal_from_words, normal_pair
from .threefry import ROUNDS, threefry2x32

INITIAL = 0
"""The stream of the initial draw; stage k has stream k + 1."""

JUMPS = 2**31
"""Jumps count from here and steps from zero, so the two never share a block."""

Rows = UInt32[Array, " rows"]
Normals = Float[Array, "coordinates ... rows"]


class Stream(eqx.Module):
    """The noise of one stage: `keys[c]` is the Threefry key of coordinate c."""

    keys: UInt32[Array, "coordinates 2"]
    dtype: jnp.dtype = eqx.field(static=True)
    rounds: int = eqx.field(static=True, default=ROUNDS)

    @property
    def coordinates(self) -> int:
        return self.keys.shape[0]

    def _words(self, particles, number):
        # both words, (coordinates, ..., rows) for numbers of shape (...)
        shape = (*number.shape, *particles.shape)
        number = jnp.broadcast_to(number.astype(jnp.uint32)[..., None], shape)
        counter = (jnp.broadcast_to(particles, shape)[None], number[None])
        keys = self.keys.reshape(-1, 2, *(1 for _ in shape))
        return threefry2x32((keys[:, 0], keys[:, 1]), counter, self.rounds)

    def pair(self, particles: Rows, pair: Integer[Array, "..."]) -> tuple[Normals, Normals]:
        """The normals of steps 2 * pair and 2 * pair + 1, each (coordinates, ..., rows)."""
        if self.dtype == jnp.float64:
            even = normal_from_words(*self._words(particles, 2 * pair))
            return even, normal_from_words(*self._words(particles, 2 * pair + 1))
        return normal_pair(*self._words(particles, pair))

    def packed(
        self, particles: Rows, pairs: Integer[Array, "..."]
    ) -> Complex[Array, "coordinates ... rows"]:
        """The normals of steps 2 * pairs (real part) and 2 * pairs + 1 (imaginary part).

        One array instead of two: where the normals must be kept, XLA then runs the cipher once.
        """
        return lax.complex(*self.pair(particles, pairs))

    def at(self, particles: Rows, index: Integer[Array, "..."]) -> Normals:
        """The normals of one jump: `index` is the number of the save it leads to."""
        words = self._words(particles, index.astype(jnp.uint32) + jnp.uint32(JUMPS))
        if self.dtype == jnp.float64:
            return normal_from_words(*words)
        return normal_pair(*words)[0]


def stream(
    key: Key[Array, ""] | UInt32[Array, "..."],
    number: int,
    coordinates: int,
    dtype,
    rounds: int = ROUNDS,
) -> Stream:
    """The `Stream` number `number` of a key, for `coordinates` normals per step.

    The key of a coordinate does not depend on how many there are, nor on any setting of jax.

    >>> noise = stream(jax.random.key(0), 1, 3, jnp.float32)
    >>> rows = jnp.arange(4, dtype=jnp.uint32)
    >>> jax.eval_shape(noise.at, rows, jnp.array(2)).shape
    (3, 4)
    """
    return Stream(_keys(key, number, coordinates), jnp.dtype(dtype), rounds)


@functools.partial(jax.jit, static_argnums=2)
def _keys(key, number, coordinates):
    base = jax.random.key_data(jax.random.fold_in(key, number))
    # the first word is zero in `jax.random.fold_in`: with one these are other blocks
    counter = (jnp.ones(coordinates, jnp.uint32), jnp.arange(coordinates, dtype=jnp.uint32))
    return jnp.stack(threefry2x32((base[:1], base[1:2]), counter), axis=1)
