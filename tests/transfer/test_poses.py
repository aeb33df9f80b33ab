"""Source images in random poses."""

import numpy as np
import pytest

from jaxou.transfer import poses
from jaxou.transfer.domains import uci_recipe


@pytest.fixture
def glyphs():
    """A tilted bar, a ring and a blank, as grey images."""
    rows, columns = np.mgrid[:28, :28] - 13.5
    bar = np.abs(columns - 0.3 * rows) < 2
    ring = np.abs(np.hypot(rows, 1.3 * columns) - 9) < 1.5
    return 255 * np.stack([bar & (np.abs(rows) < 10), ring, np.zeros_like(bar)]).astype(np.uint8)


def test_the_pose_that_changes_nothing_is_the_recipe(glyphs, monkeypatch):
    for name, value in (("ROTATION", 0.0), ("SHEAR", 0.0), ("SMALLEST", 1.0)):
        monkeypatch.setattr(poses, name, value)
    still = poses.posed(glyphs, np.random.default_rng(0))
    # the recipe repeats an edge pixel half a pixel outwards, scipy fades it: a row of 4 may differ
    assert np.abs(still - uci_recipe(glyphs)).max() <= 4
    assert np.abs(still - uci_recipe(glyphs)).mean() < 0.5


def test_a_slant_is_taken_out_by_its_opposite(glyphs, monkeypatch):
    """The tilted bar leans 0.3 columns per row; a shear of -0.3 must set it upright."""
    monkeypatch.setattr(poses, "ROTATION", 0.0)
    monkeypatch.setattr(poses, "SMALLEST", 1.0)

    class Lowest(np.random.Generator):
        def uniform(self, low=0.0, high=1.0, size=None):
            return np.full(size, low)

    def ink(shear):
        monkeypatch.setattr(poses, "SHEAR", shear)
        return poses.posed(glyphs[:1], Lowest(np.random.PCG64(0))).mean() / 16

    # what stands upright fills its box; left as it is, or slanted further, it does not
    assert ink(0.3) > 0.8 > 0.6 > ink(0.0) > ink(-0.3)


def test_poses_differ_repeat_and_leave_blanks(glyphs):
    first, again, other = (
        poses.posed(np.repeat(glyphs, 3, axis=0), np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert (first == again).all() and not (first == other).all()
    assert not (first[0] == first[1]).all() and first[6:].sum() == 0
    assert first.shape == (9, 8, 8) and first.max() <= 16


def test_no_pose_of_a_test_image_trains():
    x = np.arange(20.0)[None, :, None] + 100 * np.arange(3)[:, None, None]
    train, test = poses.posed_source(0, n_source_test=6, poses=(x, np.arange(20)))
    assert len(train.y) == 42 and len(test.y) == 18
    assert not set(train.x[:, 0] % 100) & set(test.x[:, 0] % 100)
    assert (train.x[:, 0] % 100 == train.y).all()
