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
# # Large studies
#
# One question asked a thousand times: how does the bound depend on the learning rate, the batch
# size, the distance between the domains? A *study* is a design over the settings of an experiment.
# Its cells are computed in batches, every cell becomes one small file, and what is on disk
# stays valid whatever happens: a killed job, a full disk, two jobs at once.

# %%
import os
import tempfile
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np

from jaxou import plots, studies
from jaxou.studies import ready

jax.config.update("jax_enable_x64", True)

FAST = bool(os.environ.get("JAXOU_FAST"))
folder = tempfile.TemporaryDirectory()
out = Path(folder.name) / "study"

# %% [markdown]
# ## A question
#
# How many steps of fine-tuning, at which learning rate? The axes of a design are settings by name.
# `quantities` are what to compute; a wrong name is refused with the nearest right one.

# %%
study = studies.Study.make(
    name="how_long",
    experiment="theory",
    quantities=["target_bound", "risk", "kl"],
    base={"law": "finite", "problem": {"dimension": 10, "shift": 0.5}, "bound": {"n_target": 500}},
    design={
        "axes": {
            "finetune.learning_rate": [0.005 * 2**k for k in range(10)],
            "finetune.steps": [1, 4, 16, 64, 256] if FAST else [1, 2, 4, 8, 16, 32, 64, 128, 256],
        }
    },
    replicates=3,
)
cells = list(study.cells())
print(f"{len(cells)} cells, for instance {cells[7].varied}")

# %%
try:
    axes = {"finetune.steps": [1, 2]}
    studies.Study.make(
        name="typo", experiment="theory", quantities=["targt_bound"], design={"axes": axes}
    )
except ValueError as refusal:
    print("refused:", refusal)

# %% [markdown]
# ## Compute half of it, and be interrupted
#
# A shard is every $n$-th cell: this is how a queue of independent jobs shares a study, with no
# other coordination than the folder. Here only the first of two jobs has run when we look.

# %%
first = studies.run(study, out, shard=(0, 2), progress=False)
table = studies.collect(out)
print(f"computed {first.computed} of {first.total}; missing now {len(table.missing)}")

# %% [markdown]
# ## Go on
#
# Call it again and it computes what is missing, nothing else.

# %%
second = studies.run(study, out, progress=False)
again = studies.run(study, out, progress=False)
print(f"found {second.before}, computed {second.computed}; once more: computed {again.computed}")
assert first.computed + second.computed == len(cells) and again.computed == 0

# %% [markdown]
# ## The table
#
# One row per cell: the axes, the replicate, the quantities, and what went wrong, if anything. A
# learning rate beyond the limit of stability is an answer (no number, and a status that says why),
# not a crash.

# %%
table = studies.collect(out)
print("\n".join(table.to_csv().splitlines()[:4]))
status = table.column("status")
for word in sorted(set(status.tolist())):
    print(f"{int((status == word).sum()):4d} cells: {word or 'fine'}")

# %% [markdown]
# ## The answer
#
# Averages over the replicates, which differ in the directions of the problem, with their standard
# errors.

# %%
rates, steps = (np.unique(table.column(f"finetune.{x}")) for x in ("learning_rate", "steps"))
values = table.column("target_bound").reshape(len(rates), len(steps), 3)
mean, error = values.mean(axis=-1), values.std(axis=-1, ddof=1) / np.sqrt(3)
i, j = np.unravel_index(np.nanargmin(mean), mean.shape)
print(f"lowest bound {mean[i, j]:.4f} (± {error[i, j]:.4f}) ", end="")
print(f"at learning rate {rates[i]:.3g}, {steps[j]:.0f} steps")
with plots.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    plots.study_map(
        rates,
        steps,
        mean.T,
        x_label="learning rate",
        y_label="steps",
        label="bound on the target error",
        x_scale="log",
        y_scale="log",
        ax=left,
    )
    product = rates[:, None] * steps[None, :]
    plots.study_scatter(
        product.ravel(),
        mean.ravel(),
        colour=np.broadcast_to(rates[:, None], mean.shape).ravel(),
        x_label="learning rate x steps",
        y_label="bound",
        colour_label="learning rate",
        x_scale="log",
        ax=right,
    )
plt.show()

# %% [markdown]
# To the right the same cells against learning rate $\times$ steps. If the points fall on one curve,
# only the product matters: training is a movement through *flow time*, and the learning rate says
# how finely it is cut. Here are all cells with the product 1.28:

# %%
for i, j in np.argwhere(np.isclose(product, 1.28)):
    value = f"{mean[i, j]:.4f} (± {error[i, j]:.4f})"
    print(f"learning rate {rates[i]:5.3f}, {steps[j]:3.0f} steps: bound {value}")

# %% [markdown]
# While the learning rate is small, only the product matters. Large rates lose: the same way in
# fewer, larger steps leaves more noise behind. Replicates are the same problem in every cell, so
# differences between cells are much more certain than the ± of each:

# %%
values_at = np.stack([values[i, j] for i, j in np.argwhere(np.isclose(product, 1.28))])
gap = values_at - values_at[0]
for (i, _), one in zip(np.argwhere(np.isclose(product, 1.28))[1:], gap[1:], strict=True):
    change = f"{one.mean():+.4f} (± {one.std(ddof=1) / np.sqrt(len(one)):.4f})"
    print(f"learning rate {rates[i]:5.3f} instead of {rates[0]}: bound {change}")

# %% [markdown]
# ## The same from the command line
#
# Six studies come along. Anything in them can be overridden, and a cluster is an executor:
#
#     jaxou study list
#     jaxou study run target_size --out results
#     jaxou study run my_study.toml --out results --shard 3/64       # one of 64 independent jobs
#     jaxou study run my_study.toml --out results --executor slurm
#     jaxou study resume results                                     # after a crash
#     jaxou study collect results
#
# The cells of the experiments `run`, `diabetes`, `network` and `digits` are whole trainings on
# real data.

# %%
for name in ready.names():
    print(f"{name:22s} {len(list(ready.load(name).cells())):6,d} cells")
folder.cleanup()

# %% [markdown]
# ## What you have seen
#
# - A study is a few lines: axes, quantities, replicates.
# - It can be cut into jobs, interrupted and resumed; what is computed is never computed again.
# - A cell without an answer says why, and does not disturb its neighbours.
#
# **Where to go next.** The laws behind the numbers: `01_one_stage` and `02_two_stages`. A study
# of one's own quantities: "Extending" in `CONTRIBUTING.md`.
