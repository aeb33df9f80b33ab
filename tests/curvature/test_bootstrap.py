"""Bootstrap of A and C where their sampling law is known, and against weights by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxou as ou
from jaxou import curvature
from jaxou.curvature.bootstrap import weights

SIGMA = np.array([[1.0, 0.4], [0.4, 2.0]])
TRUE = np.array([0.5, -1.0])
STD = 0.7
KEY = jax.random.key(7)
HYPER = dict(learning_rate=0.1, batch_size=5, steps=100)


def loss(model, example):
    """Linear regression with Gaussian noise: H = x x', g = -(y - x'theta) x."""
    x, y = example
    return 0.5 * (x @ model - y) ** 2


def sample(seed, n):
    rng = np.random.default_rng(seed)
    x = rng.multivariate_normal(np.zeros(2), SIGMA, n)
    return jnp.asarray(x), jnp.asarray(x @ TRUE + STD * rng.normal(size=n))


def energy(stage):
    return {"kl": stage.gibbs().kl(ou.Gaussian(jnp.zeros(2), 0.1 * jnp.eye(2)))}


@pytest.mark.slow
def test_replicates_are_the_weighted_data_sets():
    data = sample(0, 40)
    x, y = map(np.asarray, data)
    found = curvature.bootstrap(
        jnp.asarray(TRUE), loss, data, energy, key=KEY, replicates=7, minimum="newton",
        weight_decay=0.3, chunk=16, **HYPER,
    )  # fmt: skip
    assert found.replicates["kl"].shape == (7,) and int(found.failed) == int(found.negative) == 0
    rows = (x @ TRUE - y)[:, None] * x
    kept, evaluate = [], eqx.filter_jit(energy)
    for i in range(7):
        w = np.asarray(weights(KEY, i, 40)).astype(int)
        assert w.sum() == 40
        A = (x * w[:, None]).T @ x / 40
        C = np.cov(rows.T, fweights=w)
        shift = np.linalg.solve(A + 0.3 * np.eye(2), w @ rows / 40 - rows.mean(0))
        stage = ou.Stage(hessian=A, noise=C, minimum=TRUE - shift, anchor=TRUE - shift,
                         weight_decay=0.3, **HYPER)  # fmt: skip
        np.testing.assert_allclose(found.replicates["kl"][i], evaluate(stage)["kl"], rtol=1e-9)
        kept.append((A, C, TRUE - shift))
    A, C, point = (np.stack(part) for part in zip(*kept, strict=True))
    errors = found.standard_errors
    np.testing.assert_allclose(errors.hessian, A.std(0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(errors.noise, C.std(0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(errors.minimum, point.std(0, ddof=1), rtol=1e-9)
    lowest = np.linalg.eigvalsh(C)[:, 0]
    np.testing.assert_allclose(errors.noise_spectrum[0], lowest.std(ddof=1), rtol=1e-9)
    np.testing.assert_allclose(found.bias.noise, C.mean(0) - np.cov(rows.T, bias=True), atol=1e-12)
    kl = np.asarray(found.replicates["kl"])
    np.testing.assert_allclose(found.value_error["kl"], kl.std(ddof=1), rtol=1e-9)
    low, high = found.interval(0.9)
    centre = kl.mean() - float(found.value_bias["kl"])
    expected = float(found.value["kl"]) + centre - np.quantile(kl, [0.95, 0.05])
    np.testing.assert_allclose([low["kl"], high["kl"]], expected, rtol=1e-9)


@pytest.mark.slow
def test_standard_errors_are_those_of_the_sampling_law():
    """Mean bootstrap variance over 30 data sets against the known variance: |t| < 4.1, 6 numbers.

    Var A_ij = (S_ii S_jj + S_ij^2) / n; Var C_ij = s^4 (3 (S_ii S_jj + 2 S_ij^2) - S_ij^2) / n.
    """
    n, upper = 300, np.triu_indices(2)
    one = lambda seed: (
        curvature.bootstrap(
            jnp.asarray(TRUE), loss, sample(seed, n), key=KEY, replicates=100
        ).standard_errors
    )
    errors = [one(seed) for seed in range(30)]
    cross = np.outer(np.diag(SIGMA), np.diag(SIGMA))
    known = {
        "hessian": (cross + SIGMA**2) / n,
        "noise": STD**4 * (3 * (cross + 2 * SIGMA**2) - SIGMA**2) / n,
    }
    limit = stats.t.isf(1e-3 / 12, 29)
    for name, truth in known.items():
        found = np.stack([np.asarray(getattr(e, name))[upper] ** 2 for e in errors])
        score = lambda truth, x=found: (x.mean(0) - truth) / x.std(0, ddof=1) * 30**0.5
        assert np.abs(score(truth[upper])).max() < limit, name
        # a twin that forgets one of two (or a lost factor 2) is found out
        assert np.abs(score(truth[upper] / 2)).max() > limit


def test_bias_of_unbiased_matrices_is_noise():
    """C over 1/(n - 1) has no bias; against C itself the replicates' mean would be off by C/n."""
    n, replicates = 8, 4000
    found = curvature.bootstrap(
        jnp.asarray(TRUE), loss, sample(3, n), key=KEY, replicates=replicates
    )
    z = found.bias.noise / found.standard_errors.noise * replicates**0.5
    assert np.abs(z).max() < 4.1
    naive = found.bias.noise - found.measured.noise / n
    assert np.abs(naive / found.standard_errors.noise * replicates**0.5).max() > 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ggn", "fisher"])
def test_other_kinds_average_to_their_own_matrix(kind):
    """The replicates' mean A: within its own Monte Carlo error of the matrix of the data."""
    output_loss = lambda out, example: 0.5 * (out - example[1]) ** 2
    predict = lambda model, example: model @ example[0]
    normal = lambda key, out, example: (example[0], out + jax.random.normal(key))
    found = curvature.bootstrap(
        jnp.asarray(TRUE), loss, sample(4, 50), key=KEY, replicates=100, kind=kind,
        output_loss=output_loss, predict=predict, resample=normal, samples=3, label_key=KEY,
    )  # fmt: skip
    z = found.bias.hessian / found.standard_errors.hessian * 10
    assert np.abs(z).max() < 4.1
    assert float(found.standard_errors.hessian.min()) > 0


def test_choices_are_checked():
    data = sample(0, 10)
    boot = lambda *args, **how: curvature.bootstrap(
        jnp.asarray(TRUE), loss, data, *args, **({"key": KEY} | how)
    )
    with pytest.raises(ValueError, match="needs learning_rate, batch_size, steps"):
        boot(energy)
    with pytest.raises(ValueError, match="'fixed' or 'newton'"):
        boot(minimum="moving")
    with pytest.raises(ValueError, match="replicates=1 must be a whole number of at least 2"):
        boot(replicates=1)


def test_what_it_does_not_know_is_named():
    square = lambda model, example: 0.5 * jnp.sum((model - example) ** 2)
    with pytest.raises(TypeError, match="does not know replicate, structure"):
        curvature.bootstrap(
            jnp.zeros(2), square, jnp.ones((5, 2)), key=jax.random.key(0), replicate=10,
            structure="low_rank",
        )  # fmt: skip
