"""How long does a study of 10,000 cells take, files written, and how long a plain Python loop?

    python benchmarks/studies.py [--quick]

`study`: the exact laws of SGD at finite steps in both stages and their two-stage bound, dense,
d = 50, Hessians and noise that do not commute, over both learning rates, fine-tuning's batch and
the shift between the domains: `jaxou.studies.run` into an empty folder, one fsynced file per cell,
compilation included. `collect` reads the files back into the table, `nothing left` is the same
command again. `loop`: the public functions on the same cells, `ou.Stage`, `ou.TwoStage`,
`ou.two_stage_bound`, one cell after the other, compiled before the clock starts. It is timed on a
sample of the cells, spread over the design, and scaled to all of them. The sample's numbers are
compared.
"""

import shutil
import tempfile
import time
from pathlib import Path

import timing

QUANTITIES = ["target_bound", "gap", "kl", "discrepancy", "source_bound", "kl_source"]


def study(size, dimension):
    """`size`^4 cells; every learning rate is below its limit of 2."""
    from jaxou.studies import Study

    rate = {"from": 0.01, "to": 1.0, "points": size, "scale": "log"}
    return Study.make(
        name="benchmark",
        experiment="theory",
        quantities=QUANTITIES,
        base={"problem": {"dimension": dimension, "tilt": 20.0}},
        design={
            "axes": {
                "pretrain.learning_rate": rate,
                "finetune.learning_rate": rate,
                "finetune.batch_size": {"from": 1, "to": 512, "points": size, "scale": "log"},
                "problem.shift": {"from": 0.0, "to": 1.0, "points": size},
            }
        },
    )


def single(config):
    """One cell by the public functions."""
    import jaxou as ou
    from jaxou.studies.kinds.theory.problem import process_of

    process, about = process_of(config), config.bound
    risks = [
        ou.SaturatedRisk(s.hessian, s.minimum, floor=about.floor, scale=about.scale)
        for s in process.stages
    ]
    b = ou.two_stage_bound(
        process,
        n_source=about.n_source,
        n_target=about.n_target,
        risk=risks[1],
        source_risk=risks[0],
        delta=about.delta,
        law="finite",
    )
    t, s = b.target, b.source
    numbers = [t.value, t.gap, t.kl, 2 * t.kl, s.value, s.kl]
    return dict(zip(QUANTITIES, map(float, numbers), strict=True))


def main():
    options = timing.parser(__doc__).parse_args()
    import jax

    jax.config.update("jax_enable_x64", True)
    import numpy as np

    from jaxou.studies import collect, run

    writer = timing.Writer(__file__, options)
    size, dimension, sample = (3, 6, 5) if options.quick else (10, 50, 100)
    asked = study(size, dimension)
    cells = asked.cells()
    folder = Path(tempfile.mkdtemp(prefix="jaxou-study-"))
    try:
        start = time.perf_counter()
        summary = run(asked, folder)
        took = {"study": time.perf_counter() - start}
        start = time.perf_counter()
        table = collect(folder)
        took["collect"] = time.perf_counter() - start
        start = time.perf_counter()
        again = run(asked, folder)
        took["nothing left"] = time.perf_counter() - start
        mebibytes = sum(f.stat().st_size for f in folder.rglob("*.json")) / 2**20
    finally:
        shutil.rmtree(folder)
    assert summary.computed == len(cells) and again.computed == 0 and not table.failed

    chosen = np.linspace(0, len(cells) - 1, sample).astype(int)
    single(cells[1].config)
    start = time.perf_counter()
    found = [single(cells[k].config) for k in chosen]
    loop = (time.perf_counter() - start) / sample
    error = max(
        abs(table.column(name)[k] / one[name] - 1)
        for k, one in zip(chosen, found, strict=True)
        for name in QUANTITIES
    )
    took["loop (scaled)"] = loop * len(cells)
    facts = dict(cells=len(cells), d=dimension, sample=sample, mebibytes=mebibytes, error=error)
    writer.row(**facts, **took, ratio=took["loop (scaled)"] / took["study"])
    rows = [
        [
            name,
            f"{seconds:.1f}",
            f"{1e3 * seconds / len(cells):.2f}",
            f"{seconds / took['study']:.1f}",
        ]
        for name, seconds in took.items()
    ]
    print(timing.table(["what", "s", "ms a cell", "times the study"], rows))
    print(
        f"\n{len(cells):,} cells, d = {dimension}, {mebibytes:.0f} MiB; "
        f"the loop on {sample} of them"
    )
    print(f"largest relative difference of the sample's numbers: {error:.0e}")
    print(f"rows: {writer.path}")


if __name__ == "__main__":
    main()
