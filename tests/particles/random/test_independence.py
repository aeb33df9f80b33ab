"""Normals at different addresses are independent: steps, particles, coordinates, stages, keys.

Every test statistic has a known law for independent normals, so that every number below is a
p-value. About 300 are looked at; each must exceed 3e-7, which keeps the false alarms of the whole
file below 1e-4. Broken generators must show a smaller one.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxou.particles.random import addressed_normals, normal_pair, stream, threefry2x32

ALARM = 3e-7
STEPS, PARTICLES = 16, 2**13
CELLS = 16
EDGES = stats.norm.ppf(np.arange(1, CELLS) / CELLS)
# functions of one normal with mean 0 and variance 1
FEATURES = {
    "z": lambda z: z,
    "z^2": lambda z: (z**2 - 1) / np.sqrt(2),
    "|z|": lambda z: (np.abs(z) - np.sqrt(2 / np.pi)) / np.sqrt(1 - 2 / np.pi),
}


def of_a_pair(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """p-values of "a and b are independent samples of N(0, 1)", element by element.

    The mean product of two features is N(0, 1 / n); counts in 16 x 16 equally likely cells are
    chi2 with 255 degrees of freedom.
    """
    a, b = np.ravel(a).astype(np.float64), np.ravel(b).astype(np.float64)
    found = {}
    for name, feature in FEATURES.items():
        statistic = np.sum(feature(a) * feature(b)) / np.sqrt(a.size)
        found[f"correlation of {name}"] = 2 * stats.norm.sf(abs(statistic))
    cells = np.searchsorted(EDGES, a) * CELLS + np.searchsorted(EDGES, b)
    counts = np.bincount(cells, minlength=CELLS**2)
    expected = a.size / CELLS**2
    found["cells"] = stats.chi2.sf(np.sum((counts - expected) ** 2) / expected, CELLS**2 - 1)
    return found


def lagged(z: np.ndarray, axis: int, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs at distance `lag` along an axis, in which no normal appears twice."""
    z = np.moveaxis(z, axis, -1)
    blocks = z.shape[-1] // (2 * lag)
    pairs = z[..., : blocks * 2 * lag].reshape(*z.shape[:-1], blocks, 2, lag)
    return pairs[..., 0, :], pairs[..., 1, :]


def of_runs(z: np.ndarray) -> float:
    """Sign changes along the last axis: a binomial with probability 1/2."""
    changes = (z[..., 1:] > 0) != (z[..., :-1] > 0)
    return stats.binomtest(int(changes.sum()), changes.size).pvalue


def p_values(z: np.ndarray, view: str = "") -> dict[str, float]:
    """All tests of normals (stages, steps, coordinates, particles), or those of one view."""
    found = {}
    views = {f"step lag {lag}": lagged(z, 1, lag) for lag in range(1, 9)}
    views |= {f"particle lag {lag}": lagged(z, 3, lag) for lag in (*range(1, 9), 64, 1024)}
    views |= {"coordinates": (z[:, :, 0], z[:, :, 1]), "stages": (z[0], z[1])}
    for place, (a, b) in views.items():
        if place.startswith(view):
            found |= {f"{place}: {name}": p for name, p in of_a_pair(a, b).items()}
    if view and found:
        return found
    found["runs of steps"] = of_runs(np.moveaxis(z, 1, -1))
    found["runs of particles"] = of_runs(z)
    flat = np.ravel(z).astype(np.float64)
    for name, feature in FEATURES.items():
        found[f"mean of {name}"] = 2 * stats.norm.sf(abs(feature(flat).mean()) * flat.size**0.5)
    found["third moment"] = 2 * stats.norm.sf(abs((flat**3).mean()) * np.sqrt(flat.size / 15))
    # sums of n independent normals have variance n, those over all steps of neighbours too
    sums = {
        "sums of particles": flat.reshape(-1, 64).sum(axis=1) / 8,
        "sums of steps": np.ravel(z.sum(axis=1)) / np.sqrt(STEPS),
    }
    for name, values in sums.items():
        found[name] = stats.kstest(values, "norm").pvalue
        found[f"{name}: lag 1"] = of_a_pair(*lagged(values[None], 1, 1))["correlation of z"]
    return found


def alarms(found: dict[str, float]) -> dict[str, float]:
    return {name: p for name, p in found.items() if not p > ALARM}


def normals_of(key, rounds: int = 20, dtype=jnp.float32) -> np.ndarray:
    options = {"particles": np.arange(PARTICLES), "steps": np.arange(STEPS), "coordinates": 2}
    stages = [
        addressed_normals(key, stage=k, rounds=rounds, dtype=dtype, **options) for k in (0, 1)
    ]
    return np.asarray(jnp.stack(stages))


def test_steps_particles_coordinates_and_stages_are_independent(key):
    assert alarms(p_values(normals_of(key))) == {}


