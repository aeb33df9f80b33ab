"""How tight are certificates on real data, and does any lie below the test error?

    python benchmarks/certificates.py [--splits 20] [--draws 4000] [--steps 600] [--network]

MNIST-5k to UCI digits (8x8), 1,200 target labels, delta = 0.05, every random split of both samples
anew. Every prior, scale grid and Monte Carlo step is paid for. The rows: priors that know nothing,
the source model's, the source model's on images in random poses too, and one from half of the
target labels; the quadratic posterior beside those that descend the bound; one deployed draw; and
what a sceptic would use, a plain model on labels held out for it (half of them). `above` counts the
splits in which the certificate is at least the lower 95 % limit of its own test error (597 images).

Read "split" with care: its decay, ridge and scale were settled with target images of split 0 in
view.
"""

import argparse
import json
import time

import numpy as np


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--network", action="store_true", help="the network of 5,410 parameters")
    parser.add_argument("--json", help="append one line per certificate to this file")
    options = parser.parse_args()
    import jax

    jax.config.update("jax_enable_x64", True)
    from jaxou.transfer.poses import mnist_poses

    poses = mnist_poses()
    rows = []
    for seed in range(options.first, options.first + options.splits):
        start = time.perf_counter()
        one = (network if options.network else softmax)(seed, poses, options)
        rows += one
        if options.json:
            with open(options.json, "a") as file:
                file.writelines(json.dumps(row) + "\n" for row in one)
        print(f"split {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    table(rows)


def softmax(seed, poses, options):
    """All certificates of one split."""
    from jaxou.transfer import ScaleGrid, test_set_bound
    from jaxou.transfer.headline import digits_problem, train

    rows = []
    descend = dict(optimise=options.steps)
    half = ScaleGrid(largest=0.02, resolution=1.0)
    plain = digits_problem("softmax", seed=seed, posed=False)
    posed = digits_problem("softmax", seed=seed, poses=poses)
    split = dict(prior="split", weight_decay=3e-4, ridge=0.01, scales=half)
    cases = {
        "zero, quadratic": (plain, dict(prior="zero", move_center=True)),
        "zero": (plain, dict(prior="zero", **descend)),
        "isotropic": (plain, dict(prior="isotropic", **descend)),
        "source, quadratic": (plain, dict(shape="laplace", move_center=True)),
        "source": (plain, dict(shape="laplace", **descend)),
        "source, posed": (posed, dict(shape="laplace", **descend)),
        "split (half the labels)": (posed, dict(**split, **descend)),
    }
    for name, (problem, settings) in cases.items():
        rows += certified(name, problem, seed, options, settings)
    # the sceptic: train on one half, count errors on the other
    target = plain.data.target_train
    cut = len(target.y) // 2
    first, second = (
        type(target)(target.x[part], target.y[part]) for part in (slice(cut), slice(cut, None))
    )
    import jax

    fitted = train(
        plain.model, first, weight_decay=3e-4, steps=1000, rate=0.02, key=jax.random.key(seed)
    )
    wrong = errors(plain.model, fitted, second)
    test = errors(plain.model, fitted, plain.data.target_test) / len(plain.data.target_test.y)
    bound = test_set_bound(wrong, len(second.y), 0.05)
    rows.append(dict(row("test set, plain model", seed, bound, test, plain)))
    return rows


def network(seed, poses, options):
    """Structured certificates of the network on one split."""
    from jaxou.transfer import ScaleGrid
    from jaxou.transfer.headline import digits_problem

    problem = digits_problem("network", seed=seed, poses=poses, decays=(1e-4,))
    how = dict(optimise=options.steps, rate=0.1, scales=ScaleGrid(largest=1.0))
    return [
        line
        for structure in ("diagonal", "low_rank")
        for line in certified(
            f"network, {structure}",
            problem,
            seed,
            options,
            dict(structure=structure, rank=32, **how),
        )
    ]


def certified(name, problem, seed, options, settings):
    """The certificate of the randomised predictor, and that of one draw of it."""
    import jax

    from jaxou.transfer import certify, loss01

    key = jax.random.key(seed)
    cert = certify(
        problem.model, loss01, key=key, draws=options.draws, monte_carlo="bernstein",
        **settings, **problem.arguments(2000),
    )  # fmt: skip
    test = cert.test_risk(
        problem.model, loss01, problem.data.target_test, key=jax.random.fold_in(key, 1), draws=300
    )
    one = cert.deployed(problem.model, loss01, problem.data.target_train)
    examples = problem.data.target_test
    kept = errors(problem.model, one.vector, examples) / len(examples.y)
    lines = [row(name, seed, cert.bound, float(test.value), problem, kl=cert.kl)]
    if cert.optimised:
        lines.append(row(f"{name}: one draw", seed, one.bound, kept, problem, kl=one.log_ratio))
    return lines


def errors(model, vector, examples):
    """How many examples the model with these parameters gets wrong."""
    from jaxou.curvature import from_vector
    from jaxou.transfer import accuracy

    return round((1 - accuracy(from_vector(model, vector), examples)) * len(examples.y))


def row(name, seed, bound, test, problem, kl=None):
    """One line; `low` is the lower 95 % limit of the test error."""
    from jaxou.transfer import test_set_bound

    n = len(problem.data.target_test.y)
    low = 1 - test_set_bound(n - round(test * n), n, 0.05)
    return dict(name=name, seed=seed, bound=bound, test=test, low=low, kl=kl)


def table(rows):
    """Mean and worst bound, mean test error, and how often the bound is above its limit."""
    print(f"{'prior':<32}{'bound':>8}{'worst':>8}{'test':>8}{'KL':>9}{'above':>9}")
    for name in dict.fromkeys(row["name"] for row in rows):
        some = [row for row in rows if row["name"] == name]
        value = np.array([row["bound"] for row in some])
        kl = "" if some[0]["kl"] is None else f"{np.mean([row['kl'] for row in some]):.1f}"
        above = sum(row["bound"] >= row["low"] for row in some)
        test = np.mean([row["test"] for row in some])
        print(
            f"{name:<32}{value.mean():8.4f}{value.max():8.4f}{test:8.4f}{kl:>9}"
            f"{above:>5}/{len(some)}"
        )


if __name__ == "__main__":
    main()
