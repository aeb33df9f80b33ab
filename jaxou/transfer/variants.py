"""More source data from the same images: other slants and widths of the same digits.

A prior may use the source as it likes. Writers, pens and scanners differ in slant and width above
all, so a source model that has seen each digit upright and as written, wide and narrow, needs to
move less on a new domain, and what it needs to move is what a certificate pays for.

The variants' pixels are the source's alone. Their list is not: widths were added after the mean
image of the UCI digits had been looked at, which showed narrower digits. So a certificate on them
says what such a prior could do; only one on the images as they are counts as source-only.
"""

from collections.abc import Sequence

import numpy as np

from .data import source_order
from .domains import FEATURES, Examples, mnist_images, uci_recipe

WIDTHS = (32, 26, 20)
"""Columns of 32 that a digit's box is stretched to."""

UPRIGHT = (0.0, 1.0)
"""Shares of a digit's slant that are taken out."""


def mnist_variants(
    widths: Sequence[int] = WIDTHS, upright: Sequence[float] = UPRIGHT
) -> tuple[np.ndarray, np.ndarray]:
    """Every MNIST image in every width and slant: x (variants, 5000, 64) in [0, 1], labels (5000,).

    About 1 s per variant. The first variant, at the defaults, is `mnist()`.
    """
    images, labels = mnist_images()
    made = [
        uci_recipe(straightened(images, share), width=width).reshape(len(labels), FEATURES) / 16.0
        for share in upright
        for width in widths
    ]
    return np.stack(made), labels


def straightened(images: np.ndarray, share: float = 1.0) -> np.ndarray:
    """Shear each grey image (n, height, width) so that `share` of its slant is gone.

    The slant is the regression of ink's column on its row, m11 / m02; rows move by linear
    interpolation about the centre of ink. Images without ink stay.

    >>> image = np.eye(9, dtype=np.uint8)[None] * 255  # a diagonal stroke ...
    >>> int((straightened(image) > 0).any(axis=1).sum())  # ... stands in one column
    1
    """
    if share == 0.0:
        return images
    ink = images.astype(np.float64)
    _, height, width = ink.shape
    total = np.maximum(ink.sum(axis=(1, 2)), 1e-300)
    rows, columns = np.arange(height), np.arange(width)
    down = rows[None, :] - (ink.sum(axis=2) @ rows / total)[:, None]
    across = columns[None, :] - (ink.sum(axis=1) @ columns / total)[:, None]
    mixed = np.einsum("nij,ni,nj->n", ink, down, across)
    spread = np.einsum("nij,ni->n", ink, down**2)
    slant = share * mixed / np.where(spread > 0.0, spread, 1.0)
    wanted = columns[None, None, :] + slant[:, None, None] * down[:, :, None]
    left = np.floor(wanted).astype(int)
    part = wanted - left

    def pixel(column: np.ndarray) -> np.ndarray:
        inside = (column >= 0) & (column < width)
        found = np.take_along_axis(ink, np.clip(column, 0, width - 1), axis=2)
        return np.where(inside, found, 0.0)

    moved = (1.0 - part) * pixel(left) + part * pixel(left + 1)
    return np.clip(np.round(moved), 0, 255).astype(images.dtype)


def varied_source(
    seed: int = 0, n_source_test: int = 1000, variants: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[Examples, Examples]:
    """Training and test images of `load(seed=seed)`'s source in all variants, never mixed.

    All variants of a test image are test images. `variants` saves making them again.
    """
    x, labels = mnist_variants() if variants is None else variants
    order = source_order(len(labels), seed)
    cut = len(order) - n_source_test

    def part(which: np.ndarray) -> Examples:
        return Examples(x[:, which].reshape(-1, x.shape[2]), np.tile(labels[which], len(x)))

    return part(order[:cut]), part(order[cut:])
