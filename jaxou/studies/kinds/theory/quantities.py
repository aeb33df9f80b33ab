"""What a cell of `theory` can record."""

from typing import Literal, get_args

Row = Literal[
    "mcallester_he",
    "mcallester_loose",
    "mcallester_2003",
    "maurer_pinsker",
    "harel_simplified",
    "seeger",
    "quadratic",
    "tolstikhin_seldin_simple",
]
ROWS: tuple[str, ...] = get_args(Row)
"""Rows of the catalogue that need nothing but a risk, a KL, a sample size and delta."""

LOSS = "units of the loss"

QUANTITIES: dict[str, str] = {
    "discrepancy": "2 KL(Q_T || Q_S), nats",
    "discrepancy_trace": "tr(S_S^-1 S_T), nats",
    "discrepancy_logdet": "log det S_S - log det S_T, nats",
    "discrepancy_shift": "squared shift of the mean over the source's covariance, nats",
    "discrepancy_covariance": "the discrepancy without its shift, nats",
    "kl": "KL(Q_T || Q_S) of the target law from the source law, nats",
    "kl_source": "KL(Q_S || P0) of the source law from the prior, nats",
    "kl_scratch": "KL(Q_T || P0), nats",
    "transfer_gain": "KL(Q_T || P0) - KL(Q_T || Q_S): what pre-training saves, nats",
    "risk": "empirical risk of the target law, in [0, 1]",
    "source_risk": "empirical risk of the source law, in [0, 1]",
    "target_bound": "bound on the target risk by bound.row; it may exceed 1",
    "gap": "target_bound - risk",
    "source_bound": "bound on the source risk by bound.row",
    "gap_source": "source_bound - source_risk",
    "gap_sum": "gap + gap_source: of two different risks",
    "excess_loss": f"mean loss of the target law above the target's minimum, {LOSS}",
    "excess_loss_source": f"mean loss of the source law above the source's minimum, {LOSS}",
    "zero_shot": f"mean loss of the source law above the target's minimum, {LOSS}",
    "forgetting": f"mean loss of the target law above the source's minimum, {LOSS}",
    "expected_gap": (
        "expected true minus empirical loss of the target law, exactly, where examples tilt the "
        f"bowl by gradients of covariance C: tr((I - M^n) (A + decay)^-1 C) / n_target, {LOSS}"
    ),
    "relaxation_steps": "1 / rate of the slowest mode of fine-tuning, SGD steps",
    "relaxation_steps_source": "1 / rate of the slowest mode of pre-training, SGD steps",
    "temperature": "learning_rate tr C / (2 batch d (1 - momentum)) of fine-tuning",
    **{f"target_bound.{row}": f"bound on the target risk by {row}" for row in ROWS},
}
"""Name -> what it is, with its unit."""
