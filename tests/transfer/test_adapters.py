"""Fine-tuning in a subspace: adapters, their law, KL and certificate."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.curvature import measure, to_vector
from jaxou.transfer import adapted, minimise


def loss(model, example):
    x, y = example
    return jnp.logaddexp(0.0, -y * model(x)[0])


def wrong(model, x, y):
    return (model(x)[0] * y <= 0).astype(float)


@pytest.fixture(scope="module")
def network():
    return eqx.nn.MLP(4, 1, 6, 1, jax.nn.tanh, key=jax.random.key(0))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 4))
    return x, np.where(x[:, 0] + 0.5 * x[:, 1] + 0.3 * rng.normal(size=300) > 0, 1.0, -1.0)


@pytest.fixture(scope="module")
def small(network):
    return adapted(network, 2, key=jax.random.key(1))


@pytest.fixture(scope="module")
def tuned(small, data):
    return minimise(small, loss, data, weight_decay=0.05, trainable=small.trainable)


def test_adapters_start_as_the_model_and_move_little_of_it(network, small, tuned):
    x = jnp.arange(4.0)
    assert (small(x) == network(x)).all()
    assert to_vector(small, small.trainable).size == 2 * 6 + 1 * 1  # the second is 1 x 6
    moved = jax.tree.map(lambda a, b: a - b, *(eqx.filter(m, eqx.is_array) for m in
                         (tuned.model.merged, network)))  # fmt: skip
    weight, bias = moved.layers[0].weight, moved.layers[0].bias
    assert jnp.linalg.matrix_rank(weight) == 2 and (bias == 0).all()
    # A's rows are orthonormal: lengths are those of the weights
    length = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(moved)))
    np.testing.assert_allclose(length, jnp.linalg.norm(tuned.vector), rtol=1e-12)


def test_laws_in_the_subspace_are_laws_of_the_weights(small, tuned, data):
    found = measure(tuned.model, loss, data, trainable=small.trainable, negative="clip")
    stage = found.stage(learning_rate=0.1, batch_size=8, steps=100, weight_decay=0.05)
    first, second = stage.stationary(), stage.replace(batch_size=16).stationary()
    lifted = [small.lift(law) for law in (first, second)]
    size = to_vector(small.base).size
    assert lifted[0].dimension == size == 37
    np.testing.assert_allclose(lifted[0].kl(lifted[1]), first.kl(second), rtol=1e-6)
    np.testing.assert_allclose(lifted[0].w2(lifted[1]), first.w2(second), rtol=1e-6)
    merged = to_vector(tuned.model.merged)
    np.testing.assert_allclose(lifted[0].mean, merged, atol=1e-12)
    with pytest.raises(ValueError, match="the law has 37 dimensions, but 13 numbers"):
        small.lift(lifted[0])


@pytest.mark.slow
def test_real_sgd_in_the_subspace_follows_its_law(small, tuned, data):
    found = measure(tuned.model, loss, data, trainable=small.trainable, negative="clip")
    stage = found.stage(learning_rate=0.05, batch_size=16, steps=300, weight_decay=0.05)
    chain = ou.Chain([stage], initial=ou.Gaussian(tuned.vector, 0.0))
    method = ou.RealSGD(tuned.model, loss, data, trainable=small.trainable)
    run = ou.simulate(chain, particles=1024, key=jax.random.key(2), method=method, progress=False)
    seen = ou.agreement(run, chain, tolerance=0.3)
    assert not seen.fails.any() and abs(seen.trace - 1) < 0.15
    # the wrong twin: noise of half the batch
    doubled = ou.Chain([stage.replace(batch_size=8)], initial=chain.initial)
    assert ou.agreement(run, doubled, tolerance=0.3).fails.any()


@pytest.mark.slow
def test_a_certificate_in_the_subspace(network, small, tuned, data):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 4))
    fresh = x, np.where(x[:, 0] + 0.5 * x[:, 1] + 0.3 * rng.normal(size=400) > 0, 1.0, -1.0)
    shared = dict(target_data=data, loss=loss, draws=500, key=jax.random.key(3), move_center=True)
    inside = ou.certify(
        small, wrong, prior_center=small, posterior_center=tuned.model, prior="isotropic",
        trainable=small.trainable, **shared,
    )  # fmt: skip
    risk = inside.test_risk(small, wrong, fresh, key=jax.random.key(4), trainable=small.trainable)
    assert risk.value < inside.bound < 0.6
    # in these coordinates nothing is the pre-trained model
    at_zero = ou.certify(
        small, wrong, prior_center=small, posterior_center=tuned.model, prior="zero",
        trainable=small.trainable, **shared,
    )  # fmt: skip
    assert at_zero.kl == inside.kl


def test_errors_are_advice():
    for model, rank, message in (
        ({"b": jnp.ones(3)}, 1, "no matrix"),
        ({"kernel": jnp.ones((4, 3, 2, 2))}, 1, r"\(4, 3, 2, 2\).*convolutions"),
        ({"w": jnp.ones((2, 2))}, 0, "rank=0 must be a whole number"),
        ({"w": jnp.ones((2, 2))}, True, "rank=True"),
    ):
        with pytest.raises(ValueError, match=message):
            adapted(model, rank, key=jax.random.key(0))
