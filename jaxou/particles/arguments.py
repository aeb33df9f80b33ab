"""What `simulate` and its kin are asked for, read at the door: refused with advice, or as it is."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._check import as_float, is_concrete, show_value
from ..stages import AbstractChain, PotentialStage, Stage


def positive_number(value: Any, name: str) -> Float[Array, ""]:
    """`value` as one positive number; traced ones pass.

    >>> positive_number(0, "friction")
    Traceback (most recent call last):
    ...
    ValueError: friction=0 must be one positive number
    """
    number = as_float(value, name)
    if number.ndim != 0 or (is_concrete(number) and not number > 0):
        raise ValueError(f"{name}={show_value(value)} must be one positive number")
    return number


def particle_dtype(dtype: Any) -> np.dtype:
    """The precision of particles and of their noise: float32 (also for None), or float64 with x64.

    >>> particle_dtype(jnp.float16)
    Traceback (most recent call last):
    ...
    ValueError: dtype must be jnp.float32 or jnp.float64, got float16
    """
    try:
        found: Any = jnp.dtype(jnp.float32 if dtype is None else dtype)
    except TypeError:
        found = repr(dtype)
    if found not in (jnp.float32, jnp.float64):
        raise ValueError(f"dtype must be jnp.float32 or jnp.float64, got {found}")
    if found == jnp.float64 and jnp.result_type(float) != jnp.float64:
        raise ValueError(
            'dtype=jnp.float64 needs x64: jax.config.update("jax_enable_x64", True) first'
        )
    return found


def require_chain(process: Any, asker: str) -> None:
    """Raise `TypeError` with advice unless `process` is a chain; `asker` is who wants one."""
    if isinstance(process, Stage | PotentialStage):
        raise TypeError(
            f"{asker} takes a Chain or TwoStage: a lone stage does not say where it starts. Wrap "
            "the stage, ou.Chain([stage], initial=ou.Gaussian(mean, covariance)); to start at its "
            "steady law use initial=stage.stationary()"
        )
    if not isinstance(process, AbstractChain):
        raise TypeError(f"{asker} takes a Chain or TwoStage, got {type(process).__name__}")


def checkpoint_file(checkpoint: Any) -> Path:
    """The path of a checkpoint; refused if it is a folder, which would be renamed."""
    path = Path(checkpoint)
    if path.is_dir():
        raise ValueError(
            f"checkpoint={str(path)!r} is a folder: name a file in it, such as {path / 'run.npz'}"
        )
    return path


def byte_count(memory: Any) -> float | int:
    """A positive, finite number of bytes."""
    try:
        good = not isinstance(memory, bool | str) and 0 < float(memory) < float("inf")
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"memory={memory!r} must be a number of bytes, such as 2**28")
    return memory


def some_devices(devices: Any) -> list:
    """The devices asked for as a list, all of this process for None."""
    if devices is None:
        return list(jax.local_devices())
    found = list(devices) if isinstance(devices, Iterable) else [devices]
    if not found or not all(isinstance(device, jax.Device) for device in found):
        raise ValueError(f"devices={devices!r} must hold one or more of jax.devices()")
    return found
