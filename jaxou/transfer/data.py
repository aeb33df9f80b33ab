"""The source and target samples of the main experiment, split the same way everywhere."""

from typing import Any, NamedTuple

import numpy as np

from .._check import as_count
from .domains import Examples, digits, mnist, sha256


class TransferData(NamedTuple):
    """Four disjoint samples and the digest of their bytes.

    `target_train` is all that fine-tuning and the certificate may see of the target; the two test
    samples measure and choose nothing.
    """

    source_train: Examples
    source_test: Examples
    target_train: Examples
    target_test: Examples
    sha256: str

    def summary(self) -> dict[str, Any]:
        """Sizes, mean ink and digest, for a report."""
        parts = {name: getattr(self, name) for name in self._fields[:4]}
        return {
            **{f"n_{name}": len(part.y) for name, part in parts.items()},
            **{f"mean_{name}": float(part.x.mean()) for name, part in parts.items()},
            "sha256": self.sha256,
        }


def load(
    n_target: int = 300,
    *,
    n_source_test: int = 1000,
    n_target_test: int = 597,
    seed: int = 0,
) -> TransferData:
    """MNIST-5k as the source, UCI digits as the target, both as 8x8 counts in [0, 1].

    The split depends on `seed` only: the target test sample is always the last `n_target_test`
    of the shuffled digits, and the training samples of two `n_target` are nested. About 2 s, most
    of it imports. Raises `ImportError` naming the extra `data` if a package is missing, and
    `ValueError` if the digits do not suffice.
    """
    source, target = mnist(), digits()
    return split(source, target, n_target, n_source_test, n_target_test, seed)


def coarser(data: TransferData, side: int) -> TransferData:
    """The same images with `side` pixels a side, 1, 2, 4 or 8: means over squares."""
    blocks = 8 // side
    if blocks == 1:
        return data

    def means(examples: Examples) -> Examples:
        images = examples.x.reshape(-1, side, blocks, side, blocks)
        return Examples(images.mean(axis=(2, 4)).reshape(len(examples.y), -1), examples.y)

    return TransferData(*map(means, data[:4]), data.sha256)


def split(
    source: Examples,
    target: Examples,
    n_target: int,
    n_source_test: int,
    n_target_test: int,
    seed: int,
) -> TransferData:
    """Shuffle each domain by a stream of its own and cut it.

    >>> few = Examples(np.zeros((6, 1)), np.arange(6))
    >>> parts = split(few, few, 2, 1, 3, seed=0)
    >>> len(parts.source_train.y), len(parts.target_train.y), len(parts.target_test.y)
    (5, 2, 3)
    """
    n_source_test = size_in("n_source_test", n_source_test, len(source.y) - 1, "source examples")
    n_target_test = size_in("n_target_test", n_target_test, len(target.y) - 1, "target examples")
    left = len(target.y) - n_target_test
    n_target = size_in("n_target", n_target, left, f"target examples beside {n_target_test} tests")
    source = _shuffled(source, seed, 0)
    target = _shuffled(target, seed, 1)
    cut = len(source.y) - n_source_test
    parts = (
        _part(source, slice(None, cut)),
        _part(source, slice(cut, None)),
        _part(target, slice(None, n_target)),
        _part(target, slice(left, None)),
    )
    return TransferData(*parts, sha256(*(array for part in parts for array in part)))


def _shuffled(examples: Examples, seed: int, stream: int) -> Examples:
    order = _order(len(examples.y), seed, stream)
    return Examples(examples.x[order], examples.y[order])


def source_order(n: int, seed: int) -> np.ndarray:
    """In which order `load(seed=seed)` takes the `n` source images."""
    return _order(n, seed, 0)


def _order(n: int, seed: int, stream: int) -> np.ndarray:
    return np.random.default_rng([seed, stream]).permutation(n)


def _part(examples: Examples, where: slice) -> Examples:
    return Examples(examples.x[where], examples.y[where])


def size_in(name: str, value: int, largest: int, of_what: str) -> int:
    """`value` as a whole number from 1 to `largest`, or `ValueError`."""
    if as_count(value, name) > largest:
        raise ValueError(f"{name}={value} must lie between 1 and {largest} ({of_what} left)")
    return int(value)
