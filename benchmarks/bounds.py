"""How long do a million kl inversions take, and how far are they from the truth?

    python benchmarks/bounds.py [--quick]

Times of the upper and the lower inverse and of their gradients, on risks and budgets over many
orders of magnitude; the first call (compilation) apart. The last column is the largest relative
error outward of 1,000 of the values against mpmath (lower: in log p), and the smallest: negative
would be the wrong side. Beside them the routine that circulates, bisection over scalars.
"""

import sys
from pathlib import Path

import timing

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "bounds"))


def inputs(count: int):
    """Risks and budgets: half of everyday size, half over hundreds of orders of magnitude."""
    import numpy as np

    rng = np.random.default_rng(7)
    half = count // 2
    q = np.concatenate([rng.uniform(0, 1, half), 10 ** rng.uniform(-200, 0, count - half)])
    c = np.concatenate([10 ** rng.uniform(-6, 1, half), 10 ** rng.uniform(-200, 2, count - half)])
    return q, c


def errors(name: str, q, c, p) -> tuple[float, float]:
    """(largest, smallest) error outward, relative; of log p for the lower inverse."""
    import kl_exact
    import mpmath as mp
    import numpy as np

    found = []
    for a, b, value in zip(q, c, np.asarray(p), strict=True):
        a, b, value = float(a), float(b), float(value)
        if name == "kl_inverse":
            exact = kl_exact.upper(a, b, value)
            found.append(float(mp.fsub(value, exact, exact=True) / exact))
        elif value > 1e-300:
            with mp.workdps(40):
                start = mp.log(mp.mpf(a) / mp.mpf(value))
                exact = mp.log(mp.mpf(a)) - kl_exact.lower_log(a, b, start)
                found.append(float((exact - mp.log(mp.mpf(value))) / max(1, -exact)))
    return max(found), min(found)


def bisection(q, c, tolerance=1e-5):
    """The routine that circulates, over scalars."""
    from math import log

    out = []
    for a, b in zip(q, c, strict=True):
        low, high = a, 1.0 - 1e-12
        middle = low
        while high - low > tolerance * high:
            middle = (low + high) / 2
            kl = a * log(a / middle) + (1 - a) * log((1 - a) / (1 - middle))
            low, high = (middle, high) if kl < b else (low, middle)
        out.append(middle)
    return out


def main():
    options = timing.parser(__doc__).parse_args()
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    from jaxou.bounds.inversion import kl_inverse, kl_inverse_lower

    count, checked = (100_000, 100) if options.quick else (1_000_000, 1_000)
    writer, table = timing.Writer(__file__, options), []
    q, c = inputs(count)
    array_q, array_c = jnp.asarray(q), jnp.asarray(c)
    for inverse in (kl_inverse, kl_inverse_lower):
        name = inverse.__name__
        both = jax.jit(jax.vmap(jax.value_and_grad(inverse, (0, 1))))
        engines = {
            name: lambda seed, f=inverse: jax.block_until_ready(f(array_q, array_c)),
            f"{name}, with gradient": lambda seed, f=both: jax.block_until_ready(
                f(array_q, array_c)
            ),
        }
        for engine, row in timing.race(engines, timing.repeats(options)).items():
            result = row.pop("result")
            value = result[0] if isinstance(result, tuple) else result
            step = count // checked
            worst, least = errors(name, q[::step], c[::step], value[::step])
            writer.row(case=engine, count=count, outward=worst, least=least, **row)
            table.append(
                [engine, f"{count:,}", f"{row['first']:.2f}", f"{row['median']:.3f}",
                 timing.rate(count / row["best"]), f"{worst:.1e}", f"{least:.1e}"]
            )  # fmt: skip
    few = slice(0, count // 200)
    seconds, value = timing.clock(lambda seed: bisection(q[few], c[few]), 0)
    worst, least = errors("kl_inverse", q[few][:1000], c[few][:1000], value[:1000])
    size = len(q[few])
    writer.row(case="bisection, scalars", count=size, median=seconds, outward=worst, least=least)
    table.append(
        ["bisection, scalars", f"{size:,}", "", f"{seconds:.3f}", timing.rate(size / seconds),
         f"{worst:.1e}", f"{least:.1e}"]
    )  # fmt: skip
    header = ["case", "count", "first call, s", "median, s", "per second", "outward", "least"]
    print(timing.table(header, table))
    print(f"rows: {writer.path}")


if __name__ == "__main__":
    main()
