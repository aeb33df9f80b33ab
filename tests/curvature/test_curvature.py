"""A and C against brute force: full jax.hessian, explicit per-example gradients, chunk by chunk."""

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from jaxou import curvature
from jaxou.curvature.batching import example_count, sum_over
from jaxou.curvature.spectrum import without_negative


class Net(eqx.Module):
    """Small enough for brute force, with a frozen integer and a name to carry along."""

    inner: jax.Array
    outer: jax.Array
    classes: int = eqx.field(static=True, default=3)

    def __call__(self, x):
        return self.outer @ jnp.tanh(self.inner @ x)


def loss(model, example):
    x, y = example
    return -jax.nn.log_softmax(model(x))[y]


@pytest.fixture(scope="module")
def net():
    one, two = jax.random.split(jax.random.key(1))
    return Net(jax.random.normal(one, (4, 2)), jax.random.normal(two, (3, 4)))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(11, 2)), rng.integers(0, 3, 11)


@pytest.fixture(scope="module")
def brute(net, data):
    """Hessian of the mean loss and per-example gradients without any of the package's helpers."""
    flat, unravel = jax.flatten_util.ravel_pytree(net)
    x, y = map(jnp.asarray, data)

    def mean_loss(vector):
        return jnp.mean(jax.vmap(lambda a, b: loss(unravel(vector), (a, b)))(x, y))

    row = jax.jit(lambda v, a, b: jax.grad(lambda v: loss(unravel(v), (a, b)))(v))
    rows = [row(flat, x[i], y[i]) for i in range(len(y))]
    return np.asarray(jax.jit(jax.hessian(mean_loss))(flat)), np.stack(rows)


@pytest.mark.parametrize("chunk", [1, 4, 256])
def test_hessian_is_the_second_derivative(net, data, brute, chunk):
    found = curvature.hessian(net, loss, data, chunk=chunk, columns=7)
    np.testing.assert_allclose(found, brute[0], atol=1e-13)


@pytest.mark.parametrize("chunk", [1, 4, 256])
def test_noise_is_the_centred_covariance(net, data, brute, chunk):
    found = curvature.gradient_noise(net, loss, data, chunk=chunk)
    np.testing.assert_allclose(found, np.cov(brute[1].T), atol=1e-13)
    # wrong twins: 1/n instead of 1/(n - 1), and not centred
    assert np.abs(np.cov(brute[1].T, bias=True) - found).max() > 1e-3
    assert np.abs(brute[1].T @ brute[1] / 10 - found).max() > 1e-3


def test_products_agree_with_the_matrices(net, data, brute):
    v = jax.random.normal(jax.random.key(3), (20,))
    product = curvature.hessian_product(net, loss, data, chunk=4)
    np.testing.assert_allclose(product(v), brute[0] @ v, atol=1e-12)
    noisy = curvature.noise_product(net, loss, data, chunk=4)
    np.testing.assert_allclose(noisy(v), np.cov(brute[1].T) @ v, atol=1e-12)
    np.testing.assert_allclose(noisy.trace(), np.trace(np.cov(brute[1].T)), rtol=1e-12)
    np.testing.assert_allclose(noisy.mean, brute[1].mean(0), atol=1e-14)


def test_ggn_drops_the_curvature_of_the_model_only(net, data):
    output_loss = lambda logits, example: -jax.nn.log_softmax(logits)[example[1]]
    found = curvature.ggn(net, output_loss, data, chunk=4)
    flat, unravel = jax.flatten_util.ravel_pytree(net)

    @jax.jit
    def one(x, y):
        jacobian = jax.jacobian(lambda v: unravel(v)(x))(flat)
        bent = jax.hessian(lambda z: output_loss(z, (x, y)))(unravel(flat)(x))
        return jacobian.T @ bent @ jacobian

    expected = sum(one(*map(jnp.asarray, pair)) for pair in zip(*data, strict=True)) / 11
    np.testing.assert_allclose(found, expected, atol=1e-13)
    assert np.linalg.eigvalsh(found)[0] > -1e-12
    assert np.abs(found - curvature.hessian(net, loss, data)).max() > 1e-2  # it is not the Hessian


def test_trainable_picks_a_block(net, data, brute):
    only_outer = Net(False, True)
    vector = curvature.to_vector(net, only_outer)
    np.testing.assert_array_equal(vector, jnp.ravel(net.outer))
    found = curvature.hessian(net, loss, data, trainable=only_outer)
    np.testing.assert_allclose(found, brute[0][8:, 8:], atol=1e-13)
    changed = curvature.from_vector(net, vector + 1.0, only_outer)
    np.testing.assert_array_equal(changed.inner, net.inner)
    np.testing.assert_array_equal(changed.outer, net.outer + 1.0)


def test_negative_eigenvalues_are_a_choice(net, data, brute):
    with pytest.raises(ValueError, match="negative eigenvalues, the lowest"):
        curvature.measure(net, loss, data)
    kept = curvature.measure(net, loss, data, negative="keep")
    np.testing.assert_allclose(kept.hessian, brute[0], atol=1e-13)
    values = np.linalg.eigvalsh(brute[0])
    assert int(kept.spectrum.negative) == (values < -1e-12).sum()
    clipped = curvature.measure(net, loss, data, negative="clip")
    np.testing.assert_allclose(
        np.linalg.eigvalsh(clipped.hessian), np.maximum(values, 0.0), atol=1e-12
    )
    assert int(clipped.noise_spectrum.rank) <= 10  # 11 examples, centred
    psd = jnp.diag(jnp.array([1.0, 0.0]))
    np.testing.assert_array_equal(without_negative(psd, "clip"), psd)


