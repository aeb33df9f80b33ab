"""Killed, doubled, cut in parts, spread over workers: the table has the same bytes."""

import signal
import sys
import time

import numpy as np
import pytest
from study_cases import small

from jaxou.studies import collect, run
from jaxou.studies.cells import Folder

pytestmark = pytest.mark.multiprocess


def wait_for(folder, count, process, patience=120.0):
    """Until `folder` has `count` cells; the number it has then."""
    end = time.monotonic() + patience
    while len(folder.present()) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "no progress"
        time.sleep(0.002)
    return len(folder.present())


def killed_at(command, file, out, counts):
    """Start, kill when so many cells are there, start again, ...; then let it finish."""
    folder = Folder(out)
    caught = []
    for count in counts:
        process = command("run", file, "--out", out, "--quiet")
        wait_for(folder, count, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        caught.append(len(folder.present()))
    process = command("resume", out, "--quiet")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return caught


@pytest.fixture(scope="module")
def long_study(tmp_path_factory):
    """1,500 cells of the small study's program, and its file."""
    axis = {"from": 0.01, "to": 3.0, "points": 250, "scale": "log"}
    axes = {a.name: a.as_toml() for a in small().design.axes} | {"finetune.learning_rate": axis}
    study = small(name="long", design={"axes": axes})
    folder = tmp_path_factory.mktemp("long")
    file = folder / "long.toml"
    file.write_text(study.to_toml())
    run(study, folder / "whole")
    return study, file, collect(folder / "whole").to_csv()


def test_two_kills_leave_no_trace(long_study, tmp_path, command):
    study, file, table = long_study
    caught = killed_at(command, file, tmp_path / "out", [1, 700])
    assert 0 < caught[0] < 1500 and caught[0] <= caught[1] < 1500  # they came mid-way
    assert collect(tmp_path / "out").to_csv() == table


@pytest.mark.slow
def test_ten_kills_at_random_moments_leave_no_trace(long_study, tmp_path, command):
    study, file, table = long_study
    moments = np.sort(np.random.default_rng(10).integers(0, 1400, 10))
    caught = killed_at(command, file, tmp_path / "out", moments.tolist())
    assert len(set(caught)) > 3 and caught[-1] < 1500
    assert collect(tmp_path / "out").to_csv() == table


def test_two_processes_at_once_lose_nothing_even_if_one_is_killed(long_study, tmp_path, command):
    study, file, table = long_study
    out = tmp_path / "out"
    first, second = (command("run", file, "--out", out, "--quiet") for _ in range(2))
    wait_for(Folder(out), 300, first)
    first.send_signal(signal.SIGKILL)
    _, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    assert collect(out).to_csv() == table == (out / "table.csv").read_text()


@pytest.mark.slow
def test_two_processes_that_both_finish_leave_nothing_behind(long_study, tmp_path, command):
    study, file, table = long_study
    out = tmp_path / "out"
    for process in [command("run", file, "--out", out, "--quiet") for _ in range(2)]:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert collect(out).to_csv() == table == (out / "table.csv").read_text()
    assert not list(out.rglob("*.tmp"))


@pytest.mark.slow
def test_a_batch_over_four_devices_has_the_same_bytes(reference, tmp_path):
    import subprocess

    study, table = reference
    (tmp_path / "s.toml").write_text(study.to_toml())
    program = """
import sys, jax
jax.config.update("jax_num_cpu_devices", 4)
from jaxou.studies import Study, run
assert len(jax.devices()) == 4
run(Study.from_toml(sys.argv[1]), sys.argv[2], devices=4)
"""
    command = [sys.executable, "-c", program, tmp_path / "s.toml", tmp_path / "out"]
    subprocess.run(command, check=True, timeout=200)
    assert collect(tmp_path / "out").to_csv() == table


@pytest.mark.slow
def test_processes_give_the_same_table(reference, tmp_path):
    study, table = reference
    run(study, tmp_path, executor="processes=2")
    assert collect(tmp_path).to_csv() == table


@pytest.mark.slow
def test_jobs_of_submitit_give_the_same_table(reference, tmp_path):
    pytest.importorskip("submitit")
    study, table = reference
    run(study, tmp_path, executor="local")
    assert collect(tmp_path).to_csv() == table


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what a scheduler says about a worker that died
def test_a_dask_worker_that_dies_costs_nothing(long_study, tmp_path):
    distributed = pytest.importorskip("distributed")
    import os

    study, _, table = long_study
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    )
    with cluster:
        victims = [worker.pid for worker in cluster.workers.values()]
        state = {"killed": False}

        def progress(done, failed):
            if not state["killed"] and done >= 128:
                os.kill(victims[0], signal.SIGKILL)
                state["killed"] = True

        run(study, tmp_path / "out", executor=f"dask={cluster.scheduler_address}",
            progress=progress)  # fmt: skip
        assert state["killed"]
    assert collect(tmp_path / "out").to_csv() == table
