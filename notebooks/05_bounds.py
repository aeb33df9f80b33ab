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
# # Bounds, gradients and tuning
#
# A *PAC-Bayes bound* says: with probability 95 %, the error on new data is at most the error on the
# training data plus a price. The price grows with how far the weights have moved from what one
# believed before seeing the data. With two stages there is a natural belief: the law that
# pre-training left. So the price of fine-tuning is KL(after fine-tuning || after pre-training),
# and all of it is a smooth function of the learning rate, the batch size and the number of steps.
# So let us differentiate it.
#
# One caution first. Everything here is in *model mode*: the bound is about SGD as if it were the
# process of the theory. For a bound about a real network that assumes nothing of the kind, see
# `06_your_network`.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import jaxou as ou
from jaxou import plots

jax.config.update("jax_enable_x64", True)

FAST = bool(os.environ.get("JAXOU_FAST"))
D = 10

# %% [markdown]
# ## The setting
#
# Ten weights, 50,000 source examples, 1,000 target examples. Curvatures fall from 1 to 0.05, and
# the target's minimum is a little away from the source's. `risk` is the training error of a law of
# weights; `SaturatedRisk` gives it in closed form, so that gradients see both sides of the trade:
# more fine-tuning fits better and costs more.

# %%
curvature = jnp.geomspace(1.0, 0.05, D)
pretrain = ou.Stage(
    hessian=curvature,
    noise=0.5 * curvature + 0.05,
    minimum=jnp.zeros(D),
    learning_rate=0.1,
    batch_size=4,
    steps=2000,
)
finetune = pretrain.replace(minimum=0.3 * jnp.ones(D), learning_rate=0.05, steps=400)
training = ou.TwoStage(pretrain, finetune, initial=ou.Gaussian(jnp.zeros(D), 1.0))
risk = ou.SaturatedRisk(finetune.hessian, finetune.minimum, floor=0.05)
setting = dict(n_source=50_000, n_target=1_000, risk=risk, delta=0.05)

bound = ou.two_stage_bound(training, law="finite", **setting)
print(f"training error on the target {float(bound.target.risk):.3f}")
print(f"KL to pre-training           {float(bound.target.kl):.2f} nats")
print(f"error on new data, at most   {float(bound.target.value):.3f}")
print(ou.bounds.dominance(bound))

# %% [markdown]
# ## What is the price made of?
#
# The KL is a sum of terms: how far the mean moved (SHIFT), how the spread changed (TRACE, LOGDET,
# and DIM, the number of weights). Below the line is what every bound of this kind pays: for the
# confidence, and for the number of examples.

# %%
share = float(bound.target.terms.shift / (2 * bound.target.kl))
print(f"the shift of the mean is {100 * share:.0f} % of the price of fine-tuning")
with plots.style():
    figure, ax = plt.subplots(figsize=(7, 4.2))
    plots.bound_terms(bound, ax=ax)
    ax.legend()
plt.show()

# %% [markdown]
# ## When to stop
#
# Every number of steps has its own bound; and reading off the best is free, because a PAC-Bayes
# bound holds for all laws of the weights at once.

# %%
best = ou.bounds.best_stopping(training, clock="step", horizon=2000, **setting)
path = ou.bounds.bound_path(
    training, steps=np.unique(np.geomspace(1, 2000, 40).astype(int)), **setting
)
print(f"best: {float(best.time):.0f} steps, bound {float(best.value):.3f}; ", end="")
print(f"no fine-tuning {float(best.value_start):.3f}, 2,000 steps {float(best.value_end):.3f}")
with plots.style():
    figure, ax = plt.subplots(figsize=(6.5, 3.4))
    plots.stopping(
        path.times,
        path.value,
        risk=path.risk,
        gap=path.gap,
        best_time=best.time,
        log_time=True,
        ax=ax,
    )
    ax.legend()
plt.show()

# %% [markdown]
# ## What moves the bound?
#
# Exact derivatives. "Elasticity" is the handy one: by how many per cent does the bound move if a
# setting grows by one per cent? The check below moves one setting by 1 % and computes the bound
# again.

# %%
objective = ou.bounds.TargetBound(law="finite", **setting)
found = ou.bounds.sensitivities(objective, training)
print(found)
name = found.names.index("finetune.learning_rate")
moved = training.with_finetune(learning_rate=float(finetune.learning_rate) * 1.01)
change = 100 * (float(objective(moved)) / float(objective(training)) - 1)
elasticity = float(found.elasticity[name])
print(f"one per cent more learning rate: {change:+.4f} % (elasticity {elasticity:+.4f})")
assert abs(change - elasticity) < 0.02 * abs(change)

# %% [markdown]
# ## A map
#
# The bound over the learning rate and the batch size of fine-tuning; both axes are logarithmic.

# %%
points = 12 if FAST else 60
grid = ou.bounds.bound_grid(
    training,
    {
        "finetune.learning_rate": np.geomspace(0.003, 1.5, points),
        "finetune.batch_size": np.geomspace(1, 64, points),
    },
    **setting,
)
rates, batches = grid.axes["finetune.learning_rate"], grid.axes["finetune.batch_size"]

# %% [markdown]
# And the way that an optimiser takes through it. `ou.tune` goes downhill along the exact gradient.
# It also keeps the accounts: settings of the *last* stage may be chosen by looking at the target
# data, for free. Settings of pre-training may not, because they shape the belief.

# %%
tuned = ou.tune(objective, training, optimizer=optax.adam(0.2), steps=40 if FAST else 150)
print(tuned.note)
lowest = float(jnp.nanmin(grid.value))
print(f"bound {float(tuned.history[0]):.4f} -> {float(tuned.value):.4f}; ", end="")
print(f"lowest on the map {lowest:.4f}")
way = np.stack(
    [np.asarray(tuned.trajectory[f"finetune.{x}"]) for x in ("learning_rate", "batch_size")],
    axis=-1,
)
with plots.style():
    figure, ax = plt.subplots(figsize=(6.5, 4))
    plots.bound_map(
        rates,
        batches,
        grid.value.T,
        here=tuple(way[0]),
        path=way,
        label="bound on the target error",
        ax=ax,
    )
    ax.legend(fontsize=7, loc="lower right")
plt.show()

# %%
greedy = ou.tune(objective, training, over=("pretrain.learning_rate",), steps=5)
print("tuning pre-training on the target:", greedy.note)

# %% [markdown]
# ## Which inequality?
#
# "Training error plus price" has been sharpened many times. All rows of the catalogue take the same
# four numbers.

# %%
numbers = bound.target.risk, bound.target.kl, 1_000, 0.025
for name in ("mcallester_loose", "mcallester_he", "maurer_pinsker", "quadratic", "seeger"):
    print(f"{name:18s} {float(getattr(ou.bounds, name)(*numbers)):.4f}")

# %% [markdown]
# ## What you have seen
#
# - The bound trades fit against distance from pre-training, so there is a best time to stop.
# - Its derivatives are exact, cheap, and agree with moving the setting by hand.
# - Choosing settings of the last stage is free; choosing those of pre-training is not, and jaxou
#   says so.
#
# **Where to go next.** A bound without the assumption that SGD follows the theory, for your own
# model: `06_your_network`. Whole tables of such bounds: `07_large_studies`.
