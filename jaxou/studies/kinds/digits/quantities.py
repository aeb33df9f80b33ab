"""What a cell of `digits` can record."""

NATS = "nats per example, without weight decay"

QUANTITIES: dict[str, str] = {
    "discrepancy": "2 KL(Q_T || Q_S) of the theory's laws at the measured A and C, nats",
    "discrepancy_trace": "tr(S_S^-1 S_T), nats",
    "discrepancy_logdet": "log det S_S - log det S_T, nats",
    "discrepancy_shift": "squared shift of the mean over the source's covariance, nats",
    "kl": "KL(Q_T || Q_S), nats",
    "kl_source": "KL(Q_S || P0), nats",
    "transfer_gain": "KL(Q_T || P0) - KL(Q_T || Q_S), nats",
    "target_bound": "bound on the target's 0-1 error by bound.row, at the measured training error",
    "gap": "target_bound less the measured training error",
    "test_error": "0-1 error of SGD's end points on target test images, mean over the runs",
    "test_error_se": "its standard error over the runs",
    "train_error": "0-1 error of SGD's end points on the target training sample",
    "generalisation_gap": "test_error - train_error",
    "test_loss": f"cross-entropy of SGD's end points on target test images, {NATS}",
    "train_loss": f"cross-entropy of SGD's end points on the target training sample, {NATS}",
    "generalisation_gap_loss": f"test_loss - train_loss, {NATS}",
    "expected_gap": f"tr((I - M^n) (A + decay)^-1 C) / n_target, the theory's gap, {NATS}",
    "zero_shot_error": "0-1 error on target test images before fine-tuning",
    "forgetting_error": "0-1 error on source test images after fine-tuning",
    "source_test_error": "0-1 error on source test images before fine-tuning",
    "optimum_error": "0-1 error on target test images of the target's optimum",
    "shift_length": "distance between the two optima in weight space",
    "sharpness": "largest eigenvalue of the target's Hessian, decay included",
    "trace_ratio": "tr of SGD's covariance at the end over that of the theory's law",
}
"""Name -> what it is, with its unit."""
