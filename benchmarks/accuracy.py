"""What does accuracy cost? Weak error of the steady law against time, for methods and step sizes.

    python benchmarks/accuracy.py [--quick] [--problem NAME ...]

Two overdamped problems at temperature T: a linear drift, whose steady law is N(0, T), and a tilted
double well, whose moments come from quadrature. Particles run for long enough to forget their
start. The error is that of E x^2 (and E x, in the rows), over all timed calls together, beside its
standard error: where it is below two of them the method is better than this run can see. Cost is
the best wall time per particle and unit of physical time, so that a method may take larger steps.
BAOAB and ALIGN move the underdamped equation, which has the same steady law in x; a unit of its
time takes particles a different way.
"""

from dataclasses import replace

import numpy as np
import timing
from cases import DEFAULTS, Problem, problem

TEMPERATURE, DURATION = 0.5, {"ou": 12.0, "well": 40.0}
STEPS = {"ou": (0.8, 0.4, 0.2, 0.1), "well": (0.2, 0.1, 0.05, 0.025)}
PARTICLES = 2**19
ENGINES = {
    "ou": ("jaxou EulerMaruyama", "jaxou Heun", "jaxou BAOAB")
    + ("diffrax Euler", "diffrax Heun", "diffrax ShARK"),
    "well": ("jaxou EulerMaruyama", "jaxou Heun", "jaxou BAOAB")
    + ("diffrax Euler", "diffrax Heun", "diffrax ShARK", "diffrax ALIGN"),
}


def posed(name: str, step: float, particles: int) -> Problem:
    """The problem at one step size; the SDE itself does not depend on it."""
    size = dict(particles=particles, steps=round(DURATION[name] / step), step=step)
    if name == "well":
        return problem("well", temperature=TEMPERATURE, friction=FRICTION, **size)
    made = problem("ou", friction=FRICTION, **size)
    return replace(made, covariance=2 * TEMPERATURE / step * np.eye(1))


FRICTION = DEFAULTS["kinetic"]["friction"]


def exact(name: str) -> np.ndarray:
    """(E x, E x^2) under the steady law."""
    if name == "ou":
        return np.array([0.0, TEMPERATURE])
    x = np.linspace(-5.0, 5.0, 20_001)
    made = posed(name, 0.1, 1)
    potential = (x**2 - 1) ** 2 / 4 + made.gradient(0.0) * x
    weight = np.exp(-potential / TEMPERATURE)
    return np.array([weight @ x, weight @ x**2]) / weight.sum()


def prepare(engine: str, made: Problem):
    """The timed call of one engine."""
    library, method = engine.split()
    if library == "jaxou":
        from peers.jaxou_simulate import final

        import jaxou as ou

        return final(made, ou.BAOAB(made.friction) if method == "BAOAB" else getattr(ou, method)())
    from peers.diffrax_solves import batched

    kinetic = method == "ALIGN"
    return batched(replace(made, kind="kinetic") if kinetic else made, solver=method)


def measure(name, step, particles, rounds, writer) -> list[dict]:
    """One row per engine at one step size."""
    made, truth = posed(name, step, particles), exact(name)
    sums = {engine: [] for engine in ENGINES[name]}

    def see(engine, result):
        x = np.asarray(result, np.float64).ravel()
        powers = np.stack([x, x**2])
        sums[engine].append((powers.mean(1), powers.var(1)))

    calls = {engine: prepare(engine, made) for engine in ENGINES[name]}
    times, rows = timing.race(calls, rounds, see), []
    for engine, seen in sums.items():
        means, variances = (np.mean([pair[i] for pair in seen], axis=0) for i in (0, 1))
        noise = np.sqrt(variances / (particles * len(seen)))
        best = times[engine]["best"]
        rows.append(
            writer.row(
                problem=name,
                engine=engine,
                step=step,
                particles=particles,
                steps=made.steps,
                error_mean=means[0] - truth[0],
                error_square=means[1] - truth[1],
                noise_mean=noise[0],
                noise_square=noise[1],
                exact_square=truth[1],
                best=best,
                median=times[engine]["median"],
                first=times[engine]["first"],
                nanoseconds=1e9 * best / (particles * DURATION[name]),
            )
        )
    return rows


def order(coarse, fine) -> str:
    """log2 of the ratio of two errors at h and h/2, where both are seen beyond the noise."""
    errors = [abs(row["error_square"]) for row in (coarse, fine)]
    noise = [row["noise_square"] for row in (coarse, fine)]
    if any(not e > 4 * s for e, s in zip(errors, noise, strict=True)):
        return ""
    return f"{np.log2(errors[0] / errors[1]):.2f}"


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--problem", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--particles", type=int, help=f"particles per call ({PARTICLES})")
    options = parser.parse_args()
    writer, rounds = timing.Writer(__file__, options), timing.repeats(options)
    particles = options.particles or (2**12 if options.quick else PARTICLES)
    for name in options.problem:
        steps = STEPS[name][1:3] if options.quick else STEPS[name]
        runs = [measure(name, step, particles, rounds, writer) for step in steps]
        print(f"\n{name}: E x^2 = {exact(name)[1]:.6f}, T = {TEMPERATURE}\n")
        cells = []
        for i in range(len(ENGINES[name])):
            for j, rows in enumerate(runs):
                row = rows[i]
                cells.append([row["engine"], row["step"], f"{row['error_square']:+.2e}"])
                cells[-1] += [f"{row['noise_square']:.1e}", f"{row['nanoseconds']:.3g}"]
                cells[-1] += [order(runs[j - 1][i], row) if j else ""]
        header = ["method", "step", "error of E x^2", "its s.e.", "ns/(particle x time)", "order"]
        print(timing.table(header, cells), flush=True)
    print(f"\nrows: {writer.path}")


if __name__ == "__main__":
    main()
