"""The posterior by descending the bound itself, as Dziugaite and Roy (2017) did.

A posterior may look at the target sample as much as it likes, so it is found by stochastic
gradients of the very number that is certified, with the 0-1 loss softened. Parameters are the shift
and the log-variances in the coordinates in which the prior is N(0, I), the low-rank factor if there
is one, and log tau^2 until it is rounded to the grid. Nothing here enters the proof: a bad optimum
costs tightness, never validity, so it runs in float32.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._typing import PRNGKeyArray, Scalar, Vector
from ..bounds.inversion import kl_inverse
from ..curvature.batching import example_count
from ..curvature.parameters import call_loss, from_vector
from .descent import adam
from .posterior import Posterior

DRAWS = 16
"""Weight draws per step, in antithetic pairs."""

SHARPNESS = 6.0
"""Slope of the softened 0-1 loss: p^s / (p^s + (1-p)^s) of the wrong side, p = exp(-loss)."""

MOST_EXAMPLES = 4096
"""Examples per step; larger samples are subsampled."""


class _Free(eqx.Module):
    """What the optimiser moves, at unit prior variance."""

    shift: Vector
    log_variances: Vector
    factor: Float[Array, "d k"] | None
    log_scale: Scalar

    def law(self, law: Posterior) -> Posterior:
        scale = jnp.exp(self.log_scale)
        factor = None if self.factor is None else jnp.sqrt(scale) * self.factor
        variances = scale * jnp.exp(self.log_variances)
        return Posterior(law.center, law.basis, variances, jnp.sqrt(scale) * self.shift, factor)


def descend(
    law: Posterior,
    scale: float,
    *,
    model: Any,
    loss: Callable[..., Any],
    data: Any,
    constant: float,
    key: PRNGKeyArray,
    steps: int,
    rate: float = 0.03,
    free_scale: bool = True,
    trainable: Any = None,
) -> tuple[Posterior, float]:
    """`steps` of Adam on kl_inverse(soft risk, (KL + constant) / n) from `law`: (law, tau^2).

    `loss(model, example)` is a negative log-likelihood (any loss that is small where the model is
    right will do). With `free_scale=False` tau^2 stays. Cost per step: three passes of `DRAWS`
    models over at most `MOST_EXAMPLES` examples. Raises `RuntimeError` if the descent diverges.
    """
    low = lambda tree: jax.tree.map(_single, tree)
    scale32 = jnp.asarray(scale, jnp.float32)
    start = low(law)
    free = _Free(
        start.shift / jnp.sqrt(scale32),
        jnp.log(start.variances / scale32),
        None if start.factor is None else start.factor / jnp.sqrt(scale32),
        jnp.log(scale32),
    )
    problem = _Problem(
        low(model),
        loss,
        low(jax.tree.map(jnp.asarray, data)),
        start,
        jnp.float32(constant),
        trainable,
    )
    free = _descend(problem, free, key, steps, jnp.float32(rate), jnp.asarray(free_scale))
    if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(free)):
        raise RuntimeError(
            f"descending the bound diverged at rate={rate}: lower the rate, or start from a better "
            "posterior centre"
        )
    wide = jax.tree.map(lambda leaf: leaf.astype(float), free)
    found = scale if not free_scale else float(jnp.exp(wide.log_scale))
    if not free_scale:  # exactly the scale that was given, not its float32 neighbour
        wide = eqx.tree_at(lambda f: f.log_scale, wide, jnp.log(jnp.asarray(scale, float)))
    return wide.law(law), found


class _Problem(eqx.Module):
    model: Any
    loss: Callable[..., Any] = eqx.field(static=True)
    data: Any
    law: Posterior
    constant: Scalar
    trainable: Any

    def __call__(self, free: _Free, key: PRNGKeyArray) -> Scalar:
        n = example_count(self.data)
        law = free.law(self.law)
        kl = law.kl(jnp.exp(free.log_scale))
        pick, draw = jax.random.split(key)
        data = self.data
        if n > MOST_EXAMPLES:
            rows = jax.random.randint(pick, (MOST_EXAMPLES,), 0, n)
            data = jax.tree.map(lambda leaf: leaf[rows], data)
        half = jax.random.normal(draw, (DRAWS // 2, law.width), jnp.float32)
        weights = law.draw(jnp.concatenate([half, -half]))
        risk = jnp.mean(self.soft_errors(weights, data))
        # off the edges, where the slopes are infinite
        return kl_inverse(jnp.clip(risk, 1e-4, 0.999), (kl + self.constant) / n)

    def soft_errors(self, weights: Float[Array, "draws d"], data: Any) -> Float[Array, "..."]:
        def one(vector: Vector) -> Array:
            candidate = from_vector(self.model, vector, self.trainable)
            return jax.vmap(lambda example: call_loss(self.loss, candidate, example))(data)

        log_p = jnp.minimum(-jax.vmap(one)(weights), -1e-6)
        odds = log_p - jnp.log(-jnp.expm1(log_p))
        return jax.nn.sigmoid(-SHARPNESS * odds)


@eqx.filter_jit
def _descend(
    problem: _Problem,
    free: _Free,
    key: PRNGKeyArray,
    steps: int,
    rate: Scalar,
    free_scale: Bool[Array, ""],
) -> _Free:
    def slope(free: _Free, index: Array) -> _Free:
        found = jax.grad(problem)(free, jax.random.fold_in(key, index))
        held = jnp.where(free_scale, found.log_scale, 0.0)  # one program for both
        return eqx.tree_at(lambda s: s.log_scale, found, held)

    return adam(slope, free, steps=steps, rate=rate)


def _single(leaf: Any) -> Any:
    return leaf.astype(jnp.float32) if eqx.is_inexact_array(leaf) else leaf
