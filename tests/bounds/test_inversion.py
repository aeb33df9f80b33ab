"""The kl inverse against mpmath: how far from the truth, and never on its wrong side."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxou.bounds.bernoulli import binary_kl
from jaxou.bounds.inversion import kl_inverse, kl_inverse_lower
from jaxou.bounds.zero_times import zero_times

mp = pytest.importorskip("mpmath")
import kl_exact  # noqa: E402

EDGE_Q = [0.0, 5e-324, 1e-310, 2.3e-308, 1e-200, 1e-16, 0.05, 0.5, 1 - 2**-53, 1.0]
EDGE_C = [5e-324, 1e-310, 2.3e-308, 1e-200, 1e-30, 1e-8, 0.3, 40.0, 800.0, 1e6, 1e308]
NORMAL = 1e-306
"""An absolute error that is always allowed: numbers below 2.2e-308 are flushed."""


def _random(n, seed=19):
    rng = np.random.default_rng(seed)
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
    return np.concatenate(q), np.concatenate(c)


def _edges():
    q, c = (x.ravel() for x in np.meshgrid(EDGE_Q, EDGE_C))
    return q, c


def _errors_above(q, c, p):
    """Relative errors of the upper inverse; positive is outward."""
    for qi, ci, pi in zip(q, c, p, strict=True):
        exact = kl_exact.upper(float(qi), float(ci), float(pi))
        yield float(mp.fsub(float(pi), exact, exact=True) / exact)


def _errors_below(q, c, p):
    """(relative error in log p, positive is outward) of the lower inverse, where p is normal."""
    for qi, ci, pi in zip(q, c, p, strict=True):
        if pi < NORMAL:  # outward is down to 0 from here
            exact = mp.log(float(qi)) - kl_exact.lower_log(float(qi), float(ci))
            assert exact < mp.log(1.001 * NORMAL), (qi, ci, pi)
            continue
        with mp.workdps(60):
            start = mp.log(mp.mpf(float(qi)) / mp.mpf(float(pi)))
            exact = mp.log(float(qi)) - kl_exact.lower_log(float(qi), float(ci), start)
            yield float((exact - mp.log(mp.mpf(float(pi)))) / max(1, -exact))


def _check(n, seed=19):
    q, c = _random(n, seed)
    # nothing depends on c/q: the promise of 1e-13 max(1, c/q) is kept with room to spare
    above = np.array(list(_errors_above(q, c, np.asarray(kl_inverse(q, c)))))
    below = np.array(list(_errors_below(q, c, np.asarray(kl_inverse_lower(q, c)))))
    assert above.min() >= 0.0 and below.min() >= 0.0, "on the wrong side"
    assert above.max() < 1e-14 and below.max() < 1e-14, (above.max(), below.max())
    assert len(below) > 0.7 * len(q)
    # a wrong twin: rounded to the nearest, half of the values are on the wrong side
    nearest = [
        float(kl_exact.upper(float(a), float(b))) for a, b in zip(q[:40], c[:40], strict=True)
    ]
    assert min(_errors_above(q[:40], c[:40], nearest)) < 0.0


def test_outward_and_tight():
    _check(375)


@pytest.mark.slow
def test_outward_and_tight_on_a_hundred_thousand():
    _check(25_000, seed=20)


@pytest.mark.parametrize("inverse, up", [(kl_inverse, True), (kl_inverse_lower, False)])
def test_edges_are_outward_and_tight(inverse, up):
    q, c = _edges()
    p = np.asarray(jax.jit(inverse)(q, c))
    with mp.workdps(700):
        for qi, ci, pi in zip(q, c, p, strict=True):
            exact_q, exact_c, exact_p = mp.mpf(float(qi)), mp.mpf(float(ci)), mp.mpf(float(pi))
            where = f"q={qi!r}, c={ci!r}, p={pi!r}"
            assert exact_p >= exact_q if up else exact_p <= exact_q, where
            end = exact_p == (1 if up else 0)
            assert end or kl_exact.kl(exact_q, exact_p) >= exact_c, f"wrong side: {where}"
            # tight: a slightly smaller excursion must lie inside the budget
            slack = mp.mpf(10) ** -14 * (1 if up else max(1, -mp.log(max(exact_p, 1e-308))))
            inner = exact_p * (1 - slack) - NORMAL if up else exact_p * (1 + slack) + NORMAL
            beyond = inner <= exact_q if up else inner >= min(exact_q, mp.mpf(1))
            assert beyond or kl_exact.kl(exact_q, inner) <= exact_c, f"loose: {where}"


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
def test_outside_the_domain_is_refused_and_nan_under_jit(inverse, q, c):
    with pytest.raises(ValueError, match="an observed risk|a budget in nats"):
        inverse(q, c)
    assert np.isnan(jax.jit(inverse)(q, c))


def _exact_slopes(q, c, up):
    """dp/dq, dp/dc and d2p/dc2 in closed form, from the exact p."""
    with mp.workdps(400):
        a, b = mp.mpf(q), mp.mpf(c)
        p = kl_exact.upper(a, b) if up else a * mp.exp(-kl_exact.lower_log(a, b))
        x = p - a
        if p == 1:
            return 0.0, 0.0, 0.0
        along_c = p * (1 - p) / x
        along_q = along_c * mp.log(p * (1 - a) / (a * (1 - p)))
        second = along_c * ((1 - 2 * p) * x - p * (1 - p)) / x**2
        return float(along_q), float(along_c), float(second)


@pytest.mark.parametrize("inverse, up", [(kl_inverse, True), (kl_inverse_lower, False)])
def test_derivatives_against_mpmath(inverse, up):
    q, c = _random(40, seed=5)
    fixed = [(0.05, 0.0248), (0.3, 1e-6), (1e-3, 0.01), (0.9, 0.4), (0.3, 20.0), (0.5, 60.0)]
    q, c = np.concatenate([q, [a for a, _ in fixed]]), np.concatenate([c, [b for _, b in fixed]])
    keep = (c < 600) & (c > 1e-290) & (up | (np.asarray(inverse(q, c)) > 1e-300))
    q, c = q[keep], c[keep]
    exact = np.array([_exact_slopes(float(a), float(b), up) for a, b in zip(q, c, strict=True)])
    along_q, along_c = jax.vmap(jax.grad(inverse, (0, 1)))(q, c)
    np.testing.assert_allclose(along_q, exact[:, 0], rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(along_c, exact[:, 1], rtol=1e-10, atol=1e-300)
    second = jax.vmap(jax.grad(jax.grad(inverse, 1), 1))(q, c)
    plain = np.abs(exact[:, 2]) < 1e290  # beyond, the intermediate products overflow
    np.testing.assert_allclose(second[plain], exact[plain, 2], rtol=1e-9, atol=1e-290)


def test_second_derivatives_are_symmetric_and_batch():
    q = jnp.asarray([0.02, 0.2, 0.7])
    hessian = jax.jit(jax.vmap(jax.hessian(lambda z: kl_inverse(z[0], z[1]))))(
        jnp.stack([q, jnp.asarray([0.01, 1e-4, 0.5])], axis=-1)
    )
    np.testing.assert_allclose(hessian[:, 0, 1], hessian[:, 1, 0], rtol=1e-9)


INF = np.inf
EDGES = [  # q, c, dp/dq, dp/dc of the upper inverse
    (0.3, 0.0, 1.0, INF),
    (0.0, 0.0, 1.0, 1.0),
    (1.0, 0.0, 1.0, 0.0),
    (0.0, 0.3, INF, np.exp(-0.3)),
    (1.0, 0.3, 0.0, 0.0),
    (0.0, INF, 0.0, 0.0),
    (0.3, INF, 0.0, 0.0),
]


@pytest.mark.parametrize("q, c, along_q, along_c", EDGES)
def test_slopes_on_the_edges_by_definition(q, c, along_q, along_c):
    for inverse, at, sign in ((kl_inverse, q, 1.0), (kl_inverse_lower, 1.0 - q, -1.0)):
        slope = jax.grad(inverse, (0, 1))(at, c)
        np.testing.assert_allclose(slope, (along_q, sign * along_c), rtol=1e-15)
        np.testing.assert_array_equal(jax.jacfwd(inverse, (0, 1))(at, c), slope)
        # a zero tangent gives zero at an infinite slope, and what stays fixed costs nothing
        zero, one = jnp.zeros(()), jnp.ones(())
        for tangents, expected in (((one, zero), slope[0]), ((zero, one), slope[1])):
            np.testing.assert_array_equal(
                jax.jvp(inverse, (at * one, c * one), tangents)[1], expected
            )
        assert jax.jvp(inverse, (at * one, c * one), (zero, zero))[1] == 0


def test_the_infinite_slope_is_the_limit():
    for c in (1e-4, 1e-8, 1e-12):  # p - q ~ sqrt(2 q (1-q) c)
        assert jax.grad(kl_inverse, 1)(0.3, c) > 0.3 / np.sqrt(c)
    for q in (1e-10, 1e-100, 1e-300):  # dp/dq ~ exp(-c) log(1/q)
        assert jax.grad(kl_inverse)(q, 0.3) > 0.7 * -np.log(q)


def _in_slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "inverse, mode",
    [
        (kl_inverse, jax.jacrev),
        (kl_inverse_lower, jax.jacfwd),
        _in_slow(kl_inverse, jax.jacfwd),
        _in_slow(kl_inverse_lower, jax.jacrev),
    ],
)
def test_no_derivative_is_nan_up_to_the_second(inverse, mode):
    q, c = jnp.meshgrid(jnp.asarray(EDGE_Q), jnp.asarray([0.0, *EDGE_C, jnp.inf]))
    q, c = q.ravel(), c.ravel()

    def gradient(q, c):
        slopes = jax.grad(inverse, (0, 1))(q, c)
        return slopes, slopes

    tables = jax.jit(jax.vmap(mode(gradient, (0, 1), has_aux=True)))(q, c)
    for leaf in jax.tree.leaves(tables):
        assert not np.isnan(leaf).any(), (q[np.isnan(leaf)], c[np.isnan(leaf)])


def test_an_infinite_slope_behind_a_fixed_argument_is_harmless():
    for outer in (jax.grad, jax.jacfwd):
        slope = outer(lambda x: kl_inverse(0.0, jnp.exp(x)) + kl_inverse(jax.nn.sigmoid(x), 0.0))(
            0.0
        )
        np.testing.assert_allclose(slope, np.exp(-1.0) + 0.25, rtol=1e-15)


def test_zero_times_is_bilinear_and_keeps_zero():
    x, y = jnp.asarray([0.0, 2.0, 0.0, 3.0]), jnp.asarray([jnp.inf, 5.0, 7.0, 0.0])
    np.testing.assert_array_equal(zero_times(x, y), [0.0, 10.0, 0.0, 0.0])
    for mode in (jax.jacfwd, jax.jacrev):
        by_x, by_y = jax.vmap(mode(zero_times, (0, 1)))(x, y)
        np.testing.assert_array_equal(by_x, y)
        np.testing.assert_array_equal(by_y, x)
    table = jax.vmap(lambda a: jax.vmap(lambda b: zero_times(a, b), out_axes=0)(y))(x)
    np.testing.assert_array_equal(table[1], [np.inf, 10.0, 14.0, 0.0])


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
            float(kl_exact.kl(mp.mpf(float(a)), mp.mpf(float(b)))) if b < 1 else np.inf
            for a, b in zip(q, p, strict=True)
        ]
    # p - q is exact here (Sterbenz) unless p > 2q, which does not happen
    np.testing.assert_allclose(value, exact, rtol=3e-15)
    assert binary_kl(1.0, 1.0) == 0 and binary_kl(1.0, 0.0) == jnp.inf
    with pytest.raises(ValueError, match="probabilities"):
        binary_kl(0.5, 1.5)
