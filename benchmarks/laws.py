"""How long do laws, KL and the two-stage bound take, with their gradients, and in how much memory?

    python benchmarks/laws.py [--quick]

Prints one JSON line per row and a table: first call (compilation included), median of repeats, and
the process's peak memory. Each case runs in its own process, so that the peak is its own.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

CASES = {
    "dense": dict(full=1_000, quick=100),
    "low_rank_kl": dict(full=1_000_000, quick=20_000),
    "low_rank_bound": dict(full=1_000_000, quick=20_000),
    "low_rank_bound_gradient": dict(full=1_000_000, quick=20_000),
}
RANK, REPEATS = 32, 3


def measure(name, function, *arguments, **facts):
    """One row: the first call, the median of REPEATS more, in seconds of wall clock."""
    import jax

    times = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    row = dict(case=name, first=times[0], median=statistics.median(times[1:]), peak_gib=peak)
    row |= facts | dict(jax=jax.__version__, device=jax.devices()[0].device_kind)
    row |= dict(cores=os.cpu_count(), machine=platform.machine())
    print(json.dumps(row), flush=True)


def hyper_parameter_bound(training):
    """The two-stage bound as a function of both learning rates and batch sizes."""
    import jaxou as ou

    def value(hyper):
        changed = training.with_pretrain(learning_rate=hyper[0], batch_size=hyper[1])
        changed = changed.with_finetune(learning_rate=hyper[2], batch_size=hyper[3])
        bound = ou.two_stage_bound(changed, n_source=60_000, n_target=1_000, risk=0.1, delta=0.05)
        return bound.gap_sum

    return value


def dense(d):
    import jax
    import jax.numpy as jnp
    import numpy as np

    import jaxou as ou

    rng = np.random.default_rng(0)

    def spd():
        x = rng.normal(size=(d, d)) / np.sqrt(d)
        return x @ x.T + 0.1 * np.eye(d)

    def stage(shift):
        return ou.Stage(
            hessian=spd(),
            noise=spd(),
            minimum=np.full(d, shift),
            learning_rate=0.05,
            batch_size=32,
            steps=1_000,
        )

    training = ou.TwoStage(stage(0.0), stage(0.01), ou.Gaussian(np.zeros(d), 1.0))
    start = time.perf_counter()
    jax.block_until_ready(training.pretrain.gibbs().covariance)
    measure("steady law", lambda: training.pretrain.gibbs().covariance, d=d, structure="dense")
    source, target = training.pretrain.gibbs(), training.finetune.gibbs()
    measure("KL of two laws", lambda: target.kl(source), d=d, structure="dense")
    hyper = jnp.array([0.05, 32.0, 0.05, 32.0])
    function = jax.jit(jax.value_and_grad(hyper_parameter_bound(training)))
    measure("two-stage bound and gradient", function, hyper, d=d, structure="dense")
    measure("n-step kernel", lambda: training.pretrain.kernel(1_000), d=d, structure="dense")
    print(f"# everything: {time.perf_counter() - start:.1f} s", flush=True)


def factors(d, count):
    import jax.numpy as jnp
    import numpy as np

    rng = np.random.default_rng(0)
    return [
        (
            jnp.asarray(rng.uniform(0.5, 1.5, d)),
            jnp.asarray(rng.standard_normal((d, RANK)) / np.sqrt(d)),
        )
        for _ in range(count)
    ]


def low_rank_kl(d):
    import equinox as eqx
    import jax.numpy as jnp

    import jaxou as ou

    laws = [
        ou.Gaussian(jnp.full(d, 0.01 * i), ou.LowRankPlusDiagonal(e, u))
        for i, (e, u) in enumerate(factors(d, 2))
    ]
    kl = eqx.filter_jit(lambda pair: pair[0].kl(pair[1]))
    measure("KL of two laws", kl, laws, d=d, structure=f"rank {RANK}")
    gradient = eqx.filter_jit(eqx.filter_value_and_grad(lambda pair: pair[0].kl(pair[1])))
    measure("KL and gradient", gradient, laws, d=d, structure=f"rank {RANK}")


def low_rank_training(d):
    import jax.numpy as jnp

    import jaxou as ou

    (_, u1), (e1, f1), (_, u2), (e2, f2) = factors(d, 4)
    stages = [
        ou.Stage(
            hessian=ou.LowRankPlusDiagonal(0.5, u, jnp.full(RANK, 2.0)),
            noise=ou.LowRankPlusDiagonal(e, f),
            minimum=jnp.full(d, shift),
            learning_rate=0.05,
            batch_size=32,
            steps=1_000,
        )
        for u, e, f, shift in ((u1, e1, f1, 0.0), (u2, e2, f2, 1e-3))
    ]
    return ou.TwoStage(*stages, ou.Gaussian(jnp.zeros(d), 1.0))


def low_rank_bound(d):
    # the stages are arguments: closed over, gigabytes would become constants of the program
    import equinox as eqx
    import jax.numpy as jnp

    hyper = jnp.array([0.05, 32.0, 0.05, 32.0])
    function = eqx.filter_jit(lambda training, hyper: hyper_parameter_bound(training)(hyper))
    measure("two-stage bound", function, low_rank_training(d), hyper, d=d, structure=f"rank {RANK}")


def low_rank_bound_gradient(d):
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    def derivative(training, hyper):
        return jax.jvp(hyper_parameter_bound(training), (hyper,), (jnp.eye(4)[2],))[1]

    hyper = jnp.array([0.05, 32.0, 0.05, 32.0])
    function, training = eqx.filter_jit(derivative), low_rank_training(d)
    name = "two-stage bound, one derivative"
    measure(name, function, training, hyper, d=d, structure=f"rank {RANK}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--case", choices=CASES, help="one case, in this process")
    options = parser.parse_args()
    if options.case:
        import jax

        jax.config.update("jax_enable_x64", True)
        globals()[options.case](CASES[options.case]["quick" if options.quick else "full"])
        return
    rows = []
    for case in CASES:
        command = [sys.executable, __file__, "--case", case] + ["--quick"] * options.quick
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(done.stdout, end="", flush=True)
        rows += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    print("\n| case | d | structure | first call, s | median, s | peak, GiB |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['case']} | {row['d']:,} | {row['structure']} | {row['first']:.2f} | "
            f"{row['median']:.3f} | {row['peak_gib']:.2f} |"
        )


if __name__ == "__main__":
    main()
