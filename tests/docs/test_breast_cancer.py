"""A certificate from two checkpoints, on data that nothing in the package knows: the whole recipe.

Breast masses with rough nuclei (upper half of the mean smoothness) are the source, those with
smooth ones the target; a small network is trained on the one and fine-tuned on the other by
optax's AdamW, which is not the SGD of the theory: a certificate does not ask.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from readme import BLOCKS, TEXT

pytest.importorskip("sklearn")
EXAMPLE = next((block for block in BLOCKS if "load_breast_cancer" in block), "")
pytestmark = pytest.mark.skipif(not TEXT, reason="needs the source tree, not only the package")


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
