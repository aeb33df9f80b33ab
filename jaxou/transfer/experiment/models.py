"""The two trained models, their curvature and noise, and real SGD runs between them."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...config import ConfigError, RunConfig, StageConfig
from ...laws import Gaussian
from ...stages import Stage, TwoStage
from .. import model as _model
from ..data import TransferData, coarser, load
from ..domains import Examples
from ..optimum import minimise
from ..replicas import sgd_replicas
from .cache import Arrays, Numbers

STAGES = ("pretrain", "finetune")
TRACKED = 20
"""How many of the steepest directions of each stage are followed in the figures."""

_START, _SGD = 1, 2  # streams of the run's key; the particles and the certificate have others


def stream(config: RunConfig, number: int) -> Any:
    """An independent key for one purpose of the run."""
    return jax.random.fold_in(jax.random.key(config.seed), number)


def read_data(config: RunConfig) -> TransferData:
    """MNIST and UCI digits as images of `config.data.side` pixels a side."""
    return coarser(load(config.data.n_target), config.data.side)


def untrained(data: TransferData) -> _model.SoftmaxRegression:
    """The model that knows nothing, of the size of the images."""
    return _model.SoftmaxRegression.zeros(data.source_train.x.shape[1])


def training_data(config: RunConfig, data: TransferData) -> tuple[Examples, Examples]:
    """What each stage trains on."""
    n = config.data.n_source
    x, y = data.source_train
    return Examples(x[:n], y[:n]), data.target_train


def find_optima(config: RunConfig, data: TransferData) -> tuple[Numbers, Arrays]:
    """Minimise both training losses and measure A and C there."""
    from ...curvature import measure

    zero = untrained(data)
    numbers: Numbers = {"errors": {"untrained": test_errors(zero, data)}, "stages": {}}
    arrays: Arrays = {}
    start = zero
    for name, examples in zip(STAGES, training_data(config, data), strict=True):
        settings: StageConfig = getattr(config, name)
        best = minimise(start, _model.cross_entropy, examples, weight_decay=settings.weight_decay)
        found = measure(best.model, _model.cross_entropy, examples)
        # A and C are symmetric; eigenvectors by numpy, once, for the directions that are followed
        values, vectors = np.linalg.eigh(np.asarray(found.hessian))
        steep = vectors[:, ::-1][:, :TRACKED]
        steep = steep * np.sign(steep[np.abs(steep).argmax(axis=0), np.arange(steep.shape[1])])
        arrays |= {
            f"{name}.point": np.asarray(best.vector),
            f"{name}.hessian": np.asarray(found.hessian),
            f"{name}.noise": np.asarray(found.noise),
            f"{name}.basis": steep,
            f"{name}.curvatures": values[::-1],
            f"{name}.noises": np.asarray(found.noise_spectrum.eigenvalues)[::-1],
        }
        numbers["errors"][f"{name}_optimum"] = test_errors(best.model, data)
        numbers["stages"][name] = _facts(settings, values, found, best)
        start = best.model
    shift = np.asarray(arrays["finetune.point"]) - np.asarray(arrays["pretrain.point"])
    numbers["shift"] = float(np.linalg.norm(shift))
    return numbers, arrays


def _facts(settings: StageConfig, values: np.ndarray, found: Any, best: Any) -> Numbers:
    """What a reader wants to know about a stage, in numbers."""
    high, low = values[-1] + settings.weight_decay, values[0] + settings.weight_decay
    effective = settings.learning_rate / (1 - settings.momentum)
    return {
        "training_images": int(found.examples),
        "training_loss": float(best.value),
        "learning_rate": settings.learning_rate,
        "learning_rate_limit": 2 * (1 + settings.momentum) / high,
        "batch_size": settings.batch_size,
        "steps": settings.steps,
        "largest_curvature": high,
        "smallest_curvature": low,
        "steps_to_relax_steepest": 1 / (effective * high),
        "steps_to_relax_flattest": 1 / (effective * low),
        "noise_rank": int(found.noise_spectrum.rank),
        "curvature_rank": int(found.spectrum.rank),
        "commutator": float(found.commutator),
    }


def check_learning_rates(config: RunConfig, numbers: Numbers) -> None:
    """Refuse learning rates at which SGD diverges on the curvature that was measured."""
    for name in STAGES:
        rate, limit = (
            getattr(config, name).learning_rate,
            numbers["stages"][name]["learning_rate_limit"],
        )
        if rate >= limit:
            raise ConfigError(
                f"{name}.learning_rate = {rate}: SGD is unstable from {limit:.4g} on, "
                "2 (1 + momentum) over the largest curvature measured"
            )


def build_training(config: RunConfig, numbers: Numbers, arrays: Arrays) -> TwoStage:
    """Both stages of the theory, from what was measured; refuses unstable learning rates."""
    check_learning_rates(config, numbers)
    stages = []
    for name in STAGES:
        settings: StageConfig = getattr(config, name)
        point = jnp.asarray(arrays[f"{name}.point"])
        stages.append(
            Stage(
                hessian=arrays[f"{name}.hessian"],
                noise=arrays[f"{name}.noise"],
                minimum=point,
                anchor=point,  # the optimum of the penalised loss: nothing pulls it elsewhere
                learning_rate=settings.learning_rate,
                batch_size=settings.batch_size,
                steps=settings.steps,
                momentum=settings.momentum,
                weight_decay=settings.weight_decay,
            )
        )
    return TwoStage(*stages, initial=initial_law(config, len(point)))


def initial_law(config: RunConfig, dimension: int) -> Gaussian:
    """P0 = N(0, tau^2 I): where weights start, and the prior of pre-training."""
    return Gaussian(jnp.zeros(dimension), jnp.asarray(config.initial_scale**2))


def run_sgd(config: RunConfig, data: TransferData, arrays: Arrays) -> tuple[Numbers, Arrays]:
    """Real minibatch SGD through both stages, many independent runs."""
    model = untrained(data)
    law = initial_law(config, len(arrays["pretrain.point"]))
    position = law.sample(stream(config, _START), (config.replicas,))
    numbers: Numbers = {"replicas": config.replicas}
    out: Arrays = {}
    for number, (name, examples) in enumerate(
        zip(STAGES, training_data(config, data), strict=True)
    ):
        settings: StageConfig = getattr(config, name)
        runs = sgd_replicas(
            model,
            _model.cross_entropy,
            examples,
            starts=position,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            steps=settings.steps,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            saves=snapshot_steps(config, name),
            key=jax.random.fold_in(stream(config, _SGD), number),
        )
        position = runs.final
        out[f"{name}.final"] = np.asarray(position)
        out[f"{name}.paths"] = np.asarray(runs.positions)
        for domain, test in (("source", data.source_test), ("target", data.target_test)):
            errors = np.asarray(errors_of(position, *test))
            numbers.setdefault(name, {})[f"{domain}_test_error"] = mean_and_error(errors)
    return numbers, out


def snapshot_steps(config: RunConfig, name: str) -> list[int]:
    """The steps of a stage at which everything is compared: 0 and `snapshots` more."""
    total = getattr(config, name).steps
    return [j * total // config.snapshots for j in range(config.snapshots + 1)]


def test_errors(model: Any, data: TransferData) -> Numbers:
    """Share of test images that a model gets wrong, in both domains."""
    return {
        "source_test": 1 - _model.accuracy(model, data.source_test),
        "target_test": 1 - _model.accuracy(model, data.target_test),
    }


@eqx.filter_jit
def errors_of(vectors: Any, x: Any, y: Any) -> Any:
    """Test error of each parameter vector (R, d) -> (R,)."""
    from ...curvature import from_vector

    x, y = jnp.asarray(x), jnp.asarray(y)
    zero = _model.SoftmaxRegression.zeros(x.shape[1])

    def one(vector: Any) -> Any:
        model = from_vector(zero, vector)
        return jnp.mean(jax.vmap(lambda x, y: _model.loss01(model, x, y))(x, y))

    return jax.lax.map(one, vectors.astype(zero.bias.dtype))


def mean_and_error(values: np.ndarray) -> Numbers:
    """A mean over independent runs with its standard error."""
    spread = float(np.std(values, ddof=1) / np.sqrt(values.size))
    return {"mean": float(np.mean(values)), "standard_error": spread, "runs": int(values.size)}
