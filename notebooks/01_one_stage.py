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
# # One stage of training
#
# Near the bottom of a loss, one step of SGD is
# $\theta \leftarrow \theta - \eta\,(A(\theta-\theta^*) + \text{noise})$, with noise of
# covariance $C/b$. This notebook asks three things of that little process: where does it end up,
# how fast, and do simulated particles agree?

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxou as ou
from jaxou import plots

PARTICLES = 1_000 if os.environ.get("JAXOU_FAST") else 20_000

# %% [markdown]
# Curvature $A$ and noise $C$ need not share their axes. Here they do not.

# %%
A = jnp.array([[1.0, 0.4], [0.4, 0.5]])
C = jnp.array([[1.0, -0.3], [-0.3, 0.6]])
stage = ou.Stage(
    hessian=A, noise=C, minimum=jnp.zeros(2), learning_rate=0.1, batch_size=4, steps=150
)
start = ou.Gaussian(jnp.array([-1.2, 1.0]), 0.01)
training = ou.Chain([stage], initial=start)

# %% [markdown]
# ## Where it ends up
#
# Two steady laws, close but not equal: the one of the stochastic differential equation (the Gibbs
# law), and the one of SGD's own steps. Mixing them up costs a few per cent of variance at this
# learning rate; enough for a test with many particles to notice.

# %%
print("Gibbs:", stage.gibbs().covariance)
print("SGD:  ", stage.stationary().covariance)

# %% [markdown]
# ## How fast
#
# The law after $n$ steps is known exactly, so is its distance to the Gibbs law. The slope at late
# times is set by the smallest curvature.

# %%
steps = np.linspace(0, 150, 16).astype(int)
laws = [training.law(step=int(n)) for n in steps]
run = ou.simulate(training, particles=PARTICLES, key=jax.random.key(0), save=15)
gibbs = stage.gibbs()
seen = [
    float(ou.Gaussian(m, c).kl(gibbs))
    for m, c in zip(run.moments.mean, run.moments.covariance, strict=True)
]
floor = 2 * (2 + 3) / (4 * PARTICLES)

with plots.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    plots.decay(steps, [float(law.kl(gibbs)) for law in laws], measured=seen, floor=floor, ax=left)
    left.set_ylabel("KL to the Gibbs law (nats)")
    left.legend()
    plots.cloud(run.final, gibbs.mean, gibbs.covariance, ax=right)
    right.legend()
plt.show()

# %% [markdown]
# ## Do the particles agree?
#
# A verdict compares them with the law they must have *at that step*, and separately says how far
# that is from equilibrium. "Consistent" is not "converged".

# %%
verdict = ou.verdict(run, training)
print(verdict)
assert verdict.decision == "consistent"

# %% [markdown]
# ## What you have seen
#
# - SGD near a minimum settles into a cloud whose shape is known, and which is a little wider than
#   the one of the differential equation.
# - The law at every step is known too, and simulated particles agree with it.
#
# **Where to go next.** A second stage, fine-tuning: `02_two_stages`. When the cloud is not the one
# of statistical physics: `03_not_gibbs`.
