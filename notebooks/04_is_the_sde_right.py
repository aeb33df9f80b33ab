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
# # Is the SDE right?
#
# The theory replaces SGD by a stochastic differential equation (SDE). That is two simplifications
# on top of each other: steps become infinitesimal, and the noise of minibatches becomes Gaussian
# noise of constant strength. Here real SGD, on real patients, runs beside the theory until they
# part, and we see which simplification is to blame.
#
# The data come with scikit-learn (`pip install 'jaxou[data]'`): 442 diabetes patients with ten
# measurements each. Nothing is downloaded.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxou as ou
from jaxou import plots
from jaxou.convergence.statistics import Covariance
from jaxou.transfer.experiment.diabetes import domains

jax.config.update("jax_enable_x64", True)

FAST = bool(os.environ.get("JAXOU_FAST"))
RUNS = 1_000 if FAST else 4_000
RATES = (0.01, 0.2) if FAST else (0.01, 0.05, 0.1, 0.2)

# %% [markdown]
# ## A loss that is a bowl everywhere
#
# Linear regression with squared error. Its loss is exactly quadratic, so a curved landscape cannot
# be the reason for any difference we find. "Pre-training" has seen the patients of one sex,
# fine-tuning sees those of the other.

# %%
source, target = domains()
WEIGHT_DECAY, BATCH, FLOW_TIME = 0.05, 8, 60.0


def squared_error(weights, patient):
    x, y = patient
    return 0.5 * (x @ weights - y) ** 2


def moments(data, rate):
    """Everything that can be known exactly about SGD on these data."""
    return ou.transfer.least_squares_moments(
        *data, learning_rate=rate, batch_size=BATCH, weight_decay=WEIGHT_DECAY
    )


for name, data in (("source", source), ("target", target)):
    print(f"{name}: {len(data.y)} patients, {data.x.shape[1]} measurements")
step_limit = 2 / float(np.linalg.eigvalsh(moments(target, 0.01).hessian + 0)[-1])
print(f"SGD's mean is stable below learning rate {step_limit:.2f}")

# %% [markdown]
# ## Three theories and the truth
#
# - the **SDE**: infinitesimal steps, constant noise;
# - the **chain**: SGD's own steps, constant noise;
# - **least squares, exactly**: SGD's own steps, and the noise as it is. Away from the minimum,
#   gradients of different patients disagree more; so the noise grows with the distance.
#
# Nothing below is fitted to the runs. `ou.RealSGD` draws minibatches of real patients. The number
# in the table is the total variance of the weights at the last step; behind ± is the standard
# error of the measurement.

# %%
rows = []
for rate in RATES:
    exact = moments(target, rate)
    stage = exact.stage(round(FLOW_TIME / rate))
    begin = ou.Gaussian(moments(source, rate).optimum, jnp.zeros(()))
    chain = ou.Chain([stage], initial=begin, names=("finetune",))
    run = ou.simulate(
        chain,
        particles=RUNS,
        key=jax.random.key(0),
        method=ou.RealSGD(jnp.zeros(10), squared_error, tuple(target)),
    )
    gap = np.asarray(run.final, float) - np.asarray(run.final, float).mean(axis=0)
    squares = (gap**2).sum(axis=1) * RUNS / (RUNS - 1)
    trace = lambda law: float(jnp.trace(law.covariance))
    rows.append(
        {
            "rate": rate,
            "runs": squares.mean(),
            "error": squares.std() / np.sqrt(RUNS),
            "SDE": trace(chain.law(time=stage.duration)),
            "chain": trace(chain.law(step=stage.steps)),
            "exact": trace(exact.law(begin, stage.steps)),
            "run": run,
            "chain_of": chain,
        }
    )
    r = rows[-1]
    print(f"learning rate {rate:4.2f}: real SGD {r['runs']:.5f} (± {r['error']:.5f})", end="")
    for k in ("SDE", "chain", "exact"):
        print(f"   {k} {r[k]:.5f} ({100 * (r[k] / r['runs'] - 1):+.1f} %)", end="")
    print()

# %% [markdown]
# At a small learning rate all theories agree with the runs within the error of the measurement. At
# a large one the SDE misses much of the variance. Correct steps recover a part of it; the rest is
# the noise that grows with distance, because the theory that has both misses nothing.

# %%
grid = np.geomspace(0.005, 0.3, 9 if FAST else 25)
lines = {"SDE": [], "chain": [], "exact": []}
for rate in grid:
    exact = moments(target, float(rate))
    stage = exact.stage(1)
    lines["SDE"].append(float(jnp.trace(stage.gibbs().covariance)))
    lines["chain"].append(float(jnp.trace(stage.stationary().covariance)))
    lines["exact"].append(float(jnp.trace(exact.steady().covariance)))
with plots.style():
    figure, ax = plt.subplots(figsize=(6.5, 3.6))
    for (name, values), colour in zip(
        lines.items(), ("#0072B2", "#E69F00", "#009E73"), strict=True
    ):
        ax.plot(grid, np.array(values) / grid, color=colour, label=name)
    ax.errorbar(
        [r["rate"] for r in rows],
        [r["runs"] / r["rate"] for r in rows],
        [2 * r["error"] / r["rate"] for r in rows],
        fmt="o",
        color="black",
        label="real SGD (± 2 standard errors)",
    )
    ax.set_xscale("log")
    ax.set_xlabel("learning rate")
    ax.set_ylabel("variance / learning rate")
    ax.legend()
plt.show()

# %% [markdown]
# The SDE's line is flat: its variance is proportional to the learning rate, always. Reality bends
# upwards.
#
# ## In which directions?
#
# `ou.agreement` compares the runs with their model in the model's own directions, and says where it
# holds within a tolerance, where it fails, and where these runs cannot tell.

# %%
for r in (rows[0], rows[-1]):
    found = ou.agreement(r["run"], r["chain_of"], tolerance=0.25)
    print(f"learning rate {r['rate']}: variance of real SGD / variance of the chain")
    for k in range(len(found.ratio)):
        word = "holds" if found.holds[k] else "fails" if found.fails[k] else "undecided"
        ratio = f"{found.ratio[k]:5.2f} (± {found.ratio_error[k]:.2f})"
        print(f"   curvature {found.curvature[k]:6.3f}   {ratio}   {word}")

# %% [markdown]
# ## A verdict, not an opinion
#
# Is the whole covariance that of the chain? At the smaller learning rate so many runs cannot tell a
# difference; at the larger one the chain is rejected. (Without `statistics=`, `ou.verdict` asks ten
# questions at once.)

# %%
for r in (rows[0], rows[-1]):
    verdict = ou.verdict(r["run"], r["chain_of"], statistics=(Covariance(),))
    p = verdict.stages[0].p_value
    print(f"learning rate {r['rate']}: {verdict.decision} (p = {p:.2g}, {RUNS:,} runs)")
assert verdict.decision == "rejected"

# %% [markdown]
# ## What you have seen
#
# - At small learning rates real SGD on a quadratic loss is the SDE, to within what can be measured.
# - At large ones it is wider. Part of that is the size of the steps (jaxou's *chain* has it right),
#   part is noise that depends on the weights (only the exact moments have it right).
# - "In which directions, by how much, and how sure" is one call: `ou.agreement`.
#
# **Where to go next.** What the laws are good for, `05_bounds`; the same questions about your own
# network, `06_your_network`.
