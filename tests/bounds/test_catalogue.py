"""The catalogue, which rows apply to which loss, and the rows that came with it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxou import bounds
from jaxou.bounds.catalogue import Applicable, applicable, catalogue
from jaxou.bounds.losses import (
    Bounded,
    BoundedVariance,
    GaussianResidual,
    SubGaussian,
    Unbounded,
    ZeroOne,
)
from jaxou.bounds.rows.lambda_grid import lambda_grid, on_lambda_grid
from jaxou.bounds.rows.unbounded import gaussian_residual

mp = pytest.importorskip("mpmath")

INPUTS = (0.05, 120.5, 5000, 0.05)
UNIT = {
    "mcallester_he", "mcallester_loose", "mcallester_2003", "maurer_pinsker", "harel_simplified",
    "seeger", "quadratic", "thiemann", "tolstikhin_seldin_simple", "catoni_phi", "emp_bernstein",
}  # fmt: skip
MOMENTS = {"catoni_linear", "sub_gaussian", "second_moment", "chi_square"}


def test_every_row_is_in_the_catalogue_and_finds_its_function():
    names = {row.name for row in catalogue()}
    known = set(bounds.row_names()) - {"seeger_kl_inverse", "lambda"}
    assert known < names and len(names) == len(catalogue())
    for row in catalogue():
        assert getattr(bounds, row.name, row.function) is row.function
        assert row.function.__name__ == row.name and row.statement and row.source and row.tightest
        assert row.name in str(catalogue()) and row.source in str(row)
    with pytest.raises(KeyError, match="did you mean 'seeger'"):
        catalogue()["seger"]
    with pytest.raises(AttributeError):
        catalogue()[0].name = "mine"


@pytest.mark.parametrize(
    "loss, rows",
    [
        (ZeroOne(), UNIT | MOMENTS),
        (Bounded(), UNIT | MOMENTS),
        (Bounded(0.5), UNIT | MOMENTS),
        (Bounded(4.0), MOMENTS),
        (Unbounded(second_moment=4.0), {"second_moment", "chi_square"}),
        (SubGaussian(variance_proxy=2.0), {"sub_gaussian", "chi_square"}),
        (BoundedVariance(variance=2.0), {"chi_square"}),
        (
            GaussianResidual(3.0),
            {"sub_gaussian", "second_moment", "gaussian_residual", "chi_square"},
        ),
    ],
)
def test_what_applies(loss, rows):
    found = applicable(loss)
    assert set(found.rows) == rows
    for answer in found:
        assert bool(answer) == (answer.reason == ""), answer
        assert answer.row.name in str(found)
        if not answer:
            assert found.why_not(answer.row.name) == answer.reason
            continue
        # what the loss's facts supply is accepted by the row as it is
        own = dict(answer.parameters)
        own |= {"catoni_lambda": 50.0} if "catoni_lambda" in answer.row.needs else {}
        own |= {"variance": 0.1} if answer.row.name == "emp_bernstein" else {}
        assert np.isfinite(answer.row.function(0.1, 1.0, 100, 0.05, **own))


def test_refusals_in_plain_words():
    assert "divide it by 4" in applicable(Bounded(4.0)).why_not("seeger")
    assert "no known upper end" in applicable(Unbounded(1.0)).why_not("catoni_linear")
    assert "may be negative" in applicable(SubGaussian(1.0)).why_not("second_moment")
    assert "n >= 8" in applicable(ZeroOne(), n=7).why_not("harel_simplified")
    assert applicable(ZeroOne(), n=8).why_not("harel_simplified") == ""
    assert set(applicable(ZeroOne(), predictor="single draw").rows) == {"single_draw"}
    assert set(applicable(ZeroOne(), predictor="majority vote").rows) == {"majority_vote"}
    assert applicable(Bounded(), predictor="majority vote").rows == ()
    assert "the mean over draws" in applicable(ZeroOne(), predictor="single draw").why_not("seeger")
    assert isinstance(applicable(ZeroOne()), Applicable)
    with pytest.raises(TypeError, match="Unbounded|losses.Loss"):
        applicable("0-1")
    with pytest.raises(ValueError, match="'single draw'"):
        applicable(ZeroOne(), predictor="mean")
    with pytest.raises(ValueError, match="second_moment=-1"):
        Unbounded(second_moment=-1.0)
    with pytest.raises(KeyError, match="catalogue"):
        applicable(ZeroOne()).why_not("pinsker")


def test_facts_of_losses():
    """What one fact implies, against quadrature in mpmath."""
    s2 = 1.7
    loss = GaussianResidual(s2)
    density = lambda x: mp.exp(-(x**2) / (2 * s2)) / mp.sqrt(2 * mp.pi * s2)
    mean = lambda f: float(mp.quad(lambda x: f(x**2 / 2) * density(x), [-mp.inf, 0, mp.inf]))
    np.testing.assert_allclose(loss.second_moment, mean(lambda v: v**2), rtol=1e-9)
    np.testing.assert_allclose(
        loss.variance, mean(lambda v: v**2) - mean(lambda v: v) ** 2, rtol=1e-9
    )
    for t in (0.1, 1.0, 5.0):
        moment = mean(lambda v, t=t: mp.exp(t * (s2 / 2 - v)))
        assert moment <= np.exp(loss.variance_proxy * t**2 / 2)
        # the exact exponent of one example, of which the row has n at t = lambda / n
        u = t * s2
        np.testing.assert_allclose(np.log(moment), (u - np.log1p(u)) / 2, rtol=1e-9)
    # Hoeffding's lemma at its worst case, a coin on {0, M}
    coin = Bounded(3.0)
    for t in (0.3, 1.0, 3.0):
        worst = (np.exp(1.5 * t) + np.exp(-1.5 * t)) / 2
        assert worst <= np.exp(coin.variance_proxy * t**2 / 2)


def test_gaussian_residual_is_between_its_limits():
    s2, lam = 3.0, jnp.geomspace(1.0, 5000.0, 20)
    exact = gaussian_residual(1.5, 20.0, 5000, 0.05, catoni_lambda=lam, residual_variance=s2)
    moment = bounds.second_moment(1.5, 20.0, 5000, 0.05, catoni_lambda=lam, moment=0.75 * s2**2)
    proxy = bounds.sub_gaussian(1.5, 20.0, 5000, 0.05, catoni_lambda=lam, variance_proxy=s2**2 / 2)
    assert (exact <= proxy * (1 + 1e-14)).all() and (proxy <= moment).all()
    with mp.workdps(40):
        for at, value in zip(lam, exact, strict=True):
            u = mp.mpf(float(at)) * 3 / 5000
            price = 5000 / (2 * mp.mpf(float(at))) * (u - mp.log(1 + u))
            true = mp.mpf("1.5") + price + (20 - mp.log(mp.mpf("0.05"))) / mp.mpf(float(at))
            np.testing.assert_allclose(value, float(true), rtol=1e-14)
    with pytest.raises(ValueError, match="residual_variance=0"):
        gaussian_residual(1.0, 1.0, 10, 0.1, catoni_lambda=1.0, residual_variance=0.0)


def _emp_bernstein(r, kl, n, delta, v, c1, c2):
    """Tolstikhin and Seldin's inequality in 50 digits, written from its statement."""
    with mp.workdps(50):
        r, kl, n, delta, v, c1, c2 = (mp.mpf(str(x)) for x in (r, kl, n, delta, v, c1, c2))
        half = mp.log(2 / delta)
        nu1 = mp.ceil(mp.log(mp.sqrt((mp.e - 2) * n / (4 * half))) / mp.log(c1))
        nu1 = max(nu1, 0) + 1
        nu2 = mp.ceil(mp.log(mp.sqrt((n - 1) / mp.log(1 / delta)) / 2 + mp.mpf(3) / 2) / mp.log(c2))
        k1, k2 = kl + mp.log(2 * nu1 / delta), kl + mp.log(2 * nu2 / delta)
        wide = v + (1 + c2) * mp.sqrt(v * k2 / (2 * (n - 1))) + 2 * c2 * k2 / (n - 1)
        if v > 0 and mp.sqrt(k1 / ((mp.e - 2) * v)) <= mp.sqrt(n):
            return float(r + (1 + c1) * mp.sqrt((mp.e - 2) * wide * k1 / n))
        return float(r + 2 * k1 / n)


