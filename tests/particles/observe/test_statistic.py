"""Means of functions, losses and distances against numpy; the Gaussian's own; wrong twins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from clouds import record
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import jaxou as ou
from jaxou.particles.observe.statistic import leaf_means, merge_trees

RNG = np.random.default_rng(6)
N = 9_000
LIMIT = 4.5
HESSIAN = np.array([[2.0, 0.6], [0.6, 1.0]])
NOISE = np.array([[1.0, -0.69], [-0.69, 0.5]])


@pytest.fixture(scope="module")
def process():
    arguments = dict(hessian=HESSIAN, noise=NOISE, learning_rate=0.1, batch_size=4, steps=5)
    stages = [ou.Stage(minimum=m, **arguments) for m in ([3.0, -1.0], [0.0, 0.5])]
    return ou.Chain(stages, initial=ou.Gaussian([0.0, 0.0], 1.0))


@pytest.fixture(scope="module")
def cloud(process):
    """Row k: particles with the steady law of stage k, as deviations from its minimum."""
    roots = [np.asarray(stage.stationary().root()) for stage in process.stages]
    return np.stack([RNG.normal(size=(N, 2)) @ root.T for root in roots])


def points(process, cloud):
    return cloud + np.stack([np.asarray(s.minimum) for s in process.stages])[:, None, :]


def test_a_pytree_of_numbers_arrays_and_truths(process, cloud):
    function = lambda x: {"left": x[0] < 0.2, "powers": jnp.stack([x, x**2]), "sum": x.sum()}
    seen = record(ou.Statistic(function), process, cloud)
    x = points(process, cloud)
    truth = {"left": x[..., 0] < 0.2, "powers": np.stack([x, x**2], axis=2), "sum": x.sum(-1)}
    for name, values in truth.items():
        values = values.astype(float)
        np.testing.assert_allclose(seen.mean[name], values.mean(1), rtol=1e-12)
        np.testing.assert_allclose(seen.variance[name], values.var(1, ddof=1), rtol=1e-9)
        error = values.std(1, ddof=1) / np.sqrt(N)
        np.testing.assert_allclose(seen.standard_error[name], error, rtol=1e-9)


def test_float32_keeps_the_digits_of_a_narrow_law_far_away():
    x = (1000 + 1e-3 * RNG.normal(size=1024)).astype(np.float32)
    total = leaf_means(jnp.asarray(x), jnp.ones(1024, bool), jnp.float32)
    for _ in range(10):
        total = merge_trees(*(jax.tree.map(lambda v: np.asarray(v, np.float64), total),) * 2)
    np.testing.assert_allclose(total[2] / total[0], x.astype(float).var(), rtol=2e-2)
    naive = (x**2).mean() - x.mean() ** 2
    assert abs(naive / x.astype(float).var() - 1) > 0.9


numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@settings(max_examples=100, deadline=None)
@given(numbers, numbers, numbers)
def test_merging_is_associative_up_to_rounding(a, b, c):
    def of(values):
        x = np.asarray(values)
        tree = {"x": x, "y": np.stack([x, 1 - x], axis=1)}
        mean = jax.tree.map(lambda v: v.mean(0), tree)
        scatter = jax.tree.map(lambda v, m: ((v - m) ** 2).sum(0), tree, mean)
        return np.float64(len(x)), mean, scatter

    whole = of([*a, *b, *c])
    for total in (
        merge_trees(merge_trees(of(a), of(b)), of(c)),
        merge_trees(of(a), merge_trees(of(b), of(c))),
    ):
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-2), total, whole
        )


def test_energy_is_the_excess_loss_of_the_row_s_stage(process, cloud):
    seen = record(ou.Energy(), process, cloud)
    truth = np.einsum("kni,ij,knj->kn", cloud, HESSIAN, cloud) / 2
    np.testing.assert_allclose(seen.mean, truth.mean(1), rtol=1e-12)
    np.testing.assert_allclose(seen.standard_error, truth.std(1, ddof=1) / np.sqrt(N), rtol=1e-9)
    for k, stage in enumerate(process.stages):
        law = stage.stationary()
        wrong = ou.Gaussian(law.mean, 1.1 * law.covariance)  # noise 5 % off
        gap = lambda law, k=k, stage=stage: abs(seen.mean[k] - stage.excess_loss(law))
        assert gap(law) < LIMIT * seen.standard_error[k] < gap(wrong)


def test_energy_of_a_potential():
    stage = ou.stages.PotentialStage(
        lambda x: jnp.sum((x**2 - 1) ** 2) / 4,
        dimension=1,
        noise=ou.Temperature(0.1),
        learning_rate=0.01,
        steps=5,
        centre=[1.0],
    )
    chain = ou.Chain([stage], initial=ou.Gaussian([0.0], 1.0))
    x = RNG.normal(size=(1, 500, 1))
    truth = (((1 + x) ** 2 - 1) ** 2 / 4).mean(1)[:, 0]
    np.testing.assert_allclose(record(ou.Energy(), chain, x).mean, truth, rtol=1e-12)
    with pytest.raises(ValueError, match=r"stage 0 has none .*ou.Mahalanobis\(law\)"):
        ou.Mahalanobis().prepare(chain)


# --- Mahalanobis -----------------------------------------------------------------------------


def squares(law, x):
    gap = x - np.asarray(law.mean)
    return np.einsum("ni,ij,nj->n", gap, np.linalg.pinv(np.asarray(law.covariance)), gap)


def test_distances_to_the_steady_laws_are_chi_square(process, cloud):
    seen = record(ou.Mahalanobis(), process, cloud)
    x = points(process, cloud)
    truth = np.stack([squares(s.stationary(), y) for s, y in zip(process.stages, x, strict=True)])
    np.testing.assert_allclose(seen.mean, truth.mean(1), rtol=1e-6)  # distances are float32
    error = truth.std(1, ddof=1) / np.sqrt(N)
    np.testing.assert_allclose(seen.standard_error, error, rtol=1e-2)
    assert seen.rank.tolist() == [2.0, 2.0]
    q = np.array([0.1, 0.5, 0.99])
    own = np.quantile(truth, q, axis=1, method="inverted_cdf").T
    np.testing.assert_allclose(seen.quantile(q), own, rtol=2.0**-7)
    np.testing.assert_allclose(seen.null_quantile(q), np.tile(stats.chi2.ppf(q, 2), (2, 1)))
    np.testing.assert_allclose(seen.null_cdf(own[0])[0], stats.chi2.cdf(own[0], 2), rtol=1e-10)
    z = (seen.quantile(q) - seen.null_quantile(q)) / seen.standard_error_quantile(q)
    assert np.abs(z).max() < LIMIT
    share = np.asarray(seen.cdf(3.0))
    np.testing.assert_allclose(share, (truth < 3).mean(1), atol=2e-3)
    assert np.all(np.abs(share - seen.null_cdf(3.0)) < LIMIT * seen.standard_error_cdf(3.0))


def test_wrong_twins_are_seen(process, cloud):
    far = lambda seen, k: float(abs(seen.mean[k] - seen.rank[k]) / seen.standard_error[k])
    right = [stage.stationary() for stage in process.stages]
    assert max(far(record(ou.Mahalanobis(right), process, cloud), k) for k in (0, 1)) < LIMIT
    twins = {
        "noise 5 % off": [ou.Gaussian(w.mean, w.covariance * 1.05**2) for w in right],
        "stages swapped": right[::-1],
    }
    diagonal = lambda s: np.diag(np.diag(s))  # in the Hessian's eigenbasis
    u = np.linalg.eigh(HESSIAN)[1]
    commuting = [u @ diagonal(u.T @ np.asarray(w.covariance) @ u) @ u.T for w in right]
    twins["noise made to commute"] = [
        ou.Gaussian(w.mean, c) for w, c in zip(right, commuting, strict=True)
    ]
    for name, laws in twins.items():
        seen = record(ou.Mahalanobis(laws), process, cloud)
        q = np.array([0.1, 0.5, 0.9])
        gap = np.abs(seen.quantile(q) - seen.null_quantile(q)) / seen.standard_error_quantile(q)
        assert max(far(seen, 0), float(gap[0].max())) > LIMIT, name


@pytest.mark.slow
def test_structures_of_laws_and_singular_ones():
    factor = RNG.normal(size=(5, 2))
    stage = ou.Stage(
        hessian=1.0, noise=1.0, minimum=np.ones(5), learning_rate=0.1, batch_size=4, steps=5
    )
    chain = ou.Chain([stage], initial=ou.Gaussian(np.zeros(5), 1.0))
    x = RNG.normal(size=(1, 700, 5))
    mean = np.linspace(0.0, 1.0, 5)
    for covariance in (
        2.0,
        np.arange(1.0, 6.0),
        np.eye(5) + factor @ factor.T,
        ou.LowRankPlusDiagonal(np.arange(1.0, 6.0), factor, [1e4, 2.0]),
    ):
        law = ou.Gaussian(mean, covariance)
        seen = record(ou.Mahalanobis(law), chain, x)
        np.testing.assert_allclose(seen.mean, squares(law, x[0] + 1).mean(), rtol=1e-6)
        assert seen.rank.tolist() == [5.0]
    for covariance, inside in ((np.diag([1.0, 1, 1, 0, 0]), x[0, :, :3]), (np.ones((5, 5)), None)):
        law = ou.Gaussian(np.ones(5), covariance)
        assert np.isinf(record(ou.Mahalanobis(law), chain, x).mean[0])  # outside the law's range
        on = np.zeros_like(x)
        on[0, :, :3] = inside if inside is not None else 0
        on = on if inside is not None else np.repeat(x[:, :, :1], 5, axis=2)
        seen = record(ou.Mahalanobis(law), chain, on)
        np.testing.assert_allclose(seen.mean, squares(law, on[0] + 1).mean(), rtol=1e-6)
        assert seen.rank.tolist() == [3.0 if inside is not None else 1.0]


def test_errors_advise(process):
    with pytest.raises(TypeError, match="takes a Gaussian law"):
        ou.Mahalanobis([3.0])
    with pytest.raises(TypeError, match="takes a Gaussian law, or one per stage, got float"):
        ou.Mahalanobis(3.0)
    with pytest.raises(ValueError, match="3 laws for 2 stages"):
        ou.Mahalanobis([process.initial] * 3).prepare(process)
    with pytest.raises(ValueError, match="has dimension 1, the particles have 2"):
        ou.Mahalanobis(ou.Gaussian(0.0, 1.0)).prepare(process)
    with pytest.raises(TypeError, match="takes a function"):
        ou.Statistic(3.0)
    with pytest.raises(TypeError, match="real numbers, it returns complex"):
        ou.Statistic(lambda x: x.astype(jnp.complex64)).prepare(process)
    with pytest.raises(ValueError, match="call prepare"):
        ou.Energy().look(jnp.zeros((2, 8)), jnp.zeros(2), jnp.ones(8, bool), 0)
