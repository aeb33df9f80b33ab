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
# # When SGD is *not* a Gibbs sampler
#
# It is often said that SGD samples from $e^{-L/T}$, the Gibbs law of the loss $L$ at a temperature
# $T$ set by the learning rate and the batch size. That needs the gradient noise to be equally
# strong in all directions. This notebook takes one bowl, changes only the noise, and looks at
# what is left of the saying: four cases, one question, one picture each.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxou as ou
from jaxou import plots
from jaxou.convergence.statistics import Covariance, MeanChi2, evaluate

PARTICLES = 2_000 if os.environ.get("JAXOU_FAST") else 50_000

# %% [markdown]
# ## One bowl, four kinds of noise
#
# `noise` is $C$, the covariance of one example's gradient. All four have the same trace, so the
# same amount of noise in total; and all four lead to the same average loss.

# %%
A = jnp.array([[2.0, 0.0], [0.0, 0.5]])
NOISES = {
    "equal in all directions": jnp.eye(2),
    "like the curvature": 0.8 * A,
    "on the curvature's axes": jnp.diag(jnp.array([0.4, 1.6])),
    "across the axes": jnp.array([[1.0, 0.9], [0.9, 1.0]]),
}


def bowl(noise):
    return ou.Stage(
        hessian=A,
        noise=noise,
        minimum=jnp.zeros(2),
        learning_rate=0.02,
        batch_size=4,
        steps=100,
    )


for name, noise in NOISES.items():
    stage = bowl(noise)
    loss = float(stage.excess_loss(stage.gibbs()))
    print(f"{name:24s} trace C {float(jnp.trace(noise)):.1f}, average loss {loss:.5f}")
    print(f"   {ou.irreversibility(stage).sentence}")

# %% [markdown]
# The ellipses hold 50, 90 and 99 % of the particles, on the same scale in all four pictures. Only
# the first law is a Gibbs law of the loss. The second ignores the loss altogether: a round
# cloud in a long bowl. The third is a Gibbs law, but of another landscape. The fourth is no
# equilibrium at all: the cloud stands still, and inside it the particles circulate.

# %%
with plots.style():
    figure, axes = plt.subplots(1, 4, figsize=(11, 4.6), sharex=True, sharey=True)
    for ax, (name, noise) in zip(axes, NOISES.items(), strict=True):
        report = ou.irreversibility(bowl(noise))
        law, turning = report.current.law, report.current.antisymmetric
        plots.current(law.mean, law.covariance, turning, kind="quiver", points=11, ax=ax)
        ax.set(xlim=(-0.16, 0.16), ylim=(-0.3, 0.3), aspect="equal", title=name)
        ax.title.set_fontsize(9)
plt.show()

# %% [markdown]
# ## Does the circulation exist, or only on paper?
#
# Film the particles and play the film backwards. At equilibrium nobody can tell the difference;
# with a current one can. The test below flips the direction of time at random, and asks whether
# the real film stands out. It uses the particles' positions alone: no formula of the theory.

# %%
p_values = {}
for name in ("on the curvature's axes", "across the axes"):
    stage = bowl(NOISES[name])
    rest = ou.Chain([stage], initial=stage.stationary())  # start where SGD ends up
    film = ou.simulate(
        rest,
        particles=PARTICLES,
        key=jax.random.key(1),
        save=10,
        observe=ou.Paths(PARTICLES),
    )
    report = ou.irreversibility(rest, run=film)
    p_values[name] = report.reversal.p_reversible
    print(f"{name}: p = {report.reversal.p_reversible:.2g} that the film may be played backwards")
    if report.reversal.amplitude is not None:
        seen, error = report.reversal.amplitude, report.reversal.amplitude_error
        print(f"   current: {seen:.2f} (± {error:.2f}) times what the theory predicts")
assert p_values["across the axes"] < 0.01 < p_values["on the curvature's axes"]

# %% [markdown]
# ## The popular formula, put to the test
#
# If curvature and noise shared their axes, the covariance would be
# $\frac{\eta}{2b}A^{-1}C$ on them. For the fourth noise they do not. Take what is left of that
# formula (its diagonal in the axes of $A$) as a claim about 50,000 particles (2,000 in the quick
# version), and the right law as another claim.

