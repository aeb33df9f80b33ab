"""How long until the first result, and does a new number compile again?

    python benchmarks/compile_time.py [--quick]

Each row is a process of its own: the import, the first call, the same call again, and calls with a
new learning rate, a new number of steps and a new number of particles. What compiles again shows
as a call that takes about as long as the first. Peers are timed on the first two only.
"""

import json
import time

import timing

ENGINES = ("diffrax, vmap, UnsafeBrownianPath", "lax.scan, threefry2x32", "numba, prange")
CASES = {
    "EulerMaruyama, d = 1": dict(kind="ou", method="EulerMaruyama"),
    "EulerMaruyama, dense, d = 16": dict(kind="dense", method="EulerMaruyama", dimension=16),
    "EulerMaruyama, double well": dict(kind="well", method="EulerMaruyama"),
    "Heun, double well": dict(kind="well", method="Heun"),
    "BAOAB, double well": dict(kind="well", method="BAOAB"),
    "SGD, dense, d = 16": dict(kind="dense", method="SGD", dimension=16),
    "Exact, dense, d = 16": dict(kind="dense", method="Exact", dimension=16),
    **{f"{name}, d = 1": dict(kind="ou", engine=name) for name in ENGINES},
}
QUICK = ("EulerMaruyama, d = 1", "SGD, dense, d = 16", "lax.scan, threefry2x32, d = 1")
SIZE = dict(particles=4_096, steps=100)
LATER = {
    "same": {},
    "new learning rate": dict(step=0.03),
    "new steps": dict(steps=200),
    "new particles": dict(particles=5_000),
}


def measure(name):
    """One row, printed as a JSON line."""
    from cases import problem

    case = dict(CASES[name])
    engine, method, kind = case.pop("engine", None), case.pop("method", None), case.pop("kind")
    first = problem(kind, **SIZE, **case)
    start = time.perf_counter()
    if engine is None:
        from peers.jaxou_simulate import final

        import jaxou as ou

        method = ou.BAOAB(1.0) if method == "BAOAB" else getattr(ou, method)()
        prepare, later = lambda problem: final(problem, method), LATER
    else:
        import peers

        peer = next(peer for peer in peers.load() if peer.name == engine)
        if peer.installed() is None:
            return print(json.dumps(dict(case=name, missing=peer.package)))
        prepare, later = peer.prepare, {"same": {}}
    call = prepare(first)
    row = {"case": name, "import": time.perf_counter() - start}
    row["first call"] = timing.clock(call, 0)[0]
    for what, change in later.items():
        changed = prepare(problem(kind, **(SIZE | case | change))) if change else call
        row[what] = timing.clock(changed, 1)[0]
    print(json.dumps(row))


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--case", choices=CASES, help="one case, in this process")
    options = parser.parse_args()
    if options.case:
        return measure(options.case)
    writer = timing.Writer(__file__, options)
    columns, rows = ["import", "first call", *LATER], []
    for name in QUICK if options.quick else CASES:
        (row,) = timing.in_own_process(__file__, "--case", name)
        if "missing" in row:
            print(f"{name}: {row['missing']} is not installed: pip install '.[peers]'")
            continue
        rows.append(writer.row(**row))
    cells = [[row["case"]] + [f"{row[c]:.3f}" if c in row else "" for c in columns] for row in rows]
    print(timing.table(["case (seconds)", *columns], cells))
    print(f"\nrows: {writer.path}")


if __name__ == "__main__":
    main()
