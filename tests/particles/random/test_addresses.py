"""Noise is a function of its address: golden values, and everything it must not depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.particles.random import INITIAL, addressed_normals, stream

at = jax.jit(lambda noise, rows, index: noise.at(rows, index))
pair = jax.jit(lambda noise, rows, index: noise.pair(rows, index))
packed = jax.jit(lambda noise, rows, index: noise.packed(rows, index))
KEY = 3
ROWS = np.arange(100, dtype=np.uint32)

# of key 0, stream 1: two coordinates; particles 0, 1 and 2^32 - 1; steps 0 and 1, jump 1
GOLDEN_KEYS = [[1634502798, 4292156229], [2320649445, 3372349529]]
GOLDEN_STEPS = [
    [[0.2126243114, 0.5120142698, -1.2285745144], [-0.3515408039, 1.3139437437, 1.0810095072]],
    [[-0.6785211563, -1.8041893244, -0.7514840364], [-0.7275062799, 0.6040359139, 0.7494324446]],
]
GOLDEN_JUMP = [
    [1.1264215708, 0.9348604679, 0.0780622810],
    [-0.5653414726, 0.0684285089, 0.0137358047],
]
GOLDEN_FLOAT64 = [
    [[0.7608383643090678, -0.9451898044788437], [0.5873028760912563, -0.3813764456317207]],
    [[0.6706632805860209, 1.4942526680388466], [-0.1157127787508248, 0.24587167829334217]],
]


def numbered(index):
    return jnp.asarray(index, jnp.int32)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_golden_values(dtype):
    noise = stream(jax.random.key(0), 1, 5, dtype)
    assert noise.keys[:2].tolist() == GOLDEN_KEYS
    rows = jnp.asarray(np.append(ROWS[:-1], np.uint32(2**32 - 1)))
    steps = np.stack(pair(noise, rows, numbered(0)))[:, :2]
    if dtype == jnp.float64:
        np.testing.assert_allclose(steps[:, :, :2], GOLDEN_FLOAT64, rtol=1e-9)
        return
    np.testing.assert_allclose(steps[:, :, [0, 1, -1]], GOLDEN_STEPS, rtol=2e-6)
    jump = np.asarray(at(noise, rows, numbered(1)))
    np.testing.assert_allclose(jump[:2, [0, 1, -1]], GOLDEN_JUMP, rtol=2e-6)


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
def test_every_kind_of_key_gives_a_stream(implementation):
    typed = stream(jax.random.key(7, impl=implementation), 2, 5, jnp.float32).keys
    assert typed.shape == (5, 2) and len(np.unique(np.asarray(typed))) == 10
    if implementation == "threefry2x32":
        raw = stream(jax.random.key_data(jax.random.key(7)), 2, 5, jnp.float32).keys
        np.testing.assert_array_equal(typed, raw)


def test_keys_do_not_follow_jax_settings():
    keys = stream(jax.random.key(7), 2, 5, jnp.float32).keys
    with jax.threefry_partitionable(False):
        other = stream(jax.random.key(7), 2, 5, jnp.float32).keys
    np.testing.assert_array_equal(other, keys)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_rows_coordinates_and_grouping_do_not_matter(dtype):
    noise = stream(jax.random.key(KEY), 1, 5, dtype)
    rows = jnp.asarray(ROWS)
    whole = at(noise, rows, numbered(7))
    assert whole.shape == (5, 100) and whole.dtype == dtype
    others = at(noise, rows + jnp.uint32(40), numbered(7))
    np.testing.assert_array_equal(others[:, :60], whole[:, 40:])
    fewer = at(stream(jax.random.key(KEY), 1, 3, dtype), rows, numbered(7))
    np.testing.assert_array_equal(fewer, whole[:3])

    both = packed(noise, rows, numbered([2, 7, 3]))
    assert both.shape == (5, 3, 100)
    even, odd = pair(noise, rows, numbered(7))
    assert even.shape == (5, 100) and even.dtype == odd.dtype == dtype
    np.testing.assert_array_equal(jnp.real(both)[:, 1], even)
    np.testing.assert_array_equal(jnp.imag(both)[:, 1], odd)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_every_part_of_the_address_matters(dtype):
    rows = jnp.asarray(ROWS)

    def look(key=KEY, number=1, index=7, kind=pair):
        noise = stream(jax.random.key(key), number, 5, dtype)
        return np.concatenate([np.ravel(x) for x in kind(noise, rows, numbered(index))])

    here = look()
    assert len(np.unique(here)) == here.size  # particles, coordinates and the two halves
    others = [look(key=4), look(number=2), look(index=8), look(kind=at)]
    for other in others:
        assert not np.isin(other, here).any()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_addressed_normals_are_the_streams(dtype):
    key, options = jax.random.key(KEY), {"coordinates": 5, "dtype": dtype}
    rows = jnp.asarray(ROWS)
    found = addressed_normals(key, particles=ROWS, steps=[5, 2, 4, 5], stage=1, **options)
    assert found.shape == (4, 5, 100) and found.dtype == dtype
    noise = stream(key, 2, 5, dtype)
    first, (even, odd) = pair(noise, rows, numbered(1))[0], pair(noise, rows, numbered(2))
    for values, expected in zip(found, (odd, first, even, odd), strict=True):
        np.testing.assert_allclose(values, expected, rtol=2e-6, atol=1e-9)

    found = addressed_normals(key, particles=ROWS, jumps=jnp.array([3]), stage=1, **options)
    np.testing.assert_allclose(found[0], at(noise, rows, numbered(3)), rtol=2e-6, atol=1e-9)
    found = addressed_normals(key, particles=ROWS, stage="initial", **options)
    start = at(stream(key, INITIAL, 5, dtype), rows, numbered(0))
    np.testing.assert_allclose(found, start[None], rtol=2e-6, atol=1e-9)


def test_addresses_may_be_traced():
    find = jax.jit(lambda key, steps: addressed_normals(key, particles=[4], steps=steps))
    found = find(jax.random.key(KEY), jnp.array([1, 6]))
    expected = addressed_normals(jax.random.key(KEY), particles=[4], steps=[1, 6])
    np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_a_run_can_be_followed_by_hand():
    # x <- x - h a (x - m) + sqrt(h (eta / b) c) z, from the initial draw on
    a, c, m, eta, b, count = 0.5, 2.0, 3.0, 0.25, 4.0, 5
    stage = ou.Stage(hessian=a, noise=c, minimum=[m], learning_rate=eta, batch_size=b, steps=count)
    chain = ou.Chain([stage], initial=ou.Gaussian([1.0], [0.3]))
    key = jax.random.key(11)
    run = ou.simulate(chain, particles=8, key=key, method=ou.EulerMaruyama())
    particles = np.arange(8)
    start = addressed_normals(key, particles=particles, stage="initial")
    steps = addressed_normals(key, particles=particles, steps=np.arange(count))
    x = 1.0 + np.sqrt(0.3) * np.asarray(start)[0, 0]
    for z in np.asarray(steps)[:, 0]:
        x = x - eta * a * (x - m) + np.sqrt(eta * (eta / b) * c) * z
    np.testing.assert_allclose(run.final[:, 0], x, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": None}, "exactly one of steps= and jumps="),
        ({"jumps": [1]}, "exactly one of steps= and jumps="),
        ({"stage": "initial"}, "neither steps= nor jumps="),
        ({"stage": "fine-tuning"}, "stage='fine-tuning' must be a number from 0"),
        ({"stage": -1}, "stage=-1 must be a number from 0"),
        ({"steps": [-1]}, "steps must lie from 0 to 2147483647"),
        ({"steps": [0.5]}, "steps must be integers in one row"),
        ({"particles": 10}, "particles must be integers in one row"),
        ({"particles": [2**32]}, "particles must lie from 0 to 4294967295"),
        ({"coordinates": 0}, "coordinates=0 must be"),
        ({"rounds": 0}, "rounds=0 must be"),
        ({"dtype": jnp.float16}, "dtype must be jnp.float32 or jnp.float64"),
        ({"stage": 0.5}, "stage=0.5 must be a number from 0"),
        ({"coordinates": "two"}, "coordinates='two' must be"),
    ],
)
def test_wrong_addresses_are_refused_in_words(change, sentence):
    arguments = {"particles": [0], "steps": [0]} | change
    with pytest.raises(ValueError, match=sentence):
        addressed_normals(jax.random.key(0), **arguments)
