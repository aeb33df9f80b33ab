# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From your own network to a certificate
#
# You have two checkpoints of a network, one before fine-tuning and one after, and a few hundred
# examples of the data you care about. This notebook does two different things with them, and keeps
# them apart:
#
# 1. *Describe*: measure the bowl around the fine-tuned weights, let real SGD run in it, and ask
#    where the theory describes it.
# 2. *Prove*: compute a number that the error on new data exceeds with probability at most 5 %. This
#    part assumes nothing about SGD, so it holds even where the description fails.
#
# The data come with scikit-learn (`pip install 'jaxou[data]'`); nothing is downloaded.

# %%
import os
import tempfile

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_breast_cancer

import jaxou as ou
from jaxou import plots

jax.config.update("jax_enable_x64", True)  # certificates are computed in float64

FAST = bool(os.environ.get("JAXOU_FAST"))
RUNS = 300 if FAST else 2_000
DRAWS = 1_000 if FAST else 10_000

# %% [markdown]
# ## Two domains
#
# Breast masses, 30 measurements each: benign or malignant? Masses whose cells have rough outlines
# are the source, the smooth ones are the target, of which 200 may be used. The
# other smooth ones stay in the drawer until the end.

# %%
x, y = load_breast_cancer(return_X_y=True)
order = np.random.default_rng(0).permutation(len(y))
x, y = x[order], y[order]
smooth = x[:, 4] < np.median(x[:, 4])
x = (x - x[~smooth].mean(axis=0)) / x[~smooth].std(axis=0)  # the source alone sets the scale
source = x[~smooth], y[~smooth]
target = x[smooth][:200], y[smooth][:200]
drawer = x[smooth][200:], y[smooth][200:]
print(f"source {len(source[1])}, target {len(target[1])}, in the drawer {len(drawer[1])}")

# %% [markdown]
# ## Two checkpoints
#
# Any JAX model and any optimiser will do. This one is a small network trained with AdamW, which is
# not the SGD of the theory.


# %%
@eqx.filter_jit
def train(model, data, steps, learning_rate):
    optimiser = optax.adamw(learning_rate, weight_decay=1e-2)
    weights, rest = eqx.partition(model, eqx.is_inexact_array)

    def loss(w):
        one = lambda x, y: ou.transfer.cross_entropy(eqx.combine(w, rest), (x, y))
        return jnp.mean(jax.vmap(one)(*data))

    def step(_, carry):
        w, state = carry
        change, state = optimiser.update(jax.grad(loss)(w), state, w)
        return optax.apply_updates(w, change), state

    weights, _ = jax.lax.fori_loop(0, steps, step, (weights, optimiser.init(weights)))
    return eqx.combine(weights, rest)


network = eqx.nn.MLP(30, 2, width_size=4, depth=1, key=jax.random.key(0))
pretrained = train(network, jax.tree.map(jnp.asarray, source), 400, 1e-2)
finetuned = train(pretrained, jax.tree.map(jnp.asarray, target), 200, 3e-3)
for name, model in (("untrained", network), ("pre-trained", pretrained), ("fine-tuned", finetuned)):
    wrong = 1 - ou.transfer.accuracy(model, drawer)
    error = np.sqrt(wrong * (1 - wrong) / len(drawer[1]))
    print(f"{name:12s} {100 * wrong:5.1f} % wrong in the drawer (± {100 * error:.1f} %)")

# %% [markdown]
# ## Describe: the bowl around the weights
#
# `polish` walks down to the bottom, and `measure` computes there the curvature of the loss and the
# covariance of one example's gradient. A few stiff directions, many nearly flat ones, is what
# networks look like; negative curvature would be counted and said.

# %%
WEIGHT_DECAY = 0.02
bottom = ou.transfer.polish(
    finetuned, ou.transfer.cross_entropy, target, weight_decay=WEIGHT_DECAY, steps=2_000
)
measured = ou.curvature.measure(bottom.model, ou.transfer.cross_entropy, target, negative="clip")
values = np.linalg.eigvalsh(measured.hessian)[::-1]
noise = np.linalg.eigvalsh(measured.noise)[::-1]
print(f"{len(values)} weights, gradient at the bottom {float(bottom.gradient_norm):.1e}")
print(measured.spectrum)
print(f"curvature and noise share their axes? |AC - CA| / |AC| = {float(measured.commutator):.2f}")
with plots.style():
    figure, ax = plt.subplots(figsize=(6.5, 3.2))
    plots.spectra({"curvature A": values, "gradient noise C": noise}, ax=ax)
    ax.legend()
plt.show()

