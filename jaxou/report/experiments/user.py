"""Your own model and data through the whole theory, with one call: numbers and a page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._check import as_count, require_float64
from ...bounds import discrepancy
from ...convergence import agreement, verdict
from ...convergence.statistics import Equipartition, MahalanobisKS, MeanChi2, TotalVariance
from ...curvature import from_vector, measure, to_vector
from ...curvature.estimate import DENSE_PARAMETERS
from ...laws import Gaussian
from ...particles import simulate
from ...stages import Chain, TwoStage
from ...transfer import certify, minimise
from ...transfer.experiment.models import mean_and_error
from ...transfer.real_sgd import RealSGD
from .. import files
from ..steps import Step, silent
from .pages import write_page

STATISTICS = (MeanChi2(), TotalVariance(), Equipartition(), MahalanobisKS())
"""Those whose null laws need no simulation in hundreds of dimensions."""

LOW_RANK = 32
"""Eigenpairs of curvature and noise that are kept where there are too many parameters for all."""

JUDGED = 20
"""Of those, the directions of largest curvature along which SGD is judged."""


@dataclass(frozen=True)
class Report:
    """What `run` found: `numbers`, as in result.json, and the folder that has them."""

    numbers: dict[str, Any]
    out: Path

    def __str__(self) -> str:
        found, lines = self.numbers, [self.numbers["title"]]
        lines.append(f"  real SGD beside its model: {found['agreement']['sentence']}")
        near = found["agreement_at_optimum"]
        lines.append(
            f"  the same, started at the optimum: right in {near['holds']} of {near['directions']} "
            f"directions, wrong in {near['fails']}; total variance {near['trace']:.3g} of it"
        )
        if "certificates" in found:
            for name, c in found["certificates"].items():
                test = f"; measured {c['test_risk']:.3f}" if "test_risk" in c else ""
                lines.append(
                    f"  certified risk, {name} prior: at most {c['bound']:.3f} with probability "
                    f"{1 - c['delta']:g}{test}"
                )
        return "\n".join([*lines, f"  {self.out / 'report.html'}"])


def run(
    model: Any,
    loss: Callable[..., Any],
    source: Any,
    target: Any,
    *,
    learning_rate: float,
    batch_size: int,
    steps: int,
    weight_decay: float = 1e-3,
    loss01: Callable[..., Any] | None = None,
    test: Any = None,
    pretrained: Any = None,
    finetuned: Any = None,
    trainable: Any = None,
    replicas: int = 1000,
    delta: float = 0.05,
    draws: int = 4000,
    seed: int = 0,
    out: str | Path = "jaxou-run",
    title: str = "Pre-training and fine-tuning",
    extra: dict[str, Any] | None = None,
    certificate: dict[str, Any] | None = None,
    rank: int | None = None,
    experiment: dict[str, Any] | None = None,
    step: Step | None = None,
) -> Report:
    """Measure, simulate, judge and certify a model's fine-tuning; write result.json, report.html.

    1. Both optima: `pretrained` and `finetuned` models (trained by whatever you like), or where
       they are missing the minimisers of the penalised loss on `source` and `target`.
    2. Curvature and noise at both; the discrepancy between the two stages' laws.
    3. `replicas` runs of real minibatch SGD on the target, from the steady law of pre-training and
       from the target's optimum, beside the law of their quadratic model: a verdict, and where
       the model holds.
    4. With `loss01(model, x, y)` in [0, 1] a certificate for the fine-tuned model (`ou.certify`,
       for which `certificate` holds further settings), from the source and from nothing, and its
       risk on `test`, if that is given. Needs x64. `out`/certificate keeps what
       `ou.transfer.verify` needs to recompute it.

    **Arguments:** `loss(model, example)` is one example's loss; `source`, `target` and `test` are
    (x, y) with a leading axis of examples; `learning_rate`, `batch_size`, `steps` are those of
    fine-tuning; `trainable` an Equinox filter; `step(title)` a context manager around each phase,
    for progress; `rank` keeps so many eigenpairs of curvature and noise (see
    `jaxou.curvature.measure`), by default all up to 2,000 trainable parameters and 32 above. There
    SGD is judged along the leading directions only, and `pretrained` and `finetuned` are best given
    (`jaxou.transfer.minimise` takes no more than 10,000). `experiment` names a built-in experiment
    in the saved certificate (see `Certificate.save`). **Returns** a `Report`; `print` it.

    What does not apply is left out and said so. Negative curvature, which real networks have, is
    set to zero in the model of SGD and counted in the report.
    """
    step = step or silent
    if loss01 is not None:
        require_float64("a certificate is computed")
    replicas = as_count(replicas, "replicas", 2)
    size = to_vector(model, trainable).size
    out = files.made_folder(out)
    rank = LOW_RANK if rank is None and size > DENSE_PARAMETERS else rank
    shared: dict[str, Any] = dict(trainable=trainable)
    if rank is not None:
        shared |= dict(structure="low_rank", rank=rank)
    with step("Finding both optima"):
        if pretrained is None:
            pretrained = _optimum(model, loss, source, weight_decay, trainable)
        if finetuned is None:
            finetuned = _optimum(pretrained, loss, target, weight_decay, trainable)
    settings = dict(
        learning_rate=learning_rate, batch_size=batch_size, weight_decay=weight_decay, steps=steps
    )
    numbers: dict[str, Any] = {"title": title, "settings": settings | {"seed": seed}}
    numbers["examples"] = {
        name: len(jax.tree.leaves(data)[0])
        for name, data in (("source", source), ("target", target))
    }
    with step("Measuring curvature and gradient noise"):
        found = [
            measure(m, loss, data, negative="clip", **shared)
            for m, data in ((pretrained, source), (finetuned, target))
        ]
        first, second = (each.stage(**settings) for each in found)
    leading = None if rank is None else found[1].hessian.factor[:, :JUDGED]
    numbers["dimension"] = first.dimension
    numbers["stages"] = {
        name: _facts(each, stage)
        for name, each, stage in zip(("source", "target"), found, (first, second), strict=True)
    }
    with step("Comparing the laws of both stages"):
        numbers["discrepancy"] = _discrepancy(first, second)
    key = jax.random.key(seed)
    # in a list of its own: examples that are a list are not one data set per stage
    method = RealSGD(finetuned, loss, [target], trainable=trainable)
    starts = first.stationary(), Gaussian(second.minimum, 0.0)
    chains = [Chain([second], initial=start, names=("finetune",)) for start in starts]
    with step(f"Running SGD {replicas:,} times on the target, from the source and at the optimum"):
        trained, nearby = (
            simulate(chain, particles=replicas, key=k, method=method, progress=False)
            for chain, k in zip(chains, jax.random.split(jax.random.fold_in(key, 1)), strict=True)
        )
    with step("Judging SGD by its model"):
        numbers["agreement"] = _agreement(trained, chains[0], leading)
        numbers["agreement_at_optimum"] = _agreement(nearby, chains[1], leading)
        numbers["verdict"] = None if rank is not None else _verdict(trained, chains[0])
    if loss01 is not None:
        with step("Certifying the fine-tuned model"):
            wanted = dict(delta=delta, draws=draws, weight_decay=weight_decay)
            if rank is not None:
                wanted |= dict(structure="low_rank", rank=rank)
            numbers["certificates"], made = _certificates(
                loss01, loss, source, target, test, pretrained, finetuned, trainable,
                wanted | (certificate or {}), key,
            )  # fmt: skip
            made["source"].save(out / files.CERTIFICATE, experiment=experiment)
            if test is not None:
                numbers["sgd_test_risk"] = _sgd_risk(trained, finetuned, loss01, test, trainable)
    else:
        numbers["not_certified"] = "no loss01 in [0, 1] was given, so there is no certificate"
    numbers |= extra or {}
    files.write_json(out / "result.json", numbers)
    write_page(out / "report.html", numbers)
    return Report(json.loads(files.to_json(numbers)), out)


def _optimum(model, loss, data, weight_decay, trainable):
    return minimise(model, loss, data, weight_decay=weight_decay, trainable=trainable).model


def _facts(found: Any, stage: Any) -> dict[str, Any]:
    values = np.asarray(found.spectrum.eigenvalues)
    top, low = float(values.max()), float(values.min())
    decay = float(stage.weight_decay)
    return {
        "largest_curvature": top,
        "smallest_curvature": low,
        "negative_curvatures": int((values < 0).sum()),
        "noise_rank": int(found.noise_spectrum.rank),
        "commutator": float(found.commutator),
        "gradient": float(jnp.linalg.norm(found.gradient + decay * found.point)),
        "learning_rate_limit": 2 / (top + decay),
    }


def _discrepancy(first: Any, second: Any) -> dict[str, Any]:
    process = TwoStage(first, second, initial=first.stationary())
    found = discrepancy(process, law="stationary")
    names = ("value", "trace", "logdet", "shift", "w2")
    return {name: float(getattr(found, name)) for name in names}


def _agreement(trained: Any, chain: Any, leading: Any) -> dict[str, Any]:
    where = agreement(trained, chain, directions=leading)
    return {
        "sentence": where.sentence(),
        "holds": int(where.holds.sum()),
        "fails": int(where.fails.sum()),
        "directions": len(where.ratio),
        "tolerance": where.tolerance,
        "trace": where.trace,
        "frobenius": where.frobenius,
        "chance": where.floor,
        "widest": [
            dict(
                curvature=float(where.curvature[k]),
                spread=float(where.spread[k]),
                ratio=float(where.ratio[k]),
                ratio_error=float(where.ratio_error[k]),
                shift=float(where.shift[k]),
                shift_error=float(where.shift_error[k]),
            )
            for k in range(min(12, len(where.ratio)))
        ],
    }


def _verdict(trained: Any, chain: Any) -> dict[str, Any]:
    found = verdict(trained, chain, statistics=STATISTICS).stages[0]
    tests = {t.name: t.p_value for t in found.tests}
    return {"decision": found.decision, "p_value": found.p_value, "tests": tests}


def _certificates(
    loss01, loss, source, target, test, pretrained, finetuned, trainable, settings, key
) -> tuple[dict[str, Any], dict[str, Any]]:
    numbers, made = {}, {}
    for number, prior in enumerate(("source", "zero")):
        found = made[prior] = certify(
            finetuned,
            loss01,
            prior=prior,
            prior_center=pretrained,
            posterior_center=finetuned,
            source_data=source,
            target_data=target,
            trainable=trainable,
            loss=loss,
            key=jax.random.fold_in(key, 2 + number),
            **settings,
        )
        names = ("bound", "risk_mc", "risk_upper", "kl", "n", "draws", "delta")
        numbers[prior] = {name: getattr(found, name) for name in names}
        if test is not None:
            risk = found.test_risk(
                finetuned, loss01, test, key=jax.random.fold_in(key, 4), trainable=trainable
            )
            numbers[prior] |= {"test_risk": risk.value, "test_risk_error": risk.standard_error}
    return numbers, made


def _sgd_risk(trained, model, loss01, test, trainable) -> dict[str, Any]:
    """Mean test risk of the runs' ends."""
    data = jax.tree.map(jnp.asarray, test)

    @eqx.filter_jit
    def risks(vectors):
        def one(vector):
            found = from_vector(model, vector, trainable)
            return jnp.mean(jax.vmap(lambda x, y: loss01(found, x, y))(*data))

        return jax.lax.map(one, vectors)

    return mean_and_error(
        np.asarray(risks(trained.final.astype(to_vector(model, trainable).dtype)))
    )
