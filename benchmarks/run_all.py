"""Everything that is measured, by one command, and the ratios of each run.

    python benchmarks/run_all.py [--quick] [--only NAME ...]

Scripts run one after the other, each in its own process; their tables are printed as they come and
their rows stand in benchmarks/results/*.jsonl. At the end: jaxou against each peer, case by case.
"""

import json
import subprocess
import sys
import time

import timing

SCRIPTS = {
    "against_peers": ["against_peers.py"],
    "throughput": ["throughput.py"],
    "throughput_float64": ["throughput.py", "--dtype", "float64"],
    "accuracy": ["accuracy.py"],
    "compile_time": ["compile_time.py"],
    "memory": ["memory.py"],
    "laws": ["laws.py"],
    "bound_grid": ["bound_grid.py"],
    "studies": ["studies.py"],
    "bounds": ["bounds.py"],
    "experiment_a": ["experiment_a.py"],
    "bound_coverage": ["bound_coverage.py"],
}


def run(name, options) -> bool:
    """One script; True if it ended well."""
    script, *arguments = SCRIPTS[name]
    command = [sys.executable, str(timing.HERE / script), *arguments]
    command += ["--quick"] * options.quick
    if name != "laws":
        command += ["--results", str(options.results)]
        command += ["--repeats", str(options.repeats)] if options.repeats else []
    print(f"\n## {name}\n", flush=True)
    start = time.perf_counter()
    code = subprocess.run(command).returncode
    print(f"\n({name}: {time.perf_counter() - start:.0f} s)", flush=True)
    return code == 0


def ratios(path) -> str:
    """The table of ratios of one run of against_peers."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [row for row in rows if "ratios" in row]
    size = ("particles", "steps", "dimension")
    cells = [
        [row["case"], *(f"{row[name]:,}" for name in size), row["to"], peer, f"{ratio:.2f}"]
        for row in rows
        for peer, ratio in row["ratios"].items()
        if peer != row["to"]
    ]
    return timing.table(["case", "P", "n", "d", "ours", "peer", "our rate / its rate"], cells)


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS))
    options = parser.parse_args()
    failed = [name for name in options.only if not run(name, options)]
    path = options.results / "against_peers.jsonl"
    if "against_peers" in options.only and path.exists():
        print(f"\n## Ratios, best rates of one run\n\n{ratios(path)}")
        if options.quick:
            print("\nQuick sizes last milliseconds: these ratios show a call's cost, not steps'.")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
