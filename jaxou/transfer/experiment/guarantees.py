"""Certificate mode and model mode: what can be said about the error on new target images."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...bounds import (
    Ledger,
    SaturatedRisk,
    TargetBound,
    discrepancy,
    dominance,
    find_row,
    two_stage_bound,
)
from ...config import RunConfig
from ...kernels import AffineGaussianKernel
from ...stages import TwoStage
from .. import model as _model
from ..certify import compare_priors
from ..data import TransferData
from ..store import packed
from .cache import Arrays, Numbers
from .models import STAGES, stream, untrained

_CERTIFICATE, _TEST = 4, 5


def certificates(
    config: RunConfig, training: TwoStage, data: TransferData, arrays: Arrays
) -> tuple[Numbers, Arrays]:
    """The certificate with a source-informed prior, and with one that knows nothing.

    The prior's centre and shape come from the source alone, as its theorem asks. The arrays are
    what `jaxou verify` needs of the former.
    """
    settings = config.certificate
    model = untrained(data)
    found = compare_priors(
        model,
        _model.loss01,
        priors=("source", "zero"),
        delta=settings.delta,
        draws=settings.draws,
        prior_center=arrays["pretrain.point"],
        posterior_center=arrays["finetune.point"],
        prior_covariance=training.pretrain.gibbs().covariance,
        target_data=data.target_train,
        move_center=True,
        key=stream(config, _CERTIFICATE),
    )
    numbers: Numbers = {}
    for index, (name, certificate) in enumerate(found.items()):
        key = jax.random.fold_in(stream(config, _TEST), index)
        test = certificate.test_risk(
            model, _model.loss01, data.target_test, key=key, draws=settings.draws
        )
        numbers[name] = {
            **certificate.as_dict(),
            "test_risk": float(test.value),
            "test_risk_standard_error": float(test.standard_error),
        }
    record = dict(
        name="digits", kind="softmax", n_target=config.data.n_target, seed=0, side=config.data.side
    )
    text, factors = packed(found["source"], record)
    return numbers, {"record": np.array(text), **factors}


def risks(training: TwoStage, numbers: Numbers) -> dict[str, SaturatedRisk]:
    """Each stage's bounded risk, a closed formula that can be differentiated.

    1 - exp(-loss / log 10), with the loss a quadratic around its minimum: 0 for a perfect
    model, 1 - 1/e for one that guesses among ten digits.
    """
    return {
        name: SaturatedRisk(
            stage.effective_hessian,
            stage.minimum,
            floor=numbers["stages"][name]["training_loss"],
            scale=math.log(10),
        )
        for name, stage in zip(STAGES, training.stages, strict=True)
    }


def model_mode(config: RunConfig, training: TwoStage, numbers: Numbers) -> tuple[Numbers, Arrays]:
    """Discrepancy, two-stage bound and its derivatives, with SGD's law taken from the model."""
    risk = risks(training, numbers)
    out: Numbers = {"discrepancy": {}, "bounds": {}}
    for law in ("gibbs", "finite"):
        apart = discrepancy(training, law=law, throw=False)
        names = ("value", "trace", "logdet", "dimension", "shift", "reverse_kl", "jeffreys", "w2")
        out["discrepancy"][law] = {name: float(getattr(apart, name)) for name in names}
        bound = two_stage_bound(
            training,
            source_risk=risk["pretrain"],
            law=law,
            throw=False,
            **about_target(config, numbers, risk),
        )
        out["bounds"][law] = {part: _parts(getattr(bound, part)) for part in ("source", "target")}
        out["bounds"][law]["gap_sum"] = float(bound.gap_sum)
        out["bounds"][law]["transfer_gain"] = float(bound.transfer_gain)
        dominant = jnp.isfinite(bound.source.kl) & jnp.isfinite(bound.target.kl)
        out["bounds"][law]["dominance"] = dominance(bound).sentence if dominant else None
    out["bounds"]["row"] = config.bound.row
    out["bounds"]["mode"] = "model"
    out["bounds"]["ledger"] = _ledger(config)
    out["gradients"] = _gradients(config, training, numbers, risk)
    return out, {}


