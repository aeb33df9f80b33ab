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
# # Two stages: pre-training, then fine-tuning
#
# Most models are trained twice: first on plenty of data (the *source*), then on a little of the
# data one cares about (the *target*). Near a minimum, each stage is a ball that rolls in a bowl
# while being kicked at random, and the second bowl has its floor somewhere else. The ball starts
# the second stage wherever the first one left it.
#
# What does the second stage remember of the first, for how long, and what is that worth?

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxou as ou
from jaxou import plots

PARTICLES = 2_000 if os.environ.get("JAXOU_FAST") else 50_000

# %% [markdown]
# ## The two bowls
#
# A stage is a curvature (`hessian`), the covariance of one example's gradient (`noise`), the floor
# of the bowl (`minimum`) and SGD's settings. Here one direction is steep in both bowls and the
# other is nearly flat, and fine-tuning pulls equally far in both.

# %%
pretrain = ou.Stage(
    hessian=jnp.array([[1.0, 0.1], [0.1, 0.05]]),
    noise=jnp.array([[1.0, 0.2], [0.2, 0.3]]),
    minimum=jnp.zeros(2),
    learning_rate=0.1,
    batch_size=8,
    steps=600,
)
finetune = ou.Stage(
    hessian=jnp.array([[1.2, 0.0], [0.0, 0.06]]),
    noise=jnp.array([[0.8, 0.0], [0.0, 0.2]]),
    minimum=jnp.ones(2),
    learning_rate=0.05,
    batch_size=8,
    steps=400,
)
start = ou.Gaussian(jnp.array([-1.0, -1.5]), 0.05)
training = ou.TwoStage(pretrain, finetune, initial=start)

# %% [markdown]
# ## The whole training in one picture
#
# Every particle is one training run with its own random kicks. The dashed lines are not fitted to
# them: the law of the weights after any number of steps is known exactly.

# %%
SAVES = 20
run = ou.simulate(
    training, particles=PARTICLES, key=jax.random.key(0), save=SAVES, observe=ou.Histogram()
)
levels = (0.05, 0.25, 0.5, 0.75, 0.95)
bands = np.stack([np.asarray(run.observed["histogram"].quantile(q)) for q in levels], axis=-1)
change = int(pretrain.steps)
steps = np.asarray(run.steps).round()


def law_at(stage, numbers):
    """Mean and standard deviation after so many steps of a stage, all of them in one call."""

    def one(n):
        law = training.law(stage=stage, step=n)
        return law.mean, jnp.sqrt(jnp.diag(law.covariance))

    return jax.jit(jax.vmap(one))(jnp.asarray(numbers, float))


first = law_at("pretrain", steps[: SAVES + 1])
second = law_at("finetune", steps[SAVES + 1 :] - change)
mean, sd = (np.concatenate(parts) for parts in zip(first, second, strict=True))

with plots.style():
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4))
    for i, (ax, word) in enumerate(zip(axes, ("steep", "nearly flat"), strict=True)):
        theory = dict(theory_mean=mean[:, i], theory_sd=sd[:, i])
        plots.trajectory_fan(steps, bands[:, i], **theory, stage_change=change, ax=ax)
        ax.set_ylabel(f"{word} direction")
    axes[1].legend(fontsize=7)
plt.show()

# %% [markdown]
# The steep direction forgets at once. The flat one is still on its way when the training ends: a
# direction of curvature $a$ forgets like $e^{-a\eta n}$ after $n$ steps of size $\eta$.

# %%
for i, word in enumerate(("steep", "flat ")):
    rate = float(finetune.hessian.dense()[i, i] * finetune.learning_rate)
    left = (1 - mean[-1, i]) / (1 - mean[SAVES, i])
    print(f"{word}: half of the way takes {np.log(2) / rate:5.0f} steps; ", end="")
    print(f"after all {finetune.steps:.0f} of them {100 * left:.2f} % is left")

# %% [markdown]
# ## Do the particles have their law?
#
# A verdict asks it at the end of each stage, with ten statistics at once and one overall false
# alarm rate. Further down it says something else: how far each stage ended from *equilibrium*.
# Both stages can be "consistent" with their law while the second is nowhere near at rest.

# %%
verdict = ou.verdict(run, training)
print(verdict)
assert verdict.decision == "consistent"
for found in verdict.stages:
    print(f"{found.name}: exact KL to its own steady law {found.budget.distance:.3g} nats")

# %% [markdown]
# ## What was the first stage worth?
#
# Compare with fine-tuning that starts from scratch. `excess_loss` is the average height above the
# floor of the target's bowl. `forgetting` is the same in the source's bowl: what the model loses at
# its first job.

# %%
scratch = ou.Chain([finetune], initial=start)
print("step   target loss,  from scratch    source loss (forgetting)")
for n in (0, 20, 100, 400):
    law = training.law(stage="finetune", step=n)
    alone = scratch.law(step=n)
    losses = finetune.excess_loss(law), finetune.excess_loss(alone), pretrain.excess_loss(law)
    print(f"{n:4d} {float(losses[0]):12.4f} {float(losses[1]):14.4f} {float(losses[2]):18.4f}")

# %% [markdown]
# ## One number for "how different are the two domains?"
#
# The theory's discrepancy is twice the KL divergence between the two steady laws. It splits into
# what comes from the shift of the minimum and what comes from the shapes of the two clouds.
# This number is what a generalisation bound charges for (see the notebook on bounds).

# %%
gap = ou.discrepancy(training)
shape = float(gap.trace + gap.logdet + gap.dimension)
print(f"2 KL(target || source) = {float(gap.value):.2f} nats")
print(f"  shift of the minimum   {float(gap.shift):.2f}")
print(f"  shapes of the clouds   {shape:.2f}")
print(f"Wasserstein distance     {float(gap.w2):.3f}")
with plots.style():
    figure, ax = plt.subplots(figsize=(6, 3.2))
    for stage, colour, name in (
        (pretrain, "pretrain", "after pre-training"),
        (finetune, "finetune", "after fine-tuning"),
    ):
        points = run.stage_ends[0 if stage is pretrain else 1][:800]
        law = stage.gibbs()
        plots.cloud(
            points, law.mean, law.covariance, colour=plots.COLOURS[colour], label=name, ax=ax
        )
    ax.legend(fontsize=7)
plt.show()

# %% [markdown]
# ## What you have seen
#
# - Two stages of SGD in two bowls have an exact law at every step, and particles follow it.
# - Flat directions remember pre-training long after the steep ones have forgotten it.
# - "Consistent with its law" and "at equilibrium" are two answers to two questions.
#
# **Where to go next.** When the cloud at the end is *not* the one of statistical physics:
# `03_not_gibbs`. What the discrepancy costs in a guarantee: `05_bounds`.
