"""The figures of `jaxou run`, from its arrays to PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxou import plots
from jaxou.plots import COLOURS
from jaxou.report.tables import STAGES, WORDS


def draw_all(numbers: dict[str, Any], arrays: dict[str, dict[str, np.ndarray]]) -> dict[str, bytes]:
    """Every figure by its name, as PNG."""
    with plots.style():
        return {name: png(draw(numbers, arrays)) for name, draw in FIGURES.items()}


def trajectories(numbers: dict[str, Any], arrays: Any) -> Figure:
    """Two directions in weight space against the step count, across both stages."""
    figure = Figure(figsize=(6.8, 6.4))
    axes = figure.subplots(2, 1, sharex=True)
    ends = [int(numbers["stages"][name]["steps"]) for name in STAGES]
    starts = {"pretrain": 0, "finetune": ends[0]}
    shift = numbers["shift"]
    for k, ax in enumerate(axes):
        for name in STAGES:
            law, seen, sgd = (arrays[p] for p in ("theory", "particles", "sgd_seen"))
            plots.trajectory_fan(
                starts[name] + np.asarray(arrays["steps"][name]),
                seen[f"{name}.quantiles"][:, :, k],
                theory_mean=law[f"{name}.watch_mean"][:, k],
                theory_sd=law[f"{name}.watch_sd"][:, k],
                replicas=sgd[f"{name}.watch"][:, :12, k],
                colour=COLOURS[name],
                ax=ax,
            )
        plots.mark_stage_change(ax, ends[0])
    axes[0].axhline(0.0, color="#999999", linewidth=0.8)
    axes[0].axhline(shift, color="#999999", linewidth=0.8)
    axes[0].annotate("source optimum", (0, 0), fontsize=8, color="#666666", va="bottom")
    axes[0].annotate("target optimum", (0, shift), fontsize=8, color="#666666", va="bottom")
    axes[0].set_ylabel("way from source\nto target optimum")
    axes[1].set_ylabel("steepest direction\nof the target loss")
    axes[0].set_xlabel("")
    legend_once(axes[1], loc="upper right", ncols=2)
    return figure


def clouds(numbers: dict[str, Any], arrays: Any) -> Figure:
    """Particles and real runs at the end of each stage, over the stage's Gibbs law."""
    figure = Figure(figsize=(6.8, 3.6))
    axes = figure.subplots(1, 2)
    pair = np.array([0, 1])
    for ax, name in zip(axes, STAGES, strict=True):
        law, seen, sgd = (arrays[p] for p in ("theory", "particles", "sgd_seen"))
        plots.cloud(
            seen[f"{name}.cloud"][:, pair],
            law[f"{name}.gibbs_mean"][pair],
            law[f"{name}.gibbs_covariance"][np.ix_(pair, pair)],
            colour=COLOURS[name],
            ax=ax,
        )
        points = sgd[f"{name}.cloud"][:, pair]
        ax.plot(*points.T, ".", color=COLOURS["sgd"], markersize=4, label="real SGD runs")
        ax.set_title(f"after {WORDS[name]}")
        ax.set_xlabel("steepest direction")
    axes[0].set_ylabel("second steepest")
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, markerscale=3)
    return figure


def relaxation(numbers: dict[str, Any], arrays: Any) -> Figure:
    """KL and W2 to the stage's own Gibbs law against time, in the tracked directions."""
    figure = Figure(figsize=(6.8, 6.4))
    axes = figure.subplots(2, 1, sharex=True)
    start = {"pretrain": 0, "finetune": int(numbers["stages"]["pretrain"]["steps"])}
    for ax, what in zip(axes, ("kl", "w2"), strict=True):
        floors = [numbers["particles"][name][f"{what}_floor_tracked"] for name in STAGES]
        for name in STAGES:
            plots.decay(
                start[name] + np.asarray(arrays["steps"][name]),
                arrays["theory"][f"{name}.{what}"],
                measured=arrays["particles"][f"{name}.{what}"],
                measured_label=f"particles, {WORDS[name]}",
                sgd=arrays["sgd_seen"][f"{name}.w2"] if what == "w2" else None,
                floor=max(floors) if name == "finetune" else None,
                colour=COLOURS[name],
                ax=ax,
            )
        plots.mark_stage_change(ax, start["finetune"])
    axes[0].set_ylabel("KL to the Gibbs law (nats)")
    axes[1].set_ylabel("W2 to the Gibbs law")
    axes[0].set_xlabel("")
    legend_once(axes[1], loc="best")
    return figure