def test_commutator_vanishes_exactly_for_commuting_matrices():
    first, second = jnp.diag(jnp.arange(3.0)), jnp.diag(jnp.array([2.0, 5.0, 1.0]))
    assert float(curvature.relative_commutator(first, second)) == 0.0
    mixed = jnp.array([[1.0, 2.0, 0.0], [2.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    expected = np.linalg.norm(first @ mixed - mixed @ first) / np.linalg.norm(first @ mixed)
    np.testing.assert_allclose(curvature.relative_commutator(first, mixed), expected)


def test_estimate_makes_a_stage(net, data, brute):
    from jaxou import stages

    stage = curvature.estimate(
        net, loss, data, learning_rate=0.1, batch_size=4, steps=50, weight_decay=0.01,
        negative="clip", momentum=0.5,
    )  # fmt: skip
    assert isinstance(stage, stages.Stage)
    np.testing.assert_allclose(stage.noise.dense(), np.cov(brute[1].T), atol=1e-12)
    np.testing.assert_allclose(stage.effective_minimum, curvature.to_vector(net), atol=1e-12)
    assert float(stage.momentum) == 0.5


@pytest.mark.slow
def test_low_rank_keeps_trace_and_leading_part(net, data, brute):
    found = curvature.measure(
        net, loss, data, structure="low_rank", rank=6, negative="keep", chunk=4
    )
    C = np.cov(brute[1].T)
    np.testing.assert_allclose(np.trace(found.noise.dense()), np.trace(C), rtol=1e-10)
    top = np.linalg.eigvalsh(C)[::-1][:6]
    np.testing.assert_allclose(np.sort(found.noise_spectrum.eigenvalues)[::-1], top, rtol=1e-3)
    lead = np.linalg.eigvalsh(brute[0])
    lead = lead[np.argsort(-np.abs(lead))][:2]
    kept = np.asarray(found.spectrum.eigenvalues)
    np.testing.assert_allclose(kept[np.argsort(-np.abs(kept))][:2], lead, rtol=1e-3)
    # the noise along A's own directions, which sets SGD's variance there, is exact
    along = np.asarray(found.hessian.factor)
    inside = along.T @ found.noise.dense() @ along
    np.testing.assert_allclose(inside, along.T @ C @ along, atol=1e-10 * np.trace(C))


def test_bad_choices_get_advice(net, data):
    with pytest.raises(ValueError, match="needs output_loss"):
        curvature.measure(net, loss, data, kind="ggn")
    with pytest.raises(ValueError, match="give key="):
        curvature.measure(net, loss, data, kind="fisher")
    with pytest.raises(ValueError, match="'hessian', 'ggn' or 'fisher'"):
        curvature.measure(net, loss, data, kind="empirical fisher")
    with pytest.raises(ValueError, match="needs rank="):
        curvature.measure(net, loss, data, structure="low_rank")
    with pytest.raises(ValueError, match="rank=3 .* give structure='low_rank'"):
        curvature.measure(net, loss, data, rank=3)
    with pytest.raises(ValueError, match="negative='drop'"):
        curvature.measure(net, loss, data, structure="low_rank", rank=3, negative="drop")
    with pytest.raises(ValueError, match="rank=0 must be a whole number"):
        curvature.leading_pairs(lambda v: v, jnp.zeros(3), 0)
    with pytest.raises(ValueError, match="chunk=0 must be a whole number"):
        curvature.hessian(net, loss, data, chunk=0)
    with pytest.raises(ValueError, match="at holds nan"):
        curvature.hessian(net, loss, data, at=np.full(20, np.nan))
    kink = lambda model, z: jnp.sum(jnp.abs(model) ** 1.5) * z  # a gradient but no curvature at 0
    with pytest.raises(ValueError, match="the curvature of the loss is not finite"):
        curvature.measure(jnp.zeros(2), kink, jnp.ones(3))
    with pytest.raises(ValueError, match="without a batch axis"):
        curvature.hessian(net, lambda model, example: model(example[0]), data)
    with pytest.raises(ValueError, match="too large"):
        big = jnp.zeros(3000)
        curvature.measure(big, lambda m, z: m @ m * z, jnp.zeros(2))
    with pytest.raises(ValueError, match="20 trainable"):
        curvature.from_vector(net, jnp.zeros(3))
    with pytest.raises(ValueError, match="share one leading axis"):
        example_count((np.zeros(3), np.zeros(4)))


def test_a_model_may_be_one_matrix():
    square = lambda model, example: 0.5 * jnp.sum((model @ example[0] - example[1]) ** 2)
    rng = np.random.default_rng(1)
    data = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    found = curvature.measure(jnp.ones((2, 3)), square, data)
    np.testing.assert_allclose(found.hessian, np.kron(np.eye(2), data[0].T @ data[0] / 9))
    words = str(found)
    assert "6 parameters from 9 examples" in words and "commut" not in words
    assert "|AC - CA| / |AC| = " in words


def test_memory_does_not_grow_with_the_data(net):
    """The scan's body sees one block: its biggest array depends on the chunk alone."""

    def peak(count):
        data = (jnp.zeros((count, 2)), jnp.zeros(count, int))
        total = lambda d: sum_over(
            lambda z, w: w @ jax.vmap(lambda e: loss(net, e))(z), d, chunk=16
        )
        return jax.jit(total).lower(data).compile().memory_analysis().temp_size_in_bytes

    grown = peak(4096) - peak(512)
    assert grown < 3584 * 64  # indices and weights of 3,584 more examples, no activations
