"""Phases on disk: read back bit for bit, and computed again when the file is not whole."""

import numpy as np

from jaxou.transfer.experiment.cache import Cache


def phase():
    return {"x": 1 / 3, "inf": np.inf, "n": np.int64(3)}, {"a.b": np.arange(3.0) / 7}


def test_read_back_is_what_was_computed(tmp_path):
    first, stored = Cache(tmp_path), Cache(tmp_path)
    numbers, arrays = first.phase("p", phase)
    again, more = stored.phase("p", lambda: 1 / 0)
    assert numbers == again == {"x": 1 / 3, "inf": np.inf, "n": 3}
    np.testing.assert_array_equal(arrays["a.b"], more["a.b"])
    assert first.reused == [] and stored.reused == ["p"]


def test_a_file_cut_short_is_computed_again(tmp_path):
    Cache(tmp_path).phase("p", phase)
    path = tmp_path / "p.npz"
    for content in (path.read_bytes()[:50], b"", b"not a zip file"):
        path.write_bytes(content)
        cache = Cache(tmp_path)
        assert cache.phase("p", phase)[0]["n"] == 3 and cache.reused == []


def test_without_a_folder_nothing_is_kept(tmp_path):
    assert Cache(None).phase("p", phase)[0]["x"] == 1 / 3
    assert list(tmp_path.iterdir()) == []
