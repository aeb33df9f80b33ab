"""Random pairs of real image domains: softmax regression from MNIST to shifted digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..config import ClaimsConfig
from ..studies import Study, collect, run

STEPS = (20, 200, 2000)
QUICK_STEPS = (200,)
QUANTITIES = (
    "discrepancy",
    "discrepancy_shift",
    "generalisation_gap",
    "generalisation_gap_loss",
    "test_error",
    "train_loss",
    "test_loss",
    "expected_gap",
    "zero_shot_error",
    "shift_length",
)


def study_of(config: ClaimsConfig, steps: int) -> Study:
    """The domains of one duration: rotation, blur, noise, imbalance, N_T and seed at random.

    A Latin hypercube: the same pairs for every duration. Half of them are shifted UCI digits, half
    MNIST images that pre-training has not seen.
    """
    span = lambda low, high, scale="linear": {"from": low, "to": high, "scale": scale}
    axes = {
        "data.target": {"values": ["digits", "mnist"]},
        "data.n_target": span(50, 1000, "log"),
        "shift.rotation": span(0.0, 60.0),
        "shift.blur": span(0.0, 1.5),
        "shift.noise": span(0.0, 0.5),
        "shift.imbalance": span(1.0, 20.0, "log"),
        "seed": span(0, 2**31 - 1),
    }
    return Study.make(
        name=f"images-{steps}",
        experiment="digits",
        quantities=list(QUANTITIES),
        base={
            "law": "finite",
            "finetune": {"steps": steps},
            "replicas": 16 if config.quick else 64,
        },
        design={
            "kind": "latin_hypercube",
            "cells": config.image_pairs,
            "seed": config.seed,
            "axes": axes,
        },
    )


def measure(config: ClaimsConfig, folder: Path) -> tuple[dict[str, np.ndarray], int, list[int]]:
    """(name -> (durations, pairs), pairs left out, durations); a killed call goes on where it was.

    A pair is left out of all durations if a number of it is missing or not finite in one of them:
    large samples of very uneven digits ask for more images of a digit than there are.
    """
    durations = list(QUICK_STEPS if config.quick else STEPS)
    tables = []
    for steps in durations:
        study = study_of(config, steps)
        run(study, folder / study.name, progress=False)
        tables.append(collect(folder / study.name))
    names = ("data.n_target", *QUANTITIES)
    seen = {name: np.stack([np.asarray(t.column(name), float) for t in tables]) for name in names}
    good = np.all([np.isfinite(x).all(axis=0) for x in seen.values()], axis=0)
    seen = {name: values[:, good] for name, values in seen.items()}
    size = seen.pop("data.n_target")
    found = {
        "gap": seen["generalisation_gap_loss"],
        "gap of 0-1 loss": seen["generalisation_gap"],
        "risk": seen["test_loss"],
        "discrepancy": seen["discrepancy"],
        "shift part": seen["discrepancy_shift"],
        "covariance part": seen["discrepancy"] - seen["discrepancy_shift"],
        "discrepancy / N": seen["discrepancy"] / size,
        "1 / N": 1 / size,
        "zero-shot loss": seen["zero_shot_error"],
        "parameter distance": seen["shift_length"],
        "training loss": seen["train_loss"],
        "tr(A^-1 C) / N": seen["expected_gap"],
        "n": size,
    }
    return found, int((~good).sum()), durations
