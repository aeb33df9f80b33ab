"""The numbers as tables: one source for the page and for the CSV files."""

from __future__ import annotations

from typing import Any

STAGES = ("pretrain", "finetune")
WORDS = {"pretrain": "pre-training", "finetune": "fine-tuning"}
Table = tuple[str, tuple[str, ...], list[tuple[Any, ...]]]


def tables(numbers: dict[str, Any]) -> dict[str, Table]:
    """(caption, header, rows) of every table, by name."""
    return {
        "stages": _stages(numbers),
        "errors": _errors(numbers),
        "convergence": _convergence(numbers),
        "discrepancy": _discrepancy(numbers),
        "bounds": _bounds(numbers),
        "certificates": _certificates(numbers),
        "gradients": _gradients(numbers),
        "choices": _choices(numbers),
    }


def _stages(numbers: dict[str, Any]) -> Table:
    stages = numbers["stages"]
    words = {
        "training_images": "training images",
        "training_loss": "smallest training loss (nats)",
        "steps": "steps",
        "batch_size": "batch size",
        "learning_rate": "learning rate",
        "learning_rate_limit": "largest stable learning rate",
        "largest_curvature": "largest curvature",
        "smallest_curvature": "smallest curvature",
        "steps_to_relax_steepest": "steps to relax, steepest direction",
        "steps_to_relax_flattest": "steps to relax, flattest direction",
        "curvature_rank": "rank of A without weight decay",
        "noise_rank": "rank of C",
        "commutator": "relative commutator of A and C",
    }
    rows = [(text, *(stages[name][key] for name in STAGES)) for key, text in words.items()]
    return "The two stages", ("", *WORDS.values()), rows


def _errors(numbers: dict[str, Any]) -> Table:
    rows: list[tuple[Any, ...]] = []
    words = {
        "untrained": "untrained",
        "pretrain_optimum": "source optimum",
        "finetune_optimum": "target optimum",
    }
    for key, text in words.items():
        errors = numbers["errors"][key]
        rows.append((text, errors["source_test"], None, errors["target_test"], None))
    for name in STAGES:
        seen = numbers["sgd"][name]
        source, target = seen["source_test_error"], seen["target_test_error"]
        spreads = (source["standard_error"], target["standard_error"])
        text = f"SGD after {WORDS[name]}"
        rows.append((text, source["mean"], spreads[0], target["mean"], spreads[1]))
    header = (
        "model",
        "source test error",
        "standard error",
        "target test error",
        "standard error ",
    )
    return "Test errors", header, rows


def _convergence(numbers: dict[str, Any]) -> Table:
    rows = []
    for name, text in WORDS.items():
        law, seen = numbers["theory"][name], numbers["particles"][name]
        sgd = numbers["sgd_seen"][name]
        k = numbers["tracked"]
        rows += [
            (f"{text}: KL, all directions", law["kl_to_gibbs"], None, None, None),
            (
                f"{text}: KL, {k} steepest",
                law["kl_to_gibbs_tracked"], seen["kl_to_gibbs_tracked"],
                seen["kl_floor_tracked"], None,
            ),
            (f"{text}: W2, all directions", law["w2_to_gibbs"], None, None, None),
            (
                f"{text}: W2, {k} steepest",
                law["w2_to_gibbs_tracked"], seen["w2_to_gibbs_tracked"],
                seen["w2_floor_tracked"], sgd["w2_to_gibbs_tracked"],
            ),
            (f"{text}: W2 of SGD's own steady law", law["w2_discretisation"], None, None, None),
        ]  # fmt: skip
    header = ("distance to the Gibbs law", "theory", "particles", "their floor", "real SGD")
    return "Distance to the Gibbs law at the end of each stage", header, rows


def _discrepancy(numbers: dict[str, Any]) -> Table:
    words = {
        "value": "discrepancy, 2 KL",
        "trace": "trace",
        "logdet": "log-determinant",
        "dimension": "dimension",
        "shift": "shift of the minimum",
        "reverse_kl": "reverse KL",
        "jeffreys": "Jeffreys",
        "w2": "W2",
    }
    both = numbers["discrepancy"]
    rows = [(text, both["gibbs"][key], both["finite"][key]) for key, text in words.items()]
    return (
        "Distance of the fine-tuned from the pre-trained law",
        ("term", "steady (Gibbs) laws", "laws at the last step"),
        rows,
    )


