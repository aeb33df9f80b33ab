"""Audits of made-up tables: exact claims hold, known slips are found, bad rows are set aside."""

import json
import math
from functools import partial

import jax
import numpy as np
import pytest

from jaxou import bounds
from jaxou._table import half_unit, number_in
from jaxou.bounds import audit
from jaxou.bounds.audit import _recompute

mp = pytest.importorskip("mpmath")

P08 = {"risk": 0.05, "kl": 120.5, "n": 5000, "delta": 0.05}  # seeger: 0.11500677764303


def made_up(rows=300, seed=0):
    """Inputs as a publication has them: few to many draws, easy to vacuous."""
    rng = np.random.default_rng(seed)
    n = rng.integers(100, 60_000, rows)
    return {
        "risk": rng.uniform(0.0, 0.4, rows),
        "kl": n * rng.uniform(0.001, 0.3, rows),
        "n": n,
        "delta": np.full(rows, 0.025),
        "mc_samples": rng.integers(100, 150_000, rows),
    }


def bisect(q, c, returned, tolerance=1e-5):
    """The kl inverse as it circulates, by bisection: its last `middle`, or its safe `upper` end."""
    low, high, middle = q, 1 - 1e-10, 0.0
    while (high - low) / high >= tolerance:
        middle = (low + high) / 2
        kl = q * math.log(q / middle) if q > 0 else 0.0
        kl += (1 - q) * math.log((1 - q) / (1 - middle)) if q < 1 else 0.0
        low, high = (low, middle) if kl > c else (middle, high)
    return high if returned == "upper" else middle


def nested(table, inverse, delta_mc, delta=None):
    """Both steps with any `inverse`."""
    claims = []
    delta = table["delta"] if delta is None else delta
    for q, kl, n, d, m in zip(*(table[k] for k in ("risk", "kl", "n")), delta, table["mc_samples"],
                              strict=True):  # fmt: skip
        upper = inverse(q, math.log(2 / delta_mc) / m)
        claims.append(inverse(upper, (kl + math.log(2 * math.sqrt(n) / d)) / n))
    return claims


def mp_inverse(q, c):
    """The inverse at 40 digits by mpmath's own root finder between bisected ends."""
    with mp.workdps(40):
        q, c = mp.mpf(q), mp.mpf(c)
        kl = lambda p: (q * mp.log(q / p) if q else 0) + (1 - q) * mp.log((1 - q) / (1 - p)) - c
        low, high = q, mp.mpf(1)
        for _ in range(140):
            middle = (low + high) / 2
            low, high = (low, middle) if kl(middle) > 0 else (middle, high)
        return low


def mp_exact(row, delta, delta_mc):
    with mp.workdps(40):
        q, kl, n, m = (mp.mpf(float(row[k])) for k in ("risk", "kl", "n", "mc_samples"))
        upper = mp_inverse(q, mp.log(2 / mp.mpf(delta_mc)) / m)
        return mp_inverse(upper, (kl + mp.log(2 * mp.sqrt(n) / mp.mpf(delta))) / n)


# ---- the numbers


def test_claims_that_are_exact_hold_and_a_hair_less_does_not():
    table = made_up(12)
    rows = [{k: v[i] for k, v in table.items()} for i in range(12)]
    claims = [float(mp_exact(row, 0.025, 0.01)) for row in rows]
    found = audit({**table, "claim": claims}, delta_mc=0.01)
    np.testing.assert_allclose(found.exact, claims, rtol=1e-12)
    assert np.all(found.exact >= claims)  # never on the wrong side
    assert found.all_hold and found.count("holds") == 12
    less = audit({**table, "claim": np.multiply(claims, 1 - 1e-11)}, delta_mc=0.01)
    assert less.count("below") == 12


