"""How much memory does a run take, and does it grow with particles or steps?

    python benchmarks/memory.py [--quick] [--billion]

Each row is a process of its own; `peak` is its largest resident memory and `above import` what the
run added to a process that has made one tiny run. Beside `simulate` stands the code that keeps the
noise or the paths: `lax.scan` over normals drawn beforehand, and diffrax saving every step.
`--billion` runs 10^9 particles, d = 1, with ten saves: it takes minutes.
"""

import json

import timing

SWEEP = [
    *(dict(engine="jaxou", particles=p, steps=100) for p in (10_000, 100_000, 1_000_000)),
    dict(engine="jaxou", particles=10_000_000, steps=100),
    *(dict(engine="jaxou", particles=100_000, steps=n) for n in (1_000, 10_000)),
    dict(engine="jaxou", particles=100_000, steps=100, dimension=16),
    dict(engine="jaxou", particles=1_000_000, steps=1_000_000, saves=10, method="SGD"),
    *(dict(engine="scan, noise drawn first", particles=100_000, steps=n) for n in (100, 1_000)),
    *(dict(engine="diffrax, every step saved", particles=100_000, steps=n) for n in (100, 1_000)),
]
QUICK = [
    dict(engine="jaxou", particles=10_000, steps=100),
    dict(engine="jaxou", particles=100_000, steps=100),
    dict(engine="scan, noise drawn first", particles=10_000, steps=100),
]
BILLION = dict(engine="jaxou", particles=10**9, steps=1_000, saves=10, method="SGD")


def simulate(particles, steps, dimension=1, saves=1, method="EulerMaruyama"):
    """The run itself; only its moments are read, as a user of so many particles would."""
    import jax
    from cases import problem
    from peers.jaxou_simulate import chain

    import jaxou as ou

    process = chain(problem("ou" if dimension == 1 else "dense", particles=particles,
                            steps=steps, dimension=dimension))  # fmt: skip
    key = jax.random.key(0)
    run = ou.simulate(process, particles=particles, key=key, method=getattr(ou, method)(),
                      save=saves)  # fmt: skip
    run.moments.mean.block_until_ready()


def scan(particles, steps):
    """All normals at once, then a scan over them."""
    import jax

    @jax.jit
    def run(key):
        z = jax.random.normal(key, (steps, particles), jax.numpy.float32)
        body = lambda x, z: (0.9 * x + 0.1 * z, None)
        return jax.lax.scan(body, jax.numpy.zeros(particles, jax.numpy.float32), z)[0]

    run(jax.random.key(0)).block_until_ready()


def every_step(particles, steps):
    """diffrax under vmap with SaveAt(steps=True), reduced to a mean afterwards."""
    import diffrax
    import jax
    import jax.numpy as jnp

    def one(key):
        path = diffrax.UnsafeBrownianPath((), key)
        diffusion = diffrax.ControlTerm(lambda t, x, args: jnp.float32(0.1), path)
        terms = diffrax.MultiTerm(diffrax.ODETerm(lambda t, x, args: -0.1 * x), diffusion)
        save = diffrax.SaveAt(steps=True)
        end = float(steps)
        solution = diffrax.diffeqsolve(
            terms, diffrax.Euler(), 0.0, end, 1.0, jnp.float32(0), saveat=save, max_steps=steps
        )
        return solution.ys

    paths = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), particles))
    paths.mean(0).block_until_ready()


def device_peak_gib():
    """The largest memory held on an accelerator, in GiB; None on the CPU."""
    import jax

    seen = jax.devices()[0].memory_stats()
    return seen["peak_bytes_in_use"] / 2**30 if seen and "peak_bytes_in_use" in seen else None


ENGINES = {"jaxou": simulate, "scan, noise drawn first": scan}
ENGINES["diffrax, every step saved"] = every_step


def measure(case):
    """One row, printed as a JSON line."""
    size = {k: v for k, v in case.items() if k != "engine"}
    run = ENGINES[case["engine"]]
    run(**(size | dict(particles=10, steps=max(10, size.get("saves", 1)))))
    before = timing.peak_gib()
    seconds, _ = timing.clock(lambda seed: run(**size), 0)
    peak = timing.peak_gib()
    facts = dict(seconds=seconds, peak_gib=peak, above_gib=peak - before)
    print(json.dumps(case | facts | dict(device_gib=device_peak_gib())))


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--billion", action="store_true", help="10^9 particles, ten saves")
    parser.add_argument("--case", type=json.loads, help="one case as JSON, in this process")
    options = parser.parse_args()
    if options.case:
        return measure(options.case)
    cases = [BILLION] if options.billion else QUICK if options.quick else SWEEP
    name = "memory_billion.py" if options.billion else __file__
    writer, cells = timing.Writer(name, options), []
    for case in cases:
        (row,) = timing.in_own_process(__file__, "--case", json.dumps(case))
        row = writer.row(**row)
        shape = [f"{row.get(k, 1):,}" for k in ("particles", "steps", "dimension", "saves")]
        cells.append([row["engine"], row.get("method", ""), *shape, f"{row['seconds']:.2f}"])
        peaks = (row["peak_gib"], row["above_gib"], row["device_gib"])
        cells[-1] += ["" if peak is None else f"{peak:.2f}" for peak in peaks]
    header = ["engine", "method", "P", "n", "d", "saves", "s, compilation included"]
    print(timing.table([*header, "peak, GiB", "above import, GiB", "device, GiB"], cells))
    print(f"\nrows: {writer.path}")


if __name__ == "__main__":
    main()
