"""The noise of a run by its address, for whoever wants to follow a particle by hand."""

from numbers import Integral
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._check import as_count, as_key, is_concrete
from ..arguments import particle_dtype
from .stream import INITIAL, Stream, stream
from .threefry import ROUNDS


def addressed_normals(
    key: Any,
    *,
    particles: Any,
    steps: Any = None,
    jumps: Any = None,
    coordinates: Any = 1,
    stage: Any = 0,
    dtype: Any = jnp.float32,
    rounds: Any = ROUNDS,
) -> Float[Array, "steps coordinates particles"]:
    """The standard normals that `simulate` with the same key uses at these addresses.

    A normal depends on its own address and nothing else: not on which others are asked for, nor on
    how many particles or coordinates the run has.

    **Arguments:**

    - `key`: the `jax.random.key` of the run.
    - `particles`: their numbers, integers (particles,) from 0 to 2^32 - 1.
    - `steps` or `jumps`, integers (steps,) below 2^31: step n of a stage is the n-th from 0 that a
      stepping method takes (with substeps each has its own); jump k leads to save k >= 1, for
      methods that jump from save to save. Give one of the two.
    - `coordinates`: normals per step; a stage in d dimensions has d, with momentum 2 d.
    - `stage`: its number from 0, or "initial" for the draw from the chain's initial law, which has
      neither steps nor jumps.
    - `dtype`, `rounds`: those of the run.

    **Returns** an array (steps, coordinates, particles). It has the words of the run; the normals
    agree but for the rounding of a last bit where XLA compiles the run's loop differently.

    Cost: one block of the cipher per normal, two per normal of float64 steps. Raises `ValueError`
    or `TypeError` with advice for addresses that no run has.

    >>> import jax
    >>> z = addressed_normals(jax.random.key(0), particles=[0, 7], steps=[0, 1, 2], coordinates=4)
    >>> z.shape, bool(z[2, 3, 1] == addressed_normals(
    ...     jax.random.key(0), particles=[7], steps=[2], coordinates=4)[0, 3, 0])
    ((3, 4, 2), True)
    """
    if stage == "initial":
        if steps is not None or jumps is not None:
            raise ValueError('stage="initial" is one draw: it takes neither steps= nor jumps=')
        number, numbers, jump = INITIAL, [0], True
    else:
        if isinstance(stage, bool) or not isinstance(stage, Integral) or stage < 0:
            raise ValueError(f'stage={stage!r} must be a number from 0, or "initial"')
        if (steps is None) == (jumps is None):
            raise ValueError("give exactly one of steps= and jumps=")
        number, jump = int(stage) + 1, steps is None
        numbers = jumps if jump else steps
    coordinates = as_count(coordinates, "coordinates")
    rounds = as_count(rounds, "rounds")
    noise = stream(as_key(key), number, coordinates, particle_dtype(dtype), rounds)
    numbers = _integers(numbers, "jumps" if jump else "steps", 2**31)
    return _normals(noise, _integers(particles, "particles", 2**32), numbers, jump)


@eqx.filter_jit
def _normals(noise: Stream, particles, numbers, jump: bool):
    if jump:
        return jnp.moveaxis(noise.at(particles, numbers), 1, 0)
    even, odd = noise.pair(particles, numbers >> jnp.uint32(1))
    z = jnp.where(((numbers & jnp.uint32(1)) == jnp.uint32(0))[None, :, None], even, odd)
    return jnp.moveaxis(z, 1, 0)


def _integers(values, name, limit):
    known = is_concrete(values)
    values = np.asarray(values) if known else jnp.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be integers in one row, such as jnp.arange(10); got "
            f"{values.dtype} of shape {values.shape}"
        )
    if known and values.size and (values.min() < 0 or values.max() >= limit):
        raise ValueError(f"{name} must lie from 0 to {limit - 1}")
    return jnp.asarray(values.astype(np.uint32))
