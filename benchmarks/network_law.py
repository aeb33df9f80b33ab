"""Does the low-rank law of a network with 5,410 parameters agree with real SGD, and where not?

    python benchmarks/network_law.py [--replicas 512] [--rank 32] [--directions 20]

A dense network 64-72-10 is trained on MNIST-5k and then to its optimum on 1,200 UCI digits (Adam,
then L-BFGS). Hessian and gradient noise there are kept by their leading pairs, and runs of real
minibatch SGD start at the optimum: their variance along the directions of largest curvature, beside
the low-rank chain's law after as many steps. With tanh the loss is smooth; a relu's kinks bend the
mean loss where the Hessian, which does not see them, is flat. The last rows start at the source's
optimum, a way that no bowl describes.
"""

import argparse
import time

import numpy as np


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=512)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--directions", type=int, default=20)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.replicas, options.rank, options.directions = 128, 8, 4
    import jax

    jax.config.update("jax_enable_x64", True)
    print(
        "| units | start | learning rate, steps | variance, SGD / model | chi-square | centre off |"
    )
    print("|---|---|---|---|---|---|")
    for activation in ("tanh", "relu"):
        problem = trained(activation, options)
        for rate, steps in ((0.02, 1000), (0.1, 400)):
            for start in ("optimum", "source")[: 1 if rate == 0.02 else 2]:
                row(activation, start, rate, steps, problem, options)


def trained(activation, options):
    """The network at its target optimum, its curvature there, and the source's weights."""
    from jaxou import transfer
    from jaxou.config import NetworkConfig
    from jaxou.curvature import measure, to_vector
    from jaxou.report.experiments.builtin import _adam
    from jaxou.transfer.headline import perceptron

    config = NetworkConfig(width=72)
    data = transfer.load(1200)
    network = perceptron(config.width, activation)
    source = _adam(network, data.source_train, 3000, config, 1)
    target = tuple(data.target_train)
    start = time.perf_counter()
    tuned = transfer.polish(
        _adam(source, data.target_train, 3000, config, 2),
        transfer.cross_entropy, target, weight_decay=config.weight_decay, steps=600,
    )  # fmt: skip
    found = measure(
        tuned.model, transfer.cross_entropy, target,
        structure="low_rank", rank=options.rank, negative="clip",
    )  # fmt: skip
    print(
        f"# {activation}: gradient {float(tuned.gradient_norm):.1e} at the optimum; Hessian from "
        f"{float(found.spectrum.eigenvalues.max()):.3g} down to "
        f"{float(found.spectrum.eigenvalues.min()):.3g}; {time.perf_counter() - start:.0f} s"
    )
    return tuned.model, to_vector(source), target, found


def row(activation, start, rate, steps, problem, options):
    """One start at one learning rate: agreement along the leading directions."""
    import jax

    import jaxou as ou
    from jaxou import transfer

    model, source, target, found = problem
    stage = found.stage(learning_rate=rate, batch_size=16, steps=steps, weight_decay=1e-3)
    begin = found.point if start == "optimum" else source
    chain = ou.Chain([stage], initial=ou.Gaussian(begin, 0.0))
    run = ou.simulate(
        chain, particles=options.replicas, key=jax.random.key(3), progress=False,
        method=ou.RealSGD(model, transfer.cross_entropy, target),
    )  # fmt: skip
    seen = ou.agreement(run, chain, directions=found.hessian.factor[:, : options.directions])
    z = (seen.ratio - 1) / seen.ratio_error
    print(
        f"| {activation} | {start} | {rate:g}, {steps} | {np.median(seen.ratio):.3f} median, "
        f"{seen.ratio.min():.2f} - {seen.ratio.max():.2f}, ± {np.median(seen.ratio_error):.2f} "
        f"| {np.sum(z**2):.0f} of {len(z)} | {np.abs(seen.shift).max():.2f} spreads at most |",
        flush=True,
    )


if __name__ == "__main__":
    main()
