"""More source data from the same images: the digits turned, slanted and stretched at random.

A prior may use the source as it likes. Writers, pens and scanners differ in pose above all, so a
source model that has seen each digit in several poses needs to move less on a new domain, and
what it needs to move is what a certificate pays for. The ranges are symmetric and those that the
literature uses for handwritten digits (Simard, Steinkraus and Platt 2003: about 15 degrees, 15 to
30 % of stretch); nothing in them was taken from a target image.
"""

import numpy as np
from jaxtyping import Float

from .._check import as_count
from .data import size_in, source_order
from .domains import FEATURES, INK, Examples, blocks, mnist_images, uci_recipe

ROTATION = 15.0
"""Largest turn, in degrees, either way."""

SHEAR = 0.3
"""Largest slant either way: columns per row."""

SMALLEST = 0.65
"""Smallest height, and width, as a share of the frame; the largest fills it."""

COPIES = 5
"""Random poses of every image, beside the image as it is."""


def mnist_poses(copies: int = COPIES, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """MNIST as it is and in `copies` random poses: x (1 + copies, 5000, 64) in [0, 1], labels.

    Turn, slant, height and width of each image in each copy are uniform within `ROTATION`,
    `SHEAR` and `SMALLEST`; poses are a function of `seed`. About 1 s per copy.
    """
    copies = as_count(copies, "copies", 0)
    images, labels = mnist_images()
    rng = np.random.default_rng([seed, 2])
    made = [uci_recipe(images)] + [posed(images, rng) for _ in range(copies)]
    return np.stack(made).reshape(-1, len(labels), FEATURES) / 16.0, labels


def posed(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One random pose of each grey image (n, height, width), as 8x8 counts (n, 8, 8).

    A glyph is turned and slanted about its frame's centre, its new box stretched to a random part
    of 32x32 in the middle, then thresholded and counted as in `uci_recipe`. An image without ink
    stays without.
    """
    from scipy.ndimage import affine_transform

    n = len(images)
    angle = np.deg2rad(rng.uniform(-ROTATION, ROTATION, n))
    slant = rng.uniform(-SHEAR, SHEAR, n)
    size = 32 * rng.uniform(SMALLEST, 1.0, (n, 2))
    turns = _turns(angle, slant)
    large = np.zeros((n, 32, 32))
    for image, turn, extent, out in zip(images, turns, size, large, strict=True):
        ink = np.argwhere(image >= INK) @ turn.T
        if not len(ink):
            continue
        # a pixel at (row, column) is `matrix @ (row, column) + offset` of the image
        low, high = ink.min(axis=0) - 0.5, ink.max(axis=0) + 0.5
        matrix = np.linalg.inv(turn) @ np.diag((high - low) / extent)
        offset = np.linalg.inv(turn) @ (low + high) / 2 - matrix @ np.full(2, 15.5)
        affine_transform(image.astype(float), matrix, offset, (32, 32), out, order=1)
    return blocks(large)


def _turns(angle: Float[np.ndarray, " n"], slant: Float[np.ndarray, " n"]) -> np.ndarray:
    """Linear maps (n, 2, 2) of (row, column): slant, then turn."""
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]]).transpose(2, 0, 1)
    one, zero = np.ones_like(slant), np.zeros_like(slant)
    return turn @ np.array([[one, zero], [slant, one]]).transpose(2, 0, 1)


def posed_source(
    seed: int = 0, n_source_test: int = 1000, poses: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[Examples, Examples]:
    """Training and test images of `load(seed=seed)`'s source in all poses, never mixed.

    All poses of a test image are test images. `poses` saves making them again.
    """
    x, labels = mnist_poses() if poses is None else poses
    order = source_order(len(labels), seed)
    cut = len(order) - size_in("n_source_test", n_source_test, len(order) - 1, "source images")

    def part(which: np.ndarray) -> Examples:
        return Examples(x[:, which].reshape(-1, x.shape[2]), np.tile(labels[which], len(x)))

    return part(order[:cut]), part(order[cut:])