def test_emp_bernstein_against_mpmath():
    rng = np.random.default_rng(4)
    branches = set()
    for _ in range(60):
        r, v = round(rng.uniform(0, 1), 3), round(rng.choice([0.0, rng.uniform(0, 0.25)]), 4)
        kl, n = round(10 ** rng.uniform(-2, 2.5), 3), int(10 ** rng.uniform(0.5, 6))
        delta, c1, c2 = round(rng.uniform(0.001, 0.9), 3), *np.round(rng.uniform(1.05, 2, 2), 3)
        value = float(bounds.emp_bernstein(r, kl, n, delta, variance=v, c1=c1, c2=c2))
        np.testing.assert_allclose(value, _emp_bernstein(r, kl, n, delta, v, c1, c2), rtol=1e-12)
        branches.add(value > r + 2 * kl / n and v > 0 and n > 10_000)
    assert branches == {True, False}


GRID_ROWS = {
    "catoni_linear": ({"scale": 2.0}, "scale", 2.0),
    "catoni_phi": ({}, None, 1.0),
    "sub_gaussian": ({"variance_proxy": 0.25}, None, 1.0),
    "second_moment": ({"moment": 4.0}, None, 2.0),
    "gaussian_residual": ({"residual_variance": 3.0}, None, 3.0),
}