@pytest.mark.parametrize("name", ["seeger", "mcallester_he", "maurer_pinsker", "quadratic"])
def test_without_draws_it_is_the_row_of_the_catalogue(name):
    value = float(getattr(bounds, name)(**P08))
    found = audit({**P08, "claim": [value, value - 1e-6, 1.0]}, bound=name)
    np.testing.assert_allclose(found.exact, value, rtol=1e-13)
    assert found.verdict.tolist() == ["holds", "below", "holds"]
    np.testing.assert_allclose(found.short, [0, 1e-6, 0], rtol=1e-5, atol=1e-18)


def test_a_vacuous_claim_of_one_always_holds():
    found = audit({"risk": 0.4, "kl": [1e6, np.inf], "n": 100, "claim": [1.0, 1.0]}, delta=0.05)
    assert found.all_hold and found.exact.tolist() == [1.0, 1.0]
    assert not audit({"risk": 0.4, "kl": [1e6], "n": 100, "claim": [0.99]}, delta=0.05).all_hold


# ---- the slips


def test_the_last_midpoint_is_below_about_half_of_the_time_and_the_upper_end_never():
    table = made_up()
    claims = {
        kind: nested(table, partial(bisect, returned=kind), 0.01) for kind in ("middle", "upper")
    }
    middle = audit({**table, "claim": claims["middle"]}, delta_mc=0.01)
    # two midpoints are nested: below with probability near 1/2, 5 standard errors wide
    assert abs(middle.count("below") / 300 - 0.5) < 5 * 0.5 / math.sqrt(300)
    assert 0 < middle.short.max() < 3e-5
    assert not middle.all_hold and middle.count("rounding") == 0
    assert f"{middle.count('below')} of those below miss it by less than 2e-05" in str(middle)
    assert audit({**table, "claim": claims["upper"]}, delta_mc=0.01).all_hold


def test_one_delta_for_two_events_is_overspent_unless_both_are_stated():
    table = made_up(40)
    exact = audit({**table, "claim": 1.0}, delta_mc=0.025).exact
    claims = {**table, "claim": exact}
    both = audit(claims, delta_both=True)
    assert both.count("overspent") == 40 and both.count("below") == 0
    np.testing.assert_allclose(both.spent, 0.05)
    np.testing.assert_allclose(both.stated, 0.025)
    np.testing.assert_allclose(both.short, both.exact_as_stated - exact)
    assert not both.all_hold and "where 0.025 is stated" in str(both)
    stated = audit(claims, delta_mc="delta")
    assert stated.all_hold
    np.testing.assert_allclose(stated.stated, 0.05)
    # the honest way: half of delta for each
    halves = {**table, "delta": table["delta"] / 2}
    honest = audit({**halves, "claim": 1.0}, delta_mc="delta").exact
    assert audit({**table, "claim": honest}, delta_both=True).all_hold


def test_an_inverse_that_fails_at_a_risk_of_one():
    found = audit({**P08, "risk": [1.0, 1.0], "claim": [0.0, 1.0]})
    assert found.verdict.tolist() == ["below", "holds"]
    assert found.short.tolist() == [1.0, 0.0]


def test_ignoring_the_monte_carlo_step_is_below():
    table = made_up(20)
    naive = [bisect(q, (kl + math.log(2 * math.sqrt(n) / 0.025)) / n, "upper", 1e-12)
             for q, kl, n in zip(table["risk"], table["kl"], table["n"], strict=True)]  # fmt: skip
    found = audit({**table, "claim": naive}, delta_mc=0.01)
    assert found.count("below") == 20 and "midpoint" not in str(found)
    assert audit({**table, "claim": naive}, draws="none", delta_mc="none").all_hold


# ---- print


@pytest.mark.parametrize(
    "claim,verdict",
    [("0.115", "rounding"), ("0.1150", "rounding"), ("0.11500", "below"), ("0.114", "below"),
     ("11.5 %", "rounding"), ("1.15e-1", "rounding"), ("0.116", "holds"), ("0", "below"),
     (0.115, "rounding"), (0.1150067776, "rounding"), (0.11500677, "below"),
     (0.1150067775, "below"), (0, "below")],
)  # fmt: skip
def test_a_claim_below_by_less_than_its_rounding_is_counted_apart(claim, verdict):
    found = audit({**P08, "claim": claim})
    assert found.verdict.tolist() == [verdict]
    assert found.all_hold == (verdict != "below")