# %% [markdown]
# ## Describe: real SGD beside its model
#
# Many runs of real minibatch SGD, started at the bottom, beside the law that the theory gives
# them. `agreement` says direction by direction by which factor the variances differ.

# %%
rate, batch, steps = 0.05, 10, 400
stage = measured.stage(learning_rate=rate, batch_size=batch, steps=steps, weight_decay=WEIGHT_DECAY)
chain = ou.Chain([stage], initial=ou.Gaussian(measured.point, jnp.zeros(())), names=("finetune",))
run = ou.simulate(
    chain,
    particles=RUNS,
    key=jax.random.key(1),
    method=ou.RealSGD(bottom.model, ou.transfer.cross_entropy, target, anchor=None),
)
found = ou.agreement(run, chain, tolerance=0.5)
top = slice(0, 6)
print("widest directions: variance of real SGD / variance of the model")
for ratio, error, shift in zip(
    found.ratio[top], found.ratio_error[top], found.shift[top], strict=True
):
    print(f"   {ratio:5.2f} (± {error:.2f}), mean off by {shift:+.2f} standard deviations")
shown, refuted = int(found.holds.sum()), int(found.fails.sum())
print(f"within 50 %: shown in {shown}, refuted in {refuted} of {len(found.ratio)} directions")

# %% [markdown]
# Networks are no bowls, so expect the description to be rough. Which is why the proof must
# not lean on it.
#
# ## Prove
#
# The certificate is about a *randomised* network: weights drawn from a Gaussian cloud around the
# fine-tuned ones. The price is how far that cloud is from another one around the pre-trained
# weights, which has not seen the target. It includes the cost of everything that was chosen and of
# measuring the training error with random draws: see the ledger.

# %%
settings = dict(
    posterior_center=finetuned,
    target_data=target,
    shape="laplace",
    draws=DRAWS,
    key=jax.random.key(2),
)
certificate = ou.certify(
    network, ou.transfer.loss01, prior_center=pretrained, source_data=source, **settings
)
print(certificate)

# %% [markdown]
# ## And without pre-training?
#
# The same, with the untrained network's weights in the place of the pre-trained ones. Then we open
# the drawer.

# %%
nothing = ou.certify(
    network,
    ou.transfer.loss01,
    prior_center=network,
    prior="isotropic",
    **{k: v for k, v in settings.items() if k != "shape"},
)
bars, markers = {}, {}
for name, c in (("from pre-training", certificate), ("from nothing", nothing)):
    seen = c.test_risk(network, ou.transfer.loss01, drawer, key=jax.random.key(3))
    measured_error = f"{100 * seen.value:.1f} % (± {100 * seen.standard_error:.1f} %)"
    print(f"{name:18s} error at most {100 * c.bound:.1f} % (price {c.kl:.1f} nats); ", end="")
    print(f"in the drawer {measured_error}")
    bars[name] = {
        "training error": c.risk_mc,
        "measured with draws": c.risk_upper - c.risk_mc,
        "price of learning": c.bound - c.risk_upper,
    }
    markers[name] = seen.value
assert certificate.bound < nothing.bound
with plots.style():
    figure, ax = plt.subplots(figsize=(7, 2.6))
    plots.bound_decomposition(bars, markers=markers, marker_label="in the drawer", ax=ax)
    ax.set_xlabel("error")
    ax.legend(fontsize=7)
plt.show()

# %% [markdown]
# ## Can somebody else check it?
#
# `save` keeps everything that the number was made of, and `verify` recomputes all of it: the draws,
# the distance between the clouds, the accounts, the bound.

# %%
with tempfile.TemporaryDirectory() as folder:
    certificate.save(folder)
    check = ou.transfer.verify(folder, network, ou.transfer.loss01, target)
print(check)
assert check.ok

# %% [markdown]
# ## Can it be cheated?
#
# The belief must not have seen the target. If target examples hide in the source, it is
# refused.

# %%
mixed = tuple(np.concatenate(parts) for parts in zip(source, target, strict=True))
try:
    ou.certify(network, ou.transfer.loss01, prior_center=pretrained, source_data=mixed, **settings)
except ValueError as refusal:
    print("refused:", refusal)

# %% [markdown]
# ## What you have seen
#
# - Two checkpoints, a loss and a few hundred examples are all that jaxou needs.
# - The description (a bowl, Gaussian noise) may be rough for a network; jaxou measures how rough.
# - The certificate does not depend on it. Pre-training makes it tighter, and all can verify it.
#
# **Where to go next.** `jaxou.report.run(...)` does all of this in one call and writes a page to
# read in the browser. Many settings at once: `07_large_studies`.
