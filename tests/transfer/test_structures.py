"""Structured posteriors and priors: their algebra against dense formulas, and what they certify."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxou.transfer import certify, test_set_bound
from jaxou.transfer.accounts import upper_risk
from jaxou.transfer.optimised import descend
from jaxou.transfer.posterior import Posterior
from jaxou.transfer.priors import structured_shape
from jaxou.transfer.roots import DenseRoot, DiagonalRoot, LowRankRoot

D, K = 6, 2


def wrong(model, x, y):
    return ((model @ x > 0) != (y > 0)).astype(float)


def logistic(model, example):
    x, y = example
    return jax.nn.softplus(-y * (model @ x))


def sample(n, seed, size=D):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, size))
    flip = np.where(rng.uniform(size=n) < 0.1, -1.0, 1.0)
    return x, np.sign(x[:, 0] + 0.3 * x[:, 1]) * flip


def roots():
    rng = np.random.default_rng(3)
    matrix = np.eye(D) + 0.3 * rng.normal(size=(D, D))
    basis = np.linalg.qr(rng.normal(size=(D, K)))[0]
    return {
        "dense": DenseRoot(jnp.asarray(matrix), jnp.asarray(np.linalg.inv(matrix))),
        "diagonal": DiagonalRoot(jnp.asarray(rng.uniform(0.5, 2.0, D))),
        "low rank": LowRankRoot(jnp.asarray(1.3), jnp.asarray(basis), jnp.array([-0.6, 0.4])),
    }


def law(root, factor=True):
    rng = np.random.default_rng(4)
    low = jnp.asarray(0.4 * rng.normal(size=(D, K))) if factor else None
    variances = jnp.asarray(rng.uniform(0.2, 1.5, D))
    return Posterior(jnp.asarray(rng.normal(size=D)), root, variances, jnp.ones(D), low)


def gaussians(q, scale):
    """Both laws as dense scipy distributions."""
    prior = scale * np.asarray(q.basis.dense() @ q.basis.dense().T)
    covariance = np.asarray(q.root @ q.root.T)
    return (
        stats.multivariate_normal(np.asarray(q.mean), covariance),
        stats.multivariate_normal(np.asarray(q.center), prior),
    )


@pytest.mark.parametrize("name", ["dense", "diagonal", "low rank"])
def test_root_and_its_inverse(name):
    root = roots()[name]
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(4, D)))
    np.testing.assert_allclose(root.apply(rows), rows @ root.dense().T, atol=1e-13)
    np.testing.assert_allclose(root.solve(root.apply(rows)), rows, atol=1e-12)


@pytest.mark.parametrize("name", ["dense", "diagonal", "low rank"])
@pytest.mark.parametrize("factor", [False, True])
def test_kl_and_log_ratio_are_those_of_the_dense_laws(name, factor):
    q, scale = law(roots()[name], factor), 0.7
    posterior, prior = gaussians(q, scale)
    shift = np.asarray(q.mean - q.center)
    precision = np.linalg.inv(prior.cov)
    dense = np.trace(precision @ posterior.cov) - D + shift @ precision @ shift
    dense += np.linalg.slogdet(prior.cov)[1] - np.linalg.slogdet(posterior.cov)[1]
    assert float(q.kl(scale)) == pytest.approx(0.5 * dense, rel=1e-10)
    noise = jax.random.normal(jax.random.key(1), (5, q.width))
    for xi, x in zip(noise, q.draw(noise), strict=True):
        ratio = posterior.logpdf(np.asarray(x)) - prior.logpdf(np.asarray(x))
        assert float(q.log_ratio(xi, scale)) == pytest.approx(ratio, rel=1e-9)


def test_low_rank_prior_is_the_inverse_of_the_damped_source_curvature():
    """Here all d pairs are kept, so that the shape is (A + ridge I)^-1 exactly."""
    x, y = sample(80, 5)
    how = dict(structure="low_rank", ridge=0.05, rank=D)
    shape = structured_shape(jnp.zeros(D), logistic, (x, y), jnp.zeros(D), **how)
    inverse = np.linalg.inv(0.25 * x.T @ x / 80 + 0.05 * np.eye(D))
    found = np.asarray(shape.root.dense() @ shape.root.dense().T)
    np.testing.assert_allclose(found, D * inverse / np.trace(inverse), rtol=1e-6, atol=1e-9)


def test_descent_reaches_the_best_gaussian():
    """With a loss of zero the best posterior is the prior: KL goes to 0, mean and variances too."""
    start = law(roots()["diagonal"], factor=False)
    flat = lambda model, example: 1e-9 * jnp.sum(model) * example
    how = dict(model=jnp.zeros(D), loss=flat, data=jnp.zeros(20), constant=3.0)
    found, scale = descend(
        start, 0.7, key=jax.random.key(0), steps=600, free_scale=False, rate=0.1, **how
    )
    assert scale == 0.7 and float(start.kl(0.7)) > 3.0 and float(found.kl(0.7)) < 1e-3


@pytest.fixture(scope="module")
def settings():
    return dict(
        prior_center=jnp.array([1.0] + [0.0] * (D - 1)),
        posterior_center=jnp.array([2.0, 0.5] + [0.0] * (D - 2)),
        target_data=sample(100, 1),
        source_data=sample(200, 2),
        loss=logistic,
        draws=2000,
        key=jax.random.key(5),
    )


@pytest.mark.slow
def test_descending_the_bound_lowers_it(settings):
    plain = certify(jnp.zeros(D), wrong, **settings)
    lower = certify(jnp.zeros(D), wrong, optimise=200, **settings)
    assert lower.bound < plain.bound - 0.005
    assert lower.optimised == 200 and lower.prior_variance == lower.scales.variance(
        lower.prior_scale_index
    )


@pytest.mark.parametrize("structure", ["diagonal", "low_rank"])
def test_structures_certify(structure, settings):
    cert = certify(
        jnp.zeros(D), wrong, structure=structure, rank=3, optimise=200, rate=0.1, **settings
    )
    assert cert.risk_mc < cert.risk_upper < cert.bound < 0.5 and cert.structure == structure
    posterior, prior = gaussians(cert.law, cert.prior_variance)
    noise = jax.random.normal(jax.random.key(2), (4000, cert.law.width))
    x = np.asarray(cert.law.draw(noise))
    ratio = posterior.logpdf(x) - prior.logpdf(x)
    assert abs(ratio.mean() - cert.kl) < 4 * ratio.std() / np.sqrt(len(ratio))


def test_diagonal_covariance_is_used_as_given(settings):
    how = dict(structure="diagonal", posterior_covariance=np.full(D, 0.3))
    cert = certify(jnp.zeros(D), wrong, **how, **settings)
    np.testing.assert_allclose(cert.posterior.covariance, 0.3 * np.eye(D), atol=1e-12)
    np.testing.assert_allclose(cert.posterior_mean, settings["posterior_center"], atol=1e-12)


@pytest.mark.slow
def test_split_prior_sees_its_part_and_the_bound_the_rest(settings):
    x, y = settings["target_data"]
    flipped = np.where(np.arange(100) < 40, y, -y)
    certs = [
        certify(
            jnp.zeros(D),
            wrong,
            prior="split",
            split=0.4,
            **{**settings, "target_data": (x, labels)},
        )
        for labels in (y, flipped)
    ]
    assert [c.n for c in certs] == [60, 60] and certs[0].n_prior == 40
    # other labels in the bound's part leave the prior where it is
    np.testing.assert_array_equal(certs[0].prior_mean, certs[1].prior_mean)
    shapes = [c.prior_law.covariance / c.prior_variance for c in certs]
    np.testing.assert_allclose(*shapes, rtol=1e-10, atol=1e-12)
    assert certs[1].bound > 0.5  # what the prior learnt is wrong there


def test_bernstein_is_the_formula_and_covers():
    delta, m = 0.1, 200
    rng = np.random.default_rng(0)
    losses = rng.beta(2, 30, size=(2000, m))  # draws that hardly differ
    log = np.log(2 / delta)
    uppers = np.array([upper_risk(v.mean(), v.var(ddof=1), m, delta, "bernstein") for v in losses])
    by_hand = (
        losses[0].mean() + np.sqrt(2 * losses[0].var(ddof=1) * log / m) + 7 * log / 3 / (m - 1)
    )
    assert uppers[0] == pytest.approx(by_hand, rel=1e-9)
    misses = int(np.sum(uppers < 2 / 32))
    assert misses <= stats.binom.ppf(1 - 1e-6, 2000, delta)
    # the wrong twin forgets the square root of m and misses far more often
    twin = losses.mean(axis=1) + 0.02 * losses.std(axis=1, ddof=1)
    assert np.sum(twin < 2 / 32) > stats.binom.ppf(1 - 1e-6, 2000, delta)


@pytest.mark.parametrize(("errors", "n"), [(0, 10), (3, 50), (17, 600), (50, 50), (300, 1200)])
def test_test_set_bound_is_the_binomial_tail_inverse(errors, n):
    found = test_set_bound(errors, n, 0.05)
    exact = 1.0 if errors == n else stats.beta.ppf(0.95, errors + 1, n - errors)
    assert found >= exact * (1 - 1e-13) and found == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"structure": "banded"}, "structure='banded'"),
        ({"monte_carlo": "hoeffding"}, "monte_carlo='hoeffding'"),
        ({"structure": "diagonal", "optimise": 0}, "optimise=0 must be"),
        ({"posterior_covariance": 0.1, "optimise": 10}, "give one"),
        ({"structure": "low_rank", "posterior_covariance": 0.1}, "structure='full' or 'diagonal'"),
        ({"structure": "low_rank", "prior_covariance": 0.1}, "needs structure='full'"),
        ({"structure": "diagonal", "prior": "split"}, "needs structure='full'"),
        ({"prior": "split", "split": 0.01}, "at least 8 on both sides"),
        (
            {"structure": "diagonal", "posterior_covariance": np.eye(D) + 0.1},
            "must be diagonal with",
        ),
    ],
)
def test_refuses(change, message, settings):
    with pytest.raises(ValueError, match=message):
        certify(jnp.zeros(D), wrong, **{**settings, **change})
