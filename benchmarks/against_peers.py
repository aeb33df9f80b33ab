"""How fast is jaxou beside the engines of peers.toml, on the same problems, in one run?

    python benchmarks/against_peers.py [--quick] [--case NAME ...] [--particles P ...]
                                       [--engine NAME ...]

The problems are those of cases.py. Engines of a case are timed in turns; compilation is in `first`
only; `best` and `median` are of the calls after it. Ratios are of the best rates within the run.
Each row also says what was simulated: the mean square of the final particles (wells: fourth power),
its standard error, and the value of the same Euler-Maruyama chain where it is known.
"""

import warnings

import numpy as np
import peers
import timing
from cases import GPU_ONLY, SIZES, flow_covariance, problems, sgd_covariance


def entrants(case: str, names) -> tuple[list, list[str]]:
    """Engines that take part in a case, and a line for each that is missing or not as frozen."""
    taking = [peer for peer in peers.load() if case in peer.cases]
    if names:
        taking = [peer for peer in taking if any(name in peer.name for name in names)]
    lines = [
        f"{peer.name}: {peer.package} is not installed: pip install '.[peers]'"
        for peer in taking
        if peer.installed() is None
    ]
    here = [peer for peer in taking if peer.installed() is not None]
    lines += [
        f"{peer.name}: {peer.package} {peer.installed()} runs; peers.toml was written for "
        f"{peer.version}"
        for peer in here
        if peer.installed().split("+")[0] != peer.version
    ]
    return here, lines


def run_problem(case, problem, engines, rounds, writer) -> list[dict]:
    """All engines on one problem: one row each, then a printed table."""
    given = {peer.name: problem.at_most(peer.limit) for peer in engines}
    if case == "jumps":
        given = {peer.name: problem for peer in engines}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other people's packages
        calls = {peer.name: peer.prepare(given[peer.name]) for peer in engines}
        times = timing.race(calls, rounds)
    rows = []
    for peer in engines:
        size, seen = given[peer.name], times[peer.name]
        facts = jump_facts(size, peer, seen) if case == "jumps" else step_facts(size, seen)
        rows.append(
            writer.row(
                case=case,
                engine=peer.name,
                version=peer.installed(),
                frozen=peer.version,
                dtype=peer.dtype,
                generator=peer.generator,
                particles=size.particles,
                steps=size.steps,
                dimension=size.dimension,
                **{k: seen[k] for k in ("first", "best", "median")},
                **facts,
            )
        )
    ours = next((row for row in rows if row["engine"] in peers.ENGINE), None)
    jitted = next((row for row in rows if row["engine"] == "jaxou, in jax.jit"), None)
    for row in rows:
        row["ratio"] = None if ours is None else ours["rate_best"] / row["rate_best"]
        row["jitted"] = None if jitted is None else jitted["rate_best"] / row["rate_best"]
    for kind, top in (("ratio", ours), ("jitted", jitted)):
        if top is not None:
            ratios = {row["engine"]: row[kind] for row in rows}
            writer.row(case=case, ratios=ratios, to=top["engine"], **size_of(problem))
    return rows


def size_of(problem) -> dict:
    return {name: getattr(problem, name) for name in ("particles", "steps", "dimension")}


def step_facts(problem, seen) -> dict:
    """Particle-steps per second, and whether the right thing was simulated."""
    work, d = problem.particles * problem.steps, problem.dimension
    statistic = problem.statistic(seen["result"])
    facts = dict(
        rate_best=work / seen["best"],
        rate_median=work / seen["median"],
        normals_per_second=work * d / seen["best"],
        statistic=statistic.mean(),
        standard_error=statistic.std() / problem.particles**0.5,
        expected=problem.expected(),
    )
    if problem.kind == "dense":  # two products with (d, d) matrices per particle and step
        facts["gflops"] = 4e-9 * d * d * work / seen["best"]
    return facts


