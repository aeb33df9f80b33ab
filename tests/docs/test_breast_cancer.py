"""A certificate from two checkpoints, on data that nothing in the package knows: the whole recipe.

Breast masses with rough nuclei (upper half of the mean smoothness) are the source, those with
smooth ones the target; a small network is trained on the one and fine-tuned on the other by
optax's AdamW, which is not the SGD of the theory: a certificate does not ask.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("sklearn")

EXAMPLE = """
import equinox as eqx, jax, jax.numpy as jnp, numpy as np, optax
from sklearn.datasets import load_breast_cancer
import jaxou as ou

jax.config.update("jax_enable_x64", True)  # certificates are computed in float64
x, y = load_breast_cancer(return_X_y=True)
order = np.random.default_rng(0).permutation(len(y))
x, y = x[order], y[order]
smooth = x[:, 4] < np.median(x[:, 4])  # two domains: rough cells, smooth cells
x = (x - x[~smooth].mean(axis=0)) / x[~smooth].std(axis=0)  # the source alone may set the scale
source, target = (x[~smooth], y[~smooth]), (x[smooth][:200], y[smooth][:200])
test = x[smooth][200:], y[smooth][200:]


@eqx.filter_jit
def train(model, data, steps, learning_rate):
    optimiser = optax.adamw(learning_rate, weight_decay=1e-2)
    weights, rest = eqx.partition(model, eqx.is_inexact_array)

    def loss(w):
        one = lambda x, y: ou.transfer.cross_entropy(eqx.combine(w, rest), (x, y))
        return jnp.mean(jax.vmap(one)(*data))

    def step(_, carry):
        w, state = carry
        change, state = optimiser.update(jax.grad(loss)(w), state, w)
        return optax.apply_updates(w, change), state

    weights, _ = jax.lax.fori_loop(0, steps, step, (weights, optimiser.init(weights)))
    return eqx.combine(weights, rest)


network = eqx.nn.MLP(30, 2, width_size=4, depth=1, key=jax.random.key(0))
pretrained = train(network, jax.tree.map(jnp.asarray, source), 400, 1e-2)
finetuned = train(pretrained, jax.tree.map(jnp.asarray, target), 200, 3e-3)

certificate = ou.certify(
    network, ou.transfer.loss01,
    prior_center=pretrained, posterior_center=finetuned,
    source_data=source, target_data=target,
    shape="laplace", draws=2000, key=jax.random.key(1),
)
print(certificate)  # a theorem, whatever AdamW did
print(certificate.test_risk(network, ou.transfer.loss01, test, key=jax.random.key(2)))
"""


@pytest.fixture(scope="module", autouse=True)
def as_a_user():
    """jax as it comes: optax mixes Python numbers, integers and floats."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def names(as_a_user):
    found: dict = {}
    exec(compile(EXAMPLE, "README.md", "exec"), found)
    return found


def test_the_certificate_says_something_and_is_not_contradicted(names):
    certificate, test = names["certificate"], names["test"]
    assert certificate.n == 200 and len(test[1]) == 84
    assert certificate.risk_mc < certificate.risk_upper < certificate.bound < 0.27
    risk = certificate.test_risk(
        names["network"], names["ou"].transfer.loss01, test, key=jax.random.key(2)
    )
    assert risk.value < certificate.bound
    # the checkpoints are worth something: fine-tuned beats pre-trained beats untrained
    errors = [
        1 - names["ou"].transfer.accuracy(names[name], test)
        for name in ("network", "pretrained", "finetuned")
    ]
    assert errors[0] > errors[1] > errors[2]


def test_a_target_that_pre_training_has_seen_is_refused(names):
    """The wrong twin: a source sample in which the target's examples hide."""
    source, target = names["source"], names["target"]
    both = tuple(np.concatenate(parts) for parts in zip(source, target, strict=True))
    with pytest.raises(ValueError, match="source"):
        names["ou"].certify(
            names["network"], names["ou"].transfer.loss01, prior_center=names["pretrained"],
            posterior_center=names["finetuned"], source_data=both, target_data=target,
            shape="laplace", draws=100, key=jax.random.key(1),
        )  # fmt: skip


def test_labels_without_a_meaning_get_no_certificate(names):
    """Another wrong twin: shuffled target labels must not be certified as learnt."""
    x, y = names["target"]
    shuffled = np.random.default_rng(1).permutation(y)
    certificate = names["ou"].certify(
        names["network"], names["ou"].transfer.loss01, prior_center=names["pretrained"],
        posterior_center=names["finetuned"], source_data=names["source"],
        target_data=(jnp.asarray(x), jnp.asarray(shuffled)), shape="laplace", draws=2000,
        key=jax.random.key(1),
    )  # fmt: skip
    assert certificate.bound > 0.3
