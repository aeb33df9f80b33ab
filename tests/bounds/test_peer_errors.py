"""Errors seen in other PAC-Bayes code, each as a test that none of them can happen here."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou import bounds
from jaxou.bounds.inversion import kl_inverse, kl_inverse_lower
from jaxou.bounds.ledger import Ledger
from jaxou.bounds.prior_scales import ScaleGrid, best_scale, scale_grid
from jaxou.bounds.rows.lambda_grid import on_lambda_grid
from jaxou.transfer.risk import draw_losses

mp = pytest.importorskip("mpmath")
import kl_exact  # noqa: E402


def _copied_bisection(q, c, tolerance=1e-5):
    """The routine that circulates: bisection, and the last midpoint is the answer."""
    low, high = q, 1.0 - 1e-12
    middle = (low + high) / 2
    while (high - low) / max(middle, 1e-300) > tolerance:
        middle = (low + high) / 2
        low, high = (middle, high) if float(bounds.binary_kl(q, middle)) < c else (low, middle)
    return middle


def test_the_inverse_is_not_a_midpoint():
    rng = np.random.default_rng(2)
    q, c = rng.uniform(0.0, 0.6, 12), rng.uniform(1e-3, 0.3, 12)
    exact = [kl_exact.upper(float(a), float(b)) for a, b in zip(q, c, strict=True)]
    ours = np.asarray(kl_inverse(q, c))
    assert all(mp.mpf(float(p)) >= e for p, e in zip(ours, exact, strict=True))
    twin = [_copied_bisection(float(a), float(b)) for a, b in zip(q, c, strict=True)]
    below = sum(p < e for p, e in zip(twin, exact, strict=True))
    assert 0 < below < len(q)  # below the true value about half of the time


def test_certain_errors_and_none_are_certain():
    """At q = 1 copies give 0 or raise, at q = 0 they raise; and they take scalars only."""
    q, c = jnp.asarray([[0.0], [0.5], [1.0]]), jnp.asarray([0.0, 0.01, 3.0])
    upper, lower = kl_inverse(q, c), kl_inverse_lower(q, c)
    np.testing.assert_array_equal(upper[2], 1.0)
    np.testing.assert_array_equal(lower[0], 0.0)
    np.testing.assert_allclose(upper[0], -np.expm1(-c), rtol=2e-15)
    assert bounds.seeger(1.0, 5.0, 100, 0.05) == 1.0
    flat = jnp.broadcast_arrays(q, c)
    slopes = jax.vmap(jax.grad(kl_inverse, (0, 1)))(flat[0].ravel(), flat[1].ravel())
    assert not any(np.isnan(s).any() for s in slopes)


@pytest.mark.parametrize("draws", [1, 3, 256, 257, 600])
def test_a_mean_over_batches_divides_by_their_number(draws):
    """A mean divided by the last batch's index is too large by B/(B-1), or a division by zero."""
    always = lambda model, z: jnp.ones(()) + 0.0 * model[0]
    table = draw_losses(
        jnp.zeros(1), always, jnp.zeros(5), jnp.zeros(1), jnp.ones((1, 1)),
        key=jax.random.key(0), draws=draws,
    )  # fmt: skip
    assert table.by_draw.shape == (draws,) and float(table.risk) == 1.0
    np.testing.assert_allclose(table.by_example, 1.0, rtol=1e-14)


def test_delta_is_not_spent_on_both_steps():
    ledger = Ledger(0.05)
    ledger.spend("bound", 0.05)
    with pytest.raises(ValueError, match="0 of delta=0.05 is left"):
        ledger.spend("Monte Carlo", 0.05)
    with pytest.raises(ValueError, match="paid already"):
        ledger.spend("bound", 0.0001)


def test_delta_is_inside_the_logarithm():
    """log(2 sqrt n)/delta gives 0.0624 and 0.1806 where the theorem has 0.0126 and 0.1700."""
    n, delta = 30_000, 0.025
    np.testing.assert_allclose(bounds.maurer_pinsker(0.0, 0.0, n, delta), 0.0126, atol=5e-5)
    np.testing.assert_allclose(bounds.maurer_pinsker(0.0, 1724.0, n, delta), 0.1700, atol=5e-5)
    for kl, published in ((0.0, 0.0624), (1724.0, 0.1806)):
        wrong = math.sqrt((kl + math.log(2 * math.sqrt(n)) / delta) / (2 * n))
        np.testing.assert_allclose(wrong, published, atol=1e-4)


