"""A stage fitted to its own trajectory: likelihood, intervals, strides, residuals, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxou import curvature

ETA, BATCH = 0.1, 4
A = np.array([[3.0, 1.2, 0.0], [1.2, 5.0, -0.8], [0.0, -0.8, 7.0]])
C = np.array([[1.0, 0.5, 0.2], [0.5, 2.0, 0.0], [0.2, 0.0, 0.6]])
MINIMUM = np.array([1.0, -2.0, 0.5])
RUNS, TIMES = 300, 800


def simulated(normals, hessian=A, noise=C, minimum=MINIMUM):
    """The chain, by its definition: (runs, times, d) from (runs, times, d) unit noise."""
    d = len(minimum)
    root = np.linalg.cholesky(noise) * ETA / BATCH**0.5
    M = np.eye(d) - ETA * hessian
    x = np.empty_like(normals)
    x[:, 0] = minimum + 0.3
    for k in range(normals.shape[1] - 1):
        x[:, k + 1] = minimum + (x[:, k] - minimum) @ M.T + normals[:, k] @ root.T
    return x


@pytest.fixture(scope="module")
def runs():
    return simulated(np.random.default_rng(0).normal(size=(RUNS, TIMES, 3)))


@pytest.fixture(scope="module")
def fits(runs):
    one = lambda x: curvature.fit(x, learning_rate=ETA, batch_size=BATCH, lags=3)
    return jax.jit(lambda xs: jax.lax.map(one, xs))(jnp.asarray(runs))


def parts_of(p):
    """theta*, A and C of three dimensions from 15 numbers."""
    full = jnp.array([0, 1, 2, 1, 3, 4, 2, 4, 5])
    return p[:3], p[3 + full].reshape(3, 3), p[9 + full].reshape(3, 3)


def moments(p, x, stride):
    """Conditional means of the iterates and their covariance, with the powers written out."""
    minimum, hessian, noise = parts_of(p)
    M = jnp.eye(3) - ETA * hessian
    power, Q = jnp.eye(3), jnp.zeros((3, 3))
    for _ in range(stride):
        Q = M @ Q @ M.T + ETA**2 / BATCH * noise
        power = M @ power
    return minimum[None] + (x[:-1] - minimum[None]) @ power.T, Q


def log_likelihood(p, x, stride):
    mean, Q = moments(p, x, stride)
    z = x[1:] - mean
    quadratic = jnp.sum(z * jnp.linalg.solve(Q, z.T).T)
    return -0.5 * (quadratic + z.shape[0] * jnp.linalg.slogdet(2 * jnp.pi * Q)[1])


def information(p, x, stride):
    """Fisher's: sum dm'Q^-1 dm + T/2 tr(Q^-1 dQ Q^-1 dQ)."""
    dm, dQ = jax.jit(jax.jacfwd(lambda p: moments(p, x, stride)))(p)
    weight = np.linalg.inv(moments(p, x, stride)[1])
    mean = np.einsum("tia,ij,tjb->ab", dm, weight, dm, optimize=True)
    turned = np.einsum("ij,jka->aik", weight, dQ)
    return mean + (len(x) - 1) / 2 * np.einsum("aik,bki->ab", turned, turned)


@pytest.mark.parametrize("stride", [1, 2])
def test_it_is_the_maximum_and_errors_are_its_information(stride):
    z = np.random.default_rng(1).normal(size=(1, TIMES * stride, 3))
    x = simulated(z, A / stride)[0, ::stride]
    found = curvature.fit(x, learning_rate=ETA, batch_size=BATCH, stride=stride)
    upper = np.triu_indices(3)
    shrunk = float(found.dof) / found.transitions  # the maximum has the noise over T, not dof
    noise = found.stage.noise.dense()[upper] * shrunk
    at = jnp.concatenate([found.stage.minimum, found.stage.hessian.dense()[upper], noise])
    value, slope = jax.jit(jax.value_and_grad(lambda p: log_likelihood(p, jnp.asarray(x), stride)))(
        at
    )
    np.testing.assert_allclose(value, found.log_likelihood, rtol=1e-10)
    known = information(at, jnp.asarray(x), stride)
    errors = np.sqrt(np.diag(np.linalg.inv(known)))
    assert np.abs(slope * errors).max() < 1e-5  # of a standard error
    e = found.standard_errors
    ours = np.concatenate([e.minimum, e.hessian[upper], e.noise[upper] * shrunk]) * shrunk**0.5
    np.testing.assert_allclose(ours, errors, rtol=1e-6)
    # a function of the stage, through the same information
    trace = found.error_of(lambda stage: jnp.trace(stage.hessian.dense()))
    weights = np.zeros(15)
    weights[[3, 6, 8]] = 1.0
    expected = np.sqrt(weights @ np.linalg.solve(known, weights) / shrunk)
    np.testing.assert_allclose(trace, expected, rtol=1e-6)


def inside(fits, scale=1.0):
    """How many of the 300 intervals hold the truth: theta*, then the upper triangles."""
    upper = np.triu_indices(3)
    z = scale * stats.norm.ppf(0.975)
    s, e = fits.stage, fits.standard_errors
    pairs = [
        (s.minimum, e.minimum, MINIMUM),
        (s.hessian.values[:, *upper], e.hessian[:, *upper], A[upper]),
        (s.noise.values[:, *upper], e.noise[:, *upper], C[upper]),
    ]
    hits = [np.abs(np.asarray(x) - truth) < z * np.asarray(error) for x, error, truth in pairs]
    return np.concatenate(hits, axis=1).sum(axis=0)


@pytest.mark.slow
def test_intervals_cover(fits):
    """15 counts out of 300 at 95 %, false alarm 1e-3 in all, two-sided."""
    low, high = stats.binom.ppf([1e-3 / 30, 1 - 1e-3 / 30], RUNS, 0.95)
    counts = inside(fits)
    assert counts.shape == (15,) and bool(jnp.all(fits.identified))
    assert (counts >= low).all() and (counts <= high).all(), counts
    # a twin whose standard errors are a quarter too small is found out
    assert (inside(fits, 0.75) < low).sum() > 7


@pytest.mark.slow
def test_interval_is_what_it_says(fits):
    first = jax.tree.map(lambda leaf: leaf[0], fits)
    low, high = first.interval(0.9)
    half = stats.norm.ppf(0.95) * first.standard_errors.hessian
    np.testing.assert_allclose(high.hessian - low.hessian, 2 * half, rtol=1e-9)


@pytest.mark.slow
def test_p_values_are_uniform_under_the_model(fits):
    """Rejections at 5 % and 50 %, of residual memory and of asymmetry; false alarm 1e-3."""
    for test in (fits.residual_test, fits.symmetry_test):
        for level in (0.05, 0.5):
            low, high = stats.binom.ppf([1e-3 / 8, 1 - 1e-3 / 8], RUNS, level)
            assert low <= (np.asarray(test.p_value) < level).sum() <= high
    assert float(fits.residual_test.degrees[0]) == 27
    assert float(fits.symmetry_test.degrees[0]) == 3


def test_reshuffled_minibatches_are_flagged():
    """Noise of epochs without replacement sums to zero over each epoch of five steps."""
    z = np.random.default_rng(2).normal(size=(1, TIMES // 5, 5, 3))
    z = (z - z.mean(axis=2, keepdims=True)).reshape(1, TIMES, 3) * (5 / 4) ** 0.5
    found = curvature.fit(simulated(z), learning_rate=ETA, batch_size=BATCH)
    assert float(found.residual_test.p_value) < 1e-6


def test_momentum_and_asymmetry_are_flagged():
    z = np.random.default_rng(3).normal(size=(1, TIMES, 3))
    twisted = simulated(z, A + np.array([[0, 2.0, 0], [-2.0, 0, 0], [0, 0, 0]]))
    found = curvature.fit(twisted, learning_rate=ETA, batch_size=BATCH)
    assert float(found.symmetry_test.p_value) < 1e-6
    free = curvature.fit(twisted, learning_rate=ETA, batch_size=BATCH, symmetric=False)
    skew = np.asarray(free.drift - free.drift.T)[0, 1] / 2
    assert abs(skew - 2.0) < 1.5 and free.symmetry_test is None
    x, v = np.zeros((1, TIMES, 3)), np.zeros(3)
    for k in range(TIMES - 1):
        v = 0.5 * v + A @ x[0, k] + z[0, k]
        x[0, k + 1] = x[0, k] - 0.05 * v
    heavy = curvature.fit(x, learning_rate=0.05, batch_size=1)
    assert float(heavy.residual_test.p_value) < 1e-6


@pytest.mark.slow
def test_a_stride_sees_the_same_stage():
    """Every third iterate of thirty slow runs; 15 numbers within 4.5 standard errors."""
    z = np.random.default_rng(5).normal(size=(30, 3 * TIMES // 2, 3))
    x = simulated(z, A / 2)[:, ::3]
    found = curvature.fit(x, learning_rate=ETA, batch_size=BATCH, stride=3)
    stage, errors = found.stage, found.standard_errors
    parts = [
        (stage.minimum - MINIMUM, errors.minimum),
        (stage.hessian.dense() - A / 2, errors.hessian),
        (stage.noise.dense() - C, errors.noise),
    ]
    for gap, error in parts:
        assert np.abs(gap / error).max() < 4.5  # false alarm 1e-4
    # the twin that takes every third iterate for every one is far off
    twin = curvature.fit(x, learning_rate=ETA, batch_size=BATCH)
    assert np.abs((twin.stage.hessian.dense() - A / 2) / errors.hessian).max() > 20


def test_free_fit_is_least_squares(runs):
    found = curvature.fit(runs[0], learning_rate=ETA, batch_size=BATCH, symmetric=False)
    x = np.column_stack([runs[0, :-1], np.ones(TIMES - 1)])
    slope, rss, *_ = np.linalg.lstsq(x, runs[0, 1:], rcond=None)
    np.testing.assert_allclose(found.drift, (np.eye(3) - slope[:3].T) / ETA, rtol=1e-9)
    left = runs[0, 1:] - x @ slope
    noise = left.T @ left / (TIMES - 1 - 4) * BATCH / ETA**2
    np.testing.assert_allclose(found.stage.noise.dense(), noise, rtol=1e-9)


def test_far_from_zero_float32_is_as_good_as_near(runs):
    """2^20 from zero float32 has steps of 1/8, three times the noise of a step of SGD."""
    with jax.enable_x64(False):
        near, far = (
            curvature.fit(runs[:2] + shift, learning_rate=ETA, batch_size=BATCH)
            for shift in (0.0, 2.0**20)
        )
    np.testing.assert_allclose(far.stage.hessian.values, near.stage.hessian.values, rtol=1e-3)
    np.testing.assert_allclose(far.stage.noise.values, near.stage.noise.values, rtol=1e-3)


def test_what_cannot_be_known_is_refused(runs):
    fit = lambda x, **how: curvature.fit(x, **({"learning_rate": ETA, "batch_size": BATCH} | how))
    with pytest.raises(ValueError, match=r"have 18 transitions; a fit needs at least .* = 20"):
        fit(runs[:2, :10])
    with pytest.raises(ValueError, match="relaxes between two saved iterates"):
        fit(runs[:, ::21], stride=21)
    with pytest.raises(ValueError, match="do not move in some direction"):
        fit(runs[0][:, [0, 1, 1]])
    with pytest.raises(ValueError, match="needs symmetric=True"):
        fit(runs, stride=2, symmetric=False)
    with pytest.raises(ValueError, match="scalar path"):
        fit(runs[0, :, 0])
    with pytest.raises(ValueError, match="start the runs apart"):
        fit(runs[:, :2])  # all of them from one point
    short = fit(runs[:, 5:7])  # many runs of one step: nothing to correlate
    assert short.residual_test is None and short.transitions == RUNS


@pytest.mark.slow
def test_an_odd_stride_sees_signs_and_an_even_one_refuses():
    fit = lambda x, stride: curvature.fit(x, learning_rate=ETA, batch_size=BATCH, stride=stride)
    z = np.random.default_rng(4).normal(size=(1, 900, 1))
    bouncing = simulated(z, np.array([[16.0]]), np.eye(1), np.zeros(1))  # 1 - eta a = -0.6
    three = fit(bouncing[:, ::3], 3)
    assert abs(float(three.stage.hessian.dense()[0, 0]) - 16.0) < 2.0  # an odd root has a sign
    x = simulated(z, np.array([[1.0]]), np.eye(1), np.zeros(1))
    x = np.where(np.arange(900)[None, :, None] % 2, -x, x)
    with pytest.raises(ValueError, match="changes sign"):
        fit(x, 2)
