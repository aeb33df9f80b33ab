"""How long does a two-stage bound take over a grid of learning rates and batch sizes, with slopes?

    python benchmarks/bound_grid.py [--quick]

Dense, d = 50, a Hessian and a noise that do not commute, SGD's laws after 1,000 and 500 steps, 200
x 200 cells. `fine-tuning`: its own learning rate and batch size vary. `both stages`: so do the
source's law and prior, over the two learning rates. `first` includes compilation. A fifth of the
rates is beyond the stability limit: those cells are masked and cost as much as any other. Four
cells are compared with `two_stage_bound` and with differences of it.
"""

import timing

COMMON = dict(n_source=10**6, n_target=2_000, risk=0.1, delta=0.05)
SOURCE, RATE, BATCH = "pretrain.learning_rate", "finetune.learning_rate", "finetune.batch_size"


def training(d):
    """Shifted Laplacians as Hessians, noise that decays with the distance of two weights."""
    import numpy as np

    import jaxou as ou

    i = np.arange(d)
    laplacian = 2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1)
    lag = np.abs(i[:, None] - i[None, :])
    pretrain = ou.Stage(
        hessian=0.1 * np.eye(d) + laplacian,
        noise=0.5**lag,
        minimum=0.0,
        learning_rate=0.1,
        batch_size=64,
        steps=1_000,
    )
    finetune = ou.Stage(
        hessian=0.3 * np.eye(d) + laplacian,
        noise=(-0.2) ** lag,
        minimum=np.sin(i + 1) / 10,
        learning_rate=0.05,
        batch_size=32,
        steps=500,
    )
    return ou.TwoStage(pretrain, finetune, initial=ou.Gaussian(np.zeros(d), 1.0))


def grids(size):
    """The two grids; the stability limits are 0.49 and 0.47."""
    import numpy as np

    rates = np.geomspace(0.005, 1.2, size)
    return {
        "fine-tuning": {RATE: rates, BATCH: np.geomspace(1, 512, size)},
        "both stages": {SOURCE: rates, RATE: rates},
    }


def worst(process, grid, cells) -> tuple[float, float]:
    """Largest relative errors of value and slopes against `two_stage_bound` and differences."""
    import jax
    import numpy as np

    import jaxou as ou

    def single(numbers):
        stages = {"pretrain": {}, "finetune": {}}
        for name, x in zip(grid.axes, numbers, strict=True):
            stage, field = name.split(".")
            stages[stage][field] = x
        changed = process.with_pretrain(**stages["pretrain"]).with_finetune(**stages["finetune"])
        return ou.two_stage_bound(changed, law="finite", **COMMON).target.value

    single, values, slopes = jax.jit(single), [], []
    for cell in cells:
        x = np.array([float(axis[k]) for axis, k in zip(grid.axes.values(), cell, strict=True)])
        values.append(abs(single(x) / grid.value[cell] - 1))
        for k in range(len(x)):
            h = 1e-5 * x * np.eye(len(x))[k]
            difference = (single(x + h) - single(x - h)) / (2 * h[k])
            # per cent for one per cent, so that both axes weigh alike
            slopes.append(abs(difference - grid.gradient[(k, *cell)]) * x[k] / grid.value[cell])
    return float(max(values)), float(max(slopes))


def main():
    options = timing.parser(__doc__).parse_args()
    import jax

    jax.config.update("jax_enable_x64", True)
    import numpy as np

    from jaxou.bounds.grid import bound_grid

    writer, table = timing.Writer(__file__, options), []
    d, size = (6, 12) if options.quick else (50, 200)
    rounds, process = options.repeats or 2, training(d)
    for name, axes in grids(size).items():

        def call(_, axes=axes):
            return jax.block_until_ready(bound_grid(process, axes, **COMMON))

        timed = timing.race({name: call}, rounds)[name]
        grid = timed.pop("result")
        masked = int(np.isnan(grid.value).sum())
        few = [(size // 4, size // 3), (size // 2, size // 2), (2, size // 2), (size // 2, 1)]
        value, slope = worst(process, grid, few)
        facts = dict(stages=name, d=d, cells=size**2, masked=masked, value_error=value)
        row = writer.row(**facts, slope_error=slope, **timed)
        per_cell = 1e6 * row["best"] / row["cells"]
        times = [f"{row[k]:.2f}" for k in ("first", "best", "median")] + [f"{per_cell:.0f}"]
        errors = [f"{row[k]:.0e}" for k in ("value_error", "slope_error")]
        table.append([name, d, f"{size} x {size}", masked, *times, *errors])
    header = ["grid", "d", "cells", "masked", "first, s", "best, s", "median, s", "µs a cell"]
    print(timing.table(header + ["value error", "slope error"], table))
    print(f"\nrows: {writer.path}")


if __name__ == "__main__":
    main()
