"""Two runs whose bytes are compared, here and in processes of their own.

    python byte_cases.py '{"out": "FILE", "cases": ["steps", "jumps"], "options": {...}}'

makes runs and writes all their arrays to FILE (.npz). `options` go to `simulate`; `slow` is a pause
in seconds after every chunk; `checkpoint` a file; `join` what `jax.distributed.initialize` takes.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np

import jaxou as ou

PARTICLES = {"steps": 60_001, "jumps": 30_003, "dense": 30_001, "wide": 30_003}
METHODS = {"jumps": ou.SGD()}
SAVES = {"steps": 3, "jumps": 4, "dense": 2, "wide": 2}


def observers():
    """One of each kind; made late, because arrays start JAX's backend."""
    return (
        ou.Paths(2_500),
        ou.Histogram(bins=64, range=(-3.0, 5.0)),
        ou.Statistic(lambda x: {"left": x[0] < 0.5, "square": x**2}),
        ou.Energy(),
    )


def chain(case):
    """One dimension for `steps`; dense, with nothing that commutes, for all others: unrolled up to
    eight dimensions, and by matrix products (`wide`)."""
    d = {"steps": 1, "jumps": 3, "dense": 3, "wide": 24}[case]
    rng = np.random.default_rng(d)
    b, g = rng.normal(size=(2, d, d)) / np.sqrt(d)
    stage = ou.Stage(
        hessian=np.eye(d) + b @ b.T / 4,
        noise=g @ g.T + 0.1 * np.eye(d),
        minimum=np.linspace(1.0, 2.0, d),
        learning_rate=0.1,
        batch_size=4,
        steps=23,
    )
    return ou.Chain([stage], initial=ou.Gaussian(np.zeros(d), 0.5))


def arrays(run) -> dict[str, np.ndarray]:
    """All arrays of a run, by their names."""
    leaves, _ = jax.tree.flatten_with_path(run)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def make(case, **options):
    """The arrays of one run; `particles` and options of `simulate` can be changed."""
    wanted = dict(
        particles=PARTICLES[case],
        key=jax.random.key(11),
        method=METHODS.get(case, ou.EulerMaruyama()),
        save=SAVES[case],
        observe=observers(),
        progress=False,
    )
    return arrays(ou.simulate(chain(case), **(wanted | options)))


def assert_same(ours: dict, theirs: dict) -> None:
    """Equal names, types, shapes and bits."""
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        other = theirs[name]
        assert (array.dtype, array.shape) == (other.dtype, other.shape), name
        assert array.tobytes() == other.tobytes(), f"{name} has other bits"


def command(**task) -> list[str]:
    """The command line of a task for this file."""
    return [sys.executable, str(Path(__file__)), json.dumps(task)]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what tests set for themselves."""
    kept = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "NPROC")}
    kept["PYTHONPATH"] = str(Path(ou.__file__).parents[1])
    return kept | changes


def in_process(out, **task) -> dict[str, np.ndarray]:
    """The arrays that a process of its own finds."""
    changes = task.pop("environment", {})
    done = subprocess.run(
        command(out=str(out), **task),
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return read(out)


def read(out) -> dict[str, np.ndarray]:
    """What a task wrote."""
    with np.load(out) as file:
        return dict(file)


def main(task: dict) -> None:
    """One task, in this process."""
    jax.config.update("jax_enable_x64", True)
    # a shell starts what it runs in the background with Ctrl-C ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "join" in task:
        address, number, index = task["join"]
        jax.distributed.initialize(address, num_processes=number, process_id=index)
    options, found = dict(task.get("options", {})), {}
    if "slow" in task:

        def pause(done, of):
            print(done, flush=True)
            time.sleep(task["slow"])

        options["progress"] = pause
    for case in task.get("cases", PARTICLES):
        extra = {}
        if "checkpoint" in task:
            extra["checkpoint"] = f"{task['checkpoint']}-{case}"
        found |= {f"{case}{k}": v for k, v in make(case, **options, **extra).items()}
    np.savez(task["out"], **found)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
