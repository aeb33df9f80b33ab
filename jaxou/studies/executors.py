"""Where the batches of a study run. Nothing here schedules: each name is somebody else's executor.

    None             this process, one batch after another
    "processes=N"    N processes of this machine (concurrent.futures)
    "dask=ADDRESS"   a Dask cluster; tasks of workers that die are run again by its scheduler
    "slurm"          Slurm through submitit, "slurm=PARTITION"; "local" runs its jobs here
    an Executor      any concurrent.futures.Executor

For plain job arrays use shards instead: `jaxou study run STUDY.toml --out DIR --shard $i/$n`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import ConfigError, did_you_mean
from .cells import StudyError

NAMES = {"processes": "N", "dask": "ADDRESS", "slurm": "PARTITION", "local": ""}
JOBS = 16
"""Jobs that a study is cut into for a queue; a job has as many batches as that takes."""

MINUTES = 24 * 60


@dataclass(frozen=True)
class Workers:
    """`submit(function, argument)` gives a future; at most `window` of them at once.

    `tasks` is how many tasks a study is cut into; None: one per batch.
    """

    submit: Callable[..., Future[Any]]
    window: int
    tasks: int | None = None


@contextlib.contextmanager
def workers_of(executor: Any, out: Path, cells: int) -> Iterator[Workers]:
    """The workers that `executor` names; what is opened here is closed here."""
    check_executor(executor)
    if executor is None:
        yield Workers(_here, 1)
    elif isinstance(executor, Executor):
        yield Workers(executor.submit, 64)
    elif isinstance(executor, str):
        name, _, value = executor.partition("=")
        with {"processes": _processes, "dask": _dask}.get(name, _queue)(name, value, out) as found:
            yield found


def check_executor(executor: Any) -> None:
    """Refuse what names no executor, whether there is work for one or not."""
    if isinstance(executor, str):
        name, _, value = executor.partition("=")
        if name not in NAMES:
            raise ConfigError(f"executor = {executor!r}{did_you_mean(name, NAMES)}")
        if name == "processes" and not (value.isdecimal() and int(value) >= 1):
            raise ConfigError(f"executor = {executor!r}: processes=N needs a number, 1 or more")
    elif executor is not None and not isinstance(executor, Executor):
        raise ConfigError(
            f"executor = {executor!r}: it must be a concurrent.futures.Executor or one of "
            + ", ".join(f"{n}={v}" if v else n for n, v in NAMES.items())
        )


def _here(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Call now; an interrupt passes through."""
    future: Future[Any] = Future()
    try:
        future.set_result(function(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future


@contextlib.contextmanager
def _processes(name: str, value: str, out: Path) -> Iterator[Workers]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(int(value), mp_context=context, initializer=_prepare)
    try:
        yield Workers(pool.submit, 2 * int(value))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare() -> None:
    """One BLAS thread for each worker: they share the machine."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextlib.contextmanager
def _dask(name: str, value: str, out: Path) -> Iterator[Workers]:
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError(_missing("distributed", f"executor = dask={value}")) from None
    try:
        client = Client(value) if value else Client()
    except (OSError, ValueError) as error:
        words = " ".join(str(error).split())
        raise StudyError(f"no Dask scheduler answers at {value}: {words}") from None
    try:
        with client.get_executor(retries=3, pure=False) as pool:
            yield Workers(pool.submit, 256)
    finally:
        client.close()


@contextlib.contextmanager
def _queue(name: str, value: str, out: Path) -> Iterator[Workers]:
    try:
        import submitit
    except ImportError:
        raise ConfigError(_missing("submitit", f"executor = {name}")) from None
    cluster = "slurm" if name == "slurm" else "local"
    queue = submitit.AutoExecutor(folder=str(out / "jobs"), cluster=cluster)
    queue.update_parameters(timeout_min=MINUTES, name="jaxou-study")
    if value and cluster == "slurm":
        queue.update_parameters(slurm_partition=value)
    count = JOBS if cluster == "slurm" else min(JOBS, os.cpu_count() or 1)

    def job(function: Callable[..., Any], *arguments: Any) -> Any:
        return queue.submit(function, *arguments).result()

    with ThreadPoolExecutor(count) as waiting:  # one thread waits for each job
        yield Workers(
            lambda function, *arguments: waiting.submit(job, function, *arguments), count, count
        )


def _missing(package: str, what: str) -> str:
    return f"{what} needs {package}, which is not installed: pip install 'jaxou[cluster]'"