@pytest.mark.parametrize("name", GRID_ROWS)
def test_the_grid_pays_log_k(name):
    row, (own, _, size) = catalogue()[name].function, GRID_ROWS[name]
    value = on_lambda_grid(*INPUTS, row=row, **own)
    lambdas = np.geomspace(1.0, 5000.0, 12) / size
    plain = [float(row(*INPUTS[:3], 0.05 / 12, catoni_lambda=lam, **own)) for lam in lambdas]
    np.testing.assert_allclose(value, min(plain), rtol=1e-13)
    free = min(float(row(*INPUTS, catoni_lambda=lam, **own)) for lam in lambdas)
    assert value > free  # the twin that does not pay is below
    given = on_lambda_grid(*INPUTS, row=row, lambdas=lambdas, **own)
    np.testing.assert_allclose(given, value, rtol=1e-13)


@pytest.mark.slow
def test_the_grid_batches_traces_and_serves_two_stages(p07):
    row = functools.partial(on_lambda_grid, row=bounds.catoni_phi)
    risk, kl = jnp.asarray([[0.02], [0.3]]), jnp.asarray([1.0, 20.0, 300.0])
    table = row(risk, kl, 5000, 0.05)
    assert table.shape == (2, 3)
    lanes = jax.jit(jax.vmap(lambda r: jax.vmap(lambda k: row(r, k, 5000.0, 0.05))(kl)))(risk[:, 0])
    np.testing.assert_allclose(lanes, table, rtol=1e-14)
    slope = jax.grad(lambda k: row(0.1, k, 5000.0, 0.05))(20.0)
    assert 0 < slope < 1e-2
    made = bounds.two_stage_bound(
        p07, n_source=50_000, n_target=1000, risk=0.1, delta=0.05, bound=row
    )
    expected = row(0.1, made.target.kl, 1000, 0.025)
    np.testing.assert_allclose(made.target.value, expected, rtol=1e-13)


def test_the_grid_refuses():
    with pytest.raises(ValueError, match="above 0"):
        on_lambda_grid(*INPUTS, row=bounds.catoni_phi, lambdas=[1.0, 0.0])
    with pytest.raises(ValueError, match="at least one lambda"):
        on_lambda_grid(*INPUTS, row=bounds.catoni_phi, lambdas=[])
    with pytest.raises(ValueError, match="count=0"):
        lambda_grid(100, 0)
    with pytest.raises(ValueError, match="scale=-1"):
        lambda_grid(100, scale=-1.0)
