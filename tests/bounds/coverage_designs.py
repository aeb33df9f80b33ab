"""Learning problems with known true risks, an adversary, every certificate, and wrong twins.

A problem: n examples, H hypotheses with true risks R_h, a uniform prior. The adversary sees the
sample and the truth, and picks the posterior with the largest R(Q) - bound(Q) among the single
hypotheses and Gibbs posteriors exp(t (R - r)). All problems of a design are evaluated at once.
"""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxou import bounds
from jaxou.bounds.inversion import kl_inverse
from jaxou.bounds.ledger import Ledger
from jaxou.bounds.rows.lambda_grid import on_lambda_grid
from jaxou.bounds.rows.unbounded import gaussian_residual

CANDIDATES = 15
"""Posteriors of every design, the last repeated: equal shapes compile once."""
TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Design(NamedTuple):
    """Losses (problems, n, H) and true risks (problems, H)."""

    name: str
    losses: np.ndarray
    truth: np.ndarray


class Choice(NamedTuple):
    """The adversary's candidates, every field (problems, candidates)."""

    risk: np.ndarray
    truth: np.ndarray
    kl: np.ndarray
    chi2: np.ndarray
    variance: np.ndarray
    weights: np.ndarray


def coins(rng, problems, n=20, hypotheses=8) -> Design:
    """0-1 losses, independent over hypotheses, true risks between 0.02 and 0.6."""
    truth = rng.uniform(0.02, 0.6, (problems, hypotheses))
    losses = rng.uniform(size=(problems, n, hypotheses)) < truth[:, None, :]
    return Design("coins", losses.astype(float), truth)


def critical(rng, problems, n=20, delta=0.3) -> Design:
    """One hypothesis whose sample is free of errors with a probability just below delta.

    Catoni's bound with a large lambda has no slack left here: it misses exactly then.
    """
    truth = np.full((problems, 1), 1.0 - (0.999 * delta) ** (1.0 / n))
    losses = rng.uniform(size=(problems, n, 1)) < truth[:, None, :]
    return Design("critical", losses.astype(float), truth)


def many(rng, problems, n=20, hypotheses=200) -> Design:
    """Two hundred coins of risk 1/2: the best on the sample looks good and is not."""
    truth = np.full((problems, hypotheses), 0.5)
    errors = rng.binomial(n, 0.5, (problems, hypotheses))  # the order of examples does not matter
    losses = (np.arange(n)[None, :, None] < errors[:, None, :]).astype(float)
    return Design("many", losses, truth)


def residuals(rng, problems, n=15, hypotheses=6, largest=2.0) -> Design:
    """Half of squared residuals N(0, s_h^2), s_h^2 up to `largest`: no upper end."""
    variance = rng.uniform(0.2, 1.0, (problems, hypotheses)) * largest
    variance[:, 0] = largest
    noise = rng.normal(size=(problems, n, hypotheses)) * np.sqrt(variance)[:, None, :]
    return Design("residuals", 0.5 * noise**2, 0.5 * variance)


def adversary(design: Design) -> Choice:
    """Candidates: every single hypothesis, and Gibbs posteriors that favour R - r."""
    risk = design.losses.mean(axis=1)
    variance = design.losses.var(axis=1, ddof=1)
    problems, h = risk.shape
    single = np.broadcast_to(np.eye(h)[None], (problems, h, h))
    if h > 20:  # the worst single hypothesis of many equal ones is the best on the sample
        single = np.take_along_axis(single, np.argmin(risk, axis=1)[:, None, None], axis=1)
    advantage = (design.truth - risk)[:, None, :] * np.array(TEMPERATURES)[None, :, None]
    tilted = np.exp(advantage - advantage.max(axis=2, keepdims=True))
    weights = np.concatenate([single, tilted / tilted.sum(axis=2, keepdims=True)], axis=1)
    missing = CANDIDATES - weights.shape[1]
    weights = np.concatenate([weights, np.repeat(weights[:, -1:], missing, axis=1)], axis=1)
    mean = lambda values: np.einsum("pch,ph->pc", weights, values)
    safe = np.where(weights > 0, weights, 1.0)
    kl = np.maximum((weights * np.log(safe * h)).sum(axis=2), 0.0)
    chi2 = np.maximum(h * (weights**2).sum(axis=2) - 1.0, 0.0)
    return Choice(mean(risk), mean(design.truth), kl, chi2, mean(variance), weights)


