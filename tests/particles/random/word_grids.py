"""Grids of 32-bit words that stand for all of them, and the law that a transform gives over them.

A transform of words to normals is a fixed table of 2^32 entries: its moments and tail masses are
sums, not estimates. Full sums take a minute; the grids here reach them to about 1e-8 with 10^5
words, because a table is smooth on each octave of its words.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np


def octave_words(cells: int = 2**12) -> tuple[np.ndarray, np.ndarray]:
    """Words and their weights: all small ones, then the two in the middle of each octave's cells.

    Two, because a word w stands for w + 1/2: the middle of a cell lies between them.
    """
    bits = cells.bit_length() - 1
    words, weights = [np.arange(2 * cells)], [np.full(2 * cells, 2.0**-32)]
    for octave in range(bits + 1, 32):
        stride = 2 ** (octave - bits)
        middle = 2**octave + stride // 2 + stride * np.arange(cells)
        words += [middle - 1, middle]
        weights.append(np.full(2 * cells, stride * 2.0**-33))
    return np.concatenate(words).astype(np.uint32), np.concatenate(weights)


def circle_words(count: int = 2**16) -> np.ndarray:
    """Equally spaced words, each with both values of its lowest bit."""
    words = np.arange(count, dtype=np.uint64) * (2**32 // count)
    return np.concatenate([words, words + 1]).astype(np.uint32)


def exact_radius(words: np.ndarray) -> np.ndarray:
    return np.sqrt(-2 * np.log((words.astype(np.float64) + 0.5) * 2.0**-32))


def exact_direction(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    angle = words.astype(np.int32).astype(np.float64) * 2.0**-31 * (np.pi / 2)
    return np.where(words & 1 == 0, 1.0, -1.0) * np.cos(angle), np.sin(angle)


def radius_moment(k: int) -> tuple[float, float]:
    """E[r^2k] of the continuous law, 2^k k!, and how much 2^32 midpoints may lack.

    All that they lack is near t = 0, where the first cell alone has (with t = 2^-32 x and
    -log x ~ Exp(1) for uniform x) the mean of (a + 2 E)^k, a = 64 log 2, but its midpoint has
    (a + 2 log 2)^k. The cells after it add less than a quarter of that difference.
    """
    a = 64 * math.log(2)
    cell = sum(math.comb(k, j) * a ** (k - j) * 2**j * math.factorial(j) for j in range(k + 1))
    lack = abs(cell - (a + 2 * math.log(2)) ** k) * 2.0**-32
    return 2.0**k * math.factorial(k), 1.25 * lack


def circle_moment(k: int) -> float:
    """E[cos^2k] of a uniform angle: (2k - 1)!! / (2k)!!."""
    return math.comb(2 * k, k) / 4.0**k


def normal_moment(k: int) -> float:
    """E[z^2k] = (2k - 1)!!."""
    return float(math.prod(range(1, 2 * k, 2)))


def normal_mass(cut: float) -> float:
    """P(|z| > cut)."""
    return math.erfc(cut / math.sqrt(2))


def table(transform, words: np.ndarray):
    """`transform` of words, in float64."""
    result = jax.jit(transform)(jnp.asarray(words))
    return jax.tree.map(lambda x: np.asarray(x, np.float64), result)


def tail_mass(cut: float, lengths: np.ndarray, weights: np.ndarray, cosines: np.ndarray) -> float:
    """P(|r c| > cut), r from a weighted and c from an equally weighted table, independent."""
    order = np.argsort(lengths)
    above = np.concatenate([np.cumsum(weights[order][::-1])[::-1], [0.0]])
    needed = cut / np.maximum(np.abs(cosines), 1e-30)
    return float(np.mean(above[np.searchsorted(lengths[order], needed, side="right")]))