def jump_facts(problem, peer, seen) -> dict:
    """Particle-saves per second; the last save's covariance against the closed form."""
    work = problem.particles * problem.saves
    last = np.asarray(seen["result"], np.float64)[-1]
    if peer.settings.get("method") == "SGD":
        exact = sgd_covariance(problem, problem.steps)
    else:
        exact = flow_covariance(problem, problem.step * problem.steps)
    # an honest estimate from P particles misses by about |S| sqrt((1 + d) / P) in Frobenius norm
    spread = np.sqrt((np.trace(exact) ** 2 + (exact**2).sum()) / problem.particles)
    return dict(
        rate_best=work / seen["best"],
        rate_median=work / seen["median"],
        statistic=np.trace(last) / problem.dimension,
        expected=np.trace(exact) / problem.dimension,
        covariance_error=np.linalg.norm(last - exact) / np.linalg.norm(exact),
        sampling_error=spread / np.linalg.norm(exact),
    )


def product_gflops(problem, rounds) -> float:
    """The rate of one (particles, d) x (d, d) product, the ceiling of a dense step."""
    import jax
    import jax.numpy as jnp

    d = problem.dimension
    x = jax.random.normal(jax.random.key(0), (problem.particles, d), jnp.float32)
    many = max(1, int(1e9 / (problem.particles * d * d)))

    @jax.jit
    def products(x, a):
        return jax.lax.fori_loop(0, many, lambda _, x: jnp.dot(x, a), x)

    call = lambda seed: products(x, jnp.eye(d)).block_until_ready()
    best = timing.race({"dot": call}, rounds)["dot"]["best"]
    return 2e-9 * problem.particles * d * d * many / best


def show(case, problem, rows):
    """The table of one problem."""
    print(f"\n{case}: {problem.particles:,} particles, {problem.steps:,} steps, "
          f"d = {problem.dimension}\n")  # fmt: skip
    unit = "saves" if case == "jumps" else "steps"
    header = ["engine", f"particle-{unit}/s, best", "median", "first call, s", "ours / its"]
    header += ["jitted / its"] * (rows[0]["jitted"] is not None)
    header += ["mean x^4" if case in ("well", "kinetic") else "mean square", "should be"]
    last = {"jumps": "covariance off by (sampling)", "dense": "GFLOP/s"}.get(case)
    cells = []
    for row in rows:
        given = [f"{row[k]:,} {k}" for k in ("particles", "steps") if row[k] != getattr(problem, k)]
        steps = f" ({', '.join(given)})" if given else ""
        error = row.get("standard_error")
        seen = f"{row['statistic']:.5g}" + ("" if error is None else f" ± {error:.1g}")
        if error and row["expected"] and abs(row["statistic"] - row["expected"]) > 5 * error:
            seen += " WRONG"
        line = [row["engine"] + steps, timing.rate(row["rate_best"])]
        line += [timing.rate(row["rate_median"]), f"{row['first']:.2f}"]
        line += [f"{row[k]:.2f}" for k in ("ratio", "jitted") if row[k] is not None] + [seen]
        line += ["" if row["expected"] is None else f"{row['expected']:.5g}"]
        if case == "jumps":
            line += [f"{row['covariance_error']:.1%} ({row['sampling_error']:.1%})"]
        if case == "dense":
            line += [f"{row['gflops']:.3g}"]
        cells.append(line)
    print(timing.table(header + [last] * (last is not None), cells), flush=True)


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--case", nargs="+", choices=SIZES, help="only these cases")
    parser.add_argument("--particles", nargs="+", type=int, help="only problems of these sizes")
    parser.add_argument("--engine", nargs="+", help="only engines with this in their name")
    options = parser.parse_args()
    writer, rounds = timing.Writer(__file__, options), timing.repeats(options)
    for case in options.case or SIZES:
        if case in GPU_ONLY and not options.case and writer.facts["backend"] != "gpu":
            print(f"\n{case}: for a GPU; jax sees none here. Ready to run: --case {case}")
            continue
        engines, lines = entrants(case, options.engine)
        for line in lines:
            print(line)
        for problem in problems(case, options.quick):
            if options.particles and problem.particles not in options.particles:
                continue
            rows = run_problem(case, problem, engines, rounds, writer)
            show(case, problem, rows)
            if case == "dense":
                gflops = product_gflops(problem, rounds)
                writer.row(case=case, engine="jnp.dot", gflops=gflops, **size_of(problem))
                print(f"\njnp.dot at this shape: {gflops:.3g} GFLOP/s")
    print(f"\nrows: {writer.path}")


if __name__ == "__main__":
    main()