def bounded_certificates(n, delta):
    """name -> bound(choice) for losses in [0, 1]; lambda is fixed by n alone."""
    lam = float(np.sqrt(8.0 * n * 2.0))
    plain = {name: getattr(bounds, name) for name in bounds.row_names() if hasattr(bounds, name)}
    made = {name: lambda c, row=row: row(c.risk, c.kl, n, delta) for name, row in plain.items()}
    for name in ("catoni_linear", "catoni_phi"):
        row = getattr(bounds, name)
        made[name] = lambda c, row=row: row(c.risk, c.kl, n, delta, catoni_lambda=lam)
        made[f"{name}, grid"] = lambda c, row=row: on_lambda_grid(c.risk, c.kl, n, delta, row=row)
    made["catoni_phi, lambda = 30 n"] = lambda c: bounds.catoni_phi(
        c.risk, c.kl, n, delta, catoni_lambda=30.0 * n
    )
    made["emp_bernstein"] = lambda c: bounds.emp_bernstein(
        c.risk, c.kl, n, delta, variance=c.variance
    )
    made["chi_square"] = lambda c: bounds.chi_square(c.risk, c.chi2, n, delta)
    two = Ledger(delta).choose("best of two rows", 2, share=1.0)
    shares = [two.delta_of(j) for j in (1, 2)]
    made["best of two rows, paid"] = lambda c: jnp.minimum(
        bounds.seeger(c.risk, c.kl, n, shares[0]),
        bounds.emp_bernstein(c.risk, c.kl, n, shares[1], variance=c.variance),
    )
    return made


def unbounded_certificates(n, delta, largest=2.0):
    """name -> bound(choice) for half of a squared residual of variance <= `largest`."""
    lam = 4.0
    facts = {
        "second_moment": (bounds.second_moment, {"moment": 0.75 * largest**2}),
        "sub_gaussian": (bounds.sub_gaussian, {"variance_proxy": largest**2 / 2}),
        "gaussian_residual": (gaussian_residual, {"residual_variance": largest}),
    }
    made = {}
    for name, (row, own) in facts.items():
        made[name] = partial(_at_lambda, row=row, n=n, delta=delta, catoni_lambda=lam, **own)
        made[f"{name}, grid"] = partial(_on_grid, row=row, n=n, delta=delta, **own)
    made["chi_square"] = lambda c: bounds.chi_square(
        c.risk, c.chi2, n, delta, variance=largest**2 / 2
    )
    return made


def _at_lambda(c, *, row, n, delta, **own):
    return row(c.risk, c.kl, n, delta, **own)


def _on_grid(c, *, row, n, delta, **own):
    return on_lambda_grid(c.risk, c.kl, n, delta, row=row, **own)


def twins(n, delta):
    """name -> (wrong bound(choice), design on which it must under-cover, or None)."""
    lambdas = jnp.geomspace(0.05, 30.0, 60) * n

    def peeked(c, row=bounds.catoni_phi):
        values = jax.lax.map(lambda lam: row(c.risk, c.kl, n, delta, catoni_lambda=lam), lambdas)
        return jnp.min(values, axis=0)

    wrong_place = lambda c: (c.kl + np.log(2 * np.sqrt(n)) / delta) / n
    return {
        "confidence term dropped": (lambda c: kl_inverse(c.risk, c.kl / n), "coins"),
        "prior fitted on the target sample": (
            lambda c: bounds.seeger(c.risk, 0.0 * c.kl, n, delta),
            "many",
        ),
        # equal to the kl inverse with log(1/delta): not a theorem, and not seen to fail
        "lambda peeked at": (peeked, None),
        "log(2 sqrt n)/delta": (lambda c: kl_inverse(c.risk, wrong_place(c)), None),
        "KL divided by n twice": (lambda c: bounds.catoni_phi(
            c.risk, c.kl / n, n, delta, catoni_lambda=2.0 * n), "many"),
    }  # fmt: skip


@cache
def _compiled(n: int, delta: float, bounded: bool):
    """(certificates, twins, function of a choice to all their values)."""
    made = (bounded_certificates if bounded else unbounded_certificates)(n, delta)
    wrong = twins(n, delta) if bounded else unbounded_twins(n, delta)
    every = made | {name: f for name, (f, _) in wrong.items()}
    return made, wrong, jax.jit(lambda c: {name: f(c) for name, f in every.items()})


def misses(choice: Choice, evaluate) -> dict[str, np.ndarray]:
    """For every bound, in which problems some candidate's true risk lies above it."""
    table = evaluate(jax.tree.map(jnp.asarray, choice))
    return {k: (choice.truth > np.asarray(v) + 1e-12).any(axis=1) for k, v in table.items()}


