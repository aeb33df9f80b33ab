"""L-BFGS reaches the minimiser that Newton reaches."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxou.transfer import minimise, polish


def loss(model, example):
    x, y = example
    return jnp.logaddexp(0.0, -y * (model["weight"] @ x + model["bias"]))


@pytest.mark.slow
def test_it_reaches_newtons_minimum_from_afar():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    data = x, np.sign(x[:, 0] + 0.5 * rng.normal(size=200))
    start = {"weight": jnp.full(5, 2.0), "bias": jnp.asarray(-1.0)}
    exact = minimise(start, loss, data, weight_decay=0.01)
    found = polish(start, loss, data, weight_decay=0.01, steps=40, chunk=64)
    np.testing.assert_allclose(found.vector, exact.vector, atol=1e-7)
    assert found.gradient_norm < 1e-8 and found.steps == 40
    # a part of the model: the rest stays
    part = {"weight": True, "bias": False}
    held = polish(start, loss, data, weight_decay=0.01, trainable=part, steps=40)
    assert held.model["bias"] == -1.0 and held.vector.shape == (5,)
    assert held.value > found.value
