"""The cipher, its normals, and that noise depends on its address alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxou.particles.noise import stream
from jaxou.particles.normal import normal_from_word, normal_from_words
from jaxou.particles.threefry import threefry2x32


def test_known_answers_of_the_cipher():
    ones = jnp.full((), 0xFFFFFFFF, jnp.uint32)
    words = threefry2x32((ones, ones), (ones, ones))
    assert [hex(int(w)) for w in words] == ["0x1cb996fc", "0xbb002be7"]
    pi = [jnp.asarray(x, jnp.uint32) for x in (0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3)]
    words = threefry2x32((pi[0], pi[1]), (pi[2], pi[3]))
    assert [hex(int(w)) for w in words] == ["0xc4923a9c", "0x483df7a0"]


def test_float32_normals_are_the_inverse_distribution_function_everywhere():
    # every 2^12-th word, and all of the tail: the map is monotone, so this sees every branch
    words = np.concatenate([np.arange(0, 2**32, 2**12), np.arange(2**14)]).astype(np.uint32)
    tail = ((words & 0x7FFFFFFF) + 0.5) / 2.0**31
    sign = np.where(words >> 31 == 0, 1.0, -1.0)
    found = np.asarray(normal_from_word(jnp.asarray(words)), np.float64)
    np.testing.assert_allclose(found, sign * stats.norm.isf(tail / 2), rtol=5e-7, atol=2e-7)


def test_float32_moments_and_tail_masses_by_enumeration():
    # a regular grid of 2^22 words has the exact moments up to the grid's own error
    words = (np.arange(2**22, dtype=np.uint64) * 2**10 + 2**9).astype(np.uint32)
    z = np.asarray(normal_from_word(jnp.asarray(words)), np.float64)
    assert abs(z.mean()) < 1e-9
    assert abs((z**2).mean() - 1) < 1e-5
    assert abs((z**4).mean() - 3) < 3e-4
    for cut in (3.0, 4.0, 4.5):
        assert abs((np.abs(z) > cut).mean() / (2 * stats.norm.sf(cut)) - 1) < 0.1 * (cut > 4) + 0.01
    assert float(normal_from_word(jnp.zeros((), jnp.uint32))) > 6.3


def test_float64_normals():
    rng = np.random.default_rng(0)
    high, low = rng.integers(0, 2**32, (2, 10_000), dtype=np.uint32)
    bits = (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)
    k = (bits >> np.uint64(12)).astype(np.int64) - 2**51
    found = np.asarray(normal_from_words(jnp.asarray(high), jnp.asarray(low)))
    np.testing.assert_allclose(found, stats.norm.ppf((k + 0.5) / 2.0**52 + 0.5), rtol=1e-12)
    assert found.dtype == np.float64


at = jax.jit(lambda noise, rows, index: noise.at(rows, index))
pair = jax.jit(lambda noise, rows, index: noise.pair(rows, index))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_noise_is_a_function_of_its_address(dtype):
    rows = jnp.arange(100, dtype=jnp.uint32)
    noise = stream(jax.random.key(3), 1, 5, dtype)
    all_rows = at(noise, rows, jnp.asarray(7))
    assert all_rows.shape == (5, 100) and all_rows.dtype == dtype
    np.testing.assert_array_equal(at(noise, rows[40:], jnp.asarray(7)), all_rows[:, 40:])
    fewer = at(stream(jax.random.key(3), 1, 3, dtype), rows, jnp.asarray(7))
    np.testing.assert_array_equal(fewer, all_rows[:3])
    others = [
        at(noise, rows, jnp.asarray(8)),
        at(stream(jax.random.key(3), 2, 5, dtype), rows, jnp.asarray(7)),
        at(stream(jax.random.key(4), 1, 5, dtype), rows, jnp.asarray(7)),
        *pair(noise, rows, jnp.asarray(7)),
    ]
    for other in others:
        assert not np.any(np.asarray(other) == np.asarray(all_rows))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_neighbours_are_independent(dtype):
    # correlation between coordinates, steps, stages and particles: 4.5 standard errors, n = 10^5
    rows = jnp.arange(100_000, dtype=jnp.uint32)
    noise = stream(jax.random.key(3), 1, 4, dtype)
    even, odd = pair(noise, rows, jnp.asarray(2))
    later, _ = pair(noise, rows, jnp.asarray(3))
    stage = pair(stream(jax.random.key(3), 2, 4, dtype), rows, jnp.asarray(2))[0]
    z = np.concatenate([np.asarray(x, np.float64) for x in (even, odd, later, stage)])
    z = np.concatenate([z, np.roll(z[:1], 1, axis=1)])
    gap = np.corrcoef(z) - np.eye(len(z))
    assert np.abs(gap).max() < 4.5 / np.sqrt(rows.size)
    assert np.abs(z.mean(1)).max() < 4.5 / np.sqrt(rows.size)
    assert np.abs(z.var(1) - 1).max() < 4.5 * np.sqrt(2 / rows.size)