def draw_misses(rng, choice: Choice, design: Design, n, delta, draws=40) -> dict[str, np.ndarray]:
    """Certificates that draw from the last Gibbs posterior: one deployed draw, a drawn risk.

    The twin draws the deployed model again and again from the prior and keeps the best looking.
    """
    weights, risk = choice.weights[:, -1], design.losses.mean(axis=1)
    h = weights.shape[1]
    cumulative = np.cumsum(weights, axis=1)
    uniform = rng.uniform(size=(len(weights), draws))
    index = np.minimum((uniform[:, :, None] > cumulative[:, None, :]).sum(axis=2), h - 1)
    first = index[:, :1]
    pick = lambda values, at: np.take_along_axis(values, at, axis=1)
    ratio = np.log(pick(weights, first) * h)[:, 0]
    one = bounds.single_draw(pick(risk, first)[:, 0], ratio, n, delta)
    book = Ledger(delta)
    pac, mc = book.spend("bound", share=0.7), book.spend("Monte Carlo", share=0.3)
    drawn = pick(risk, index).mean(axis=1)
    upper = kl_inverse(drawn, np.log(2 / mc.delta) / draws)
    whole = bounds.seeger(upper, choice.kl[:, -1], n, pac.delta)
    again = bounds.single_draw(risk.min(axis=1), 0.0, n, delta)
    best = pick(design.truth, np.argmin(risk, axis=1)[:, None])[:, 0]
    return {
        "single_draw": pick(design.truth, first)[:, 0] > np.asarray(one),
        "seeger with a Monte Carlo risk": choice.truth[:, -1] > np.asarray(whole),
        "drawn again until it looks good": best > np.asarray(again),
    }


def vote_misses(choice: Choice, design: Design, n, delta) -> np.ndarray:
    """In which problems the vote of some posterior errs more often than its bound."""
    h = design.truth.shape[1]
    patterns = (np.arange(2**h)[:, None] >> np.arange(h)) & 1
    chance = np.ones((len(design.truth), 2**h))
    for k in range(h):  # errors of different hypotheses are independent
        p = design.truth[:, k, None]
        chance *= np.where(patterns[:, k], p, 1.0 - p)
    bound = np.asarray(bounds.majority_vote(choice.risk, choice.kl, n, delta))
    missed = np.zeros(len(chance), bool)
    for k in range(choice.weights.shape[1]):
        errs = choice.weights[:, k] @ patterns.T >= 0.5
        missed |= (chance * errs).sum(axis=1) > bound[:, k] + 1e-12
    return missed


def measure(problems: int, delta: float, seed: int, sizes=(20,)):
    """Rows: design, n, kind, name, misses, and whether misses must be beyond the limit."""
    rng = np.random.default_rng(seed)
    made = [critical(rng, problems, delta=delta), many(rng, problems), residuals(rng, problems)]
    made += [coins(rng, problems, n=n) for n in sizes]
    for design in made:
        n = design.losses.shape[1]
        choice = adversary(design)
        row = dict(design=design.name, n=n)
        bounded = design.name != "residuals"
        certificates, wrong, evaluate = _compiled(n, delta, bounded)
        table = misses(choice, evaluate)
        found = {k: ("certificate", table[k], False) for k in certificates}
        found |= {k: ("twin", table[k], on == design.name) for k, (_, on) in wrong.items()}
        if design.name in ("coins", "many"):
            drawn = draw_misses(rng, choice, design, n, delta)
            again = "drawn again until it looks good"
            found |= {k: ("certificate", v, False) for k, v in drawn.items() if k != again}
            found[again] = ("twin", drawn[again], design.name == "many")
        if design.name == "coins":
            found["majority_vote"] = ("certificate", vote_misses(choice, design, n, delta), False)
        for name, (kind, missed, must) in found.items():
            yield row | dict(kind=kind, name=name, misses=int(missed.sum()), must_fail=must)


def unbounded_twins(n, delta, largest=2.0):
    """Wrong bounds for the residuals: the confidence term and the moment's price dropped."""
    loose = lambda c: bounds.sub_gaussian(
        c.risk, c.kl, n, 1 - 1e-9, catoni_lambda=4.0, variance_proxy=1e-9
    )
    empirical = lambda c: c.risk + jnp.sqrt(2 * c.variance * c.kl / n)
    return {
        "moment and confidence dropped": (loose, "residuals"),
        "empirical variance, no confidence": (empirical, "residuals"),
    }