def test_kl_divides_by_the_variance():
    """Dividing by 2 sigma in place of 2 sigma^2 makes KL too small by 1/sigma: 333 at 0.003."""
    sigma, shift = 0.003, 0.01
    law = lambda mean: ou.Gaussian([mean], sigma**2)
    kl = float(law(shift).kl(law(0.0)))
    np.testing.assert_allclose(kl, shift**2 / (2 * sigma**2), rtol=1e-12)
    np.testing.assert_allclose(kl / (shift**2 / (2 * sigma)), 333.3, rtol=1e-3)
    # and the law that is drawn from is the one in the KL: covariance, not deviation
    draws = law(0.0).sample(jax.random.key(1), (20_000,))
    np.testing.assert_allclose(np.std(draws), sigma, rtol=4 / math.sqrt(2 * 20_000))


@pytest.mark.parametrize("name", ["catoni_linear", "catoni_phi", "sub_gaussian", "second_moment"])
def test_lambda_cannot_be_left_to_the_data(name):
    own = {"sub_gaussian": {"variance_proxy": 0.25}, "second_moment": {"moment": 1.0}}.get(name, {})
    row = getattr(bounds, name)
    with pytest.raises(TypeError, match="catoni_lambda"):
        row(0.05, 20.0, 1000, 0.05, **own)
    with pytest.raises(ValueError, match="catoni_lambda"):
        bounds.find_row(name)
    lambdas = jnp.geomspace(1.0, 1000.0, 200)
    peeked = jnp.min(row(0.05, 20.0, 1000, 0.05, catoni_lambda=lambdas, **own))
    paid = on_lambda_grid(0.05, 20.0, 1000, 0.05, row=row, lambdas=lambdas, **own)
    pays = jnp.min(row(0.05, 20.0, 1000, 0.05 / 200, catoni_lambda=lambdas, **own))
    assert paid > peeked
    np.testing.assert_allclose(paid, pays, rtol=1e-13)


def test_the_discretised_prior_has_no_negative_index():
    """A best scale above the grid's largest: copies have a negative index there, and NaN."""
    wide = ou.Gaussian([30.0, 40.0], 1.0)
    grid = scale_grid(1.0, 10.0)
    chosen = best_scale(wide, n=1000, delta=0.05, grid=grid)
    continuous = grid.resolution * math.log(grid.largest / chosen.continuous)
    assert continuous < 0 and chosen.index == 1 and np.isfinite(chosen.value)
    for index in (-1, 0, int(continuous)):
        with pytest.raises(ValueError, match="must be an integer: j = 1"):
            grid.variance(index)
    # the union is paid once: log(1/weight) and nothing more
    direct = bounds.mcallester_he(0.0, chosen.kl, 1000, 0.05 * ScaleGrid().weight(1))
    np.testing.assert_allclose(chosen.value, direct, rtol=1e-13)


def test_a_best_scale_that_is_not_on_the_grid_is_not_reported(p07):
    law = p07.pretrain.gibbs()
    chosen = best_scale(law, n=50_000, delta=0.025)
    assert chosen.variance == ScaleGrid().variance(chosen.index) != chosen.continuous
    here = law.kl(ou.Gaussian(jnp.zeros(2), chosen.variance))
    np.testing.assert_allclose(chosen.kl, here, rtol=1e-10)


def test_no_certificate_in_single_precision(p07):
    settings = dict(n_source=50_000, n_target=1000, risk=0.1, delta=0.05, mode="certificate")
    assert bounds.two_stage_bound(p07, **settings).mode == "certificate"
    with jax.enable_x64(False):
        for throw in (True, False):
            with pytest.raises(RuntimeError, match="in float64 only.*jax_enable_x64"):
                bounds.two_stage_bound(p07, throw=throw, **settings)
