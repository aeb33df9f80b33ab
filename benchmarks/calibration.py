"""Are the null laws right? p-values of every statistic over many seeds, and the family's decision.

    python benchmarks/calibration.py [--quick] [--seeds 2000] [--only D,N ...]

For every dimension and number of draws, standard normal draws are tested `seeds` times. A row says
how far the p-values are from uniform (Kolmogorov and Smirnov, with the replicates of a simulated
null law counted in), how often a true claim is rejected at 5 % and 1 %, and the same for the
family's decision, beside the limits of the binomial law. The whole table may raise a false alarm
with probability 1e-3 (Bonferroni over its cells); a cell below that is marked WRONG.

n = 10^4 .. 10^6: statistics in linear time only, with fewer seeds (`WORK`), which the table states.
"""

import sys
import time

import jax
import numpy as np
import timing

BUDGET = 1e-3
WORK = 4e9
"""Normals that one cell of the large sizes may draw."""


def sizes(quick: bool):
    """(dimension, draws, with pair statistics)."""
    small = [(d, n, True) for d in (1, 2, 10, 50) for n in (200, 2_000)]
    large = [(d, n, False) for d in (1, 2, 10, 50) for n in (10**4, 10**5, 10**6)]
    return [(1, 200, True), (10, 200, True), (2, 10**4, False)] if quick else small + large


def p_values(statistics, n, r, seeds, joint):
    """(p-values (seeds, statistics), null laws) of draws that no null law has seen."""
    from jaxou.convergence.statistics import evaluate
    from jaxou.convergence.statistics.simulated import _replicates

    laws = [s.null(n, r, joint=joint) for s in statistics]
    if n * r <= 10**6:
        keys = jax.random.split(jax.random.key(314159), seeds)
        values = _replicates(statistics, n, r, False, keys)
    else:
        rng, values = np.random.default_rng(314159), []
        for _ in range(seeds):
            z = rng.standard_normal((n, r), dtype=np.float32)
            values.append([t.statistic for t in evaluate(statistics, z, joint=False).tests])
        values = jax.numpy.asarray(values)
    columns = [jax.lax.map(law.p_value, values[:, k]) for k, law in enumerate(laws)]
    return np.stack([np.asarray(c, float) for c in columns], axis=1), laws


def uniform(p, law) -> float:
    """The p-value of uniformity; a law known from R replicates is a second sample of size R."""
    from scipy import stats

    known = getattr(law, "replicates", None)
    size = 1 / (1 / len(p) + (0 if known is None else 1 / len(known)))
    return float(stats.kstwobign.sf(np.sqrt(size) * stats.kstest(p, "uniform").statistic))


def limits(seeds, level, budget) -> tuple[float, float]:
    """Shares of rejections that a correct test leaves with probability `budget`."""
    from scipy import stats

    law = stats.binom(seeds, level)
    return law.ppf(budget / 2) / seeds, law.isf(budget / 2) / seeds


def measure(d, n, pairs, seeds, cells, writer):
    """Rows of one dimension and number of draws."""
    from jaxou.convergence.statistics import joint_null, min_p, standard

    start = time.perf_counter()
    statistics = standard(pairs)
    seeds = int(min(seeds, max(WORK / (n * d) / (1 if pairs else 4), 50)))
    joint = joint_null(statistics, n, d)
    p, laws = p_values(statistics, n, d, seeds, joint)
    rows = []
    for k, (s, law) in enumerate(zip(statistics, laws, strict=True)):
        fit = uniform(p[:, k], law)
        rows.append(
            dict(
                statistic=s.name, kind=law.kind, law=law.text, uniform=fit, bad=fit < BUDGET / cells
            )
            | {f"at_{level}": float((p[:, k] < level).mean()) for level in (0.05, 0.01)}
        )
    where = [statistics.index(s) for s in joint.statistics]
    family = np.array([min_p(row[where], joint).p_value for row in p])
    row = dict(statistic="FAMILY", kind="joint", law="smallest p-value", uniform=None, bad=False)
    for level in (0.05, 0.01):
        row[f"at_{level}"] = share = float((family < level).mean())
        # simulated with R replicates, the law itself has a binomial error as large as that of R
        low, high = limits(min(seeds, joint.values.shape[0]) // 2, level, BUDGET / cells)
        row["bad"] |= not low <= share <= high
        row[f"limits_{level}"] = (low, high)
    for each in (*rows, row):
        yield writer.row(d=d, n=n, seeds=seeds, **each)
    print(f"(d = {d}, n = {n:,}: {time.perf_counter() - start:.0f} s)", file=sys.stderr, flush=True)


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--seeds", type=int, help="data sets per cell (2000; quick: 200)")
    pair = lambda text: tuple(int(number) for number in text.split(","))
    parser.add_argument("--only", nargs="+", type=pair, help="cells: dimension,draws")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    seeds = options.seeds or (200 if options.quick else 2_000)
    cases, writer = sizes(options.quick), timing.Writer(__file__, options)
    cells = 16 * len(cases)
    cases = [case for case in cases if options.only is None or case[:2] in options.only]
    table, bad = [], 0
    for d, n, pairs in cases:
        for row in measure(d, n, pairs, seeds, cells, writer):
            fit = "" if row["uniform"] is None else f"{row['uniform']:.3g}"
            shares = [f"{100 * row[f'at_{level}']:.1f} %" for level in (0.05, 0.01)]
            mark, bad = "WRONG" if row["bad"] else "", bad + row["bad"]
            cell = [d, f"{n:,}", row["seeds"], row["statistic"], row["kind"], fit, *shares, mark]
            table.append(cell)
    header = ["d", "n", "seeds", "statistic", "null law", "uniform?", "at 5 %", "at 1 %", ""]
    print(timing.table(header, table))
    print(f"\n{bad} of {len(table)} rows outside a budget of {BUDGET:g} for the whole table")
    print(f"rows: {writer.path}")
    if bad:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
