"""The kl inverse against 380 digits: how far from the truth, and never on its wrong side."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxou.bounds.bernoulli import binary_kl
from jaxou.bounds.inversion import kl_inverse, kl_inverse_lower

mp = pytest.importorskip("mpmath")

EDGE_Q = [0.0, 5e-324, 1e-310, 2.3e-308, 1e-200, 1e-16, 0.05, 0.5, 1 - 2**-53, 1.0]
EDGE_C = [5e-324, 1e-310, 2.3e-308, 1e-200, 1e-30, 1e-8, 0.3, 40.0, 800.0, 1e6, 1e308]


def _inputs():
    rng = np.random.default_rng(19)
    n = 250
    q = [
        rng.uniform(0, 1, n),
        10 ** rng.uniform(-300, 0, n),
        1 - 10 ** rng.uniform(-15.5, 0, n),
        10 ** rng.uniform(-6, 0, n),
    ]
    c = [
        10 ** rng.uniform(-8, 1, n),
        10 ** rng.uniform(-305, 3, n),
        10 ** rng.uniform(-40, 3, n),
        10 ** rng.uniform(-6, 1, n),
    ]
    edge_q, edge_c = (x.ravel() for x in np.meshgrid(EDGE_Q, EDGE_C))
    return np.concatenate([*q, edge_q]), np.concatenate([*c, edge_c])


def _kl(q, p):
    first = q * mp.log(q / p) if q > 0 else mp.mpf(0)
    second = (1 - q) * mp.log((1 - q) / (1 - p)) if q < 1 else mp.mpf(0)
    return first + second


@pytest.mark.parametrize("inverse, up", [(kl_inverse, True), (kl_inverse_lower, False)])
def test_outward_and_tight(inverse, up):
    q, c = _inputs()
    p = np.asarray(jax.jit(inverse)(q, c))
    with mp.workdps(380):
        for qi, ci, pi in zip(q, c, p, strict=True):
            exact_q, exact_c, exact_p = mp.mpf(float(qi)), mp.mpf(float(ci)), mp.mpf(float(pi))
            where = f"q={qi!r}, c={ci!r}, p={pi!r}"
            assert exact_p >= exact_q if up else exact_p <= exact_q, where
            end = exact_p == (1 if up else 0)
            assert end or _kl(exact_q, exact_p) >= exact_c, f"wrong side: {where}"
            # tight: a slightly smaller excursion must lie inside the budget; 1e-307 is as small
            # as normal numbers go
            slack = mp.mpf(10) ** -13 * max(1, exact_c / max(exact_q, mp.mpf(10) ** -290))
            inner = exact_p * (1 - slack) - mp.mpf(10) ** -306 if up else exact_p * (1 + slack)
            inner = inner if up else inner + mp.mpf(10) ** -306
            beyond = inner <= exact_q if up else inner >= min(exact_q, mp.mpf(1))
            assert beyond or _kl(exact_q, inner) <= exact_c, f"loose: {where}"


def test_closed_forms_at_the_edges():
    c = jnp.asarray([0.0, 1e-12, 0.3, 50.0, jnp.inf])
    np.testing.assert_allclose(kl_inverse(0.0, c), -np.expm1(-c), rtol=2e-15)
    np.testing.assert_array_equal(kl_inverse(1.0, c), 1.0)
    np.testing.assert_array_equal(kl_inverse_lower(0.0, c), 0.0)
    np.testing.assert_allclose(kl_inverse_lower(1.0, c), np.exp(-c), rtol=5e-14)
    q = jnp.linspace(0.0, 1.0, 11)
    np.testing.assert_array_equal(kl_inverse(q, 0.0), q)
    np.testing.assert_array_equal(kl_inverse_lower(q, 0.0), q)
    np.testing.assert_array_equal(kl_inverse(q, jnp.inf), 1.0)


@pytest.mark.parametrize(
    "q, c", [(-1e-9, 1.0), (1.1, 1.0), (0.5, -1e-9), (jnp.nan, 1.0), (0.5, jnp.nan)]
)
@pytest.mark.parametrize("inverse", [kl_inverse, kl_inverse_lower])
def test_outside_the_domain_is_nan(inverse, q, c):
    assert np.isnan(inverse(q, c))
    assert np.isnan(jax.jit(inverse)(q, c))


@pytest.mark.parametrize("inverse", [kl_inverse, kl_inverse_lower])
def test_derivatives_against_mpmath(inverse):
    for q, c in [(0.05, 0.0248), (0.3, 1e-6), (1e-3, 0.01), (0.9, 0.4)]:
        start = float(inverse(q, c))

        def exact(a, b, start=start):
            p = mp.mpf(start)
            for _ in range(3):  # Newton, from 16 digits to more than the 60 in use
                p -= (_kl(a, p) - b) * p * (1 - p) / (p - a)
            return p

        with mp.workdps(60):
            a, b, h = mp.mpf(q), mp.mpf(c), mp.mpf(10) ** -18
            here, ahead, behind = exact(a, b), exact(a, b + h), exact(a, b - h)
            along_q = float((exact(a + h, b) - exact(a - h, b)) / (2 * h))
            along_c = float((ahead - behind) / (2 * h))
            second = float((ahead - 2 * here + behind) / h**2)
        np.testing.assert_allclose(jax.grad(inverse, (0, 1))(q, c), (along_q, along_c), rtol=1e-10)
        np.testing.assert_allclose(jax.grad(jax.grad(inverse, 1), 1)(q, c), second, rtol=1e-8)


def test_second_derivatives_are_symmetric_and_batch():
    q = jnp.asarray([0.02, 0.2, 0.7])
    hessian = jax.jit(jax.vmap(jax.hessian(lambda z: kl_inverse(z[0], z[1]))))(
        jnp.stack([q, jnp.asarray([0.01, 1e-4, 0.5])], axis=-1)
    )
    np.testing.assert_allclose(hessian[:, 0, 1], hessian[:, 1, 0], rtol=1e-9)


@pytest.mark.parametrize("inverse", [kl_inverse, kl_inverse_lower])
def test_gradients_stay_finite_on_the_edges(inverse):
    q, c = jnp.meshgrid(jnp.asarray(EDGE_Q), jnp.asarray([0.0, *EDGE_C, jnp.inf]))
    for slope in jax.vmap(jax.grad(inverse, (0, 1)))(q.ravel(), c.ravel()):
        assert np.isfinite(slope).all()


def test_broadcasts_and_vmaps():
    q, c = jnp.asarray([[0.1], [0.2]]), jnp.asarray([0.01, 0.1, 1.0])
    table = kl_inverse(q, c)
    assert table.shape == (2, 3)
    lanes = jax.vmap(lambda a: jax.vmap(lambda b: kl_inverse(a, b))(c))(q[:, 0])
    np.testing.assert_array_equal(lanes, table)


def test_binary_kl_keeps_its_digits():
    rng = np.random.default_rng(3)
    q = rng.uniform(0.001, 0.999, 300)
    p = np.clip(q * (1 + 10 ** rng.uniform(-14, 0, 300)), 0, 1)
    value = binary_kl(q, p)
    with mp.workdps(60):
        exact = [
            float(_kl(mp.mpf(float(a)), mp.mpf(float(b)))) if b < 1 else np.inf
            for a, b in zip(q, p, strict=True)
        ]
    # p - q is exact here (Sterbenz) unless p > 2q, which does not happen
    np.testing.assert_allclose(value, exact, rtol=3e-15)
    assert binary_kl(1.0, 1.0) == 0 and binary_kl(1.0, 0.0) == jnp.inf
    with pytest.raises(ValueError, match="probabilities"):
        binary_kl(0.5, 1.5)
