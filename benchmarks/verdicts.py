"""How long does a verdict take, and how much memory, on many particles in many dimensions?

    python benchmarks/verdicts.py [--quick]

Each row is a process of its own that runs a dense chain whose A and C do not commute, and judges
it: `first` with the null laws and all compilation, `new run` another run of the same size, `pairs`
with the four statistics over pairs of particles as well. `peak` is the process's largest resident
memory, the run and its simulation included. Relaxation of both stages is timed beside it.
"""

import json

import timing

CASES = [dict(particles=10**6, dimension=64), dict(particles=10**5, dimension=650)]
QUICK = [dict(particles=10**4, dimension=8)]


def process(d):
    """Two dense stages; the second starts where the first has come to."""
    import numpy as np

    import jaxou as ou

    rng = np.random.default_rng(d)
    b, g = rng.normal(size=(2, d, d)) / d**0.5
    stage = ou.Stage(
        hessian=0.2 * np.eye(d) + b @ b.T / 4,
        noise=g @ g.T + 0.1 * np.eye(d),
        minimum=np.linspace(0.0, 1.0, d),
        learning_rate=0.1,
        batch_size=8,
        steps=400,
    )
    return ou.Chain([stage], initial=ou.Gaussian(np.zeros(d), 0.5))


def measure(case):
    """One row, printed as a JSON line."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jaxou as ou
    from jaxou.convergence.statistics import standard

    chain, n = process(case["dimension"]), case["particles"]
    runs = [ou.simulate(chain, particles=n, key=jax.random.key(seed)) for seed in range(2)]
    before = timing.peak_gib()
    first, verdict = timing.clock(lambda _: ou.verdict(runs[0], chain, margin=0.05), 0)
    again, _ = timing.clock(lambda _: ou.verdict(runs[1], chain), 0)
    peak = timing.peak_gib()
    pairs, _ = timing.clock(lambda _: ou.verdict(runs[1], chain, statistics=standard()), 0)
    relaxation, _ = timing.clock(lambda _: ou.relaxation(chain), 0)
    facts = dict(first=first, again=again, pairs=pairs, relaxation=relaxation)
    facts |= dict(before_gib=before, peak_gib=peak, peak_pairs_gib=timing.peak_gib())
    print(json.dumps(case | facts | dict(decision=verdict.decision)))


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--case", type=json.loads, help="one case as JSON, in this process")
    options = parser.parse_args()
    if options.case:
        return measure(options.case)
    writer, cells = timing.Writer(__file__, options), []
    for case in QUICK if options.quick else CASES:
        (row,) = timing.in_own_process(__file__, "--case", json.dumps(case))
        row = writer.row(**row)
        times = [f"{row[k]:.1f}" for k in ("first", "again", "pairs", "relaxation")]
        peaks = [f"{row[k]:.2f}" for k in ("before_gib", "peak_gib", "peak_pairs_gib")]
        cells.append([f"{row['particles']:,}", row["dimension"], *times, *peaks, row["decision"]])
    header = ["P", "d", "first, s", "new run, s", "with pairs, s", "relaxation, s"]
    header += ["peak before, GiB", "peak, GiB", "with pairs, GiB", "decision"]
    print(timing.table(header, cells))
    print(f"\nrows: {writer.path}")


if __name__ == "__main__":
    main()
