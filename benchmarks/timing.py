"""Measuring and writing down: what every script of this folder shares."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

# OpenBLAS's own threads fight with XLA's and numba's; engines that thread do so themselves
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAUSE = 0.02
"""Seconds between two timed calls: threads of the last engine stop spinning."""


def parser(doc: str) -> argparse.ArgumentParser:
    """Options that all scripts have."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    made.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    made.add_argument("--repeats", type=int, help="timed calls of each engine (5; quick: 2)")
    made.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON lines")
    return made


def repeats(options) -> int:
    """How many timed calls follow the first one."""
    return options.repeats or (2 if options.quick else 5)


def machine() -> dict:
    """What a number depends on besides the code."""
    import jax

    device = jax.devices()[0]
    return dict(
        jax=jax.__version__,
        backend=jax.default_backend(),
        device=device.device_kind if device.platform != "cpu" else processor(),
        cores=os.cpu_count(),
        machine=platform.machine(),
        commit=commit(),
    )


def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def commit() -> str | None:
    """The commit of the source tree, with a + if it has changes."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def load() -> float | None:
    """How many threads were busy over the last minute, ours included."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


class Writer:
    """JSON lines in results/NAME.jsonl, each row with the machine's facts, as they come."""

    def __init__(self, script: str, options):
        options.results.mkdir(parents=True, exist_ok=True)
        name = Path(script).stem
        self.path = options.results / f"{name}.jsonl"
        self.path.write_text("")
        self.facts = dict(script=name, quick=options.quick, **machine())
        busy = load()
        if busy is not None and busy > 0.5:
            print(f"load average {busy:.1f}: other work is running, and engines that wait for all")
            print("their threads in every step (torch) lose far more than the others")

    def row(self, **facts) -> dict:
        """One row, on disk when this returns."""
        row = self.facts | dict(load=load()) | facts
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        return row


def clock(call, seed: int) -> tuple[float, object]:
    """Seconds of one call, which blocks until its result is there, and the result."""
    start = time.perf_counter()
    result = call(seed)
    return time.perf_counter() - start, result


def race(engines: dict, rounds: int, after=lambda name, result: None) -> dict:
    """Times of several engines, interleaved: first calls, then `rounds` of one call of each.

    Gives name -> dict(first, best, median, result) in seconds; the result is the last call's.
    `first` includes compilation. The order turns by one in every round, so that no engine always
    runs behind the same neighbour. `after` sees every result, outside the timed call.
    """
    first, times, results, names = {}, {name: [] for name in engines}, {}, list(engines)
    for name in names:
        first[name], results[name] = clock(engines[name], 0)
        after(name, results[name])
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            time.sleep(PAUSE)
            results.pop(name)  # so that no engine holds two results
            seconds, results[name] = clock(engines[name], i + 1)
            times[name].append(seconds)
            after(name, results[name])
    return {
        name: dict(
            first=first[name],
            best=min(times[name]),
            median=statistics.median(times[name]),
            result=results[name],
        )
        for name in names
    }


def in_own_process(script: str, *arguments) -> list[dict]:
    """Rows that a script prints as JSON lines when it is called with arguments."""
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def peak_gib() -> float:
    """This process's largest resident memory, in GiB.

    Linux gives a child its parent's peak through getrusage; VmHWM is the process's own.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kib = kib / 1024 if sys.platform == "darwin" else kib
    return kib / 2**20


def table(header: list[str], rows: list[list]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def rate(number: float) -> str:
    """A rate in three digits: 1.94 G, 75.2 M."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"
