"""The optimum against numpy; SGD replicas against a plain loop and the theory of the chain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxou.curvature import measure
from jaxou.transfer import (
    SoftmaxRegression,
    accuracy,
    cross_entropy,
    loss01,
    minimise,
    sgd_replicas,
)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 4))
    return x, (x @ rng.normal(size=(4, 3)) + rng.normal(size=(60, 3))).argmax(1)


@pytest.fixture(scope="module")
def model():
    return SoftmaxRegression.zeros(4, 3)


def objective(vector, data, decay):
    """Regularised loss written with numpy alone."""
    weight, bias = vector[:12].reshape(3, 4), vector[12:]
    logits = data[0] @ weight.T + bias
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return -logs[np.arange(len(data[1])), data[1]].mean() + 0.5 * decay * vector @ vector


def test_minimise_finds_the_minimum(model, data):
    found = minimise(model, cross_entropy, data, weight_decay=1e-2, chunk=16)
    vector = np.asarray(found.vector)
    assert float(found.gradient_norm) <= 1e-10
    np.testing.assert_allclose(found.value, objective(vector, data, 1e-2), rtol=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = vector + 1e-3 * rng.normal(size=15)
        assert objective(other, data, 1e-2) > float(found.value)
    np.testing.assert_allclose(
        accuracy(found.model, data),
        np.mean([1 - float(loss01(found.model, x, y)) for x, y in zip(*data, strict=True)]),
    )


def test_minimise_says_when_it_can_not(model, data):
    with pytest.raises(RuntimeError, match="raise weight_decay"):
        minimise(model, cross_entropy, data, weight_decay=1e-2, max_steps=1)
    with pytest.raises(ValueError, match="10,001 parameters is too large for Newton's method"):
        minimise(jnp.zeros(10_001), mean_loss, jnp.zeros((4, 10_001)))
    with pytest.raises(ValueError, match="weight_decay=-1"):
        minimise(model, cross_entropy, data, weight_decay=-1)


def mean_loss(model, example):
    return 0.5 * jnp.sum((model - example) ** 2)


def test_replicas_follow_the_plain_loop(key):
    """One example in the data: SGD is gradient descent, with momentum and decay as in optax."""
    run = sgd_replicas(
        jnp.zeros(2), mean_loss, jnp.array([[1.0, 2.0]]), starts=jnp.zeros((3, 2)), batch_size=4,
        learning_rate=0.1, momentum=0.5, weight_decay=0.2, steps=7, saves=[0, 3, 7], key=key,
    )  # fmt: skip
    position, buffer, expected = np.zeros(2), np.zeros(2), [np.zeros(2)]
    for step in range(1, 8):
        buffer = 0.5 * buffer + (position - np.array([1.0, 2.0])) + 0.2 * position
        position = position - 0.1 * buffer
        if step in (3, 7):
            expected.append(position)
    for k in range(3):
        np.testing.assert_allclose(run.positions[:, k], expected, atol=1e-14)


@pytest.mark.slow
def test_replicas_have_the_law_of_the_chain(key):
    """On a quadratic loss the stationary variance is eta C / (b (2 - eta)) exactly (theory 5.1)."""
    data = jax.random.normal(jax.random.key(7), (50, 1))
    run = sgd_replicas(
        jnp.zeros(1), mean_loss, data, starts=jnp.full((4000, 1), float(data.mean())),
        learning_rate=0.5, batch_size=2, steps=25, key=key, chunk=4000,
    )  # fmt: skip
    expected = 0.5 * float(data.var()) / (2 * 1.5)
    variance = float(run.final.var())
    noise = expected * np.sqrt(3.0 / 4000)  # a generous kurtosis: 1 standard error
    assert abs(variance - expected) < 4 * noise
    # wrong twin: the SDE's law, without the step-size correction
    assert abs(variance - 0.5 * float(data.var()) / (2 * 2.0)) > 4 * noise


@pytest.mark.slow
def test_replicas_do_not_depend_on_chunk_or_company(key):
    settings = dict(learning_rate=0.1, batch_size=2, steps=6, saves=2, key=key)
    data = jax.random.normal(jax.random.key(7), (9, 2))
    starts = jnp.zeros((5, 2))
    whole = sgd_replicas(jnp.zeros(2), mean_loss, data, starts=starts, **settings)
    parts = sgd_replicas(jnp.zeros(2), mean_loss, data, starts=starts, chunk=2, **settings)
    fewer = sgd_replicas(jnp.zeros(2), mean_loss, data, starts=starts[:3], **settings)
    np.testing.assert_allclose(parts.positions, whole.positions, atol=1e-15)
    np.testing.assert_allclose(fewer.positions, whole.positions[:, :3], atol=1e-15)
    assert len({tuple(np.asarray(p)) for p in whole.final}) == 5  # all different
    assert whole.steps.tolist() == [3, 6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"starts": np.zeros((3, 4))}, r"starts must have shape \(replicas, 2\)"),
        ({"starts": np.full((3, 2), np.nan)}, "starts holds nan"),
        ({"learning_rate": 0.0}, "learning_rate=0 must be positive"),
        ({"learning_rate": np.nan}, "learning_rate holds nan"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1 must not be negative"),
        ({"chunk": 0}, "chunk=0 must be a whole number"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"momentum": 1.0}, "momentum=1 must lie"),
        ({"saves": [5, 3]}, "increasing"),
        ({"saves": 99}, "saves=99"),
    ],
)
def test_replicas_refuse(change, message, key):
    settings = dict(learning_rate=0.1, batch_size=2, steps=6, key=key, starts=np.zeros((3, 2)))
    with pytest.raises(ValueError, match=message):
        sgd_replicas(jnp.zeros(2), mean_loss, jnp.zeros((4, 2)), **{**settings, **change})


@pytest.mark.slow
@pytest.mark.parametrize("label", [10, -1])
def test_labels_that_do_not_exist_are_not_taken_for_others(label):
    """Indexing would take the nearest class, and every later number would be about it."""
    from jaxou.transfer import polish

    model = SoftmaxRegression.zeros()
    x = np.random.default_rng(0).uniform(size=(20, 64))
    y = np.arange(20) % 10
    y[3] = label
    with pytest.raises(ValueError, match=f"label {label} must lie from 0 to 9"):
        cross_entropy(model, (x[3], int(y[3])))
    for use in (
        lambda: minimise(model, cross_entropy, (x, y)),
        lambda: polish(model, cross_entropy, (x, y), steps=2),
        lambda: measure(model, cross_entropy, (x, y)),
    ):
        with pytest.raises(ValueError, match="labels outside 0 to classes - 1"):
            use()


def test_polish_refuses_settings_with_advice():
    from jaxou.transfer import polish

    model, data = SoftmaxRegression.zeros(), (np.zeros((4, 64)), np.zeros(4, int))
    for settings, message in (
        ({"weight_decay": -1.0}, "weight_decay=-1 must not be negative"),
        ({"steps": 0}, "steps=0 must be a whole number"),
        ({"chunk": 0}, "chunk=0 must be a whole number"),
    ):
        with pytest.raises(ValueError, match=message):
            polish(model, cross_entropy, data, **settings)
