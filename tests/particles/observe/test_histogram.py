"""Counts against numpy, quantiles against the sample's own, and the same integers in any order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from clouds import record
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import jaxou as ou
from jaxou.particles.observe.buckets import (
    EDGES,
    FINITE,
    HALF,
    bucket,
    count,
    exact_sum,
    remainders,
)

RNG = np.random.default_rng(5)
CLOUD = RNG.normal(size=(2, 5_000, 2)) * np.array([1.0, 1e-3]) + np.array([0.3, 0.0])


@pytest.fixture(scope="module")
def process():
    """Two stages with minima far from each other and from zero."""
    arguments = dict(hessian=[1.0, 2.0], noise=1.0, learning_rate=0.1, batch_size=4, steps=5)
    stages = [ou.Stage(minimum=m, **arguments) for m in ([100.0, -2.0], [0.5, 1.0])]
    return ou.Chain(stages, initial=ou.Gaussian([0.0, 0.0], 1.0))


def points(process, deviations=CLOUD):
    return deviations + np.stack([np.asarray(s.minimum) for s in process.stages])[:, None, :]


# --- buckets ---------------------------------------------------------------------------------


def test_buckets_tile_the_line_and_hold_what_they_count():
    assert EDGES.shape == (FINITE + 1,) and np.all(np.diff(EDGES) > 0)
    assert np.all(EDGES == -EDGES[::-1])
    x = RNG.normal(size=3_000) * 10.0 ** RNG.integers(-15, 15, 3_000)
    x = np.concatenate([x, EDGES[1:-1:97]]).astype(np.float32)
    i = np.asarray(bucket(jnp.asarray(x)))
    wide = x.astype(np.float64)
    inside = (EDGES[i - 1] <= wide) & (wide <= EDGES[i])
    assert inside.all()
    normal = np.abs(wide) > 2.0**-63
    width = (EDGES[i] - EDGES[i - 1])[normal]
    assert np.all(width <= 2.0**-7 * np.abs(wide[normal]) * (1 + 1e-6) / (1 - 2.0**-8))
    special = jnp.asarray([jnp.inf, -jnp.inf, jnp.nan, 0.0, -(2.0**-65), 1.84e19, 2.0**64])
    expected = [FINITE + 1, 0, FINITE + 1, HALF + 1, HALF, FINITE, FINITE + 1]
    assert bucket(special).tolist() == expected


floats = st.lists((st.just(0.0) | st.floats(2.0**-64, 2.0**63, width=32)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(floats, floats, floats)
def test_records_merge_in_any_order_and_grouping(a, b, c):
    def seen(*groups):
        x = np.zeros(128, np.float32)
        flat = np.concatenate(groups)
        x[: len(flat)] = flat
        live = np.arange(128) < len(flat)
        return _seen(x, live)

    whole = seen(a, b, c)
    left, right = _add(_add(seen(a), seen(b)), seen(c)), _add(seen(c), _add(seen(b), seen(a)))
    for one, other in ((left, whole), (right, whole)):
        np.testing.assert_array_equal(one[0], other[0])
    total = [exact_sum(x[0][None, 1:-1][:, HALF:], x[1][None])[0] for x in (left, right, whole)]
    truth = np.sum(np.concatenate([a, b, c]))
    np.testing.assert_allclose(total, truth, rtol=1e-14)


@jax.jit
def _seen_jit(x, live):
    return count(bucket(x)[None], live, FINITE + 2)[0], remainders(x, live)


def _seen(x, live):
    return tuple(np.asarray(part, np.int64) for part in _seen_jit(x, live))


def _add(left, right):
    return tuple(x + y for x, y in zip(left, right, strict=True))


def test_remainders_of_many_particles_do_not_overflow():
    top = np.nextafter(np.float32(2), np.float32(0))  # the largest remainder
    counts, digits = _seen(np.full(2**17, top), np.ones(2**17, bool))
    total = exact_sum(counts[None, 1:-1][:, HALF:], digits[None])
    np.testing.assert_allclose(total, 2**17 * float(top), rtol=1e-14)


# --- histograms ------------------------------------------------------------------------------


def test_counts_are_numpy_s_for_every_kind_of_direction(process):
    edges = np.array([-4.0, -0.5, 0.0, 0.75, 2.0])
    u = np.array([0.6, -0.8])
    cases = [
        (ou.Histogram(bins=edges), lambda x: x, (2, 2)),
        (ou.Histogram(u, bins=edges), lambda x: (x @ u)[..., None], (2,)),
        (ou.Histogram(lambda x: x[0] - x[1], bins=20, range=(-4.0, 2.0)), None, (2,)),
    ]
    for observer, values, lead in cases:
        seen = record(observer, process, CLOUD)
        expected = values(points(process)) if values else None
        if expected is None:
            x = points(process)
            expected, edges = (x[..., 0] - x[..., 1])[..., None], np.linspace(-4.0, 2.0, 21)
        np.testing.assert_array_equal(seen.edges, edges)
        assert seen.counts.shape == (*lead, len(edges) - 1) and seen.below.shape == lead
        parts = (seen.counts, seen.below, seen.above)
        flat = [np.asarray(a).reshape(2, expected.shape[-1], -1) for a in parts]
        for k in range(2):
            for j in range(expected.shape[-1]):
                x = expected[k, :, j]
                np.testing.assert_array_equal(flat[0][k, j], np.histogram(x, edges)[0])
                assert flat[1][k, j] == (x < edges[0]).sum()
                assert flat[2][k, j] == (x > edges[-1]).sum()


def test_density_and_cdf_with_their_errors(process):
    seen = record(ou.Histogram([1.0, 0.0], bins=30, range=(97.0, 103.0)), process, CLOUD)
    x = points(process)[0, :, 0]
    share = np.asarray(seen.counts[0]) / 5_000
    np.testing.assert_allclose(seen.density[0], share / 0.2, rtol=1e-12)
    np.testing.assert_allclose(
        seen.standard_error_density[0], np.sqrt(share * (1 - share) / 5_000) / 0.2, rtol=1e-12
    )
    at = np.asarray(seen.edges)[3:-3]
    np.testing.assert_allclose(seen.cdf(at)[0], (x[None] < at[:, None]).mean(1), rtol=1e-12)
    np.testing.assert_allclose(
        seen.standard_error_cdf(at)[0] ** 2, seen.cdf(at)[0] * (1 - seen.cdf(at)[0]) / 5_000
    )
    # all particles of the second stage lie below the bins: nothing is known there
    assert np.isnan(seen.cdf(96.0)[1]) and seen.quantile(0.5)[1] == -np.inf
    assert seen.cdf(104.0)[1] == 1.0 and seen.below[1] == 5_000
    assert np.isinf(seen.standard_error_quantile(0.5)[1])


def test_quantiles_without_a_range_are_the_sample_s_within_a_bucket(process):
    q = np.array([0.0, 1e-4, 0.01, 0.3, 0.5, 0.9, 0.999, 1.0])
    seen = record(ou.Histogram(), process, CLOUD)
    assert seen.quantile(q).shape == (2, 2, 8) and seen.edges.shape[:2] == (2, 2)
    truth = np.quantile(CLOUD, q, axis=1, method="inverted_cdf").transpose(1, 2, 0)
    centres = np.stack([np.asarray(s.minimum) for s in process.stages])[:, :, None]
    error = np.abs(np.asarray(seen.quantile(q)) - centres - truth)
    assert np.all(error <= 2.0**-7 * np.abs(truth) + 1e-13)
    assert np.median(error / np.abs(truth)) < 2.0**-9
    # measured from zero instead of the centre, the buckets of 100 +- 1e-3 would be 0.5 wide
    narrow = seen.quantile(0.75) - seen.quantile(0.25)
    np.testing.assert_allclose(narrow[0, 1] / 1e-3, 1.349, rtol=0.1)
    np.testing.assert_allclose(seen.cdf(seen.quantile(0.3))[0, 0, 0, 0], 0.3, atol=1e-9)
    assert seen.counts.sum(-1).tolist() == [[5_000, 5_000], [5_000, 5_000]]


def test_standard_errors_of_quantiles_cover_and_their_wrong_twin_does_not():
    # 400 samples of 2,000 normals: the squared z-scores of three quantiles have mean 1
    x = np.random.default_rng(1).normal(size=(400, 2_000)).astype(np.float32)
    counts = jax.jit(jax.vmap(lambda row: count(bucket(row)[None], row == row, FINITE + 2)[0]))(x)
    zeros = jnp.zeros(400, jnp.int64)
    seen = ou.particles.observe.HistogramRecord(
        counts[:, 1:-1].astype(jnp.int64), zeros, zeros, jnp.asarray(EDGES), None, 2_000
    )
    q = np.array([0.05, 0.5, 0.8])
    gap = np.asarray(seen.quantile(q)) - stats.norm.ppf(q)
    spread = np.mean((gap / np.asarray(seen.standard_error_quantile(q))) ** 2, axis=0)
    # the error is itself estimated, from the m = 2 sqrt(q (1 - q) n) particles in between
    spread = spread / (1 + 3 / (2 * np.sqrt(q * (1 - q) * 2_000)))
    limit = 4.5 * np.sqrt(2 / 400)
    assert np.all(np.abs(spread - 1) < limit), spread
    for wrong in (1.3, 1 / 1.3):
        assert np.all(np.abs(spread * wrong**2 - 1) > limit)
    assert np.isinf(seen.standard_error_quantile(1e-4)).all()


def test_the_order_of_groups_changes_no_bit(process):
    for observer in (ou.Histogram(), ou.Mahalanobis()):
        one, other = (record(observer, process, CLOUD, order=o) for o in (None, [3, 0, 4, 2, 1]))
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_bad_numbers_are_counted_outside(process):
    cloud = CLOUD.copy()
    cloud[0, :3, 0] = np.nan, np.inf, -np.inf
    for observer in (ou.Histogram(), ou.Histogram(bins=[-1e3, 0.0, 1e3])):
        seen = record(observer, process, cloud)
        assert int(seen.above[0, 0]) == 2 and int(seen.below[0, 0]) == 1
        assert int(seen.counts[0, 0].sum()) == 4_997
    with np.errstate(all="ignore"):
        assert np.isposinf(record(ou.Histogram(), process, cloud).quantile(1.0)[0, 0])


def test_errors_advise(process):
    for arguments, sentence in [
        (dict(bins=10), "needs range="),
        (dict(range=(0.0, 1.0)), "needs bins="),
        (dict(bins=10, range=(1.0, 0.0)), "low < high"),
        (dict(bins=[0.0, 0.0, 1.0]), "must ascend"),
        (dict(bins=[0.0]), "at least two edges"),
        (dict(bins=[0.0, 1.0], range=(0.0, 1.0)), "not both"),
        (dict(bins=0, range=(0.0, 1.0)), "at least 1"),
        (dict(bins=5, range=(0.0, 1.0, 2.0)), "must be two numbers"),
        (dict(bins=5, range=1.0), "must be two numbers"),
        (dict(bins=5, range=(0.0, np.inf)), "range holds inf"),
        (dict(direction=[0.0, 0.0]), "direction is zero"),
        (dict(direction=np.eye(2)), "several directions"),
        (dict(direction=[np.nan, 0.0]), "holds nan"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            ou.Histogram(**arguments)
    with pytest.raises(ValueError, match="the particles have dimension 2"):
        ou.Histogram([1.0, 0.0, 0.0]).prepare(process)
    with pytest.raises(ValueError, match="one number"):
        ou.Histogram(lambda x: x).prepare(process)
    with pytest.raises(ValueError, match=r"q=1.5 must lie in \[0, 1\]"):
        record(ou.Histogram(), process, CLOUD[:, :50]).quantile(1.5)