# %%
stage = bowl(NOISES["across the axes"])
epsilon = float(stage.learning_rate / stage.batch_size)
commuting = jnp.diag(epsilon / 2 * jnp.diag(NOISES["across the axes"]) / jnp.diag(A))
claims = {"popular": ou.Gaussian(jnp.zeros(2), commuting), "exact": stage.stationary()}
chain = ou.Chain([stage.replace(steps=5000)], initial=ou.Gaussian(jnp.zeros(2), 0.0))
run = ou.simulate(chain, particles=PARTICLES, key=jax.random.key(2))
for name, law in claims.items():
    z = np.asarray(ou.convergence.normal_scores(np.asarray(run.final), law))
    found = evaluate((MeanChi2(), Covariance()), z)
    print(f"{name:8s} p = {found.family.p_value:.2g}, KL from the exact law ", end="")
    print(f"{float(claims['exact'].kl(law)):.3f} nats")

# %% [markdown]
# ## Another reason: steps are not infinitesimal
#
# Even with equal noise, SGD takes steps of finite size. Its law is a little wider than the one of
# the differential equation, by a factor $1/(1-\eta a/2)$ in a direction of curvature $a$. Small
# at small learning rates; decisive near the limit of stability $\eta = 2/a$.

# %%
for rate in (0.02, 0.2, 0.8):
    stage = bowl(jnp.eye(2)).replace(learning_rate=rate)
    wider = np.diag(stage.stationary().covariance) / np.diag(stage.gibbs().covariance)
    steep, flat = 100 * (wider - 1)
    print(f"learning rate {rate:4.2f}: wider by {steep:6.1f} % (steep), {flat:5.1f} % (flat)")

# %% [markdown]
# ## And a third: noise that depends on the weights
#
# Two valleys, exactly alike. With constant noise at temperature $T$, half of the particles end up
# in either: what the Gibbs law says. Now let the noise be louder in the right valley, as
# gradients of minibatches often are where the model is worse. The loss is the same as before.


# %%
def valleys(x):
    return (x[0] ** 2 - 1) ** 2 / 4


TEMPERATURE = 0.12
quiet = ou.PotentialStage(
    valleys, dimension=1, noise=ou.Temperature(TEMPERATURE), learning_rate=0.05, steps=3000
)
# the same strength at x = 0, half as much variance far to the left, half more far to the right
strength = 2 * TEMPERATURE / 0.05
uneven = quiet.replace(noise=lambda x: jnp.sqrt(strength * (1 + jnp.tanh(2 * x) / 2)))
right = ou.Statistic(lambda x: x[0] > 0, name="right")
shares = {}
for name, stage in (("constant noise", quiet), ("louder to the right", uneven)):
    film = ou.simulate(
        ou.Chain([stage], initial=ou.Gaussian(jnp.zeros(1), 0.5)),
        particles=PARTICLES,
        key=jax.random.key(3),
        method=ou.EulerMaruyama(),
        observe=right,
    )
    seen = film.observed["right"]
    shares[name] = float(seen.mean[-1]), float(seen.standard_error[-1])
    print(f"{name:19s} share to the right {shares[name][0]:.3f} (± {shares[name][1]:.3f})")
print(f"Gibbs law           share to the right {1 - float(quiet.gibbs().cdf(0.0)):.3f}")
gap = shares["constant noise"][0] - shares["louder to the right"][0]
assert gap > 5 * shares["constant noise"][1]

# %% [markdown]
# Particles leave the loud valley more often than the quiet one. So SGD prefers the quiet
# valley, though both are equally deep and equally wide.

# %% [markdown]
# ## What you have seen
#
# - SGD samples $e^{-L/T}$ when its noise is equal in all directions, and steps are small.
# - Otherwise the cloud has another shape, and in general a current inside, which particles show.
# - The average loss cannot tell the four noises apart: it only sees the total.
# - Noise that depends on the weights moves particles between valleys that the loss holds equal.
#
# **Where to go next.** Do real minibatch gradients follow any of this? `04_is_the_sde_right`.
