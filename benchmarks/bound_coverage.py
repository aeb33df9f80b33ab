"""Do the certificates cover? Synthetic problems with known true risks, and wrong twins beside them.

    python benchmarks/bound_coverage.py [--quick] [--problems 5000]

A problem is a sample of n examples and a finite set of hypotheses whose true risks are known. The
adversary knows the truth too and picks the posterior with the largest R(Q) - bound: single
hypotheses and Gibbs posteriors with weights exp(t (R - r)). A certificate misses where that is
positive; it may do so in a share delta = 0.3 of the problems. The limit is binomial, with a false
alarm for the whole table in 1 of 1,000 runs. Wrong twins are measured in the same run, on the same
samples: a twin whose misses are beyond the limit UNDER-COVERS.
"""

import sys
from pathlib import Path

import timing

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "bounds"))

BUDGET = 1e-3
DELTA = 0.3


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--problems", type=int, help="problems per design (5000; quick: 1000)")
    options = parser.parse_args()
    import jax

    jax.config.update("jax_enable_x64", True)
    import coverage_designs as designs
    from scipy.stats import binom

    problems = options.problems or (1000 if options.quick else 5000)
    writer = timing.Writer(__file__, options)
    rows = list(designs.measure(problems, DELTA, seed=11, sizes=(10, 20, 30)))
    limit = int(binom.isf(BUDGET / len(rows), problems, DELTA))
    table, wrong = [], 0
    for row in rows:
        under = row["misses"] > limit
        row |= dict(problems=problems, delta=DELTA, limit=limit / problems, under_covers=under)
        writer.row(**row)
        wrong += under and row["kind"] == "certificate"
        wrong += row["must_fail"] and not under
        verdict = "UNDER-COVERS" if under else "covers"
        if under if row["kind"] == "certificate" else row["must_fail"] and not under:
            verdict += ": WRONG"
        share = f"{row['misses'] / problems:.3f}"
        table.append([row["design"], row["n"], row["kind"], row["name"], share, verdict])
    print(timing.table(["design", "n", "kind", "name", "missed", ""], table))
    print(f"\nnominal {DELTA}, limit {limit / problems:.3f} of {problems} problems each")
    print(f"rows: {writer.path}")
    if wrong:
        raise SystemExit(f"{wrong} rows are not as they must be")


if __name__ == "__main__":
    main()
