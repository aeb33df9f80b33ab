"""Does a verdict notice what it says it notices? Predicted power beside measured power.

    python benchmarks/power.py [--quick] [--seeds 200]

Each case is a process that is wrong in one way. From the claimed and the true law alone
`particles_to_notice` says how many particles a verdict needs to reject the claim with probability
0.8, and with what probability it then does (simulated). Then the true process is really run that
many times with that many particles, each run is judged against the claim, and the rejections are
counted. A count outside the 99.9 % interval around the prediction is marked WRONG; the interval
allows for the replicates of the prediction and for the count.
"""

import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import timing
from scipy import stats

import jaxou as ou
from jaxou.convergence import normal_scores, own_laws, particles_to_notice, predict_power

LEVEL, POWER, FALSE_ALARM = 0.01, 0.8, 1e-3
HESSIAN = np.array([[2.0, 0.6], [0.6, 1.0]])
NOISE = np.array([[1.0, -0.4], [-0.4, 0.5]])


@dataclass(frozen=True)
class Case:
    """`claimed`: what the verdict is told. `true`: what runs, by `method`, judged as by `judge`."""

    name: str
    claimed: Any
    true: Any
    method: Any
    judge: Any = None
    sampler: Any = None

    @property
    def last(self) -> int:
        return len(self.claimed.stages) - 1


def stage(**changes):
    """Dense, non-commuting, in two dimensions."""
    given = dict(hessian=HESSIAN, noise=NOISE, minimum=[1.0, -1.0], learning_rate=0.1)
    return ou.Stage(**given | dict(batch_size=8, steps=100) | changes)


def chain(*stages, start=None):
    return ou.Chain(list(stages), initial=start or ou.Gaussian([3.0, 0.0], 0.3))


def commuting(noise, hessian):
    _, u = np.linalg.eigh(hessian)
    return u @ np.diag(np.diag(u.T @ noise @ u)) @ u.T


def multiplicative():
    """sigma^2(x) = 0.2 (1 + 0.5 x^2): tails heavier than those of the Gibbs law with the same
    variance, a Gaussian one."""
    low, slope = 0.2, 0.1
    bowl = lambda x: jnp.sum(x**2) / 2
    variance = low / (2 - slope)  # of the steady law: 2 v = low + slope v
    steps = dict(dimension=1, learning_rate=0.01, steps=800)
    noise = lambda x: jnp.sqrt((low + slope * x**2) / 0.01)
    start = ou.Gaussian([0.0], variance)
    true = ou.Chain([ou.PotentialStage(bowl, noise=noise, **steps)], initial=start)
    right = ou.PotentialStage(bowl, noise=ou.Temperature(variance), **steps)
    claimed = ou.Chain([right], initial=start)
    law = right.gibbs()
    # steady density of dx = -x ds + sigma dW: (low + slope x^2)^(-1 - 1/slope)
    steady = ou.Gibbs(lambda x: (1 + 1 / slope) * jnp.log(low + slope * jnp.sum(x**2)), 1.0)
    grid = jnp.linspace(-6.0, 6.0, 20_001) * variance**0.5
    scores = jnp.asarray(normal_scores(grid[:, None], law))[:, 0]
    below = steady.cdf(grid)

    def sampler(key, n):
        return jnp.interp(jax.random.uniform(key, (n, 1), scores.dtype), below, scores)

    method = ou.EulerMaruyama()
    return Case("heavy tails from multiplicative noise", claimed, true, method, sampler=sampler)


