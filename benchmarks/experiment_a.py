"""Which theory of SGD is right at which learning rate? Ridge regression on diabetes, real SGD.

    python benchmarks/experiment_a.py [--quick]

Pre-training has seen the patients of one sex (235), fine-tuning sees the other (207): ten features,
weight decay 0.05, minibatches of 8 drawn with replacement, 4,000 runs of real SGD from the optimum
of pre-training. Beside them, at the same step: the Ornstein-Uhlenbeck process, SGD's chain with
noise frozen at the optimum, and the exact second moments of least squares, all computed and none
fitted. Errors are relative, of the trace and in the Frobenius norm; `chance` is what a perfect
theory would show with so many runs.
"""

import timing


def main():
    options = timing.parser(__doc__).parse_args()
    import jax

    jax.config.update("jax_enable_x64", True)
    from jaxou.transfer.experiment import diabetes

    writer, cells, data = timing.Writer(__file__, options), [], diabetes.domains()
    runs = 500 if options.quick else 4000
    for rate in diabetes.LEARNING_RATES:
        call = lambda seed, rate=rate: diabetes.compare(data, rate, runs=runs, seed=seed)
        seconds, found = timing.clock(call, 0)
        writer.row(**found, seconds=seconds)
        for theory, r in found["theories"].items():
            cells.append(
                [
                    f"{rate:g}",
                    found["steps"],
                    f"{found['trace']:.5f}",
                    theory,
                    f"{r['trace']:.5f}",
                    f"{100 * r['trace_error']:+.1f} % (± {100 * r['trace_uncertainty']:.1f} %)",
                    f"{100 * r['frobenius']:.1f} % ({100 * found['chance']:.1f} %)",
                ]
            )
    header = ["learning rate", "steps", "trace, SGD", "theory", "trace", "error", "Frobenius"]
    print(timing.table([*header[:-1], "Frobenius (chance)"], cells))
    print(f"\nrows: {writer.path}")


if __name__ == "__main__":
    main()
