"""What laws and kernels say to a bad value, in words, and what they give under tracing: NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import gaussian_kl

import jaxou as ou

LAW = ou.Gaussian([0.0, 1.0], 0.25)
WELL = ou.Gibbs(lambda x: x[0] ** 2, 0.1)
KEY = jax.random.key(0)
WRONG = [
    (lambda: LAW.sample(0), TypeError, r"key=0 is not a key.*jax.random.key\(0\)"),
    (lambda: LAW.sample(None), TypeError, "key=None is not a key"),
    (lambda: LAW.sample(jax.random.split(KEY, 2)), ValueError, r"key holds keys of shape \(2,\)"),
    (lambda: WELL.sample(3), TypeError, "key=3 is not a key"),
    (lambda: ou.MaxwellBoltzmann(WELL).sample(3), TypeError, "key=3 is not a key"),
    (lambda: LAW.sample(KEY, -1), ValueError, "shape=-1 must be a whole number of at least 0"),
    (lambda: ou.Gaussian([], 1.0), ValueError, r"mean must be a vector \(d,\)"),
    (lambda: WELL.moment(0.5), ValueError, "order=0.5 must be a whole number"),
    (lambda: WELL.quantile(1.5), ValueError, r"p=1.5: quantile takes p in \[0, 1\]"),
    (lambda: ou.Gibbs(jnp.sum, 0.1, centre=[0.0, 1.0]), ValueError, r"centre has shape \(2,\)"),
    (lambda: ou.Gibbs(jnp.sum, 0.1, centre=np.nan), ValueError, "centre holds nan"),
    (lambda: ou.Gibbs(jnp.sum, 0.1, 2.5), ValueError, "dimension=2.5 must be a whole number"),
    (
        lambda: ou.MaxwellBoltzmann(WELL).log_density([0.0], [0.0, 1.0]),
        ValueError,
        r"a velocity has shape \(..., 1\), got \(2,\)",
    ),
    (lambda: ou.Diagonal([1.0, 2.0]) + 1.0, TypeError, "unsupported operand"),
    (lambda: ou.AffineGaussianKernel(0.5, [np.nan], 1.0), ValueError, "offset holds nan"),
    (lambda: ou.AffineGaussianKernel(0.5, [0.0], -1.0), ValueError, "negative variance -1"),
    (
        lambda: ou.Gaussian(np.zeros(2_500), ou.LowRankPlusDiagonal(1.0, np.eye(2_500, 1), [-2.0])),
        ValueError,
        "negative eigenvalue: in one direction its weights take 2 times",
    ),
]


@pytest.mark.parametrize(("call", "error", "sentence"), WRONG)
def test_a_wrong_value_gets_its_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_keys_and_shapes_of_every_kind_are_taken():
    raw = LAW.sample(jax.random.PRNGKey(0), (3,))
    np.testing.assert_array_equal(raw, LAW.sample(KEY, 3))
    assert LAW.sample(KEY).shape == (2,) and LAW.sample(KEY, (2, 3)).shape == (2, 3, 2)


def test_a_traced_negative_variance_poisons_every_number():
    @jax.jit
    def numbers(variance):
        law, other = ou.Gaussian([0.0], variance), ou.Gaussian([0.0], 1.0)
        return law.kl(other), other.kl(law), law.w2(other), law.entropy(), law.log_prob(law.mean)

    assert np.isfinite(numbers(0.5)).all() and np.isnan(numbers(-1.0)).all()
    quantile = jax.jit(lambda p: WELL.quantile(p))
    assert np.isnan(quantile(1.5)) and np.isfinite(quantile(0.5))


def test_low_rank_over_zeros_is_a_singular_law_like_any_other():
    factor = np.random.default_rng(0).normal(size=(4, 2))
    thin = ou.Gaussian(np.zeros(4), ou.LowRankPlusDiagonal(0.0, factor))
    wide = ou.Gaussian(np.zeros(4), ou.LowRankPlusDiagonal(0.0, factor, [2.0, 2.0]))
    dense = ou.Gaussian(np.zeros(4), factor @ factor.T)
    # the same two directions, variances in the ratio 1 to 2
    expected = gaussian_kl(np.zeros(2), np.eye(2), np.zeros(2), 2 * np.eye(2))
    np.testing.assert_allclose(thin.kl(wide), expected, rtol=1e-9)
    assert thin.kl(LAW4) == jnp.inf and thin.entropy() == -jnp.inf
    inside = jnp.asarray(factor[:, 0])
    np.testing.assert_allclose(thin.log_prob(inside), dense.log_prob(inside), rtol=1e-9)
    draws = thin.sample(KEY, 3)
    assert np.isfinite(draws).all() and np.isfinite(thin.log_prob(draws)).all()
    half = ou.Gaussian(np.zeros(4), ou.LowRankPlusDiagonal([0.0, 0.0, 0.0, 1.0], factor))
    assert np.isfinite(half.sample(KEY, 3)).all() and half.kl(LAW4) == jnp.inf


LAW4 = ou.Gaussian(np.zeros(4), 1.0)


def test_laws_are_put_into_words():
    assert str(LAW) == (
        "Gaussian law in 2 dimensions (Isotropic): mean [0. 1.], standard deviations [0.5 0.5]"
    )
    assert str(WELL).startswith("Gibbs law exp(-U / T) at T=0.1, 1 dimension: mean ")
    assert str(ou.MaxwellBoltzmann(WELL)).endswith("; velocities N(0, 0.1 I)")
    assert "diagonal of M (Isotropic) [0.5]" in str(ou.AffineGaussianKernel(0.5, [1.0], 3.0))
    bad = ou.Stage(
        hessian=1.0, noise=1.0, minimum=0.0, learning_rate=3.0, batch_size=1, steps=1
    ).stationary(throw=False)
    assert "NaN, because the learning rate is unstable" in str(bad)
    batch = jax.vmap(lambda s: ou.Gaussian([0.0], s))(jnp.ones(3))
    seen = []
    jax.jit(lambda s: seen.append(str(ou.Gaussian([0.0], s))))(1.0)
    assert all(words.startswith("Gaussian(\n") for words in (str(batch), seen[0]))
