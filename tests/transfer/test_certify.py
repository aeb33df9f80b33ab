"""The certificate: its arithmetic, its ledger, its refusals, and its truth where that is known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from half_planes import D, logistic, sample, wrong

from jaxou.bounds import kl_inverse
from jaxou.transfer import ScaleGrid, certify, compare_priors
from jaxou.transfer.certify import MONTE_CARLO_SHARE
from jaxou.transfer.posterior import posterior_family
from jaxou.transfer.priors import prior_shape
from jaxou.transfer.risk import draw_losses


@pytest.fixture(scope="module")
def settings():
    return dict(
        prior_center=jnp.array([1.0, 0.0, 0.0]),
        posterior_center=jnp.array([2.0, 0.5, 0.1]),
        target_data=sample(100, 1),
        source_data=sample(200, 2),
        loss=logistic,
        draws=2000,
    )


@pytest.fixture(scope="module")
def cert(settings):
    return certify(jnp.zeros(D), wrong, key=jax.random.key(5), **settings)


def test_number_is_the_theorem(cert):
    """Recomputed from the record by plain formulas."""
    j, n, delta = cert.prior_scale_index, cert.n, cert.delta
    assert cert.prior_variance == ScaleGrid().variance(j)
    assert cert.prior_weight == pytest.approx(6 / (math.pi * j) ** 2)
    cost = cert.kl + math.log(2 * math.sqrt(n) / ((1 - MONTE_CARLO_SHARE) * delta))
    cost = (cost + math.log(1 / cert.prior_weight)) / n
    assert cert.complexity >= cost and cert.complexity == pytest.approx(cost, rel=1e-8)
    step = math.log(2 / (MONTE_CARLO_SHARE * delta)) / cert.draws
    assert cert.risk_upper == pytest.approx(float(kl_inverse(cert.risk_mc, step)))
    assert cert.bound == pytest.approx(float(kl_inverse(cert.risk_upper, cert.complexity)))
    assert cert.risk_mc < cert.risk_upper < cert.bound < 0.5
    assert not cert.vacuous and "KL" in str(cert)


def test_ledger_spends_at_most_delta(cert):
    assert sum(row.spent for row in cert.ledger) <= cert.delta
    assert all(row.spent > 0 for row in cert.ledger)
    assert sum(ScaleGrid().weight(j) for j in range(1, 5000)) <= 1.0
    assert cert.as_dict()["ledger"][0]["spent"] == pytest.approx(0.04)


def test_kl_is_that_of_the_two_laws(cert):
    """The diagonalised KL against the dense formula."""
    Q, P = cert.posterior, cert.prior_law
    precision = np.linalg.inv(P.covariance)
    shift = np.asarray(Q.mean - P.mean)
    dense = np.trace(precision @ Q.covariance) - D + shift @ precision @ shift
    dense += np.linalg.slogdet(P.covariance)[1] - np.linalg.slogdet(Q.covariance)[1]
    assert cert.kl == pytest.approx(0.5 * dense, rel=1e-9)


def test_posterior_is_the_best_for_the_quadratic_loss(key):
    """Covariance (t A + P)^-1 and mean covariance (t A theta* + P m0), in closed form."""
    root = jax.random.normal(key, (D, D))
    A, S = root @ root.T, jnp.diag(jnp.array([1.0, 2.0, 3.0]))
    m0, center = jnp.zeros(D), jnp.array([1.0, -1.0, 0.5])
    family = posterior_family(prior_shape(m0, S, 0.0), center, A)
    law = family.at(0.7, 9.0, 1.0)
    precision = np.linalg.inv(0.7 * S / 2.0)  # the shape has mean variance 1
    covariance = np.linalg.inv(9.0 * A + precision)
    np.testing.assert_allclose(law.root @ law.root.T, covariance, atol=1e-12)
    np.testing.assert_allclose(law.mean, covariance @ (9.0 * A @ center), atol=1e-12)
    np.testing.assert_allclose(family.at(0.7, 9.0, 0.0).mean, center, atol=1e-12)


def test_draws_follow_the_law_and_no_block_is_lost(key):
    mean, root = jnp.array([1.0]), jnp.array([[2.0]])
    positive = lambda model, z: (model[0] > z).astype(float)
    table = draw_losses(jnp.zeros(1), positive, jnp.zeros(3), mean, root, key=key, draws=5001)
    assert table.by_draw.shape == (5001,)
    expected = 0.5 * (1 + math.erf(0.5 / math.sqrt(2)))
    assert abs(float(table.risk) - expected) < 4 * math.sqrt(0.25 / 5001)
    np.testing.assert_allclose(table.by_example, table.risk, atol=1e-12)


def test_given_covariance_is_used_as_it_is(settings):
    cert = certify(jnp.zeros(D), wrong, posterior_covariance=0.3, key=jax.random.key(0), **settings)
    np.testing.assert_allclose(cert.posterior.covariance, 0.3 * np.eye(D), atol=1e-12)
    np.testing.assert_allclose(cert.posterior_mean, settings["posterior_center"], atol=1e-12)


def test_priors_side_by_side(settings):
    certs = compare_priors(
        jnp.zeros(D), wrong, key=jax.random.key(5), delta=0.06, simultaneous=True, **settings
    )
    assert [c.delta for c in certs.values()] == [0.02] * 3
    np.testing.assert_array_equal(certs["zero"].prior_mean, np.zeros(D))
    spread = certs["isotropic"].prior_law.covariance
    np.testing.assert_allclose(spread, spread[0, 0] * np.eye(D), atol=1e-14)
    shape = certs["source"].prior_law.covariance
    assert np.abs(shape - shape[0, 0] * np.eye(D)).max() > 1e-3 * float(shape[0, 0])


def test_inflations_are_paid_for(settings):
    several = certify(jnp.zeros(D), wrong, inflation=(0.1, 1.0), key=jax.random.key(5), **settings)
    full = 6 / (math.pi * several.prior_scale_index) ** 2
    assert several.prior_weight == pytest.approx(full / 2)


def test_source_sample_and_target_shape_the_prior_one_way(settings, cert):
    """New target labels move the posterior and leave every candidate prior where it was."""
    x, y = settings["target_data"]
    other = certify(
        jnp.zeros(D), wrong, key=jax.random.key(5), **{**settings, "target_data": (x, -y)}
    )
    normal = lambda c: c.prior_law.covariance / c.prior_variance
    np.testing.assert_array_equal(other.prior_mean, cert.prior_mean)
    np.testing.assert_allclose(normal(other), normal(cert), rtol=1e-12)


@pytest.mark.slow
def test_truth_on_pure_noise_and_its_leaking_twin():
    """Labels are coins, so every predictor has risk 1/2 and every valid bound is above it.

    d = n = 60: the target optimum fits its own sample. A prior fixed in advance knows; the wrong
    twin, a prior that was centred by looking at the target sample, certifies the impossible.
    """
    n = size = 60
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(n, size)), np.sign(rng.normal(size=n))
    fitted = jnp.asarray(np.linalg.solve(x, y))
    settings = dict(
        posterior_center=fitted, target_data=(x, y), loss=logistic, draws=2000,
        posterior_covariance=1e-4, scales=ScaleGrid(largest=1e-4, count=5), key=jax.random.key(1),
    )  # fmt: skip
    honest = certify(jnp.zeros(size), wrong, prior_center=jnp.zeros(size), **settings)
    leaking = certify(jnp.zeros(size), wrong, prior_center=fitted, **settings)
    assert honest.risk_mc < 0.2 and honest.bound >= 0.5
    assert leaking.bound < 0.5


def test_refuses_float32(settings):
    with jax.enable_x64(False):
        with pytest.raises(RuntimeError, match=r'jax.config.update\("jax_enable_x64", True\)'):
            certify(jnp.zeros(D), wrong, key=jax.random.key(0), **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delta": 1.0}, r"delta=1.0 must lie in \(0, 1\)"),
        ({"prior": "target"}, "prior='target'"),
        ({"draws": 0}, "draws=0"),
        ({"delta": np.nan}, "delta holds nan"),
        ({"shape": "flat"}, "shape='flat' must be 'steady' or 'laplace'"),
        ({"inflation": ()}, "inflation=.* one or more numbers"),
        ({"inflation": -1.0}, "inflation=-1.0 must be .* zero or more"),
        ({"ridge": 0.0}, "ridge=0.0 must be .* positive"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0 must not be negative"),
        ({"rank": 0}, "rank=0 must be a whole number"),
        ({"rate": 0.0}, "rate=0.0 must be positive"),
        ({"chunk": 0}, "chunk=0 must be a whole number"),
        ({"posterior_center": np.array([1.0, np.nan, 0.0])}, "posterior_center holds nan"),
        ({"prior_center": np.zeros(2)}, "prior_center has shape"),
        ({"source_data": sample(100, 1)}, "100 target examples occur in source_data"),
        ({"posterior_covariance": np.diag([1.0, 1.0, 0.0])}, "posterior_covariance is singular"),
        ({"prior_covariance": np.diag([1.0, 1.0, 0.0]), "inflation": 0.0}, "inflation > 0"),
    ],
)
def test_refuses(change, message, settings):
    with pytest.raises(ValueError, match=message):
        certify(jnp.zeros(D), wrong, key=jax.random.key(0), **{**settings, **change})


def test_refuses_an_unbounded_loss(settings):
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        certify(
            jnp.zeros(D),
            lambda model, x, y: logistic(model, (x, y)),
            key=jax.random.key(0),
            **settings,
        )


def test_refuses_a_loss_that_is_unbounded_away_from_the_centre(settings):
    """Right at the fine-tuned model, wrong at models that are drawn."""
    far = lambda model, x, y: wrong(model, x, y) * jnp.where(model[0] > 3.0, 10.0, 1.0)
    with pytest.raises(ValueError, match=r"values outside \[0, 1\] for models drawn"):
        certify(jnp.zeros(D), far, posterior_covariance=1.0, key=jax.random.key(0), **settings)


def test_a_singular_source_without_decay_has_no_steady_shape(settings):
    x, y = settings["source_data"]
    flat = {**settings, "source_data": (x * np.array([1.0, 1.0, 0.0]), y), "weight_decay": 0.0}
    with pytest.raises(ValueError, match="give weight_decay > 0, or shape='laplace'"):
        certify(jnp.zeros(D), wrong, key=jax.random.key(0), **flat)


def test_scale_index_is_an_integer():
    with pytest.raises(ValueError, match="must be an integer"):
        ScaleGrid().weight(2.5)
