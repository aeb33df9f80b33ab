"""Files of all particles: whole or absent, and the same for any portions."""

import numpy as np
import pytest

import jaxou as ou
from jaxou.particles.observe import Context

CLOUD = np.random.default_rng(7).normal(size=(3, 1_000, 2)).astype(np.float32)
CENTRES, STAGES = np.array([[0.5, 0.0], [1000.1, -1.0]]), np.array([0, 0, 1])


def written(directory, portions, cloud=CLOUD):
    """The directory after a run that came in these (first particle, past the last) portions."""
    observer = ou.Snapshots(directory).prepare(None)
    for first, stop in portions:
        observer.store(first, cloud[:, first:stop])
    return observer.finish((), Context(None, cloud.shape[1], CENTRES, STAGES))


@pytest.mark.parametrize(
    "portions",
    [
        [(0, 1_000)],
        [(0, 300), (300, 900), (900, 1_000)],
        [(0, 600), (600, 800), (600, 700), (700, 1_000)],  # cut, and gone on from a checkpoint
    ],
)
def test_portions_come_back_as_one_array(portions, tmp_path):
    written(tmp_path / "deep" / "er", [(0, 550), (550, 1_000)], CLOUD + 1)  # another run before
    seen = written(tmp_path / "deep" / "er", portions)
    assert seen.shape == (3, 1_000, 2) and len(seen) == 3
    for k, points in enumerate(seen):
        expected = (CENTRES[STAGES[k]] + CLOUD[k].astype(np.float64)).astype(np.float32)
        np.testing.assert_array_equal(points, expected)
        assert points.dtype == np.float32
        pieces = list(seen.pieces(k, deviations=True))
        np.testing.assert_array_equal(np.concatenate([p for _, p in pieces]), CLOUD[k])
        assert all(isinstance(p, np.memmap) for _, p in pieces)
    np.testing.assert_array_equal(seen[-1], seen[2])
    assert not list(tmp_path.rglob("*.tmp"))


def test_errors_advise(tmp_path):
    with pytest.raises(ValueError, match="holds no finished snapshots"):
        ou.read_snapshots(tmp_path)
    seen = written(tmp_path, [(0, 300), (600, 1_000)])
    with pytest.raises(ValueError, match="particles from 300 on are missing at save point 1"):
        seen[-2]
    with pytest.raises(IndexError, match="save point 3 of a run with 3"):
        seen[3]
    ou.Snapshots(tmp_path).prepare(None)  # a run that has started and not finished
    with pytest.raises(ValueError, match="interrupted make it again"):
        ou.read_snapshots(tmp_path)


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    seen = written(tmp_path, [(0, 1_000)])
    before = seen[0]

    def crash(file, array):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "save", crash)
    with pytest.raises(OSError, match="no space"):
        ou.Snapshots(tmp_path).store(0, CLOUD + 1)
    np.testing.assert_array_equal(seen[0], before)
