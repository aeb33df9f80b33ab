"""The kl inverse to as many digits as asked for, by Newton's method in mpmath.

Independent of the package: the unknowns are the gap and the log-ratio, in arbitrary precision.
"""

import mpmath as mp

STEP = mp.mpf(10) ** -12
"""Newton's last step, relative; its square is what is left."""


def kl(q, p):
    """kl(q||p) of exact numbers, by the textbook form (in enough digits by the caller)."""
    first = q * mp.log(q / p) if q > 0 else mp.mpf(0)
    second = (1 - q) * mp.log((1 - q) / (1 - p)) if q < 1 else mp.mpf(0)
    return first + second


def upper(q, c, start=None):
    """p >= q with kl(q||p) = c, relative error below 1e-20."""
    q, c = mp.mpf(q), mp.mpf(c)
    rest = mp.fsub(1, q, exact=True)
    if q == 0:
        return -mp.expm1(-c)
    if q == 1 or c == 0:
        return q
    x = mp.fsub(start, q, exact=True) if start is not None else 0
    if x < min(q, rest) * mp.mpf(2) ** -40:
        x = mp.sqrt(2 * q * rest * c)
    for _ in range(500):
        if x >= 0.999999 * rest:
            break
        # the two terms cancel down to x / min(q, rest) of their size
        with mp.workdps(45 + int(max(0, mp.log10(min(q, rest) / x)))):
            value = -(q * mp.log1p(x / q) + rest * mp.log1p(-x / rest))
            step = (value - c) * (q + x) * (rest - x) / x
            x, old = (x - step if x > step else x / 2), x
        if abs(step) < old * STEP:
            return mp.fadd(q, x, exact=True)
    with mp.workdps(45):  # close to 1 the fixed point of the equation for 1-p contracts
        r = mp.mpf(0)
        for _ in range(400):
            r, old = rest * mp.exp(-(c + q * mp.log((1 - r) / q)) / rest), r
            if abs(r - old) <= r * STEP**2:
                break
    return mp.fsub(1, max(r, mp.mpf(2) ** -2000), exact=True)


def lower_log(q, c, start=None):
    """log(q/p) for p <= q with kl(q||p) = c, relative error below 1e-20."""
    q, c = mp.mpf(q), mp.mpf(c)
    if q == 1 or c == 0:
        return c
    rest = mp.fsub(1, q, exact=True)
    t = mp.mpf(start or 0)
    if t < mp.mpf(2) ** -40:
        t = mp.sqrt(2 * rest * c / q) + (c / q if c > q else 0)
    for _ in range(2000):
        with mp.workdps(45 + int(max(0, -mp.log10(t)))):
            x = -q * mp.expm1(-t)
            value = q * t - rest * mp.log1p(x / rest)
            step = (value - c) * (rest + x) / x
            t, old = (t - step if t > step else t / 2), t
        if abs(step) < old * STEP:
            return t
    raise ArithmeticError(f"no convergence at q={q}, c={c}")
