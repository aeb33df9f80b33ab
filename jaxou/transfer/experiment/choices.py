"""What may be chosen for the bound after the target sample was seen, and what that costs."""

from __future__ import annotations

import numpy as np

from ...bounds import TargetBound, bound_grid, tune
from ...config import RunConfig
from ...stages import TwoStage
from .cache import Arrays, Numbers
from .guarantees import about_target, risks

STOPS = 16
"""Numbers of fine-tuning steps at which the bound is looked at, in equal ratios."""

TUNING_STEPS, PACE = 8, 0.15


def stopping(config: RunConfig, training: TwoStage, numbers: Numbers) -> tuple[Numbers, Arrays]:
    """The target's bound at several numbers of fine-tuning steps, with SGD's own law there.

    All posteriors are covered at once, so the best of them is free.
    """
    risk = risks(training, numbers)
    steps = np.unique(np.round(np.geomspace(1, float(training.finetune.steps), STOPS)))
    path = bound_grid(
        training,
        {"finetune.steps": steps},
        source_risk=risk["pretrain"],
        gradients=False,
        **about_target(config, numbers, risk),
    )
    found = {name: np.asarray(getattr(path, name)) for name in ("value", "risk", "gap", "kl")}
    best = int(np.nanargmin(found["value"]))
    summary = {name: float(values[best]) for name, values in found.items()}
    ends = {"at_the_end": float(found["value"][-1]), "cost_nats": 0.0}
    return {"stopping": summary | {"steps": float(steps[best])} | ends}, {"steps": steps} | found


def tuned(config: RunConfig, training: TwoStage, numbers: Numbers) -> tuple[Numbers, Arrays]:
    """Fine-tuning's learning rate and batch size, moved downhill on the bound for a few steps."""
    import optax

    risk = risks(training, numbers)
    objective = TargetBound(law="flow", **about_target(config, numbers, risk))
    found = tune(objective, training, steps=TUNING_STEPS, optimizer=optax.adam(PACE))
    end = {name: float(path[-1]) for name, path in found.trajectory.items()}
    numbers = {
        "before": float(found.initial_value),
        "after": float(found.value),
        "settings": end,
        "price": found.price,
        "cost_nats": float(found.cost_nats),
        "note": found.note,
        "law": "SDE at flow time",
    }
    return {"tuned": numbers}, {k: np.asarray(v) for k, v in found.trajectory.items()}
