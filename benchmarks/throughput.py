"""How many particle-steps per second does `simulate` make, over P, n, d, dtype and method?

    python benchmarks/throughput.py [--quick] [--dtype float64]
    python benchmarks/throughput.py --method Heun --particles 1000000 --steps 1000 --dimension 1

Every row times the public call, `ou.simulate(chain, particles=P, key=key, method=...).final`, ready
on the device; planning, moments and the copy of the particles are inside. Jumping methods do the
same work for any n: their rate counts the steps that they leap over.
"""

import timing
from cases import problem

METHODS = ("EulerMaruyama", "Heun", "BAOAB", "SGD", "Exact")
STEPPING = METHODS[:3]
QUICK = dict(particles=1_024, steps=100)
GRID = [
    *(dict(method="EulerMaruyama", particles=p) for p in (1_024, 16_384, 131_072, 1_048_576)),
    *(dict(method="EulerMaruyama", steps=n) for n in (10, 100, 10_000)),
    *(
        dict(method="EulerMaruyama", dimension=d, particles=p, steps=100)
        for d, p in ((2, 65_536), (4, 65_536), (16, 16_384), (64, 4_096), (256, 1_024))
    ),
    *(dict(method=method) for method in METHODS[1:]),
    *(dict(method=method, kind="well") for method in STEPPING),
]
"""The default table; what is left out is 65,536 particles, 1,000 steps, d = 1, a linear drift."""


def measure(case, options, writer) -> dict:
    """One row of the table."""
    import jax
    from peers.jaxou_simulate import chain

    import jaxou as ou

    size = dict(particles=65_536, steps=1_000, dimension=1) | case
    size |= QUICK if options.quick else {}
    name, kind = size.pop("method"), size.pop("kind", None)
    kind = kind or ("ou" if size["dimension"] == 1 else "dense")
    made = problem(kind, **size)
    process = chain(made)
    method = ou.BAOAB(1.0) if name == "BAOAB" else getattr(ou, name)()

    def call(seed):
        key = jax.random.key(seed)
        run = ou.simulate(
            process, particles=made.particles, key=key, method=method, dtype=options.dtype
        )
        return run.final.block_until_ready()

    seen = timing.race({name: call}, timing.repeats(options))[name]
    work = made.particles * made.steps
    return writer.row(
        kind=kind,
        method=name,
        dtype=options.dtype,
        **size,
        **{k: seen[k] for k in ("first", "best", "median")},
        rate_best=work / seen["best"],
        rate_median=work / seen["median"],
        normals_per_second=work * made.dimension / seen["best"] if name in STEPPING else None,
    )


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--method", choices=METHODS, help="one row of these settings instead")
    parser.add_argument("--kind", choices=("ou", "dense", "well"), help="its drift")
    for name in ("particles", "steps", "dimension"):
        parser.add_argument(f"--{name}", type=int)
    options = parser.parse_args()
    import jax

    jax.config.update("jax_enable_x64", options.dtype == "float64")
    asked = {k: getattr(options, k) for k in ("kind", "particles", "steps", "dimension")}
    asked = {k: v for k, v in asked.items() if v is not None}
    if options.quick and options.method is None and not asked:
        grid = [dict(method=method) for method in METHODS]
    elif options.method or asked:
        grid = [dict(method=options.method or "EulerMaruyama") | asked]
    else:
        grid = GRID
    writer = timing.Writer(f"{__file__[:-3]}_{options.dtype}.py", options)
    rows = [measure(case, options, writer) for case in grid]
    header = ["method", "drift", "P", "n", "d", "dtype", "particle-steps/s, best", "median"]
    cells = [
        [row["method"], row["kind"], *(f"{row[k]:,}" for k in ("particles", "steps", "dimension"))]
        + [row["dtype"], timing.rate(row["rate_best"]), timing.rate(row["rate_median"])]
        + [timing.rate(row["normals_per_second"]) if row["normals_per_second"] else ""]
        + [f"{row['first']:.2f}"]
        for row in rows
    ]
    print(timing.table([*header, "normals/s", "first call, s"], cells))
    print(f"\nrows: {writer.path}")


if __name__ == "__main__":
    main()
