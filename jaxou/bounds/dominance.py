"""When does fine-tuning dominate? Which of the two stages has the larger gap, and until when.

    gap_T > gap_S   iff   (KL_T + l_T) / (2 N_T - 1) > (KL_S + l_S) / (2 N_S - 1),

l = log(1/delta) + log N + 2 for the row of He, Liu and Tao. It is usual, because fine-tuning has
few examples, and no law: it fails where KL_S / KL_T exceeds about N_S / N_T. The gap of the source
falls as N_S grows, so there is one N_S at which the two change places.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._check import as_float, as_number, show
from .._typing import ScalarLike
from .rows import Row, find_row
from .stage_bound import row_name, sample_size
from .two_stage import TwoStageBound

LARGEST = 1e18
"""Sample sizes are searched up to here."""


class Dominance(eqx.Module):
    """Which stage has the larger gap, and the number of source examples at which that changes.

    Fine-tuning dominates iff `n_source > n_source_at_change`. That number is 0 if fine-tuning
    dominates for every sample that the row allows, inf if it does for none (up to 1e18).
    """

    finetuning: Bool[Array, ""]
    target_gap: Float[Array, ""]
    source_gap: Float[Array, ""]
    target_kl: Float[Array, ""]
    source_kl: Float[Array, ""]
    n_target: Float[Array, ""]
    n_source: Float[Array, ""]
    n_source_at_change: Float[Array, ""]
    bound: str = eqx.field(static=True)

    @property
    def sentence(self) -> str:
        """What was found, in plain words (concrete results only)."""
        gaps = (show(round(float(g), 4)) for g in (self.target_gap, self.source_gap))
        target, source = gaps
        change = float(self.n_source_at_change)
        if bool(self.finetuning):
            start = f"Fine-tuning has the larger gap, {target} against {source}"
        else:
            start = f"Pre-training has the larger gap, {source} against {target}"
        sizes = f"with {float(self.n_source):,.0f} source and {float(self.n_target):,.0f} target"
        if change == 0:
            end = "fine-tuning would have it for every number of source examples"
        elif change == float("inf"):
            end = "pre-training would have it for every number of source examples"
        elif bool(self.finetuning):
            end = f"pre-training would have it with fewer than {change:,.0f} source examples"
        else:
            end = f"fine-tuning would have it with more than {change:,.0f} source examples"
        return f"{start} ({sizes} examples); {end}."

    def __str__(self) -> str:
        return self.sentence


def dominance(bound: TwoStageBound, row: Row | None = None) -> Dominance:
    """Whether fine-tuning has the larger gap in `bound`, and at which N_S that would change.

    A row with parameters of its own must be given again as `row`, as the same `functools.partial`.

    >>> import jaxou as ou
    >>> stage = ou.Stage(
    ...     hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10, steps=9
    ... )
    >>> process = ou.TwoStage(stage, stage.replace(minimum=0.1), ou.Gaussian(0.0, 1.0))
    >>> b = ou.two_stage_bound(process, n_source=10_000, n_target=500, risk=0.1, delta=0.05)
    >>> print(dominance(b))
    Fine-tuning has the larger gap, 0.1137 against 0.0292 (with 10,000 source and 500 target
    examples); pre-training would have it with fewer than 548 source examples.
    """
    source, target = bound.source, bound.target
    return dominance_of(
        source_kl=source.kl,
        target_kl=target.kl,
        n_source=source.n,
        n_target=target.n,
        source_delta=source.delta,
        target_delta=target.delta,
        source_risk=source.risk,
        target_risk=target.risk,
        bound=bound.bound if row is None else row,
    )


def dominance_of(
    *,
    source_kl: ScalarLike,
    target_kl: ScalarLike,
    n_source: ScalarLike,
    n_target: ScalarLike,
    source_delta: ScalarLike = 0.025,
    target_delta: ScalarLike = 0.025,
    source_risk: ScalarLike = 0.0,
    target_risk: ScalarLike = 0.0,
    bound: str | Row = "mcallester_he",
) -> Dominance:
    """`dominance` from numbers: both KLs in nats, sample sizes, failure probabilities, risks.

    For `mcallester_he` the change is in closed form, N = -W(-2 g e^-(K + g)) / (2 g) with g the
    squared gap of the target, K = KL_S + log(1/delta_S) + 2 and W the lower branch of Lambert's
    function; for other rows it is found by bisection in log N. The risks matter only to rows whose
    gap depends on them.

    >>> found = dominance_of(source_kl=7.2, target_kl=1.9, n_source=50_000, n_target=1_000)
    >>> bool(found.target_gap > found.source_gap)
    True
    """
    row = find_row(bound)
    kl_s, kl_t = as_float(source_kl, "source_kl"), as_float(target_kl, "target_kl")
    n_s, n_t = sample_size(n_source, "n_source"), sample_size(n_target, "n_target")
    delta_s = as_number(source_delta, "source_delta")
    delta_t = as_number(target_delta, "target_delta")
    risk_s, risk_t = as_number(source_risk, "source_risk"), as_number(target_risk, "target_risk")
    target_gap = row(risk_t, kl_t, n_t, delta_t) - risk_t
    source_gap = row(risk_s, kl_s, n_s, delta_s) - risk_s
    if row is find_row("mcallester_he"):
        change = _change_he(kl_s - jnp.log(delta_s) + 2.0, target_gap**2)
    else:
        change = _change(lambda n: row(risk_s, kl_s, n, delta_s) - risk_s, target_gap)
    return Dominance(
        finetuning=target_gap > source_gap,
        target_gap=target_gap,
        source_gap=source_gap,
        target_kl=kl_t,
        source_kl=kl_s,
        n_target=n_t,
        n_source=n_s,
        n_source_at_change=change,
        bound=row_name(bound),
    )


def _change_he(k, square):
    # (K + log N) / (2N - 1) = g has its root with N >= 1 on Lambert's lower branch: w = 2 g N
    # solves w - log w = K + g - log(2 g). For K >= 2 the left side falls for all N >= 1.
    w = _lower_lambert(k + square - jnp.log(2.0 * square))
    return jnp.where(k <= square, 0.0, w / (2.0 * square))


def _lower_lambert(c):
    """w >= 1 with w - log w = c, c >= 1: -W_{-1}(-e^-c), safe where e^-c is zero."""
    w = c + jnp.log(c) + jnp.sqrt(2.0 * jnp.maximum(c - 1.0, 0.0))  # right of the root
    for _ in range(8):  # convex and increasing: Newton falls to the root
        w = jnp.maximum(w - (w - jnp.log(w) - c) / jnp.maximum(1.0 - 1.0 / w, 1e-12), 1.0)
    return w


def _change(gap, target_gap):
    """The N at which a falling `gap` equals `target_gap`, by bisection in log N."""
    # some rows start at n = 2 or 8; below that everything counts as large
    low, high = jnp.log(8.0), jnp.log(LARGEST) * jnp.ones(())

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        above = gap(jnp.exp(middle)) > target_gap
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    ends = jax.lax.fori_loop(0, 60, halve, (low * jnp.ones(()), high))
    root = jnp.exp(ends[1])
    never, always = gap(jnp.asarray(LARGEST)) > target_gap, gap(jnp.exp(low)) <= target_gap
    return jnp.where(never, jnp.inf, jnp.where(always, 0.0, root))
