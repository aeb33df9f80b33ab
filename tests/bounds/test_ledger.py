"""The ledger of delta, the weights of a choice, and the prior's scale chosen for its price."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxou import Gaussian, bounds
from jaxou.bounds.ledger import Ledger, Receipt
from jaxou.bounds.prior_scales import ScaleGrid, best_scale, scale_grid
from jaxou.bounds.weights import Geometric, Given, TwoSided, Uniform, Weights, Zeta, decimal

mp = pytest.importorskip("mpmath")


@pytest.mark.parametrize(
    "parts", [(0.025, 0.025), (0.04, 0.01), (0.01,) * 5, (0.03, 0.015, 0.005), (0.049999, 1e-6)]
)
def test_sums_are_exact_in_decimals(parts):
    ledger = Ledger(0.05)
    for i, part in enumerate(parts):
        assert ledger.spend(f"event {i}", part).delta <= part
    assert ledger.remaining == 0.0
    assert sum(decimal(r.spent) for r in ledger) <= decimal(0.05)


def test_shares_and_what_remains_can_be_spent():
    ledger = Ledger(0.05)
    ledger.spend("a", share=1 / 3)
    ledger.spend("b", share=1 / 7)
    rest = ledger.spend("c", ledger.remaining)
    assert 0 < rest.delta <= 0.05 * (1 - 1 / 3 - 1 / 7) * (1 + 1e-12)
    assert sum(decimal(r.spent) for r in ledger) <= decimal(0.05)


@pytest.mark.parametrize(
    "spend, advice",
    [
        (lambda book: book.spend("bound", 0.01), "has been paid already"),
        (lambda book: book.spend("more", 0.0100001), "0.01 of delta=0.05 is left"),
        (lambda book: book.spend("more", 0.0), "positive amount"),
        (lambda book: book.spend("more", -0.01), "positive amount"),
        (lambda book: book.spend("more", math.nan), "must be one finite number"),
        (lambda book: book.spend("more"), "either delta=.* or share="),
        (lambda book: book.spend("more", 0.01, share=0.1), "either delta=.* or share="),
        (lambda book: book.close().spend("more", 0.001), "closed"),
        (lambda book: book["bound"].delta_of(1), "one event without a choice"),
        (lambda book: book.choose("more", [0.5, 0.6], 0.01), "more than 1"),
        (lambda book: book.choose("more", [0.5, 0.0], 0.01), "lie in"),
        (lambda book: Ledger(1.0), r"delta=1 must lie in \(0, 1\)"),
        (lambda book: Ledger("much"), "must be one finite number"),
    ],
)
def test_what_is_refused_changes_nothing(spend, advice):
    book = Ledger(0.05)
    book.spend("bound", 0.04)
    with pytest.raises(ValueError, match=advice):
        spend(book)
    assert len(book) == 1 and book.remaining == 0.01


def test_a_traced_delta_is_refused():
    with pytest.raises(ValueError, match="known when the ledger is written"):
        jax.jit(lambda d: Ledger(d).delta)(0.05)


def test_choices_pay_for_every_item():
    book = Ledger(0.05)
    grid = book.choose("scale", Zeta(), share=0.5, why="prior scale")
    ten = book.choose("row", 10, share=0.25)
    own = book.choose("checkpoint", [0.7, 0.2, 0.1], share=0.25)
    assert grid.delta_of(2) == pytest.approx(0.025 * 6 / (4 * math.pi**2))
    assert ten.cost_of(10) == pytest.approx(math.log(10))
    assert sum(own.delta_of(j) for j in (1, 2, 3)) == pytest.approx(0.0125)
    for receipt, wrong in ((grid, 0), (grid, -1), (ten, 11), (ten, 0), (own, 4), (own, 1.5)):
        with pytest.raises(ValueError, match="must be an integer: j = 1"):
            receipt.delta_of(wrong)


def test_the_record_is_immutable_and_prints():
    book = Ledger(0.05)
    receipt = book.spend("bound", 0.04, why="target sample")
    with pytest.raises(AttributeError):
        receipt.spent = 0.05
    with pytest.raises(AttributeError):
        book.delta = 0.1
    assert "(unspent)" in str(book) and "open" in str(book) and "80 %" in str(book)
    assert json.loads(json.dumps(book.as_dict()))["events"][0]["why"] == "target sample"
    assert [*book] == [receipt] == [book[0]] == [book["bound"]] and isinstance(receipt, Receipt)
    other = Ledger(0.05)
    assert other != book
    other.spend("bound", 0.04, why="target sample")
    assert other == book and hash(other) == hash(book)
    with pytest.raises(KeyError, match="no event"):
        book["bond"]


@pytest.mark.parametrize(
    "weights, indices",
    [
        (Zeta(), range(1, 20_000)),
        (TwoSided(), range(-20_000, 20_000)),
        (Geometric(0.9), range(1, 2000)),
        (Uniform(7), range(1, 8)),
        (Given((0.5, 0.3, 0.2)), range(1, 4)),
    ],
)
def test_weights_sum_to_one_from_below(weights: Weights, indices):
    total = math.fsum(weights.weight(j) for j in indices)
    assert 0.9999 < total <= 1.0 + 1e-15
    assert weights.cost(indices[0]) == pytest.approx(-math.log(weights.weight(indices[0])))
    for wrong in (1.5, True, "1", None):
        with pytest.raises(ValueError, match="must be an integer"):
            weights.check(wrong)
    assert weights.check(np.int64(indices[0])) == indices[0]


def test_weights_of_theory():
    assert Zeta().cost(5) == pytest.approx(2 * math.log(5) + math.log(math.pi**2 / 6), rel=1e-15)
    assert TwoSided().weight(-3) == pytest.approx(1 / ((math.pi**2 / 3 - 1) * 16), rel=1e-15)


def _exact_gap_with_union(trace, logdet, shift, d, n, delta, largest, g, indices, weight):
    """The mcallester_he root with the union term, in 50 digits, minimised over all indices."""
    with mp.workdps(50):
        best = None
        for j in indices:
            tau2 = mp.mpf(largest) * mp.exp(-mp.mpf(j) / g)
            kl = ((trace + shift) / tau2 - d + d * mp.log(tau2) - logdet) / 2
            numerator = kl - mp.log(delta) - mp.log(weight(mp.mpf(j))) + mp.log(n) + 2
            gap = mp.sqrt(numerator / (2 * n - 1))
            best = min(best, (gap, j)) if best else (gap, j)
        return float(best[0]), best[1]


@pytest.mark.parametrize(
    "largest, g, two_sided", [(4.0, 2, False), (0.05, 3, False), (1.0, 5, True)]
)
def test_the_prior_grid_against_mpmath(p07, largest, g, two_sided):
    law = p07.pretrain.gibbs()
    sigma = np.asarray(law.covariance)
    with mp.workdps(50):
        matrix = mp.matrix(sigma.tolist())
        logdet = mp.log(mp.det(matrix))
        shift = sum(mp.mpf(float(m)) ** 2 for m in law.mean)
        trace = matrix[0, 0] + matrix[1, 1]
    zeta = lambda j: 6 / (mp.pi * j) ** 2
    both = lambda j: 1 / ((mp.pi**2 / 3 - 1) * (1 + abs(j)) ** 2)
    delta = mp.mpf("0.025")
    expected, index = _exact_gap_with_union(
        trace, logdet, shift, 2, 50_000, delta, largest, g,
        range(-200, 200) if two_sided else range(1, 200), both if two_sided else zeta,
    )  # fmt: skip
    grid = scale_grid(largest, g, two_sided=two_sided)
    found = best_scale(law, n=50_000, delta=0.025, grid=grid)
    assert found.index == index
    np.testing.assert_allclose(found.value, expected, rtol=1e-10)
    np.testing.assert_allclose(
        found.kl, law.kl(Gaussian(0.0 * law.mean, found.variance)), rtol=1e-9
    )
    assert found.value > found.free_value and found.cost == pytest.approx(-math.log(found.weight))
    # the continuous optimum is that of theory, and is not what is certified
    np.testing.assert_allclose(found.continuous, float((trace + shift) / 2), rtol=1e-12)
    near = [law.kl(Gaussian(0.0 * law.mean, found.continuous * f)) for f in (0.99, 1.0, 1.01)]
    assert near[1] < min(near[0], near[2])


def test_half_a_cell_costs_what_theory_says():
    d, g = 400, 20.0  # g = sqrt(d): at most 1/16 of a nat
    law = Gaussian(jnp.zeros(d), 0.37)
    loss = [
        float(law.kl(Gaussian(jnp.zeros(d), 0.37 * math.exp(s / (2 * g))))) for s in (-1.0, 1.0)
    ]
    np.testing.assert_allclose(loss, d / (16 * g**2), rtol=0.03)


def test_the_grid_refuses_what_would_be_no_bound(p07):
    law = p07.pretrain.gibbs()
    with pytest.raises(ValueError, match="must be an integer"):
        ScaleGrid().variance(-1)
    with pytest.raises(ValueError, match="must be an integer"):
        ScaleGrid().weight(2.5)
    with pytest.raises(ValueError, match="largest > 0"):
        scale_grid(0.0, 2.0)
    with pytest.raises(ValueError, match="a point or singular"):
        best_scale(Gaussian([0.0, 0.0], jnp.zeros((2, 2))), n=100, delta=0.05)
    with pytest.raises(ValueError, match="lower the resolution"):
        best_scale(law, n=100, delta=0.05, grid=scale_grid(1e9, 1e6))
    # far above the grid: the first item, never one before it
    assert best_scale(Gaussian([1e3], 1.0), n=100, delta=0.05).index == 1


def test_a_ledger_pays_a_whole_statement(p07):
    """Three events, one delta: the bound at the chosen scale is the row at delta pi_j."""
    book = Ledger(0.05)
    pac = book.choose("bound", ScaleGrid().weights, share=0.9, why="every prior scale")
    book.spend("Monte Carlo", share=0.1, why="risk from draws")
    law = p07.pretrain.gibbs()
    chosen = best_scale(law, n=50_000, delta=pac.delta, risk=0.1, bound="seeger")
    direct = bounds.seeger(0.1, chosen.kl, 50_000, pac.delta_of(chosen.index))
    np.testing.assert_allclose(chosen.value, direct, rtol=1e-14)
    assert book.close().remaining == 0.0
