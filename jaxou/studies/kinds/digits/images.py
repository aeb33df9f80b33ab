"""Source and target images as arrays, the target shifted as the settings say; numpy alone."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ....config import ConfigError
from ....transfer.domains import CLASSES, Examples, digits, mnist
from .config import POOL, DigitsConfig, ShiftConfig

SIDE = 8


class Images(NamedTuple):
    """Features (n, side^2 + 1) with a constant last column, labels (n,), and weights (n,).

    Weights of a sample are 1 for its examples and 0 for padding; test weights make its classes as
    frequent as the target's.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray


class Domains(NamedTuple):
    """What a cell trains and tests on; the training samples are padded to one length."""

    source: Images
    source_test: Images
    target: Images
    target_test: Images


@functools.cache
def _mnist() -> Examples:
    return mnist()


@functools.cache
def _digits() -> Examples:
    return digits()


def domains(config: DigitsConfig) -> Domains:
    """The four samples of a cell. Raises `ImportError` naming the extra if a package is missing."""
    data = config.data
    seed = config.seed
    source = _taken(_mnist(), np.random.default_rng([seed, 0]).permutation(5000))
    if data.target == "mnist":
        rest = Examples(source.x[-POOL - 597 :], source.y[-POOL - 597 :])
    else:
        order = np.random.default_rng([seed, 1]).permutation(len(_digits().y))
        rest = _taken(_digits(), order)
    rest = Examples(shifted(rest.x, config.shift, np.random.default_rng([seed, 2])), rest.y)
    pool, test = Examples(rest.x[:POOL], rest.y[:POOL]), Examples(rest.x[POOL:], rest.y[POOL:])
    order = chosen(pool.y, data.n_target, config.shift.imbalance, seed)
    rows = max(data.n_source, POOL)
    return Domains(
        source=_padded(_taken(source, np.arange(data.n_source)), data.side, rows),
        source_test=_weighted(_taken(source, np.arange(3000, 3200)), data.side, 1.0),
        target=_padded(_taken(pool, order), data.side, rows),
        target_test=_weighted(test, data.side, config.shift.imbalance),
    )


def _taken(examples: Examples, rows: np.ndarray) -> Examples:
    return Examples(examples.x[rows], examples.y[rows])


def _features(x: np.ndarray, side: int) -> np.ndarray:
    blocks = SIDE // side
    coarse = x.reshape(-1, side, blocks, side, blocks).mean(axis=(2, 4)).reshape(len(x), -1)
    return np.concatenate([coarse, np.ones((len(x), 1))], axis=1)


def _padded(examples: Examples, side: int, rows: int) -> Images:
    count = len(examples.y)
    pad = ((0, rows - count), (0, 0))
    return Images(
        np.pad(_features(examples.x, side), pad),
        np.pad(examples.y, pad[0]),
        (np.arange(rows) < count).astype(float),
    )


def frequencies(imbalance: float) -> np.ndarray:
    """Shares of the digits 0 to 9, in equal ratios, the first `imbalance` times the last."""
    share = imbalance ** (-np.arange(CLASSES) / (CLASSES - 1))
    return share / share.sum()


def chosen(labels: np.ndarray, count: int, imbalance: float, seed: int) -> np.ndarray:
    """Which `count` images of a pool: digits drawn by their frequencies, each image at most once.

    Nested in `count`. A balanced sample takes the pool as it comes. `ConfigError` if the pool has
    too few images of a digit.
    """
    if imbalance == 1:
        return np.arange(count)
    drawn = np.random.default_rng([seed, 3]).choice(CLASSES, POOL, p=frequencies(imbalance))
    order = np.empty(count, dtype=int)
    for digit in range(CLASSES):
        there, wanted = np.flatnonzero(labels == digit), np.flatnonzero(drawn[:count] == digit)
        if len(wanted) > len(there):
            raise ConfigError(
                f"data.n_target = {count} with shift.imbalance = {imbalance:g} wants {len(wanted)} "
                f"images of the digit {digit} and there are {len(there)}: lower one of them"
            )
        order[wanted] = there[: len(wanted)]
    return order


def _weighted(examples: Examples, side: int, imbalance: float) -> Images:
    count = np.bincount(examples.y, minlength=CLASSES)
    share = np.ones(CLASSES) if imbalance == 1 else frequencies(imbalance) / np.maximum(count, 1)
    weight = share[examples.y]
    return Images(_features(examples.x, side), examples.y, weight / weight.sum())


def shifted(x: np.ndarray, shift: ShiftConfig, generator: np.random.Generator) -> np.ndarray:
    """Images (n, 64) rotated, blurred, and with noise, in this order; values stay in [0, 1].

    The noise of an image is the same at every strength, up to its scale.
    """
    move = blur_matrix(shift.blur) @ rotation_matrix(shift.rotation)
    moved = x if shift.rotation == 0 and shift.blur == 0 else np.einsum("nj,ij->ni", x, move)
    return np.clip(moved + shift.noise * generator.standard_normal(x.shape), 0.0, 1.0)


def rotation_matrix(degrees: float) -> np.ndarray:
    """(64, 64): turn an 8 x 8 image about its centre, anticlockwise on paper, bilinearly.

    >>> corner = np.zeros((8, 8))
    >>> corner[0, 7] = 1.0  # top right
    >>> (rotation_matrix(90.0) @ corner.ravel()).reshape(8, 8)[0, 0].round(12)  # top left
    np.float64(1.0)
    """
    angle, middle = np.deg2rad(degrees), (SIDE - 1) / 2
    rows, columns = np.divmod(np.arange(SIDE**2), SIDE)
    right, up = columns - middle, middle - rows
    # where the ink of a new pixel comes from
    from_right = np.cos(angle) * right + np.sin(angle) * up
    from_up = np.cos(angle) * up - np.sin(angle) * right
    row, column = middle - from_up, from_right + middle
    near = lambda at, cell: np.maximum(0.0, 1.0 - np.abs(at[:, None] - cell[None, :]))
    return near(row, rows) * near(column, columns)


def blur_matrix(width: float) -> np.ndarray:
    """(64, 64): a Gaussian blur of standard deviation `width` pixels; ink is kept."""
    if width == 0:
        return np.eye(SIDE**2)
    rows, columns = np.divmod(np.arange(SIDE**2), SIDE)
    square = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    kernel = np.exp(-square / (2 * width**2))
    return kernel / kernel.sum(axis=0, keepdims=True)
