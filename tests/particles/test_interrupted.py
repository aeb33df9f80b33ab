"""Damaged checkpoints, Ctrl-C, full disks: what was done is kept, and the message says where."""

import os
import random
import resource
import signal
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest
from byte_cases import assert_same, command, environment, in_process, make

import jaxou as ou
from jaxou.particles import checkpoint, chunks


def two_written(path):
    """Two checkpoints of one run, one after the other."""
    numbers = np.random.default_rng(0).normal(size=(2, 700)).astype(np.float32)
    for done in (1, 2):
        checkpoint.write(
            path, "this run", {"done": np.array(done), "ends": numbers[:, : 100 * done]}
        )
    return path.read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flipped bit"])
def test_damage_anywhere_is_noticed(damage, tmp_path):
    path, draw = tmp_path / "run.npz", random.Random(7)
    content = two_written(path)
    assert int(checkpoint.read(path, "this run")["done"]) == 2
    for _ in range(150):
        at = draw.randrange(len(content))
        changed = bytearray(content)
        changed[at] ^= 1 << draw.randrange(8)
        path.write_bytes(content[:at] if damage == "cut" else bytes(changed))
        # some bytes of a zip file mean nothing (dates, for one): then all arrays are as they were
        intact = checkpoint._intact(path)
        if intact is not None and damage == "flipped bit":
            assert int(intact["done"]) == 2 and str(intact["run"]) == "this run"
            continue
        with pytest.warns(UserWarning, match="is damaged .* going on from the one before it"):
            assert int(checkpoint.read(path, "this run")["done"]) == 1
    path.unlink()
    assert int(checkpoint.read(path, "this run")["done"]) == 1
    with pytest.raises(ValueError, match="belongs to another run"):
        checkpoint.read(path, "that run")


def test_functions_are_told_apart():
    scaled = lambda k: lambda x: k * x
    same, other = (
        [checkpoint.fingerprint(f) for f in pair]
        for pair in (
            (scaled(2.0), scaled(2.0), scaled(jnp.ones(2)), scaled(jnp.ones(2))),
            (lambda x: 2 * x, lambda x: 3 * x, scaled(3.0), lambda x, k=2: k * x),
        )
    )
    assert same[0] == same[1] and same[2] == same[3] and len({*same, *other}) == 6
    recursive = lambda n: 1 if n == 0 else n * recursive(n - 1)
    assert checkpoint.fingerprint(recursive, object()) == checkpoint.fingerprint(
        recursive, object()
    )


@pytest.mark.slow
def test_a_keyboard_interrupt_says_how_to_go_on(tmp_path, monkeypatch):
    path, seen = tmp_path / "run.npz", []
    counts = ou.Histogram(bins=9, range=(-3.0, 5.0))
    options = dict(memory=2**18, checkpoint=path, observe=counts)

    def stop(done, of):
        seen.append(done)
        if len(seen) == 3:
            raise KeyboardInterrupt

    # before the first chunk nothing is written, and so nothing is in the way
    with monkeypatch.context() as patch:
        patch.setattr(chunks, "_call", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            make("steps", **options)
    assert not path.exists()
    with pytest.raises(KeyboardInterrupt, match=r"stopped after .* goes on from .*run\.npz"):
        make("steps", **options, progress=stop)
    done = seen[-1]
    resumed = make("steps", **options, progress=lambda done, of: seen.append(done))
    assert seen[3] > done
    assert_same(resumed, make("steps", **(options | {"checkpoint": None})))


def test_half_a_result_is_never_interrupted():
    seen, before = [], signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        with chunks._unbroken():
            os.kill(os.getpid(), signal.SIGINT)
            seen.append("whole")
    assert seen == ["whole"] and signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_a_checkpoint_that_cannot_be_written_names_its_file(tmp_path):
    path = tmp_path / "run.npz"
    two_written(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        with pytest.raises(OSError, match=r"could not be written .*run\.npz"):
            checkpoint.write(path, "this run", {"done": np.zeros(9_999)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["run.npz", "run.npz.previous"]
    assert int(checkpoint.read(path, "this run")["done"]) == 2
    with pytest.raises(OSError, match=r"could not be written .*inside"):
        checkpoint.write(path / "inside", "this run", {"done": np.zeros(1)})


@pytest.mark.slow
@pytest.mark.multiprocess
def test_ctrl_c_in_a_process(tmp_path):
    task = dict(cases=["steps"], options={"memory": 2**18}, checkpoint=str(tmp_path / "run"))
    victim = subprocess.Popen(
        command(out=str(tmp_path / "out.npz"), **task, slow=0.05),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert [int(victim.stdout.readline()) for _ in range(3)]
    victim.send_signal(signal.SIGINT)
    _, complaint = victim.communicate(timeout=60)
    assert victim.returncode != 0 and "the same call goes on from" in complaint
    out = tmp_path / "out.npz"
    assert_same(in_process(tmp_path / "whole.npz", cases=["steps"]), in_process(out, **task))


@pytest.mark.slow
def test_checkpoints_cost_little(tmp_path, monkeypatch):
    import time

    spent = []
    original = checkpoint.write

    def timed(*a):
        start = time.monotonic()
        original(*a)
        spent.append(time.monotonic() - start)

    monkeypatch.setattr(checkpoint, "write", timed)
    options = dict(particles=8_000_000, save=1, observe=ou.Moments(), memory=2**22)
    make("steps", **(options | {"particles": 100_000}))
    start = time.monotonic()
    make("steps", **options, checkpoint=tmp_path / "run.npz")
    whole = time.monotonic() - start
    assert sum(spent) < 0.1 * whole + chunks.BRIEF, (spent, whole)
