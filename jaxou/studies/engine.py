"""Running a study: what is missing is put into batches, run, and written cell by cell."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import ConfigError
from .cells import BadCell, Folder, Record, StudyError, reason
from .compute import Batch, compute
from .executors import Workers, check_executor, workers_of
from .progress import Report, reporter
from .study import Cell, Study, jaxou_version

WRITERS = 4
"""Threads that wait for the disk."""


@dataclass(frozen=True)
class Summary:
    """What a call of `run` found and did, in cells.

    `total` of the study (or its shard), `before` there already, `computed` now; of all of them
    `failed` raised an exception and `marked` have a status; `repaired` names files that were
    damaged and have been computed again.
    """

    total: int
    before: int
    computed: int
    failed: int
    marked: int
    repaired: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        words = f"{self.total:,} cells: {self.before:,} were there, {self.computed:,} computed"
        words += f" in {self.seconds:.1f} s"
        if self.failed:
            words += f"; {self.failed:,} failed with an error"
        if self.marked:
            words += f"; {self.marked:,} have a status (see the table's column)"
        if self.repaired:
            few = ", ".join(self.repaired[:3]) + (", ..." if len(self.repaired) > 3 else "")
            words += f"; {len(self.repaired)} unusable files were computed again ({few})"
        return words


def run(
    study: Study,
    out: Path | str,
    *,
    executor: Any = None,
    shard: tuple[int, int] | None = None,
    devices: int = 1,
    retry_failed: bool = False,
    progress: Any = None,
) -> Summary:
    """Compute the cells of `study` that `out` does not have yet, one file each.

    Any number of processes may do so at once, be killed at any moment and be called again: what is
    in `out` stays valid. Cells of equal shape go through one compiled program in batches of a fixed
    size, padded, so a cell's numbers do not depend on what ran beside it.

    - `executor`: None (this process), any `concurrent.futures.Executor`, or "processes=N",
      "dask=ADDRESS", "slurm", "slurm=PARTITION", "local"; see `executors`.
    - `shard`: (i, n) runs the cells i, i + n, i + 2n, ... only.
    - `devices`: local devices that a batch is spread over.
    - `retry_failed`: run cells again that raised an exception.
    - `progress`: None (a bar on a terminal), True (plain lines too), False, or a function of (done,
      failed).

    Raises `StudyError` in one sentence where the disk or the workers fail; what was computed until
    then is on disk. Raises `ConfigError` for arguments that cannot be, and for a folder that holds
    another study.

    >>> import tempfile
    >>> from jaxou import studies
    >>> study = studies.Study.make(name="batches", experiment="theory", quantities=["kl"],
    ...                            design={"axes": {"finetune.batch_size": [1, 8]}})
    >>> with tempfile.TemporaryDirectory() as out:
    ...     first = run(study, out, progress=False)
    ...     again = run(study, out, progress=False)
    >>> first.computed, again.computed
    (2, 0)
    """
    if not isinstance(study, Study):
        raise ConfigError(
            f"study = {study!r}: it must be a Study, as Study.from_toml(path) or load(name) of "
            "jaxou.studies.ready make one"
        )
    start = time.perf_counter()
    cells = _shard({cell.id: cell for cell in study.cells()}.values(), shard)
    check_executor(executor)
    _refuse_absent_devices(devices, executor)
    folder = Folder.create(out, study)
    found, repaired = scan(folder, study, cells)
    if retry_failed:
        found = {key: record for key, record in found.items() if not record.failed}
    missing = [cell for cell in cells if cell.id not in found]
    saver = _Saver(folder, manifest(study), found, len(cells))
    # the settings may contradict each other in some corner of a design
    runnable = [cell for cell in missing if _is_consistent(study, cell, saver)]
    with contextlib.ExitStack() as stack:
        report = stack.enter_context(reporter(progress, len(missing)))
        stack.enter_context(saver.open(report))
        if runnable:
            workers = stack.enter_context(workers_of(executor, Path(out), len(runnable)))
            _run_batches(batches_of(study, runnable, devices), workers, saver, study.cells())
    return Summary(
        total=len(cells),
        before=len(cells) - saver.saved,
        computed=saver.saved,
        failed=sum(record.failed for record in saver.found.values()),
        marked=sum(bool(record.status) for record in saver.found.values()),
        repaired=repaired,
        seconds=time.perf_counter() - start,
    )


def _refuse_absent_devices(devices: int, executor: Any) -> None:
    if type(devices) is not int or devices < 1:
        raise ConfigError(f"devices = {devices!r}: it must be a whole number, 1 or more")
    if devices == 1 or executor is not None:  # other processes have devices of their own
        return
    import jax

    if devices > jax.local_device_count():
        raise ConfigError(
            f"devices = {devices}: this machine has {jax.local_device_count()} "
            f"({jax.local_devices()[0].platform})"
        )


def scan(
    folder: Folder, study: Study, cells: Iterable[Cell]
) -> tuple[dict[str, Record], tuple[str, ...]]:
    """What `folder` has of `cells`: usable records by id, and the names of unusable files."""
    present = folder.present()
    found: dict[str, Record] = {}
    damaged = []
    for cell in cells:
        if cell.id not in present:
            continue
        try:
            found[cell.id] = folder.read(cell, study.quantities)
        except FileNotFoundError:
            continue
        except BadCell:
            damaged.append(folder.file(cell.id).name)
    return found, tuple(damaged)


def batches_of(study: Study, cells: list[Cell], devices: int) -> list[Batch]:
    """Cells of equal shape together, in batches of the kind's size."""
    kind = study.kind
    groups: dict[Any, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(kind.shape(cell.config), []).append(cell)
    made = []
    for shape, group in groups.items():
        size = kind.batch(shape) * devices
        for k in range(0, len(group), size):
            part = group[k : k + size]
            made.append(
                Batch(
                    kind.name,
                    study.quantities,
                    devices,
                    tuple(cell.index for cell in part),
                    tuple(cell.config for cell in part),
                )
            )
    return made


def _run_batches(batches: list[Batch], workers: Workers, saver: _Saver, cells: list[Cell]) -> None:
    """Keep the workers busy with a few tasks each, and save what comes back."""
    per_task = max(1, -(-len(batches) // workers.tasks)) if workers.tasks else 1
    tasks = [batches[k : k + per_task] for k in range(0, len(batches), per_task)]
    lost: list[str] = []
    pending: dict[Future[Any], list[Batch]] = {}
    while tasks or pending:
        while tasks and len(pending) < workers.window:
            task = [_still_missing(batch, saver, cells) for batch in tasks.pop(0)]
            task = [batch for batch in task if batch.index]
            if task:
                pending[workers.submit(compute, task)] = task
        done = wait(pending, return_when=FIRST_COMPLETED).done if pending else ()
        for future in done:
            task = pending.pop(future)
            try:
                results = future.result()
            except ImportError as error:
                raise StudyError(" ".join(str(error).split())) from None
            except Exception as error:
                lost.append(f"{type(error).__name__}: {' '.join(str(error).split())}"[:300])
                continue
            for batch, records in zip(task, results, strict=True):
                for index, record in zip(batch.index, records, strict=True):
                    saver.save(cells[index], record)
    if lost:
        saver.settle()
        raise StudyError(
            f"{len(lost)} tasks were lost with their workers ({lost[0]}); {saver.on_disk}: "
            f"jaxou study resume {saver.folder.path} computes the rest"
        )


def _still_missing(batch: Batch, saver: _Saver, cells: list[Cell]) -> Batch:
    """The batch without what another process has finished meanwhile."""
    keep = [
        k
        for k, index in enumerate(batch.index)
        if cells[index].id in saver.again or not saver.folder.file(cells[index].id).exists()
    ]
    if len(keep) == len(batch.index):
        return batch
    index, configs = (tuple(field[k] for k in keep) for field in (batch.index, batch.configs))
    saver.skip(len(batch.index) - len(keep))
    return Batch(batch.experiment, batch.quantities, batch.devices, index, configs)


class _Saver:
    """Writes records in threads, counts them, and stops the study at the first disk error."""

    def __init__(self, folder: Folder, facts: dict[str, Any], found: dict[str, Record], total: int):
        self.folder, self.facts, self.found, self.total = folder, facts, dict(found), total
        self.saved = self.skipped = self.failures = 0
        # files that are there but must be written again
        self.again = folder.present() - set(found)
        self._waiting: list[tuple[Future[None], Record]] = []
        self._early: list[tuple[Cell, Record]] = []
        self._pool: ThreadPoolExecutor | None = None
        self._report: Report = lambda done, failed: None

    @contextlib.contextmanager
    def open(self, report: Report) -> Iterator[None]:
        """Start the writers; on the way out everything handed in is written."""
        self._report = report
        with ThreadPoolExecutor(WRITERS, thread_name_prefix="jaxou-study") as self._pool:
            for cell, record in self._early:
                self.save(cell, record)
            try:
                yield
            finally:
                wait([future for future, _ in self._waiting])
            self.settle()

    def save(self, cell: Cell, record: Record) -> None:
        """Hand one record to the writers."""
        if self._pool is None:
            self._early.append((cell, record))
            return
        full = Record(record.values, record.status, record.error, {**self.facts, **record.manifest})
        self._waiting.append((self._pool.submit(self.folder.write, cell, full), record))
        self.found[cell.id] = Record(record.values, record.status, record.error)
        if len(self._waiting) >= 256:
            self.settle(128)

    def skip(self, count: int) -> None:
        """Cells that somebody else wrote."""
        self.skipped += count

    def settle(self, keep: int = 0) -> None:
        """Wait for all but the last `keep` writes; `StudyError` if one failed."""
        cut = len(self._waiting) - keep
        old, self._waiting = self._waiting[:cut], self._waiting[cut:]
        problem: OSError | None = None
        for future, record in old:
            try:
                future.result()
                self.saved += 1
                self.failures += record.failed
            except OSError as error:
                problem = problem or error
        self._report(self.saved + self.skipped, self.failures)
        if problem is not None:
            for future, _ in self._waiting:
                with contextlib.suppress(OSError):
                    future.result()
                    self.saved += 1
            self._waiting = []
            raise StudyError(
                f"cannot write into {self.folder.cells}: {reason(problem)}; {self.on_disk}, then "
                f"jaxou study resume {self.folder.path} computes the rest"
            ) from None

    @property
    def on_disk(self) -> str:
        """How much is safe."""
        return f"{len(self.folder.present())} of {self.total} cells are saved"


def _is_consistent(study: Study, cell: Cell, saver: _Saver) -> bool:
    try:
        study.kind.check(cell.config)
    except ConfigError as error:
        saver.save(cell, Record({}, "", f"ConfigError: {error}", {}))
        return False
    return True


def _shard(cells: Iterable[Cell], shard: tuple[int, int] | None) -> list[Cell]:
    cells = list(cells)
    if shard is None:
        return cells
    pair = isinstance(shard, tuple | list) and [type(part) for part in shard] == [int, int]
    if not pair or not 0 <= shard[0] < shard[1]:
        raise ConfigError(f"shard = {shard!r}: it must be (i, n) with 0 <= i < n")
    number, count = shard
    return cells[number::count]


def manifest(study: Study) -> dict[str, Any]:
    """What every cell of a run shares: versions, generator, commit."""
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    versions = {"jaxou": jaxou_version(), "python": python_version()}
    for name in ("jax", "jaxlib", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {"versions": versions, "generator": study.kind.generator, "commit": _commit()}


@functools.cache
def _commit() -> str | None:
    """The commit of the source tree that this file is in, with a + if it has changes."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
