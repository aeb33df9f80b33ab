"""The cipher: published answers, an independent reference, jax's own, and its avalanche."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from jaxou.particles.random import threefry2x32

cipher = jax.jit(threefry2x32, static_argnums=2)
PI = (0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3)
ONES = (0xFFFFFFFF, 0xFFFFFFFF)


def words(*values):
    return tuple(jnp.asarray(value, jnp.uint32) for value in values)


@pytest.mark.parametrize(
    ("rounds", "key", "counter", "answer"),
    [  # the known answers that are published with Random123
        (13, (0, 0), (0, 0), ("0x9d1c5ec6", "0x8bd50731")),
        (13, ONES, ONES, ("0xfd36d048", "0x2d17272c")),
        (13, *PI, ("0xba3e4725", "0xf27d669e")),
        (20, (0, 0), (0, 0), ("0x6b200159", "0x99ba4efe")),
        (20, ONES, ONES, ("0x1cb996fc", "0xbb002be7")),
        (20, *PI, ("0xc4923a9c", "0x483df7a0")),
    ],
)
def test_published_answers(rounds, key, counter, answer):
    found = cipher(words(*key), words(*counter), rounds)
    assert tuple(hex(int(word)) for word in found) == answer


def reference(key, counter, rounds, rotations=(13, 15, 26, 6, 17, 29, 16, 24)):
    """Plain integers; the key is injected before round 1 and after every fourth."""
    mask = 2**32 - 1
    schedule = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = ((c + k) & mask for c, k in zip(counter, key, strict=True))
    for n in range(rounds):
        x, turn = (x + y) & mask, rotations[n % 8]
        y = (((y << turn) | (y >> (32 - turn))) & mask) ^ x
        if n % 4 == 3:
            group = n // 4 + 1
            x = (x + schedule[group % 3]) & mask
            y = (y + schedule[(group + 1) % 3] + group) & mask
    return x, y


@pytest.mark.parametrize("rounds", [1, 4, 7, 20, 23])
def test_any_number_of_rounds(rounds):
    rng = np.random.default_rng(rounds)
    k0, k1, c0, c1 = rng.integers(0, 2**32, (4, 20), dtype=np.uint32)
    first, second = cipher(words(k0, k1), words(c0, c1), rounds)
    for n in range(20):
        key, counter = (int(k0[n]), int(k1[n])), (int(c0[n]), int(c1[n]))
        assert (int(first[n]), int(second[n])) == reference(key, counter, rounds)
        lost = reference(key, counter, rounds, (13, 15, 26, 6, 17, 29, 16, 0))
        assert rounds < 8 or lost != reference(key, counter, rounds)


def test_the_words_are_those_of_jax_itself():
    rng = np.random.default_rng(5)
    keys = jnp.asarray(rng.integers(0, 2**32, (50, 2), dtype=np.uint32))
    counters = jnp.asarray(rng.integers(0, 2**32, (50, 2, 100), dtype=np.uint32))
    own = cipher((keys[:, :1], keys[:, 1:]), (counters[:, 0], counters[:, 1]))
    for n in range(50):
        theirs = jax.extend.random.threefry_2x32(keys[n], counters[n].ravel())
        np.testing.assert_array_equal(np.stack(own)[:, n], theirs.reshape(2, 100))


def worst_avalanche(rounds: int) -> float:
    """The largest |z| of: an output bit flips with probability 1/2 when one input bit does.

    2^11 random blocks, 128 input bits (key and counter), 64 output bits: 8,192 binomials.
    """
    n = 2**11
    start = np.random.default_rng(9).integers(0, 2**32, (4, 1, n), dtype=np.uint32)
    change = np.zeros((4, 128, 1), np.uint32)
    change[np.arange(128) // 32, np.arange(128), 0] = 1 << (np.arange(128) % 32)

    def blocks(inputs):
        k0, k1, c0, c1 = words(*inputs)
        return np.stack(cipher((k0, k1), (c0, c1), rounds))

    differ = blocks(start ^ change) ^ blocks(start ^ np.zeros_like(change))
    bits = np.unpackbits(differ[..., None].view(np.uint8), axis=-1)  # (2, 128, n, 32)
    counts = bits.sum(axis=2, dtype=np.int64)
    return float(np.abs(counts - n / 2).max() / np.sqrt(n / 4))


def test_every_bit_of_key_and_counter_reaches_every_bit_of_the_words():
    # false alarm below 1e-4: 8,192 normals beyond 5.8 have 5e-5
    assert worst_avalanche(20) < 5.8
    # too few rounds leave bits unmixed
    assert worst_avalanche(7) > 5.8