def about_target(config: RunConfig, numbers: Numbers, risk: Any) -> dict[str, Any]:
    """What all statements about the target share."""
    images = {name: numbers["stages"][name]["training_images"] for name in STAGES}
    return dict(
        n_source=images["pretrain"],
        n_target=images["finetune"],
        risk=risk["finetune"],
        delta=config.bound.delta,
        bound=config.bound.row,
    )


def _ledger(config: RunConfig) -> Numbers:
    """Where the failure probability of the two statements goes."""
    book = Ledger(config.bound.delta)
    book.spend("source bound", share=0.5, why="pre-training, for every posterior at once")
    book.spend("target bound", share=0.5, why="fine-tuning, for every posterior at once")
    return book.close().as_dict()


def _parts(bound: Any) -> Numbers:
    """One stage's bound; `kl_share` is the KL's part of what stands under the root."""
    terms = {
        name: None if value is None else float(value) for name, value in vars(bound.terms).items()
    }
    kl = float(bound.kl)
    price = float(bound.terms.confidence + bound.terms.log_n) + 2.0
    return {
        "value": float(bound.value),
        "risk": float(bound.risk),
        "gap": float(bound.gap),
        "kl": kl,
        "kl_share": 1.0 if math.isinf(kl) else kl / (kl + price),
        "delta": float(bound.delta),
        "images": int(bound.n),
        "terms": terms,
    }


def _gradients(config: RunConfig, training: TwoStage, numbers: Numbers, risk: Any) -> Numbers:
    """d(target bound) in learning rates, batch sizes and steps of both stages.

    With the SDE's law at the stages' own flow times: it differs from the chain's by terms of order
    learning rate x curvature, has derivatives in the number of steps (s = learning rate x steps)
    and costs a few matrix products.
    """
    settings = ("learning_rate", "batch_size", "steps")
    at = {
        name: {key: jnp.asarray(float(getattr(stage, key))) for key in settings}
        for name, stage in zip(STAGES, training.stages, strict=True)
    }
    objective = TargetBound(law="flow", **about_target(config, numbers, risk))

    def bound(values: Any) -> Any:
        changed = training.with_pretrain(**values["pretrain"]).with_finetune(**values["finetune"])
        return objective(changed)

    value, slopes = jax.jit(jax.value_and_grad(bound))(at)
    return {"law": "SDE at flow time", "value": float(value), **jax.tree.map(float, slopes)}


def bound_map(config: RunConfig, training: TwoStage, numbers: Numbers) -> tuple[Numbers, Arrays]:
    """The target bound over fine-tuning's learning rate and batch size, at fixed steps."""
    stage = numbers["stages"]["finetune"]
    side = config.bound.grid
    limit = 0.95 * stage["learning_rate_limit"]
    rates = np.geomspace(min(0.01, stage["learning_rate"] / 4), limit, side)
    batches = np.geomspace(1, max(256, stage["batch_size"] * 4), side)
    risk = risks(training, numbers)["finetune"]
    row = find_row(config.bound.row)
    source = training.law("pretrain", step=training.pretrain.steps)
    start = training.enter(1, source)

    @jax.jit
    def kernel(rate: Any) -> Any:
        return training.with_finetune(learning_rate=rate, batch_size=1).finetune.kernel(
            training.finetune.steps
        )

    @jax.jit
    def value(alone: Any, batch: Any) -> Any:
        # gradient noise, and so the kernel's covariance, is that of batches of one over the size
        noise = alone.covariance.scale(1 / batch)
        law = training.position(AffineGaussianKernel(alone.matrix, alone.offset, noise)(start))
        kl = law.kl(source)
        return row(risk(law), kl, float(stage["training_images"]), config.bound.delta / 2)

    values = np.array([[float(value(k, b)) for b in batches] for k in map(kernel, rates)]).T
    y, x = np.unravel_index(np.nanargmin(values), values.shape)
    best = {
        "learning_rate": float(rates[x]),
        "batch_size": float(batches[y]),
        "value": float(values[y, x]),
    }
    return {"map": best}, {"learning_rates": rates, "batch_sizes": batches, "values": values}
