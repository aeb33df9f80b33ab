"""Observers without a run: known particles, cut and put together in any way."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxou.particles.observe import LEAF, Context, PairwiseMerge


@eqx.filter_jit
def _look(observer, columns, centres, live):
    rows = [observer.look(columns[k].T, centres[k], live, k) for k in range(len(columns))]
    return jax.tree.map(lambda *x: jnp.stack(x), *rows)


def record(observer, process, deviations, order=None):
    """What `observer` says of deviations (K, particles, d), one save point per stage.

    Particles are looked at leaf by leaf (exact observers: in the groups that `order` lists).
    """
    observer = observer.prepare(process)
    saves, count, d = deviations.shape
    centres = np.stack([np.asarray(s.effective_minimum) for s in process.stages])[:saves]
    leaves = -(-count // LEAF)
    padded = np.zeros((saves, leaves * LEAF, d), deviations.dtype)
    padded[:, :count] = deviations
    live = np.arange(leaves * LEAF) < count

    order = list(range(leaves)) if order is None else order
    tree, total = PairwiseMerge(observer.merge), None
    for leaf in order:
        here = slice(leaf * LEAF, (leaf + 1) * LEAF)
        seen = jax.tree.map(np.asarray, _look(observer, padded[:, here], centres, live[here]))
        if not observer.exact:
            seen = jax.tree.map(lambda x: x.astype(np.float64)[None], seen)
            tree.extend(leaf, seen)
        else:
            seen = jax.tree.map(lambda x: x.astype(np.int64), seen)
            total = seen if total is None else jax.tree.map(np.add, total, seen)
    total = total if observer.exact else tree.total()
    return observer.finish(total, Context(process, count, centres, np.arange(saves)))
