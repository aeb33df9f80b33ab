"""The catalogue: worked case P08, the order of the rows (V19), wrong inputs, edges, tracing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxou import bounds

INPUTS = (0.05, 120.5, 5000, 0.05)

P08 = {
    "mcallester_he": 0.165769740475558,
    "mcallester_loose": 0.173613913315476,
    "mcallester_2003": 0.164908369291204,
    "maurer_pinsker": 0.163334670798402,
    "harel_simplified": 0.164896877879675,
    "seeger": 0.11500677764303,
    "tolstikhin_seldin_simple": 0.152063796042486,
    "quadratic": 0.132512903107936,
    "thiemann_lambda": 0.622678253760137,
    "thiemann": 0.132512903107936,
}
CATONI = {"catoni_linear": 0.161747866136777, "catoni_phi": 0.132597869964998}

FREE = [name for name in P08 if name != "thiemann_lambda"]
ROWS = {name: getattr(bounds, name) for name in FREE} | {
    "catoni_linear": functools.partial(bounds.catoni_linear, catoni_lambda=200.0),
    "catoni_phi": functools.partial(bounds.catoni_phi, catoni_lambda=200.0),
    "emp_bernstein": functools.partial(bounds.emp_bernstein, variance=0.01),
    "sub_gaussian": functools.partial(
        bounds.sub_gaussian, catoni_lambda=200.0, variance_proxy=0.25
    ),
    "second_moment": functools.partial(bounds.second_moment, catoni_lambda=200.0, moment=0.1),
    "single_draw": bounds.single_draw,
    "majority_vote": bounds.majority_vote,
    "chi_square": bounds.chi_square,
}


@pytest.mark.parametrize("name", P08)
def test_worked_case(name):
    np.testing.assert_allclose(getattr(bounds, name)(*INPUTS), P08[name], rtol=1e-10)


@pytest.mark.parametrize("name", CATONI)
def test_worked_case_catoni(name):
    value = getattr(bounds, name)(*INPUTS, catoni_lambda=2000)
    np.testing.assert_allclose(value, CATONI[name], rtol=1e-10)


def test_thiemann_at_a_given_lambda():
    at_star = bounds.thiemann(*INPUTS, lam=P08["thiemann_lambda"])
    np.testing.assert_allclose(at_star, P08["thiemann"], rtol=1e-10)
    lams = jnp.linspace(0.05, 1.95, 39)
    assert (bounds.thiemann(*INPUTS, lam=lams) >= P08["thiemann"] * (1 - 1e-12)).all()


@settings(max_examples=60, deadline=None)
@given(
    risk=st.floats(0, 1),
    kl=st.floats(0, 1e6),
    n=st.integers(8, 10**9),
    delta=st.floats(1e-12, 1 - 1e-9),
)
def test_order_of_the_rows(risk, kl, n, delta):
    value = {name: float(getattr(bounds, name)(risk, kl, n, delta)) for name in FREE}
    above = 1 + 1e-12
    np.testing.assert_allclose(value["quadratic"], value["thiemann"], rtol=1e-12)
    assert value["seeger"] <= min(value["quadratic"], value["maurer_pinsker"]) * above
    assert value["quadratic"] <= value["tolstikhin_seldin_simple"] * above
    assert value["maurer_pinsker"] <= value["mcallester_he"] * above
    assert value["mcallester_he"] <= value["mcallester_loose"] * above
    assert value["maurer_pinsker"] <= value["harel_simplified"] * above
    assert all(v >= risk for v in value.values())


def test_which_row_wins_depends_on_the_risk():
    low, high = (0.05, *INPUTS[1:]), (0.6, *INPUTS[1:])
    assert bounds.quadratic(*low) < bounds.maurer_pinsker(*low)
    assert bounds.quadratic(*high) > bounds.maurer_pinsker(*high)


@pytest.mark.parametrize("name", ROWS)
def test_wrong_inputs_are_refused_with_advice(name):
    row = ROWS[name]
    for index, bad, word in [
        (0, jnp.nan, "risk"),
        (1, jnp.nan, "kl"),
        (2, 0.5, "n="),
        (2, jnp.nan, "n="),
        (3, 0.0, "delta"),
        (3, 1.0, "delta"),
        (3, jnp.nan, "delta"),
    ]:
        values = [0.05, 12.0, 5000.0, 0.05]
        values[index] = bad
        with pytest.raises(ValueError, match=word):
            row(*values)
        assert np.isnan(jax.jit(row)(*values)), (name, index, bad)
    if name not in ("sub_gaussian", "chi_square"):
        with pytest.raises(ValueError, match="risk=-0.1"):
            row(-0.1, 12.0, 5000, 0.05)
    if name not in ("sub_gaussian", "chi_square", "second_moment"):
        with pytest.raises(ValueError, match=r"risk=1.5 must lie in \[0, 1\]"):
            row(1.5, 12.0, 5000, 0.05)
    if name != "single_draw":
        with pytest.raises(ValueError, match="kl=-1"):
            row(0.05, -1.0, 5000, 0.05)


def test_own_parameters_are_checked():
    with pytest.raises(ValueError, match="lam=2"):
        bounds.thiemann(*INPUTS, lam=2.0)
    with pytest.raises(ValueError, match="catoni_lambda=0"):
        bounds.catoni_phi(*INPUTS, catoni_lambda=0.0)
    with pytest.raises(ValueError, match="c1=1"):
        bounds.emp_bernstein(*INPUTS, variance=0.1, c1=1.0)
    with pytest.raises(ValueError, match="variance=0.7"):
        bounds.emp_bernstein(*INPUTS, variance=0.7)
    with pytest.raises(ValueError, match="maurer_pinsker"):
        bounds.harel_simplified(0.05, 1.0, 7, 0.05)
    assert bounds.catoni_linear(3.0, 1.0, 100, 0.05, catoni_lambda=10.0, scale=4.0) > 3.0
    assert np.isnan(jax.jit(lambda x: bounds.thiemann(*INPUTS, lam=x))(2.5))


@pytest.mark.parametrize("name", ROWS)
def test_infinite_kl_and_edges_are_never_nan(name):
    row = ROWS[name]
    vacuous = float(row(0.05, jnp.inf, 5000, 0.05))
    assert vacuous >= 1.0, vacuous
    grid = jnp.meshgrid(
        jnp.asarray([0.0, 1.0]), jnp.asarray([0.0, 1e-300, 1e300]), jnp.asarray([8.0, 1e12])
    )
    risk, kl, n = (x.ravel() for x in grid)
    assert not np.isnan(row(risk, kl, n, 1e-300)).any()
    slopes = jax.jit(jax.vmap(jax.grad(lambda r, k, n: row(r, k, n, 0.05), (0, 1))))(risk, kl, n)
    assert not np.isnan(slopes).any(), slopes
    # the kl inverse has an infinite slope in the risk at risk = 0, and there alone
    steep = (risk == 0) & (name in ("seeger", "single_draw", "majority_vote"))
    assert (np.isfinite(slopes[0]) | steep).all() and np.isfinite(slopes[1]).all(), slopes


@pytest.mark.parametrize("name", ROWS)
def test_rows_batch_trace_and_differentiate(name):
    row = ROWS[name]
    risk = jnp.asarray([0.02, 0.3])
    batch = jax.jit(jax.vmap(lambda r: row(r, 20.0, 5000.0, 0.05)))(risk)
    np.testing.assert_allclose(batch, row(risk, 20.0, 5000.0, 0.05), rtol=1e-13)
    f = lambda x: row(x[0], x[1], x[2], x[3])
    x = jnp.asarray([0.1, 20.0, 5000.0, 0.05])
    slope = jax.grad(f)(x)
    for i in range(4):
        h = 1e-6 * float(x[i])
        difference = (f(x.at[i].add(h)) - f(x.at[i].add(-h))) / (2 * h)
        np.testing.assert_allclose(slope[i], difference, rtol=1e-5, atol=1e-12)
    assert slope[1] > 0 and slope[3] < 0


def test_find_row():
    assert bounds.find_row("seeger_kl_inverse") is bounds.seeger
    assert bounds.find_row("lambda") is bounds.thiemann
    assert bounds.find_row(bounds.quadratic) is bounds.quadratic
    with pytest.raises(ValueError, match="mcallester_he.*quadratic.*catoni_phi"):
        bounds.find_row("pinsker")
    with pytest.raises(ValueError, match="functools.partial"):
        bounds.find_row("catoni_phi")
    with pytest.raises(ValueError, match="directly"):
        bounds.find_row("single_draw")


@pytest.mark.parametrize("name, misses", [("seeger", 0.05), ("emp_bernstein", 0.05)])
def test_coverage_of_a_fixed_hypothesis(name, misses, key):
    # KL = 0: one hypothesis, fixed in advance. The bound must hold in 95 % of samples; with
    # 4,000 samples five standard errors above 0.05 is 0.067.
    n, truth, samples = 200, 0.1, 4000
    losses = jax.random.bernoulli(key, truth, (samples, n)).astype(float)
    risk = losses.mean(axis=1)
    if name == "seeger":
        bound = bounds.seeger(risk, 0.0, n, 0.05)
    else:
        bound = bounds.emp_bernstein(risk, 0.0, n, 0.05, variance=losses.var(axis=1, ddof=1))
    assert float((bound < truth).mean()) <= misses + 5 * np.sqrt(0.05 * 0.95 / samples)
