"""Margins that can be claimed, and the numbers of draws they take, against simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxou.convergence import claimable, draws_needed
from jaxou.convergence.plug_in_kl import kl_of_moments

REPEATS = 4_000


def upper_limits(n, rank, shift, seed=0):
    """99 % limits of REPEATS clouds with mean `shift` (KL = |shift|^2 / 2), by Wishart's law."""
    rng = np.random.default_rng(seed)
    limit = jax.jit(lambda m, s: kl_of_moments(m, s, n).upper_limit(jnp.asarray(0.01)))
    limits = []
    for _ in range(REPEATS // 20):
        mean = rng.normal(size=rank) / n**0.5
        mean[0] += shift
        lower = np.tril(rng.normal(size=(rank, rank)), -1)
        lower += np.diag(rng.chisquare(n - 1 - np.arange(rank)) ** 0.5)
        limits.append(float(limit(jnp.asarray(mean), jnp.asarray(lower @ lower.T / n))))
    return np.array(limits)


@pytest.mark.parametrize(("n", "rank", "shift"), [(1_000, 2, 0.0), (500, 10, 0.0), (2_000, 3, 0.1)])
def test_the_claimable_margin_is_shown_four_times_in_five(n, rank, shift):
    limits = upper_limits(n, rank, shift)
    margin = claimable(n, rank, kl=shift**2 / 2)
    share = np.mean(limits <= margin)
    # 4.5 standard errors of a share of 0.8, and the approximation of the noncentral law
    assert abs(share - 0.8) < 4.5 * (0.16 / len(limits)) ** 0.5 + 0.01
    # a margin half as large would be promised too much
    assert np.mean(limits <= margin / 2) < 0.5
    # and the limit covers the truth
    assert np.mean(limits >= shift**2 / 2) > 0.97


def test_draws_needed_is_the_inverse():
    for rank, kl in ((1, 0.0), (10, 0.0), (50, 0.003)):
        n = draws_needed(0.01, rank, kl=kl)
        assert claimable(n, rank, kl=kl) <= 0.01 < claimable(int(0.99 * n), rank, kl=kl)
    assert draws_needed(0.01, 10, kl=0.02) is None
    # four times the dimension takes about sixteen times the draws per nat at small margins
    assert 3 < draws_needed(1e-3, 40) / draws_needed(1e-3, 10) < 17
    assert claimable(10, 10) == np.inf


@pytest.mark.parametrize(
    "ask, message",
    [
        (lambda: claimable(100, 0), "rank=0 must be a whole number"),
        (lambda: claimable(100, 2, alpha=99), "alpha=99 must lie in"),
        (lambda: claimable(100, 2, power=1.0), "power=1.0 must lie in"),
        (lambda: claimable(100, 2, kl=-1.0), "kl=-1.0 must be at least 0"),
        (lambda: draws_needed(float("nan"), 2), "margin=nan must be positive"),
        (lambda: draws_needed(0.0, 2), "margin=0.0 must be positive"),
    ],
)
def test_claims_that_cannot_be_are_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()