def test_float64_steps_and_particles_are_independent(key):
    z = normals_of(key, dtype=jnp.float64)
    for view in ("step lag 1", "particle lag 1", "coordinates", "stages"):
        assert alarms(p_values(z, view)) == {}


def test_keys_jumps_and_the_initial_draw_are_independent(key):
    options = {"particles": np.arange(STEPS * PARTICLES), "coordinates": 2}
    steps = addressed_normals(key, steps=[0], **options)[0]
    others = {
        "next key": addressed_normals(jax.random.fold_in(key, 1), steps=[0], **options)[0],
        "jump 0": addressed_normals(key, jumps=[0], **options)[0],
        "initial draw": addressed_normals(key, stage="initial", **options)[0],
    }
    for name, other in others.items():
        assert alarms(of_a_pair(steps, other)) == {}, name
        assert alarms(of_a_pair(steps[0], other[1])) == {}, name


def broken(kind: str, key) -> np.ndarray:
    """Normals (stages, steps, coordinates, particles) with one thing wrong."""
    if kind == "8 rounds":
        return normals_of(key, rounds=8)
    good = normals_of(key)
    if kind == "the pair of steps is not mixed in":
        return np.tile(good[:, :2], (1, STEPS // 2, 1, 1))
    if kind == "coordinates share a key":
        return np.repeat(good[:, :, :1], 2, axis=2)
    if kind == "stages share a key":
        return np.stack([good[0], good[0]])
    if kind == "the counter of particles advances with the step":
        return np.stack([np.roll(good[:, 0], step, axis=-1) for step in range(STEPS)], axis=1)
    if kind == "0.7 % too wide":
        return 1.007 * good

    particles = jnp.arange(PARTICLES, dtype=jnp.uint32)
    pairs = jnp.arange(STEPS // 2, dtype=jnp.uint32)
    counter = (particles[None, :], pairs[:, None])
    streams = [stream(key, number, 2, jnp.float32).keys for number in (1, 2)]

    def draw(words):
        first, second = threefry2x32((words[0], words[1]), counter)
        if kind == "one word for radius and angle":
            return normal_pair(first, first)
        if kind == "the sign is that of the angle":
            even, odd = normal_pair(first, second & jnp.uint32(0xFFFFFFFE))
            return jnp.where(odd > 0, even, -even), odd
        raise AssertionError(kind)

    # (stages, coordinates, pairs, rows)
    even, odd = jax.jit(jax.vmap(jax.vmap(draw)))(jnp.stack(streams))
    z = np.stack([even, odd], axis=3).reshape(2, 2, STEPS, PARTICLES)
    return np.moveaxis(z, 1, 2)


@pytest.mark.parametrize(
    ("kind", "symptom"),
    [
        ("8 rounds", "particle lag 8: cells"),
        ("the pair of steps is not mixed in", "step lag 2: correlation of z"),
        ("coordinates share a key", "coordinates: cells"),
        ("stages share a key", "stages: correlation of |z|"),
        ("the counter of particles advances with the step", "sums of steps: lag 1"),
        ("0.7 % too wide", "mean of z^2"),
        ("one word for radius and angle", "step lag 1: cells"),
        ("the sign is that of the angle", "step lag 1: correlation of z"),
    ],
)
def test_broken_generators_are_caught(key, kind, symptom):
    assert symptom in alarms(p_values(broken(kind, key), view=symptom.split(":")[0]))


def p_of_birthdays(words: np.ndarray) -> float:
    """Marsaglia's birthday spacings: rows of n birthdays in a year of 2^32 days.

    Equal ones among a row's sorted spacings are Poisson with mean n^3 / 2^34, up to O(n / 2^32).
    """
    spacings = np.sort(np.diff(np.sort(words.astype(np.int64), axis=1), axis=1), axis=1)
    equal = int(np.sum(np.diff(spacings, axis=1) == 0))
    mean = words.shape[0] * words.shape[1] ** 3 / 2.0**34
    return 2 * min(stats.poisson.cdf(equal, mean), stats.poisson.sf(equal - 1, mean))


def test_birthday_spacings_of_the_words(key):
    words = stream(key, 1, 1, jnp.float32).keys[0]
    rows, columns = jnp.arange(2**6, dtype=jnp.uint32), jnp.arange(2**12, dtype=jnp.uint32)
    cipher = jax.jit(threefry2x32, static_argnums=2)
    counters = {
        "along particles": (columns[None, :], rows[:, None]),
        "along steps": (rows[:, None], columns[None, :]),
    }
    for counter in counters.values():
        for found in cipher((words[0], words[1]), counter):
            assert p_of_birthdays(np.asarray(found)) > ALARM
    # a counter times a constant is uniform, but its spacings are the same again and again
    weyl = np.arange(2**18, dtype=np.uint64).reshape(2**6, 2**12) * 0x9E3779B9 % 2**32
    assert p_of_birthdays(weyl) < ALARM
    few = cipher((words[0], words[1]), counters["along particles"], 6)
    assert min(p_of_birthdays(np.asarray(found)) for found in few) < ALARM
