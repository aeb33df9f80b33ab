"""How long, and how much memory, do the Hessian and gradient noise of 100,000 parameters take?

    python benchmarks/curvature.py [--rank 50] [--kind hessian] [--width 126] [--float64]

A dense network 784-126-10 (100,180 parameters) trained on MNIST-5k: the `rank` leading eigenpairs
of A and of C, their residuals, sampling errors and the rest of both traces, as
`ou.curvature.measure(structure="low_rank")` does it, compilation included. `checked` is the
largest gap between the kept matrix and fresh products on its own span, over the largest eigenvalue.
"""

import time
from pathlib import Path

import timing


def main():
    parser = timing.parser(__doc__)
    parser.add_argument("--rank", type=int, default=50)
    parser.add_argument("--kind", choices=("hessian", "ggn"), default="hessian")
    parser.add_argument("--width", type=int, default=126, help="hidden units")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--float64", action="store_true", help="every number in float64")
    options = parser.parse_args()
    if options.quick:
        options.rank, options.width, options.epochs = 5, 8, 1
    import jax

    jax.config.update("jax_enable_x64", options.float64)
    writer = timing.Writer(Path(__file__).name, options)
    start = time.perf_counter()
    model, loss, data = trained(options)
    print(f"trained in {time.perf_counter() - start:.1f} s", flush=True)
    row = writer.row(**measured(model, loss, data, options))
    facts = [[name, f"{value:.4g}" if isinstance(value, float) else value]
             for name, value in row.items() if name not in writer.facts]  # fmt: skip
    print(timing.table(["", ""], facts))
    print(f"\nrows: {writer.path}")


def trained(options):
    """The network after some epochs of Adam, its loss, the 5,000 images."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    from jaxou.transfer.domains import mnist_images

    images, labels = mnist_images()
    x, y = jnp.asarray(images.reshape(len(labels), -1) / 255.0, float), jnp.asarray(labels)
    sizes = (x.shape[1], options.width, 10)
    keys = jax.random.split(jax.random.key(0), 2)
    model = [
        (jax.random.normal(key, (m, n)) / n**0.5, jnp.zeros(m))
        for key, n, m in zip(keys, sizes, sizes[1:], strict=False)
    ]

    def loss(model, example):
        (inner, low), (outer, high) = model
        hidden = jnp.tanh(inner @ example[0] + low)
        return -jax.nn.log_softmax(outer @ hidden + high)[example[1]]

    optimiser = optax.adam(1e-3)

    @eqx.filter_jit
    def epoch(model, state, order):
        def step(carry, batch):
            model, state = carry
            mean = lambda m: jnp.mean(jax.vmap(lambda a, b: loss(m, (a, b)))(x[batch], y[batch]))
            updates, state = optimiser.update(jax.grad(mean)(model), state)
            return (optax.apply_updates(model, updates), state), None

        return jax.lax.scan(step, (model, state), order.reshape(-1, 50))[0]

    state = optimiser.init(model)
    for i in range(options.epochs):
        order = jax.random.permutation(jax.random.key(i), len(y))
        model, state = epoch(model, state, order)
    return model, loss, (x, y)


def measured(model, loss, data, options) -> dict:
    """Times, errors and memory of both spectra."""
    import jax
    import jax.numpy as jnp

    import jaxou as ou

    def output_loss(logits, example):
        return -jax.nn.log_softmax(logits)[example[1]]

    def predict(model, example):
        (inner, low), (outer, high) = model
        return outer @ jnp.tanh(inner @ example[0] + low) + high

    how = dict(structure="low_rank", rank=options.rank, negative="keep", kind=options.kind)
    if options.kind == "ggn":
        how |= dict(output_loss=output_loss, predict=predict)
    start = time.perf_counter()
    found = ou.curvature.measure(model, loss, data, chunk=options.chunk, **how)
    jax.block_until_ready(found)
    seconds = time.perf_counter() - start
    peak = timing.peak_gib()

    if options.kind == "ggn":
        bent = ou.curvature.ggn_product(model, output_loss, data, predict=predict)
    else:
        bent = ou.curvature.hessian_product(model, loss, data)
    noisy = ou.curvature.noise_product(model, loss, data)
    spectra = dict(hessian=(bent, found.hessian, found.spectrum))
    spectra["noise"] = (noisy, found.noise, found.noise_spectrum)
    facts = dict(d=len(found.point), rank=options.rank, kind=options.kind)
    facts |= dict(precision="float64" if options.float64 else "float32", chunk=options.chunk)
    facts |= dict(seconds=seconds, peak_gib=peak)
    for name, (product, matrix, spectrum) in spectra.items():
        top = float(jnp.max(jnp.abs(spectrum.eigenvalues)))
        image = jax.jit(lambda v, product=product: jax.lax.map(product, v.T, batch_size=8).T)(
            matrix.factor
        )
        values = matrix.base.value + matrix.weights
        # C is kept on a span that holds A's directions too: exact there, without being its own
        gap = jnp.linalg.norm(matrix.factor.T @ image - jnp.diag(values), axis=0)
        facts |= {
            f"{name}: largest eigenvalue": top,
            f"{name}: its standard error": float(spectrum.standard_error[-1]),
            f"{name}: smallest kept": float(jnp.min(jnp.abs(spectrum.eigenvalues))),
            f"{name}: rest": float(matrix.base.value),
            f"{name}: residual / largest": float(jnp.max(spectrum.residual)) / top,
            f"{name}: checked": float(jnp.max(gap)) / top,
        }
    return facts | {"hessian: standard error of rest": float(found.rest_error)}


if __name__ == "__main__":
    main()
