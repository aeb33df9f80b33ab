"""The law of the normals: sums over the table that a transform is, not samples from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy.special import ndtri
from word_grids import (
    circle_moment,
    circle_words,
    exact_direction,
    exact_radius,
    normal_mass,
    normal_moment,
    octave_words,
    radius_moment,
    table,
    tail_mass,
)

from jaxou.particles.random import direction, normal_from_words, normal_pair, radius

CUTS = (3.0, 4.0, 5.0, 6.0, 6.3)
# float32 arithmetic: the fits' 1.7e-7 and 6.2e-8, and a few roundings of 6e-8
RADIUS_ERROR, DIRECTION_ERROR = 3e-7, 2e-7


def lacks(found: float, expected: float, tolerance: float) -> bool:
    return not abs(found - expected) <= tolerance


def faults(lengths, weights, cosines, sines, words: int) -> list[str]:
    """What is wrong with the law of (length cosine, length sine), if anything.

    Tolerances: 2e-8 per power for the means of rounding errors; for tail masses x^2 times the
    error of r, the grid's octave cells, and half a word of 2^32 for every angle that can reach.
    """
    wrong = []
    means = [np.sum(weights * lengths ** (2 * k)) for k in range(5)]
    for k in range(1, 5):
        exact, lack = radius_moment(k)
        small = 2e-8 * k
        if lacks(means[k], exact, exact * small + lack):
            wrong.append(f"E[r^{2 * k}]")
        for name, side in (("cos", cosines), ("sin", sines)):
            even = np.mean(side ** (2 * k))
            if lacks(even, circle_moment(k), circle_moment(k) * small):
                wrong.append(f"E[{name}^{2 * k}]")
            exact_z = normal_moment(k)
            if lacks(means[k] * even, exact_z, exact_z * (2 * small + lack / exact)):
                wrong.append(f"E[z^{2 * k}] from {name}")
            if lacks(np.mean(side ** (2 * k - 1)), 0.0, 2.0 / words):
                wrong.append(f"E[{name}^{2 * k - 1}]")
    mixed = {
        "cos sin": (cosines * sines, 0.0),
        "cos |sin|": (cosines * np.abs(sines), 0.0),
        "|cos| sin": (np.abs(cosines) * sines, 0.0),
        "cos^2 sin^2": (cosines**2 * sines**2, 0.125),
    }
    for name, (product, mean) in mixed.items():
        if lacks(np.mean(product), mean, 5e-8 + 2.0 / words):
            wrong.append(f"E[{name}]")
    for cut in CUTS:
        for name, side in (("cos", cosines), ("sin", sines)):
            mass = tail_mass(cut, lengths, weights, side)
            reach = np.mean(np.abs(side) > cut / 6.77)
            bound = normal_mass(cut) * (cut**2 * RADIUS_ERROR + 2e-5) + 2.0**-33 * reach
            if lacks(mass, normal_mass(cut), bound):
                wrong.append(f"P(|z| > {cut}) from {name}")
    return wrong


def law_faults(lengths=radius, directions=direction, normals=None) -> list[str]:
    grid, weights = octave_words()
    angles = circle_words()
    cosines, sines = table(directions, angles)
    return faults(table(lengths, grid), weights, cosines, sines, angles.size / 2)


def test_radius_and_direction_are_right_at_every_kind_of_word():
    words, _ = octave_words()
    last = np.uint32(2**32 - 1) - np.arange(2**12, dtype=np.uint32)
    words = np.concatenate([words, last, circle_words(2**14)])
    # t is rounded twice, each time by up to 2^-24 of it, and r^2 = -2 log t
    lengths = exact_radius(words)
    gap = np.abs(table(radius, words) ** 2 - lengths**2)
    assert np.all(gap < 2.0**-22 + 2 * RADIUS_ERROR * lengths**2)
    for found, exact in zip(table(direction, words), exact_direction(words), strict=True):
        assert np.abs(found - exact).max() < DIRECTION_ERROR


def test_the_normals_are_radius_times_direction():
    first, second = np.random.default_rng(1).integers(0, 2**32, (2, 2**14), dtype=np.uint32)
    first[:2] = 0, 2**32 - 1
    lengths, (cosines, sines) = exact_radius(first), exact_direction(second)
    z0, z1 = jax.jit(normal_pair)(jnp.asarray(first), jnp.asarray(second))
    assert z0.dtype == z1.dtype == jnp.float32
    assert np.hypot(z0[0], z1[0]) > 6.76 and z0[1] == z1[1] == 0
    np.testing.assert_allclose(z0[2:], (lengths * cosines)[2:], rtol=0, atol=2.5e-6)
    np.testing.assert_allclose(z1[2:], (lengths * sines)[2:], rtol=0, atol=2.5e-6)


def test_moments_and_tail_masses_over_all_words():
    assert law_faults() == []


def short_uniform(word):
    # the uniform is rounded before its logarithm: 23 bits, so that the tail is cut at 5.8
    t = (word >> jnp.uint32(9)).astype(jnp.float32) * jnp.float32(2.0**-23)
    return jnp.sqrt(jnp.float32(-2) * jnp.log(t + jnp.float32(2.0**-24)))


def sign_of_the_angle_twice(word):
    cosine, sine = direction(word & jnp.uint32(0xFFFFFFFE))
    return jnp.where(word >> jnp.uint32(31) == jnp.uint32(0), cosine, -cosine), sine


def right_half_only(word):
    return direction(word & jnp.uint32(0xFFFFFFFE))


def rough_sine(word):
    cosine, sine = direction(word)
    return cosine, sine + jnp.float32(1e-6) * sine * sine * sine


@pytest.mark.parametrize(
    ("twin", "symptom"),
    [
        ({"lengths": short_uniform}, "P(|z| > 6.0) from cos"),
        ({"lengths": lambda word: radius(word) * jnp.float32(1.001)}, "P(|z| > 3.0) from sin"),
        ({"lengths": lambda word: radius(word) * jnp.float32(1 + 1e-6)}, "E[r^2]"),
        ({"directions": sign_of_the_angle_twice}, "E[cos sin]"),
        ({"directions": right_half_only}, "E[cos^1]"),
        ({"directions": rough_sine}, "E[sin^2]"),
    ],
)
def test_broken_transforms_are_caught(twin, symptom):
    assert symptom in law_faults(**twin)


@pytest.mark.slow
def test_every_single_word():
    """All 2^32 words: moments, the worst errors, and the tail word by word."""
    rows = 2**16

    @jax.jit
    def sweep():
        base = jnp.arange(rows, dtype=jnp.uint32)

        def body(index, carry):
            sums, worst = carry
            word = base + index.astype(jnp.uint32) * jnp.uint32(rows)
            r = radius(word).astype(jnp.float64)
            c, s = (x.astype(jnp.float64) for x in direction(word))
            squares = [r * r]
            for _ in range(3):
                squares.append(squares[-1] * squares[0])
            terms = squares
            for side in (c, s):
                powers = [side]
                for _ in range(7):
                    powers.append(powers[-1] * side)
                terms = terms + powers
            terms = terms + [c * s, c * jnp.abs(s), jnp.abs(c) * s, c * c * s * s]
            square = -2 * jnp.log((word.astype(jnp.float64) + 0.5) * 2.0**-32)
            gap = jnp.abs(r**2 - square) / (2.0**-22 + 2 * RADIUS_ERROR * square)
            gaps = jnp.stack([jnp.max(gap), jnp.max(jnp.abs(c**2 + s**2 - 1))])
            worst = jnp.maximum(worst, gaps)
            return sums + jnp.stack([jnp.sum(term) for term in terms]), worst

        return lax.fori_loop(0, 2**32 // rows, body, (jnp.zeros(24), jnp.zeros(2)))

    sums, worst = (np.asarray(x) for x in sweep())
    means = sums / 2.0**32
    for k in range(1, 5):
        exact, lack = radius_moment(k)
        assert abs(means[k - 1] - exact) < exact * 2e-8 * k + lack
        for offset in (4, 12):
            even, odd = means[offset + 2 * k - 1], means[offset + 2 * k - 2]
            assert abs(even / circle_moment(k) - 1) < 2e-8 * k
            assert abs(odd) < 2.0**-31
            z = means[k - 1] * even / normal_moment(k)
            assert abs(z - 1) < 4e-8 * k + lack / exact
    np.testing.assert_allclose(means[20:], [0, 0, 0, 0.125], atol=5e-8)
    assert worst[0] < 1 and worst[1] < 4 * DIRECTION_ERROR

    # the tail word by word: the first 2^26 words are all that can lie beyond 2.89
    lengths = np.sort(jax.jit(radius)(jnp.arange(2**26, dtype=jnp.uint32)))
    for side in table(direction, circle_words()):
        for cut in CUTS:
            needed = cut / np.maximum(np.abs(side), 1e-30)
            above = lengths.size - np.searchsorted(lengths, needed.astype(np.float32), side="right")
            exact, reach = normal_mass(cut), np.mean(np.abs(side) > cut / 6.77)
            bound = exact * (cut**2 * RADIUS_ERROR + 1e-6) + 2.0**-33 * reach
            assert abs(np.mean(above) * 2.0**-32 - exact) < bound


def two_sided_words() -> tuple[np.ndarray, np.ndarray]:
    """High and low words around both ends and the middle of the uniform, and between."""
    octaves, _ = octave_words(2**8)
    middle = np.uint32(2**31) + np.concatenate([octaves[octaves < 2**31] // 2, -octaves // 2])
    high = np.concatenate([octaves, ~octaves, middle, np.zeros(2**12, np.uint32)])
    low = np.random.default_rng(0).integers(0, 2**32, high.size, dtype=np.uint32)
    low[-(2**12) :] = np.arange(2**12, dtype=np.uint32) << np.uint32(12)
    return high.astype(np.uint32), low


def float64_error(transform) -> float:
    """The worst relative error against scipy's inverse distribution function."""
    high, low = two_sided_words()
    bits = (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)
    k = (bits >> np.uint64(12)).astype(np.int64) - 2**51
    positive = k >= 0
    magnitude = np.where(positive, k, -k - 1)  # |k + 1/2| - 1/2
    tail = (2.0**51 - 0.5 - magnitude) / 2.0**52
    # near the middle the tail has lost the digits of z, which is x sqrt(2 pi) (1 + pi x^2 / 3)
    x = (magnitude + 0.5) / 2.0**52
    exact = np.where(x < 1e-4, x * np.sqrt(2 * np.pi) * (1 + np.pi * x**2 / 3), -ndtri(tail))
    found = np.asarray(jax.jit(transform)(jnp.asarray(high), jnp.asarray(low)))
    assert found.dtype == np.float64
    return np.abs(found / np.where(positive, exact, -exact) - 1).max()


