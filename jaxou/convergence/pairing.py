"""A run and the process that it is held against: refused here where they do not belong together."""

from typing import Any

import jax
import numpy as np

from ..laws import Gaussian
from ..particles.arguments import require_chain
from ..particles.run import Run


def require_pair(run: Any, process: Any, asker: str) -> None:
    """Raise with advice unless `run` can be a run of the chain `process`; `asker` compares them."""
    require_run(run, asker)
    require_chain(process, asker)
    if run.centres.shape != (len(process.stages), process.dimension):
        raise ValueError(
            f"the run has {run.centres.shape[0]} stages in dimension {run.dimension}, the process "
            f"{len(process.stages)} in dimension {process.dimension}: pass the process that was run"
        )


def require_run(run: Any, asker: str) -> None:
    """Raise with advice unless `run` is a run whose particles all follow one process."""
    if not isinstance(run, Run):
        raise TypeError(f"{asker} takes the run of ou.simulate, got {type(run).__name__}")
    if run.times.ndim != 1:
        raise ValueError(
            "the run gave every particle hyper-parameters of its own (each=), so that no one law "
            f"is theirs: {asker} needs a run of one process"
        )


def refuse_diverged(seen: Any) -> None:
    """Raise `ValueError` if numbers of a run are NaN or infinite."""
    seen = np.asarray(seen)
    # no temporary the size of all particles
    if seen.size and not (np.isfinite(seen.min()) and np.isfinite(seen.max())):
        raise ValueError(
            "the run holds NaN or infinity: the process diverged (a learning rate above "
            "2 / lambda_max?), or its size is beyond the particles' precision"
        )


def is_finite(law: Gaussian) -> bool:
    """Whether no number of the law is NaN or infinite, by its factors: no matrix is made dense.

    >>> import jaxou as ou
    >>> is_finite(ou.Gaussian([0.0, 1.0], 2.0))
    True
    """
    return all(
        bool(np.isfinite(np.asarray(leaf)).all())
        for leaf in jax.tree.leaves((law.mean, law.operator))
    )


def require_share(value: Any, name: str, what: str) -> None:
    """Raise `ValueError` unless `value` lies in (0, 1); `what` says what it is."""
    if not 0 < value < 1:
        raise ValueError(f"{name}={value} must lie in (0, 1): {what}")