def test_float32_is_a_rounding_too():
    exact = audit({**P08, "claim": 1.0}).exact[0]
    nearest = np.float32(exact)
    down = nearest if nearest < exact else np.nextafter(nearest, np.float32(0))
    far = np.nextafter(down, np.float32(0))
    found = audit({**P08, "claim": np.array([down, far], np.float32)})
    assert found.verdict[1] == "below"
    assert found.verdict[0] == ("rounding" if down == nearest else "below")


def test_rounded_inputs_are_taken_at_their_favourable_end():
    exact = audit({**P08, "risk": 0.0496, "kl": 120.46, "claim": 1.0}).exact[0]
    published = {**P08, "risk": "0.050", "kl": "120.5", "claim": exact}
    assert audit(published).verdict.tolist() == ["below"]
    assert audit(published, rounded_inputs=True).verdict.tolist() == ["holds"]
    far = audit({**published, "claim": exact - 1e-3}, rounded_inputs=True)
    assert far.verdict.tolist() == ["below"]


def test_digits():
    assert half_unit("1.50e-3") == pytest.approx(5e-6)
    assert half_unit("12 %") == pytest.approx(0.005)
    assert half_unit("nan") == half_unit(float("inf")) == half_unit("7") == 0.0
    assert number_in("1_000") == 1000.0


# ---- tables


def test_columns_rows_text_and_arrays_read_alike():
    columns = {"Empirical risk": [0.05, 0.02], "KL/n": [0.0241, 0.01], "N": [5000, 800],
               "Certificate": [0.12, 0.05]}  # fmt: skip
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]  # fmt: skip  # noqa: E501
    text = {name: list(map(str, values)) for name, values in columns.items()}
    arrays = {name: jax.numpy.asarray(values) for name, values in columns.items()}
    first, *others = (audit(t, delta=0.05) for t in (columns, rows, text, arrays))
    np.testing.assert_allclose(first.kl, [120.5, 8.0])
    assert first.verdict.tolist() == ["holds", "below"]
    for other in others:
        np.testing.assert_array_equal(other.exact, first.exact)
        assert other.verdict.tolist() == first.verdict.tolist()


def test_bad_rows_are_set_aside_with_a_reason_and_the_rest_goes_on():
    good = {**P08, "draws": 0, "delta_mc": 0.0, "claim": 0.12}
    bad = [
        ({"risk": "abc"}, "risk is 'abc', not a number"), ({"risk": ""}, "risk is empty"),
        ({"risk": float("nan")}, "risk is NaN"), ({"risk": -0.1}, "in [0, 1]"),
        ({"risk": 1.5}, "in [0, 1]"), ({"kl": None}, "kl is missing"), ({"kl": -1}, "negative"),
        ({"n": 0}, "whole number"), ({"n": 7.5}, "whole number"), ({"n": "60.000"}, "points"),
        ({"n": float("inf")}, "whole number"), ({"delta": 5}, "(0, 0.5]"),
        ({"delta": 0}, "(0, 0.5]"), ({"delta": 0.95}, "0.05 for a confidence of 95 %"),
        ({"draws": -3}, "0 for a risk"), ({"draws": 100}, "failure probability of its own"),
        ({"delta_mc": 0.97}, "together"), ({"claim": float("inf")}, "finite"),
    ]  # fmt: skip
    found = audit([good, *(good | change for change, _ in bad), good])
    assert found.verdict[[0, -1]].tolist() == ["holds", "holds"]
    assert found.count("unusable") == len(bad) and found.all_hold
    for i, (_, says) in enumerate(bad, start=1):
        assert says in found.reasons[i], found.reasons[i]
        assert np.isnan(found.exact[i])
    assert "row 2 is unusable: risk is 'abc'" in str(found)


def test_a_row_of_the_catalogue_that_has_no_value():
    found = audit({**P08, "n": [5, 5000], "claim": 1.0}, bound="harel_simplified")
    assert found.verdict.tolist() == ["unusable", "holds"]
    assert "harel_simplified has no value at n = 5" in found.reasons[0]