def test_float64_normals_are_the_inverse_distribution_function():
    # 1.1e-10 is the error of XLA's own erf_inv beyond 5 sigma; elsewhere it is 1e-14
    assert float64_error(normal_from_words) < 2e-10
    # the two ends: 8.2 sigma, the same on both sides
    ends = jnp.array([0, 2**32 - 1], jnp.uint32)
    low, high = np.asarray(jax.jit(normal_from_words)(ends, ends))
    assert low == -high and 8.2 < high < 8.3


def test_broken_float64_normals_are_caught():
    assert float64_error(lambda high, low: normal_from_words(high, jnp.zeros_like(low))) > 1e-6
    assert float64_error(lambda high, low: normal_from_words(high, low) * 1.0001) > 1e-6


def test_float64_moments_and_tail_masses():
    high, weights = octave_words()
    high, weights = high[high < 2**31], 2 * weights[high < 2**31]  # the negative half
    z = np.asarray(jax.jit(normal_from_words)(jnp.asarray(high), jnp.full_like(high, 2**31)))
    assert np.all(z < 0)
    for k in range(1, 5):
        # the first high word spans what the low word resolves: its share is 2^-31 r^2k
        assert abs(np.sum(weights * z ** (2 * k)) / normal_moment(k) - 1) < 1e-7 + 2e-8 * 4**k
    for cut in CUTS[:3]:
        assert abs(np.sum(weights[z < -cut]) / normal_mass(cut) - 1) < 1e-3