def _bounds(numbers: dict[str, Any]) -> Table:
    rows = []
    words = {"risk": "risk of the model", "kl": "KL (nats)", "gap": "gap", "value": "bound"}
    for part, text in (("source", "source"), ("target", "target")):
        for key, what in words.items():
            values = (numbers["bounds"][law][part][key] for law in ("gibbs", "finite"))
            rows.append((f"{text}: {what}", *values))
    header = ("term", "steady (Gibbs) laws", "laws at the last step")
    return "Two-stage bound in model mode", header, rows


def _certificates(numbers: dict[str, Any]) -> Table:
    words = {
        "bound": "certified error",
        "test_risk": "measured on test images",
        "test_risk_standard_error": "standard error of that",
        "risk_mc": "error on the training images",
        "risk_upper": "the same, upper confidence limit",
        "kl": "KL from the prior (nats)",
        "n": "target images",
        "draws": "weight draws",
        "delta": "failure probability",
    }
    both = numbers["certificates"]
    rows = [(text, both["source"][key], both["zero"][key]) for key, text in words.items()]
    return "Certificates", ("", "prior from the source", "prior that knows nothing"), rows


def _gradients(numbers: dict[str, Any]) -> Table:
    words = {"learning_rate": "learning rate", "batch_size": "batch size", "steps": "steps"}
    rows = []
    for name, stage in WORDS.items():
        for key, text in words.items():
            value = numbers["stages"][name][key]
            slope = numbers["gradients"][name][key]
            rows.append((f"{stage}: {text}", value, slope, 0.01 * value * slope))
    header = ("setting", "value", "derivative of the bound", "change for + 1 %")
    return (
        "Derivatives of the target bound (model mode, the SDE's laws at the last step)",
        header,
        rows,
    )


def _choices(numbers: dict[str, Any]) -> Table:
    stage, stop, tuned = numbers["stages"]["finetune"], numbers["stopping"], numbers["tuned"]
    after = tuned["settings"]
    rows = [
        ("steps (SGD's own law)", stage["steps"], stop["steps"]),
        ("bound at these steps", stop["at_the_end"], stop["value"]),
        ("learning rate (tuned)", stage["learning_rate"], after["finetune.learning_rate"]),
        ("batch size (tuned)", stage["batch_size"], after["finetune.batch_size"]),
        ("bound with these (SDE's law)", tuned["before"], tuned["after"]),
        ("paid for the choice (nats)", 0.0, stop["cost_nats"] + tuned["cost_nats"]),
    ]
    header = ("choice for fine-tuning", "as it was run", "better for the bound")
    return "What the bound would rather have (model mode)", header, rows


def bound_bars(numbers: dict[str, Any]) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Parts of each bound that are to be stacked, and the measured error beside it.

    A root or an inverse has no additive parts: its excess over the risk is shared between
    the KL and the price of confidence in proportion to their terms under it.
    """
    bars, marks = {}, {}
    for key, text in (("source", "certificate"), ("zero", "certificate\nwithout source")):
        c = numbers["certificates"][key]
        excess = c["bound"] - c["risk_upper"]
        share = c["kl"] / (c["complexity"] * c["n"])
        bars[text] = {
            "error on training images": c["risk_mc"],
            "Monte Carlo allowance": c["risk_upper"] - c["risk_mc"],
            "distance from the prior (KL)": excess * share,
            "confidence": excess * (1 - share),
        }
        marks[text] = c["test_risk"]
    model = numbers["bounds"]["finite"]["target"]
    share = model["kl_share"]
    bars["model of SGD"] = {
        "error on training images": model["risk"],
        "distance from the prior (KL)": model["gap"] * share,
        "confidence": model["gap"] * (1 - share),
    }
    marks["model of SGD"] = numbers["sgd"]["finetune"]["target_test_error"]["mean"]
    return bars, marks
