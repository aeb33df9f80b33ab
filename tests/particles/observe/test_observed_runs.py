"""Observers in runs: equal to numpy on all particles, and the same bits for every chunk size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.particles.observe import AbstractObserver, leaf_sum, merge_means

PARTICLES = 40_000


class LeftShare(AbstractObserver):
    """A user's own observer: the share of particles to the left of a wall, by counting."""

    wall: float
    exact = True

    @property
    def name(self):
        return "left share"

    def look(self, position, centre, live, stage):
        left = position[0] < (self.wall - centre[0]).astype(position.dtype)
        # without dtype= the sum of integers would be int64
        return jnp.sum(left & live, dtype=jnp.int32)

    def finish(self, total, context):
        return np.asarray(total) / context.count


class Cubes(AbstractObserver):
    """Another one, with floats: the mean of the first coordinate's cube."""

    @property
    def name(self):
        return "cubes"

    def look(self, position, centre, live, stage):
        x = (position[0] + centre[0].astype(position.dtype)) ** 3 * live.astype(position.dtype)
        count = leaf_sum(live.astype(position.dtype))
        mean = leaf_sum(x) / jnp.maximum(count, jnp.ones_like(count))
        return count, mean, jnp.zeros_like(mean)

    def merge(self, left, right):
        return merge_means(left, right)

    def finish(self, total, context):
        return np.asarray(total[1])


def everything(directory):
    return (
        ou.Paths(PARTICLES),
        ou.Histogram(),
        ou.Histogram([1.0, -1.0], bins=50, range=(-3.0, 3.0), name="difference"),
        ou.Statistic(lambda x: {"left": x[0] < 0.5, "square": x**2}),
        ou.Energy(),
        ou.Mahalanobis(),
        ou.Snapshots(directory),
        LeftShare(0.5),
        Cubes(),
    )


def run_of(process, key, directory, **arguments):
    arguments = dict(particles=PARTICLES, key=key, save=(1, 2)) | arguments
    return ou.simulate(process, observe=everything(directory), **arguments)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One run in one chunk and the same in many, with every observer."""
    import particle_cases

    key, process = jax.random.key(3), particle_cases.two_stages()
    places = [tmp_path_factory.mktemp(name) for name in ("whole", "cut")]
    whole = run_of(process, key, places[0])
    cut = run_of(process, key, places[1], memory=WANTED)
    return process, whole, cut, places


WANTED = 4 * 2**20
"""Bytes for the second run: several chunks."""


@pytest.mark.slow
def test_chunks_change_no_bit(runs):
    _, whole, cut, places = runs
    for name, seen in whole.observed.items():
        if name != "snapshots":
            jax.tree.map(np.testing.assert_array_equal, seen, cut.observed[name])
    one, other = (ou.read_snapshots(place) for place in places)
    assert len(list(other.pieces(0))) > len(list(one.pieces(0))), (
        "the case must have several chunks"
    )
    for k in range(4):
        np.testing.assert_array_equal(one[k], other[k])
        np.testing.assert_array_equal(one[k], whole.paths[k])


@pytest.mark.slow
def test_observers_agree_with_numpy_on_all_particles(runs):
    process, run, _, _ = runs
    x = np.asarray(run.paths, np.float64)  # (saves, particles, d), rounded to float32
    seen = run.observed
    np.testing.assert_allclose(seen["left share"], (x[..., 0] < 0.5).mean(1), atol=2e-4)
    np.testing.assert_allclose(seen["left share"], seen["statistic"].mean["left"], atol=1e-4)
    np.testing.assert_allclose(seen["cubes"], (x[..., 0] ** 3).mean(1), rtol=1e-4)
    np.testing.assert_allclose(seen["statistic"].mean["square"], (x**2).mean(1), rtol=1e-5)
    spread = (x**2).std(1, ddof=1) / np.sqrt(PARTICLES)
    np.testing.assert_allclose(seen["statistic"].standard_error["square"], spread, rtol=1e-4)
    q = np.array([0.01, 0.5, 0.99])
    own = np.quantile(x, q, axis=1).transpose(1, 2, 0)
    gap = own - np.asarray(run.centres)[np.asarray(run.stages)][:, :, None]
    error = np.abs(np.asarray(seen["histogram"].quantile(q)) - own)
    assert np.all(error < 2.0**-7 * np.abs(gap) + 1e-5)
    edges = np.linspace(-3.0, 3.0, 51)
    for k in range(len(x)):
        counts = np.histogram(x[k, :, 0] - x[k, :, 1], edges)[0]
        assert np.abs(counts - np.asarray(seen["difference"].counts[k])).sum() < 10
        stage = process.stages[int(run.stages[k])]
        y = x[k] - np.asarray(stage.minimum)
        loss = np.einsum("ni,ij,nj->n", y, np.asarray(stage.hessian.dense()), y) / 2
        np.testing.assert_allclose(seen["energy"].mean[k], loss.mean(), rtol=1e-5)
        inverse = np.linalg.inv(np.asarray(stage.stationary().covariance))
        squares = np.einsum("ni,ij,nj->n", y, inverse, y)
        np.testing.assert_allclose(seen["mahalanobis"].mean[k], squares.mean(), rtol=1e-5)


@pytest.mark.slow
def test_a_user_s_observer_and_a_narrow_law_far_from_zero(key):
    stage = ou.Stage(
        hessian=1.0, noise=1e-8, minimum=1000.1, learning_rate=0.1, batch_size=1, steps=100
    )
    law = stage.stationary()
    chain = ou.Chain([stage], initial=law)
    observers = (ou.Histogram(), ou.Energy(), ou.Mahalanobis(), LeftShare(1000.1))
    run = ou.simulate(chain, particles=20_000, key=key, observe=observers)
    seen = run.observed
    far = (seen["energy"].mean - stage.excess_loss(law)) / seen["energy"].standard_error
    assert np.abs(far).max() < 4.5
    far = (seen["mahalanobis"].mean - 1) / seen["mahalanobis"].standard_error
    assert np.abs(far).max() < 4.5
    median = seen["histogram"].quantile(0.5)[:, 0] - 1000.1
    assert np.abs(median / seen["histogram"].standard_error_quantile(0.5)[:, 0]).max() < 4.5
    left = np.asarray(run.deviations)[0, :, 0] < 0
    assert seen["left share"][-1] == left.mean()
