"""What a sceptic would use: a plain model on examples that nothing else has seen."""

import math

from .._check import as_count, refuse_unless


def test_set_bound(errors: int, n: int, delta: float = 0.05) -> float:
    """The largest error rate under which `errors` or fewer of `n` still have probability delta.

    The exact binomial tail inverse (Clopper and Pearson 1934; Langford 2005): with probability at
    least 1 - delta over n fresh examples the true error rate of one fixed model is at most this.
    It holds for a model that has not seen these examples, and for one model. Rounded up; cost some
    50 sums of `errors` + 1 terms.

    >>> f"{test_set_bound(0, 100):.4f}"  # 1 - 0.05^(1/100)
    '0.0295'
    """
    n, errors = as_count(n, "n"), as_count(errors, "errors", 0)
    refuse_unless(errors <= n, f"errors={errors} must lie between 0 and n={n}")
    refuse_unless(0 < delta < 1, f"delta={delta} must lie in (0, 1)")
    if errors == n:
        return 1.0
    low, high = errors / n, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        # a few rounding errors of the sum stay on the safe side
        if _tail(errors, n, middle) * (1.0 + 1e-10) > delta:
            low = middle
        else:
            high = middle
    return high


test_set_bound.__test__ = False  # type: ignore[attr-defined]  # a bound, not a test for pytest


def _tail(errors: int, n: int, p: float) -> float:
    """P(Binomial(n, p) <= errors)."""
    log_p, log_q, whole = math.log(p), math.log1p(-p), math.lgamma(n + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_p + (n - k) * log_q)
        for k in range(errors + 1)
    )
