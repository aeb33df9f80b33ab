"""A run that is cut anywhere and started again ends with the same bits."""

import jax
import numpy as np
import pytest

import jaxou as ou
from jaxou.particles.checkpoint import previous


def start(process, path, progress=None, key=0, particles=100_000):
    return ou.simulate(
        process,
        particles=particles,
        key=jax.random.key(key),
        memory=2**19,
        checkpoint=path,
        progress=progress,
        observe=(ou.Moments(), ou.Paths(3)),
    )


class Cut(Exception):
    """Stands for a crash between two chunks."""


def test_cut_and_resumed_runs_are_bit_identical(process, tmp_path):
    chunks = []
    whole = start(process, None, lambda done, of: chunks.append(done))
    assert len(chunks) >= 4, "the case must have several chunks"
    path = tmp_path / "run.npz"
    for stop in chunks[:3]:

        def cut(done, of, stop=stop):
            if done >= stop:
                raise Cut

        with pytest.raises(Cut):
            start(process, path, cut)
    again = []
    resumed = start(process, path, lambda done, of: again.append(done))
    assert again == chunks[3:]
    for ours, theirs in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="belongs to another run"):
        start(process, path, key=1)
    content, before = path.read_bytes(), previous(path)
    for damaged in (content[:-200], content[:500] + bytes([content[500] ^ 1]) + content[501:]):
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match="is damaged .* going on from the one before it"):
            resumed = start(process, path)
        np.testing.assert_array_equal(resumed.final, whole.final)
    path.write_bytes(content[:-200])
    before.write_bytes(content[:-200])
    with pytest.raises(ValueError, match="is damaged .* no good one"):
        start(process, path)
