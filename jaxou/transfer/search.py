"""The posterior of lowest bound: for each prior shape, and then among the shapes.

All of it may look at the target sample, and nothing of it enters the proof: the certificate draws
anew from what was chosen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._typing import Matrix, PRNGKeyArray, Vector
from ..curvature.batching import example_count
from .accounts import inverted
from .optimised import descend
from .posterior import Posterior, Screen, choose, given_posterior, posterior_family
from .priors import PriorShape

FACTOR_RANK = 16
"""Columns of a low-rank posterior's factor, at most."""

PARTS = (1.0, 0.3, 0.1, 0.03)
"""Of the way from the prior's centre to the fine-tuned one: where descent may start."""


class Found(NamedTuple):
    """A `law` with its `bound` on the screening draws, the number of its prior scale, its inverse
    temperature and whether its mean was pulled to the prior (0, 0 if neither was done)."""

    bound: float
    scale: int
    temperature: float
    pull: float
    law: Posterior


@dataclass(frozen=True)
class Search:
    """How the posterior around `center` is found.

    - `model`, `loss`, `data`, `trainable`: the target's problem; `screen` estimates risks.
    - `variances`, `cost`: the prior's scales, and what a KL costs at scale number j.
    - `given`: the posterior's covariance, used as it is; `hessian`: else the target's, from which
      the best full-rank law follows in closed form; without either descent starts near the prior.
    - `columns` of a low-rank factor; `steps` of descent on the bound at `rate`.
    """

    model: Any
    loss: Callable[..., Any]
    data: Any
    trainable: Any
    center: Vector
    variances: np.ndarray
    cost: Callable[..., Any]
    screen: Screen
    given: Any
    hessian: Matrix | None
    move_center: bool
    columns: int
    steps: int
    rate: float
    key: PRNGKeyArray

    def best(self, shapes: list[PriorShape], values: tuple[float, ...]) -> tuple[Found, float]:
        """The best law over all shapes, and the value (inflation or ridge) of its shape."""
        best = None
        for shape, value in zip(shapes, values, strict=True):
            # descent may overtake: every shape gets its best start
            limit = np.inf if best is None or self.steps else best[0].bound
            found = self.start(shape, limit)
            if found is not None and self.steps:
                found = self.descended(found)
            if found is not None and (best is None or found.bound < best[0].bound):
                best = (found, value)
        if best is None:
            raise ValueError(
                "no posterior has a finite bound: look for NaN or inf in prior_center, "
                "posterior_center and the examples"
            )
        return best

    def start(self, shape: PriorShape, limit: float) -> Found | None:
        """The best law for one shape before any descent; None if it is not below `limit`."""
        if self.given is not None:
            return self._at_best_scale(given_posterior(shape, self.center, self.given))
        if self.hessian is None:
            return self._inside(shape)
        family = posterior_family(shape, self.center, self.hessian)
        n = example_count(self.data)
        pull = self.move_center or self.steps > 0  # descent starts within reach of the prior
        chosen = choose(family, self.variances, self.cost, inverted, self.screen, n, pull, limit)
        if chosen is None:
            return None
        scale = self.variances[chosen[1] - 1]
        return Found(*chosen, family.at(*map(jnp.asarray, (scale, *chosen[2:]))))

    def descended(self, start: Found) -> Found:
        """The better of the law and what descent makes of it: half of the steps with tau free, then
        tau on the grid and the rest."""
        n = example_count(self.data)
        half = max(self.steps // 2, 1)
        problem = dict(model=self.model, loss=self.loss, data=self.data, trainable=self.trainable)

        def down(law: Posterior, index: int, key: PRNGKeyArray, free: bool) -> Any:
            price = float(self.cost(0.0, np.asarray(index))) * n
            scale = float(self.variances[index - 1])
            return descend(
                law, scale, constant=price, key=key, steps=half, rate=self.rate, free_scale=free,
                **problem,
            )  # fmt: skip

        first, second = jax.random.split(self.key)
        law, scale = down(start.law, start.scale, first, True)
        law, _ = down(law, self._nearest(scale), second, False)
        # an optimised law is neither tempered nor pulled
        reached = self._at_best_scale(law)
        return reached if reached.bound <= start.bound else start

    def _at_best_scale(self, law: Posterior) -> Found:
        """A given law beside the prior scale that suits it best."""
        costs = self.cost(
            jax.vmap(law.kl)(jnp.asarray(self.variances)), np.arange(1, len(self.variances) + 1)
        )
        best = int(np.argmin(costs))
        bound = inverted(float(self.screen(law)), float(costs[best]))
        return Found(bound, best + 1, 0.0, 0.0, law)

    def _inside(self, shape: PriorShape) -> Found:
        """Where descent starts without a target Hessian: a part of the way from the prior's centre
        to the fine-tuned one, inside a prior whose scale has it at one standard deviation.

        Fine-tuned centres lie far out along the flat directions, where a bound says nothing and its
        slope points nowhere, so several parts are tried. They are compared by risk plus price
        (Pinsker), which still tells vacuous bounds apart.
        """
        size = self.center.shape[0]
        shift = shape.whiten(self.center)
        factor = jax.random.normal(self.key, (size, self.columns)) if self.columns else None

        def at(part: float) -> tuple[float, Found]:
            mean = part * shift
            index = self._nearest(max(float(mean @ mean) / size, 1e-6))
            scale = self.variances[index - 1]
            spread = None if factor is None else 1e-2 * np.sqrt(scale) * factor
            law = Posterior(shape.center, shape.root, jnp.full(size, 0.6 * scale), mean, spread)
            price = float(self.cost(law.kl(scale), np.asarray(index)))
            return float(self.screen(law)) + np.sqrt(price / 2), Found(1.0, index, 0.0, 0.0, law)

        return min((at(part) for part in PARTS), key=lambda pair: pair[0])[1]

    def _nearest(self, variance: float) -> int:
        """The number of the scale nearest to a variance, in ratio."""
        return int(np.argmin(np.abs(np.log(self.variances / variance)))) + 1