def test_per_cent():
    table = {**P08, "risk": [5.0, 0.5], "claim": [11.6, 4.0]}
    with pytest.raises(ValueError, match=r"row 1 is 5: per cent\?.*percent=True"):
        audit(table)
    found = audit(table, percent=True)
    np.testing.assert_allclose(found.risk, [0.05, 0.005])
    assert found.verdict.tolist() == ["holds", "below"]
    # one slip of the pen in a table of fractions is a bad row and no reason to stop
    one = audit({**P08, "risk": [5.0, 0.05, 0.05], "claim": 0.12})
    assert one.verdict.tolist() == ["unusable", "holds", "holds"]
    # and rounding is that of the print
    assert audit({**P08, "risk": [5.0], "claim": ["11.5"]}, percent=True).count("rounding") == 1
    mixed = audit({**P08, "risk": ["5 %", "5"], "claim": ["12 %", "12"]}, percent=True)
    np.testing.assert_allclose(mixed.risk, 0.05)
    np.testing.assert_allclose(mixed.claimed, 0.12)
    assert audit({**P08, "claim": [1.7, 2.0]}, percent=False).all_hold


@pytest.mark.parametrize(
    "change,options,says",
    [
        ({}, {"risk": "emprical"}, "no such column"),
        ({}, {"n": "nn"}, "neither a column nor a number; did you mean 'n'?"),
        ({}, {"claimed": "none"}, "no column for the claimed value"),
        ({}, {"kl": "none"}, "no column for the KL"),
        ({}, {"kl": "kl", "kl_over_n": "kl"}, "not both"),
        ({}, {"draws": 1000}, "give delta_mc= a column or a number; or delta_both="),
        ({}, {"draws": 1000, "delta_mc": 0.01, "delta_both": True}, "second statement"),
        ({}, {"bound": "segeer"}, "there is no bound 'segeer'"),
        ({"kl": [1.0, 2.0], "n": [1, 2, 3]}, {}, "different lengths"),
        ({"kl": np.ones((2, 2))}, {}, "shape (2, 2)"),
        ({"kl": []}, {}, "no rows"),
    ],
)
def test_tables_that_cannot_be_used(change, options, says):
    with pytest.raises(ValueError) as error:
        audit({**P08, "claim": 0.12, **change}, **options)
    assert says in str(error.value)


def test_float32_is_refused():
    with jax.enable_x64(False), pytest.raises(RuntimeError, match="jax_enable_x64"):
        audit({**P08, "claim": 0.12})


# ---- the record


def test_the_record_sorts_sums_up_and_goes_to_json():
    claims = [0.12, 0.115, 0.05, 0.11, "x"]
    found = audit({**P08, "claim": claims})
    assert len(found) == 5 and found.worst(2).tolist() == [2, 3]
    assert found.worst().tolist() == [2, 3, 1]
    summary = found.summary()
    assert summary.startswith("5 claims: 1 hold, 2 below the exact value (by at most 0.065, row 3)")
    assert "1 below by less than the rounding in print" in summary and "1 unusable" in summary
    page = str(found)
    assert "row 3 below: claimed 0.05, exact 0.11500678, short by 0.065" in page
    assert "claims that hold exceed the exact value by 0.005" in page and page.endswith(summary)
    content = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert content["counts"] == {"holds": 1, "below": 2, "rounding": 1, "overspent": 0,
                                 "unusable": 1}  # fmt: skip
    assert content["rows"][2]["verdict"] == "below" and content["rows"][4]["exact"] is None
    assert content["columns"]["claimed"] == "'claim' (guessed)"
    with pytest.raises(AttributeError):
        found.bound = "other"


def test_tables_of_like_size_compile_once():
    table = {**P08, "claim": np.full(70, 0.12)}
    audit(table)
    before = _recompute._cache_size()
    audit({**table, "claim": np.full(128, 0.12)}, delta=0.01)
    assert _recompute._cache_size() == before
