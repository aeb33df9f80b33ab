"""One run, the same bytes: any chunks, threads, devices, processes, and any number of crashes."""

import random
import socket
import subprocess

import byte_cases
import numpy as np
import pytest
from byte_cases import assert_same, command, environment, in_process, make, read

import jaxou as ou

BUDGETS = {"one chunk": 2**28, "about seven": 2**19, "odd": 333_333, "the smallest tiles": 2**18}


def test_chunks_and_threads():
    whole = make("jumps", observe=ou.Moments())
    few = dict(threads=2, memory=BUDGETS["the smallest tiles"])
    assert_same(whole, make("jumps", observe=ou.Moments(), **few))
    # a comparison of bytes that cannot fail shows nothing
    other = whole | {".moments.mean": np.nextafter(whole[".moments.mean"], np.inf)}
    with pytest.raises(AssertionError, match="other bits"):
        assert_same(whole, other)


@pytest.mark.slow
@pytest.mark.parametrize("case", list(byte_cases.PARTICLES))
def test_every_chunk_size_and_number_of_threads(case):
    whole = make(case)
    for name, memory in BUDGETS.items():
        # the smallest tile of 24 dimensions needs more than that of one
        memory *= 4 if case == "wide" else 1
        for threads in (1, 2):
            chunks = []
            report = lambda done, of, chunks=chunks: chunks.append(done)
            assert_same(whole, make(case, memory=memory, threads=threads, progress=report))
            assert name == "one chunk" or len(chunks) > 3


@pytest.mark.slow
@pytest.mark.multiprocess
def test_virtual_devices(tmp_path):
    one = in_process(tmp_path / "1.npz")
    for memory in (None, 2**19):
        flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
        options = {"memory": memory}
        assert_same(one, in_process(tmp_path / "4.npz", environment=flags, options=options))


@pytest.mark.slow
@pytest.mark.multiprocess
def test_two_processes(tmp_path):
    one = in_process(tmp_path / "one.npz")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    outs = [tmp_path / f"of-two-{k}.npz" for k in range(2)]
    workers = [
        subprocess.Popen(
            command(out=str(out), join=[address, 2, k], options={"memory": 2**20}),
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        for k, out in enumerate(outs)
    ]
    try:
        for worker in workers:
            _, complaint = worker.communicate(timeout=300)
            assert worker.returncode == 0, complaint[-2000:]
    finally:
        for worker in workers:
            worker.kill()
    for out in outs:
        assert_same(one, read(out))


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize("case", ["steps", "jumps"])
def test_five_kills_and_a_resume(case, tmp_path):
    out, whole = tmp_path / "killed.npz", in_process(tmp_path / "whole.npz", cases=[case])
    draw, task = random.Random(5), dict(cases=[case], options={"memory": 2**18})
    task |= dict(checkpoint=str(tmp_path / "run"), slow=0.05)
    first_seen = []
    for _ in range(5):
        victim = subprocess.Popen(
            command(out=str(out), **task), env=environment(), stdout=subprocess.PIPE, text=True
        )
        lines = [victim.stdout.readline()]
        first_seen.append(int(lines[0]))
        try:
            # a random moment within the next chunk or two
            victim.wait(timeout=draw.uniform(0.0, 0.12))
        except subprocess.TimeoutExpired:
            victim.kill()
        victim.communicate()
        assert not out.exists(), "killed too late to be a test"
    assert first_seen[0] < first_seen[-1] < byte_cases.PARTICLES[case], "nothing was resumed"
    assert_same(whole, in_process(out, **task))