def cases() -> list[Case]:
    right = chain(stage())
    second = stage(hessian=[[1.0, 0.6], [0.6, 2.0]], minimum=[0.9, -0.95], batch_size=7, steps=80)
    sign = np.array([[1.0, 0.4], [0.4, 0.5]])
    made = commuting(NOISE, HESSIAN)
    flat = dict(hessian=[2.0, 0.05], noise=[1.0, 1.0], steps=300)
    wide = stage(hessian=jnp.full(5, 2.0), noise=1.0, minimum=jnp.zeros(5), steps=200)
    five = chain(wide, start=ou.Gaussian(jnp.zeros(5), wide.stationary().covariance))
    slow = stage(**flat)
    rested = ou.Chain([slow], initial=slow.stationary())
    sgd = ou.SGD()
    return [
        Case("noise 5 % too strong", right, chain(stage(batch_size=8 / 1.05)), sgd),
        Case("C replaced by its commuting part", chain(stage(noise=made)), right, sgd),
        Case("stages swapped", chain(second, stage()), chain(stage(), second), sgd),
        Case("learning rate off by 10 %", right, chain(stage(learning_rate=0.11)), sgd),
        Case("SGD against the SDE's law, eta a = 0.2, d = 5", five, five, sgd, judge=ou.Exact()),
        Case("one mode not yet relaxed", rested, chain(slow, start=ou.Gaussian(
            np.asarray(slow.stationary().mean) + [0.0, 0.4], slow.stationary().covariance)), sgd),
        Case("a correlation of the wrong sign", chain(stage(noise=sign)), right, sgd),
        multiplicative(),
    ]  # fmt: skip


def decide(case: Case, seed: int, particles: int) -> bool:
    """One real run of the true process, and whether its last stage is rejected."""
    key = jax.random.key(1_000 + seed)
    run = ou.simulate(case.true, particles=particles, key=key, method=case.method)
    if case.judge is not None:
        import equinox as eqx

        run = eqx.tree_at(lambda r: r.method, run, case.judge)
    return ou.verdict(run, case.claimed, level=LEVEL).stages[-1].decision == "rejected"


def predicted(case: Case, replicates: int):
    """Particles needed, and the power with them, from the two laws alone."""
    # a verdict on two stages shares its level between them
    level = LEVEL / len(case.claimed.stages)
    if case.sampler is not None:
        law = ou.Gaussian([0.0], 1.0)
        for n in (2_000, 4_000, 8_000, 16_000, 32_000):
            found = predict_power(law, case.sampler, n, level=level, replicates=replicates)
            if found.power >= POWER:
                break
        return found
    claimed = own_laws(case.judge or case.method, case.claimed)[-1]
    truth = own_laws(case.method, case.true)[-1]
    return particles_to_notice(claimed, truth, level=level, power=POWER, replicates=replicates)


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--seeds", type=int, help="real runs of each case (200; quick: 20)")
    options = parser.parse_args()
    seeds = options.seeds or (20 if options.quick else 200)
    jax.config.update("jax_enable_x64", True)
    writer, cells = timing.Writer(__file__, options), []
    for case in cases()[: 3 if options.quick else None]:
        start = time.perf_counter()
        found = predicted(case, 100 if options.quick else 400)
        count = sum(decide(case, seed, found.particles) for seed in range(seeds))
        error = (found.standard_error**2 + found.power * (1 - found.power) / seeds) ** 0.5
        half = stats.norm.isf(FALSE_ALARM / 2) * max(error, 1 / seeds)
        low, high = max(found.power - half, 0.0), min(found.power + half, 1.0)
        share = count / seeds
        mark = "" if low <= share <= high else " WRONG"
        row = writer.row(
            case=case.name,
            particles=found.particles,
            predicted=found.power,
            low=low,
            high=high,
            measured=share,
            seeds=seeds,
            best=found.best,
            seconds=time.perf_counter() - start,
        )
        cells.append(
            [case.name, f"{found.particles:,}", f"{found.power:.3f}", f"{low:.3f} - {high:.3f}"]
            + [f"{share:.3f}{mark}", found.best]
        )
        print(f"{case.name}: {row['seconds']:.0f} s", flush=True)
    header = ["wrong in", "particles", "predicted power", "interval", f"measured ({seeds} runs)"]
    print(timing.table([*header, "the statistic that sees it best"], cells))
    print(f"\nrows: {writer.path}")


if __name__ == "__main__":
    main()
