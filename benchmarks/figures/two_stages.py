"""README's figure: `python benchmarks/figures/two_stages.py` writes the PNG beside this file."""

from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

import jaxou as ou
from jaxou import plots

BOWLS = {
    "pretrain": ([[1.0, 0.4], [0.4, 0.5]], [[1.0, -0.3], [-0.3, 0.6]], [0.0, 0.0]),
    "finetune": ([[0.8, -0.3], [-0.3, 0.9]], [[0.5, 0.2], [0.2, 0.9]], [1.0, -0.6]),
}
STEPS = {"pretrain": 120, "finetune": 80}


def training() -> ou.TwoStage:
    """Two quadratic bowls whose curvature and noise do not commute."""
    stages = [
        ou.Stage(
            hessian=np.array(hessian),
            noise=np.array(noise),
            minimum=np.array(minimum),
            learning_rate=0.1,
            batch_size=4,
            steps=STEPS[name],
        )
        for name, (hessian, noise, minimum) in BOWLS.items()
    ]
    return ou.TwoStage(*stages, initial=ou.Gaussian(np.array([-1.2, 1.0]), 0.01))


def draw() -> Figure:
    """Particles, exact laws and the change of stage."""
    process = training()
    run = ou.simulate(
        process, particles=2000, key=jax.random.key(0), save=40, observe=ou.Paths(2000)
    )
    paths, owner = np.asarray(run.paths), np.asarray(run.stages)
    figure = Figure(figsize=(9.4, 3.7))
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    offset = {"pretrain": 0, "finetune": STEPS["pretrain"]}
    for index, name in enumerate(BOWLS):
        rows = np.flatnonzero(owner == index)[-40:]
        rows = np.concatenate([[rows[0] - 1], rows])
        steps = np.linspace(0, STEPS[name], 41)
        laws = [process.law(name, step=int(n)) for n in steps]
        plots.trajectory_fan(
            offset[name] + steps,
            np.quantile(paths[rows, :, 0], (0.05, 0.25, 0.5, 0.75, 0.95), axis=1).T,
            theory_mean=[float(law.mean[0]) for law in laws],
            theory_sd=[float(law.covariance[0, 0]) ** 0.5 for law in laws],
            colour=plots.COLOURS[name],
            ax=left,
        )
        gibbs = process.stages[index].gibbs()
        plots.cloud(
            paths[rows[-1]],
            gibbs.mean,
            gibbs.covariance,
            colour=plots.COLOURS[name],
            label="after pre-training" if index == 0 else "after fine-tuning",
            theory_label="steady law" if index == 0 else "",
            ax=right,
        )
    plots.mark_stage_change(left, STEPS["pretrain"])
    left.set_ylabel("one weight")
    right.set_xlabel("one weight")
    right.set_ylabel("another")
    handles, labels = right.get_legend_handles_labels()
    shown = [(h, t) for h, t in zip(handles, labels, strict=True) if t]
    right.legend(*zip(*shown, strict=True), markerscale=4, loc="lower left")
    handles, labels = left.get_legend_handles_labels()
    first = dict(reversed(list(zip(labels, handles, strict=True))))
    left.legend(first.values(), first.keys(), loc="lower right", ncols=2)
    return figure


if __name__ == "__main__":
    with plots.style():
        draw().savefig(Path(__file__).with_suffix(".png"), dpi=110, metadata={"Software": None})