def bound_parts(numbers: dict[str, Any], arrays: Any) -> Figure:
    """What the certificate and the model's bound are made of, beside the measured test error."""
    bars, marks = arrays["bars"], arrays["marks"]
    figure = Figure(figsize=(6.8, 1.2 + 0.75 * len(bars)))
    ax = figure.subplots()
    plots.bound_decomposition(bars, markers=marks, ax=ax)
    ax.set_xlabel("error rate on new target data")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def bound_map(numbers: dict[str, Any], arrays: Any) -> Figure:
    """The model's bound over fine-tuning's learning rate and batch size."""
    figure = Figure(figsize=(6.8, 4.6))
    ax = figure.subplots()
    stage, gradients = numbers["stages"]["finetune"], numbers["gradients"]
    downhill = tuple(
        -gradients["finetune"][name] * stage[name] for name in ("learning_rate", "batch_size")
    )
    plots.bound_map(
        arrays["map"]["learning_rates"],
        arrays["map"]["batch_sizes"],
        arrays["map"]["values"],
        unstable_from=stage["learning_rate_limit"],
        here=(stage["learning_rate"], stage["batch_size"]),
        arrow=downhill,
        label="two-stage bound on the target risk (model mode)",
        ax=ax,
    )
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def stopping(numbers: dict[str, Any], arrays: Any) -> Figure:
    """The target's bound against the number of fine-tuning steps."""
    figure = Figure(figsize=(6.8, 3.8))
    ax = figure.subplots()
    seen = arrays["stopping"]
    plots.stopping(
        seen["steps"],
        seen["value"],
        risk=seen["risk"],
        gap=seen["gap"],
        best_time=numbers["stopping"]["steps"],
        clock="step",
        log_time=True,
        ax=ax,
    )
    return figure


def spectra(numbers: dict[str, Any], arrays: Any) -> Figure:
    """Eigenvalues of A and C of both stages."""
    figure = Figure(figsize=(6.8, 3.8))
    ax = figure.subplots()
    lines, styles = {}, {}
    for name in STAGES:
        for what, key, dash in (("curvature A", "curvatures", "-"), ("noise C", "noises", ":")):
            label = f"{what}, {WORDS[name]}"
            lines[label] = arrays["optima"][f"{name}.{key}"]
            styles[label] = {"color": COLOURS[name], "linestyle": dash, "linewidth": 1.8}
    plots.spectra(lines, styles=styles, ax=ax)
    ax.legend()
    return figure


def calibration(numbers: dict[str, Any], arrays: Any) -> Figure:
    """Squared distances of particles and real runs from the law that theory gives at that step."""
    figure = Figure(figsize=(6.8, 3.9))
    axes = figure.subplots(1, 2)
    for ax, name in zip(axes, STAGES, strict=True):
        own = arrays["particles"][f"{name}.mahalanobis"]
        degrees = arrays["theory"][f"{name}.gibbs_mean"].size
        plots.calibration(own, degrees, colour=COLOURS[name], ax=ax)
        real = np.sort(arrays["sgd_seen"][f"{name}.mahalanobis"])
        levels = (np.arange(real.size) + 0.5) / real.size
        quantiles = plots.chi_square_quantile(levels, degrees)
        ax.plot(quantiles, real, ".", color=COLOURS["sgd"], markersize=3, label="real SGD runs")
        ax.set_yscale("log")
        ax.set_title(f"after {WORDS[name]}")
        ax.set_xlabel(f"chi-square quantile ({degrees})")
    axes[1].set_ylabel("")
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def verdict(numbers: dict[str, Any], arrays: Any) -> Figure:
    """The p-value of every test of both stages."""
    found = {
        WORDS[name]: {t["name"]: t["p_value"] for t in numbers["verdicts"][name]["tests"]}
        for name in STAGES
    }
    figure = Figure(figsize=(6.8, 4.4))
    plots.verdict(found, ax=figure.subplots())
    return figure


FIGURES: dict[str, Callable[..., Figure]] = {
    "trajectories": trajectories,
    "clouds": clouds,
    "relaxation": relaxation,
    "bound_parts": bound_parts,
    "bound_map": bound_map,
    "stopping": stopping,
    "spectra": spectra,
    "calibration": calibration,
    "verdict": verdict,
}


def legend_once(ax: Any, **where: Any) -> None:
    """A legend in which every label appears once."""
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    ax.legend(once.values(), once.keys(), **where)


def png(figure: Figure) -> bytes:
    """The figure as a file, without software name or date: equal numbers give equal bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
