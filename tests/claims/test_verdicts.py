"""How cases add up, rank correlations and slopes: against scipy, closed forms and wrong twins."""

import numpy as np
import pytest
from scipy import stats

from jaxou.claims import discrepancy, dominance, rate
from jaxou.claims.claim import Case, conditions, judge, within
from jaxou.claims.ranks import Correlation, difference, partial_spearman, ranks, spearman


def case(home, outcome):
    return Case("name", "somewhere", home, outcome, 0.1, 0.0, 0.2)


@pytest.mark.parametrize(
    "own, beyond, verdict",
    [
        ("shown", "shown", "holds"),
        ("shown", "refuted", "holds with conditions"),
        ("shown", "undecided", "holds with conditions"),
        ("undecided", "shown", "undecided"),
        ("refuted", "shown", "fails"),
    ],
)
def test_own_assumptions_decide_first(own, beyond, verdict):
    assert judge([case(True, "shown"), case(True, own), case(False, beyond)]) == verdict


def test_a_claim_without_a_case_of_its_own_is_no_claim():
    with pytest.raises(ValueError, match="under its own assumptions"):
        judge([case(False, "shown")])


def test_conditions_name_what_failed_and_what_stayed_open():
    text = conditions([case(True, "shown"), case(False, "refuted"), case(False, "undecided")])
    assert text == "it fails with somewhere (0.1 nats). Not decided: somewhere"


def test_an_interval_across_the_margin_says_nothing():
    assert [within(*x, 1.0) for x in ((0.1, 0.9), (1.1, 2.0), (0.9, 1.1))] == [
        "shown",
        "refuted",
        "undecided",
    ]


def test_spearman_is_scipys_with_ties():
    generator = np.random.default_rng(0)
    x = generator.integers(0, 9, 80)
    y = x + generator.normal(size=80) * 4
    np.testing.assert_allclose(ranks(x), stats.rankdata(x))
    np.testing.assert_allclose(spearman(x, y).value, stats.spearmanr(x, y).statistic, rtol=1e-12)


def test_partial_correlation_is_the_textbook_one():
    x, y, z = np.random.default_rng(1).normal(size=(3, 60))
    x, y = x + z, y + z
    a, b, c = (stats.spearmanr(*pair).statistic for pair in ((x, y), (x, z), (y, z)))
    expected = (a - b * c) / np.sqrt((1 - b**2) * (1 - c**2))
    np.testing.assert_allclose(partial_spearman(x, y, [z]).value, expected, rtol=1e-10)


def test_intervals_cover_as_they_say():
    # normal pairs of correlation r have rank correlation 6 / pi asin(r / 2)
    truth = 6 / np.pi * np.arcsin(0.3)
    generator = np.random.default_rng(2)
    missed = 0
    for _ in range(1000):
        x, e = generator.normal(size=(2, 60))
        found = spearman(x, 0.6 * x + 0.8 * e, level=0.1)
        missed += not found.lower <= truth <= found.upper
    # binomial(1000, 0.1): five standard deviations are 47, the approximation is good to 20
    assert 40 <= missed <= 167


def test_a_confounder_is_taken_out_and_shuffled_pairs_say_nothing():
    generator = np.random.default_rng(3)
    z = generator.normal(size=300)
    x, y = z + 0.5 * generator.normal(size=(2, 300))
    assert spearman(x, y).lower > 0.5
    assert partial_spearman(x, y, [z]).lower < 0 < partial_spearman(x, y, [z]).upper
    shuffled = spearman(generator.permutation(x), y)
    assert shuffled.lower < 0 < shuffled.upper


def test_difference_finds_the_better_predictor():
    generator = np.random.default_rng(4)
    y = generator.normal(size=150)
    good, bad = y + 0.3 * generator.normal(size=150), y + 3 * generator.normal(size=150)
    assert difference(good, bad, y, seed=0, draws=300).lower > 0
    assert difference(good, good, y, seed=0, draws=100).value == 0


def test_ranks_refuse_what_is_not_finite_and_too_few():
    with pytest.raises(ValueError, match="not finite"):
        spearman([np.nan] * 20, np.arange(20))
    with pytest.raises(ValueError, match="too few"):
        spearman(np.arange(5), np.arange(5))


def test_slopes_of_power_laws_and_of_a_bound_that_does_not_fall():
    n = rate.SIZES
    found = rate.fit(n, 3.0 / np.sqrt(n))
    np.testing.assert_allclose(found.slope, -0.5, atol=1e-12)
    assert found.error < 1e-12 and abs(found.last + 0.5) < 1e-12
    constant = rate.fit(n, np.full(n.size, 0.3))
    assert rate.rate_name(-constant.slope) == "none"
    assert rate._case("constant", -constant.slope, True).outcome == "refuted"
    # the log N of a budget is divided out
    budgets = rate.kl_budget(n)
    np.testing.assert_allclose(rate.exponent(np.sqrt(budgets), budgets), 0.5, rtol=1e-12)


def test_dominance_needs_the_usual_sizes():
    ratios = np.array([0.1, 1.0, 10.0, 100.0])
    everywhere = np.ones((3, 4), bool)
    usual = everywhere & (ratios >= 10)[None, :]
    assert dominance.finding(everywhere, ratios) == "holds"
    assert dominance.finding(usual, ratios) == "holds with conditions"
    assert dominance.finding(~usual, ratios) == "fails"


def test_discrepancy_decides_nowhere_somewhere_everywhere():
    strong, weak, wide = (
        discrepancy.decides(Correlation(*x, 50), 0.5)
        for x in ((0.9, 0.8, 0.95), (0.1, -0.1, 0.3), (0.5, 0.3, 0.7))
    )
    assert (strong, weak, wide) == ("shown", "refuted", "undecided")
    assert discrepancy.finding([strong, strong]) == "holds"
    assert discrepancy.finding([strong, weak]) == "holds with conditions"
    assert discrepancy.finding([weak, weak]) == "fails"
    assert discrepancy.finding([weak, wide]) == "undecided"
