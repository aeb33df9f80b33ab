"""C against real minibatches, all of them, and the Fisher information against enumeration."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxou import curvature
from jaxou.transfer.domains import digits

HYPER = dict(learning_rate=0.1, batch_size=3, steps=10)
ONLY_BIAS = {"weight": False, "bias": True}


def predict(model, example):
    return model["weight"] @ example[0] + model["bias"]


def output_loss(logits, example):
    return -jax.nn.log_softmax(logits)[example[1]]


def cross_entropy(model, example):
    return output_loss(predict(model, example), example)


@pytest.fixture(scope="module")
def twelve():
    """Twelve real digits, a model that is not at its optimum, and the gradients of its bias."""
    x, y = digits()
    data = (jnp.asarray(x[:12]), jnp.asarray(y[:12]))
    weight = 0.2 * jax.random.normal(jax.random.key(1), (10, 64))
    model = {"weight": weight, "bias": jnp.linspace(-1.0, 1.0, 10)}
    rows = jax.vmap(lambda x, y: jax.grad(cross_entropy)(model, (x, y))["bias"])(*data)
    return model, data, np.asarray(rows)


def noise_of(stage):
    """Covariance of the minibatch gradient in the stage's own kernel."""
    return np.asarray(stage.kernel().covariance.dense()) / float(stage.learning_rate) ** 2


def test_without_replacement_is_the_covariance_over_all_minibatches(twelve):
    """All 220 subsets of 3 out of 12: the covariance is exact, so is the agreement."""
    model, data, rows = twelve
    batches = np.array([rows[list(b)].mean(0) for b in itertools.combinations(range(12), 3)])
    exact = np.cov(batches.T, bias=True)
    stage = curvature.estimate(model, cross_entropy, data, trainable=ONLY_BIAS,
                               population=12, **HYPER)  # fmt: skip
    np.testing.assert_allclose(noise_of(stage), exact, atol=1e-14)
    # wrong twins: C over 1/(n - 1) with a factor made for 1/N; no factor at all
    assert np.abs(noise_of(stage) * 12 / 11 - exact).max() > 1e-3
    free = curvature.estimate(model, cross_entropy, data, trainable=ONLY_BIAS, **HYPER)
    assert np.abs(noise_of(free) - exact).max() > 1e-3
    whole = curvature.estimate(model, cross_entropy, data, trainable=ONLY_BIAS,
                               population=12, **(HYPER | dict(batch_size=12)))  # fmt: skip
    np.testing.assert_allclose(noise_of(whole), 0.0, atol=1e-15)  # the full gradient has no noise


def test_with_replacement_is_the_covariance_over_all_tuples(twelve):
    """All 144 ordered pairs of 12, with C over 1/n: exact."""
    model, data, rows = twelve
    batches = np.array([rows[list(b)].mean(0) for b in itertools.product(range(12), repeat=2)])
    stage = curvature.estimate(model, cross_entropy, data, trainable=ONLY_BIAS,
                               **(HYPER | dict(batch_size=2)))  # fmt: skip
    np.testing.assert_allclose(noise_of(stage) * 11 / 12, np.cov(batches.T, bias=True), atol=1e-14)


def test_population_is_checked(twelve):
    model, data, _ = twelve
    with pytest.raises(ValueError, match="population=1 must be at least 2"):
        curvature.estimate(model, cross_entropy, data, trainable=ONLY_BIAS, population=1, **HYPER)


@pytest.mark.slow
def test_fisher_with_drawn_labels_is_the_gauss_newton_matrix(twelve):
    """E F = G for cross-entropy: every entry within 4.5 standard errors of 4,000 label draws."""
    model, data, rows = twelve
    G = curvature.ggn(model, output_loss, data, trainable=ONLY_BIAS, predict=predict)
    draws = 4000
    how = dict(key=jax.random.key(5), samples=draws, trainable=ONLY_BIAS, predict=predict)
    product = curvature.fisher_product(model, cross_entropy, data, **how)
    each = np.asarray(eqx.filter_jit(product.rows)(product.data))  # (12, draws, 10)
    F = np.einsum("bsi,bsj->ij", each, each) / (12 * draws)
    square = np.einsum("bsi,bsj->bij", each**2, each**2) / draws
    mean = np.einsum("bsi,bsj->bij", each, each) / draws
    error = np.sqrt((square - mean**2).sum(0) / draws) / 12
    assert np.abs((F - G) / error).max() < 4.5  # 55 numbers, false alarm 4e-4
    # the twin: the empirical Fisher, at the labels that were observed
    assert np.abs((rows.T @ rows / 12 - G) / error).max() > 50


@pytest.mark.slow
def test_fisher_products_are_those_of_the_dense_matrix(twelve):
    model, data, _ = twelve
    how = dict(key=jax.random.key(5), samples=2, trainable=ONLY_BIAS, predict=predict)
    dense = curvature.fisher(model, cross_entropy, data, **how)
    for chunk in (5, 256):  # the same labels are drawn whatever the blocks
        product = curvature.fisher_product(model, cross_entropy, data, chunk=chunk, **how)
        v = jnp.linspace(-1.0, 2.0, 10)
        np.testing.assert_allclose(eqx.filter_jit(product)(v), dense @ v, atol=1e-14)
        forms = eqx.filter_jit(product.forms)(v, product.data)
        np.testing.assert_allclose(forms.mean(), v @ dense @ v, rtol=1e-12)
    found = curvature.measure(model, cross_entropy, data, kind="fisher", **how)
    np.testing.assert_allclose(found.hessian, dense, atol=1e-14)
    other = curvature.fisher(model, cross_entropy, data, **(how | dict(key=jax.random.key(6))))
    assert np.abs(other - dense).max() > 1e-3


def test_gauss_newton_forms(twelve):
    model, data, _ = twelve
    v = jnp.linspace(-1.0, 2.0, 10)
    for product in (
        curvature.ggn_product(model, output_loss, data, trainable=ONLY_BIAS, predict=predict),
        curvature.hessian_product(model, cross_entropy, data, trainable=ONLY_BIAS),
        curvature.noise_product(model, cross_entropy, data, trainable=ONLY_BIAS),
    ):
        forms = eqx.filter_jit(product.forms)(v, data)
        scale = 11 if hasattr(product, "mean") else 12
        np.testing.assert_allclose(forms.sum() / scale, v @ eqx.filter_jit(product)(v), rtol=1e-12)
