"""Ridge regression on diabetes, from one sex to the other: where theory can be checked exactly.

The loss is a bowl everywhere, so nothing but the step size and the noise's dependence on the
parameters separates real SGD from the Ornstein-Uhlenbeck process.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...laws import Gaussian
from ...particles import simulate
from ...stages import Chain
from ..domains import missing
from ..least_squares import LeastSquaresMoments, least_squares_moments
from ..real_sgd import RealSGD

LEARNING_RATES = (0.01, 0.05, 0.2)
WEIGHT_DECAY, BATCH_SIZE = 0.05, 8
FLOW_TIME = 60.0
"""Learning rate x steps: three relaxation times of the flattest direction."""


class Patients(NamedTuple):
    """Standardised features (n, 10) and disease progression (n,)."""

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]


def domains() -> tuple[Patients, Patients]:
    """(source, target): the 235 and the 207 patients of either sex, standardised together.

    Efron, Hastie, Johnstone and Tibshirani 2004, as shipped in scikit-learn. Raises `ImportError`
    naming the extra if that is missing.
    """
    try:
        from sklearn.datasets import load_diabetes
    except ImportError as error:
        raise missing("scikit-learn", "the diabetes data set") from error
    x, y = load_diabetes(return_X_y=True, scaled=False)
    first = x[:, 1] == 1
    x, y = (x - x.mean(axis=0)) / x.std(axis=0), (y - y.mean()) / y.std()
    return Patients(x[first], y[first]), Patients(x[~first], y[~first])


def squared_error(weights: Float[Array, " d"], example: Any) -> Float[Array, ""]:
    """(x . weights - y)^2 / 2 of one patient, without the penalty."""
    x, y = example
    return 0.5 * (x @ weights - y) ** 2


def fine_tuning(
    data: tuple[Patients, Patients], learning_rate: float, *, batch_size: int = BATCH_SIZE
) -> tuple[LeastSquaresMoments, Chain]:
    """SGD on the target, exactly, and its chain from the optimum of the source."""
    found = [
        least_squares_moments(
            *one, learning_rate=learning_rate, batch_size=batch_size, weight_decay=WEIGHT_DECAY
        )
        for one in data
    ]
    stage = found[1].stage(round(FLOW_TIME / learning_rate))
    start = Gaussian(found[0].optimum, jnp.zeros(()))
    return found[1], Chain([stage], initial=start, names=("finetune",))


def compare(
    data: tuple[Patients, Patients],
    learning_rate: float,
    *,
    runs: int = 4000,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
) -> dict[str, Any]:
    """Real SGD beside three theories at one learning rate, at the last step.

    `theories` has "OU" (the stochastic differential equation), "chain" (SGD's steps with noise
    frozen at the optimum) and "least squares" (exact second moments); for each the trace of the
    covariance, its relative error with the standard error of the measurement, the Frobenius error
    of the whole covariance, and the largest error of the mean in standard errors. `chance`: the
    Frobenius error of a perfect theory.
    """
    found, chain = fine_tuning(data, learning_rate, batch_size=batch_size)
    stage = chain.stages[0]
    method = RealSGD(jnp.zeros(data[1].x.shape[1]), squared_error, tuple(data[1]))
    key = jax.random.fold_in(jax.random.key(seed), 3)
    run = simulate(chain, particles=runs, key=key, method=method)
    ends = np.asarray(run.deviations[-1], np.float64)
    gaps = ends - ends.mean(axis=0)[None, :]
    measured = gaps.T @ gaps / (runs - 1)
    trace = float(np.trace(measured))
    spread = float((gaps**2).sum(axis=1).std() / np.sqrt(runs))
    theories = {
        "OU": chain.law(time=stage.duration),
        "chain": chain.law(step=stage.steps),
        "least squares": found.law(chain.initial, stage.steps),
    }
    # E |S - C|^2 from the runs' own fourth moments
    outer = (gaps[:, :, None] * gaps[:, None, :]).reshape(runs, -1)
    chance = float(np.sqrt(outer.var(axis=0).sum() / runs) / np.linalg.norm(measured))
    facts = {}
    centre = np.asarray(run.centres[-1])
    for name, law in theories.items():
        covariance = np.asarray(law.covariance)
        total = float(np.trace(covariance))
        away = ends.mean(axis=0) + centre - np.asarray(law.mean)
        facts[name] = {
            "trace": total,
            "trace_error": total / trace - 1,
            "trace_uncertainty": spread / trace,
            "frobenius": float(np.linalg.norm(covariance - measured) / np.linalg.norm(measured)),
            "mean": float(np.abs(away / np.sqrt(np.diag(measured) / runs)).max()),
        }
    return {
        "learning_rate": learning_rate,
        "batch_size": int(batch_size),
        "steps": int(stage.steps),
        "runs": runs,
        "trace": trace,
        "chance": chance,
        "theories": facts,
    }
