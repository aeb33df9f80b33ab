"""Block Lanczos against dense eigenpairs, and what it says about its own errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxou import curvature
from jaxou.curvature.low_rank import rest_of_trace
from jaxou.transfer.domains import digits
from jaxou.transfer.model import SoftmaxRegression, cross_entropy


def matrix_of(values, seed=0):
    """A symmetric matrix with these eigenvalues, and its basis."""
    size = len(values)
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]
    return jnp.asarray((basis * values) @ basis.T), basis


def pairs_of(matrix, rank, **how):
    return curvature.leading_pairs(lambda v: matrix @ v, jnp.zeros(len(matrix)), rank, **how)


def test_leading_pairs_are_eigenpairs():
    values = np.concatenate([[9.0, -7.0, 4.0], 0.3 * np.linspace(0.1, 1, 197)])
    matrix, basis = matrix_of(values)
    pairs = pairs_of(matrix, 3)
    np.testing.assert_allclose(pairs.values, [9.0, -7.0, 4.0], rtol=1e-10)
    np.testing.assert_allclose(np.abs(basis[:, :3].T @ pairs.vectors), np.eye(3), atol=1e-5)
    assert int(pairs.products) < 80  # not 200
    with pytest.raises(ValueError, match="between 1 and d = 200"):
        pairs_of(matrix, 201)


@pytest.mark.slow
def test_restarts_resolve_a_slow_spectrum():
    """Eigenvalues 1/k^(1/2) need several cycles; the residuals said are the residuals."""
    values = np.arange(1, 601) ** -0.5
    matrix, _ = matrix_of(values, 1)
    once = pairs_of(matrix, 20, iterations=1)
    often = pairs_of(matrix, 20, iterations=40)
    for pairs in (once, often):
        true = np.linalg.norm(matrix @ pairs.vectors - pairs.vectors * pairs.values[None], axis=0)
        np.testing.assert_allclose(pairs.residual, true, rtol=1e-4, atol=1e-12)
        np.testing.assert_allclose(pairs.vectors.T @ pairs.vectors, np.eye(20), atol=1e-12)
    assert float(once.residual.max()) > 1e-3 and float(often.residual.max()) < 1e-6
    assert int(often.products) > int(once.products)
    np.testing.assert_allclose(often.values, values[:20], rtol=1e-9)
    # each Ritz value is within its residual of an eigenvalue
    gaps = np.abs(np.asarray(once.values)[:, None] - values[None]).min(axis=1)
    assert (gaps <= np.asarray(once.residual)).all()


@pytest.mark.parametrize("rank", [3, 6])
def test_exhausted_and_repeated_spectra(rank):
    """Rank 5 in 200 dimensions, with repeated eigenvalues: nothing breaks."""
    values = np.concatenate([[3.0, 3.0, 3.0, 2.0, 2.0], np.zeros(195)])
    matrix, _ = matrix_of(values, 2)
    pairs = pairs_of(matrix, rank)
    expected = [3.0, 3.0, 3.0, 2.0, 2.0, 0.0][:rank]
    np.testing.assert_allclose(pairs.values, expected, atol=1e-12)
    np.testing.assert_allclose(pairs.vectors.T @ pairs.vectors, np.eye(rank), atol=1e-12)


def test_rest_of_the_trace():
    values = np.concatenate([[9.0, 5.0], np.linspace(0.0, 1.0, 198)])
    matrix, _ = matrix_of(values, 3)
    rest, error = rest_of_trace(lambda v: matrix @ v, pairs_of(matrix, 2))
    assert abs(float(rest) - values[2:].mean()) < 4.1 * float(error) and float(error) < 0.02
    variance = 2 * np.sum((values[2:] - values[2:].mean()) ** 2) / 198**2 / 64
    assert 0.6 < float(error) / variance**0.5 < 1.4  # 64 probes: 9 % per standard deviation


@pytest.fixture(scope="module")
def softmax():
    """Softmax regression on 400 real digits of 4x4 pixels, d = 170, dense matrices beside it."""
    x, y = digits()
    x = x[:400].reshape(400, 4, 2, 4, 2).mean((2, 4)).reshape(400, 16)
    data = (jnp.asarray(x), jnp.asarray(y[:400]))
    model = jax.tree.map(
        lambda leaf: 0.3 * jax.random.normal(jax.random.key(0), leaf.shape),
        SoftmaxRegression.zeros(16),
    )
    dense = curvature.measure(model, cross_entropy, data)
    return model, data, dense, curvature.measure(
        model, cross_entropy, data, structure="low_rank", rank=12
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spectrum", "noise_spectrum"])
def test_low_rank_is_the_dense_matrix_truncated(softmax, name):
    """Within the stated residuals; the trace of C is exact, that of A within its error."""
    _, _, dense, found = softmax
    pairs, values = getattr(found, name), np.asarray(getattr(dense, name).eigenvalues)
    error = np.asarray(pairs.residual)
    assert error.shape == (12,) and error.max() < 1e-6 * values[-1]
    gap = np.abs(np.asarray(pairs.eigenvalues) - values[-12:])
    assert (gap <= error + 1e-12 * values[-1]).all()
    matrix = found.hessian if name == "spectrum" else found.noise
    trace, slack = float(matrix.trace()), 158 * 4.1 * float(found.rest_error)
    slack = slack if name == "spectrum" else 1e-9
    assert abs(trace - values.sum()) < slack


@pytest.mark.slow
def test_errors_of_eigenvalues_are_those_of_the_bootstrap_form(softmax):
    """u'H_i u and (u'(g_i - g))^2 over examples, by brute force from single Hessians."""
    model, (x, y), dense, found = softmax
    u = np.linalg.eigh(np.asarray(dense.hessian))[1][:, -1]
    logits = np.asarray(jax.vmap(model)(x))
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    z = np.asarray(x) @ u[:160].reshape(10, 16).T + u[160:]  # J u of each example
    forms = (p * z**2).sum(1) - ((p * z).sum(1)) ** 2
    np.testing.assert_allclose(found.spectrum.standard_error[-1], forms.std(ddof=1) / 20, rtol=1e-5)
    u = np.linalg.eigh(np.asarray(dense.noise))[1][:, -1]
    left = p - np.eye(10)[np.asarray(y)]
    z = np.asarray(x) @ u[:160].reshape(10, 16).T + u[160:]
    slopes = (left * z).sum(1)
    forms = (slopes - slopes.mean()) ** 2
    value = found.noise_spectrum.eigenvalues[-1]
    expected = np.sqrt(((forms - float(value)) ** 2).sum() / (400 * 399))
    np.testing.assert_allclose(found.noise_spectrum.standard_error[-1], expected, rtol=1e-5)
