"""The constant of a Gibbs law in any dimension, by tempering, with an error from replicas.

A population of draws of a Gaussian reference q is carried along q^(1 - l) exp(-l U / T) from l = 0
to 1: weighted and resampled from rung to rung (the product of mean weights is an unbiased estimate
of Z), and moved at each by Langevin steps with a Metropolis test. The mean energies that the rungs
see on their way give the same number a second time, by the temperature integral.

Sources: Neal 2001, doi:10.1023/A:1008923215028; Del Moral, Doucet and Jasra 2006,
doi:10.1111/j.1467-9868.2006.00553.x; Roberts and Tweedie 1996, doi:10.2307/3318418.
"""

from numbers import Integral
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from .._check import as_count, as_float, as_key, show
from .._typing import Scalar
from ..laws import Gaussian, Gibbs
from ..laws.thermodynamic import ladder_integral, ladder_kl
from ..linalg import Dense
from .tempering import factored, first_scale, main_run, pilot

INFLATION = 1.5
"""The reference's covariance is that of the pilot's draws times this, so that it covers the law."""


class LogNormaliser(eqx.Module):
    """log Z of exp(-U / T), with its standard error, and what it was made from.

    - `value`, `standard_error`: from the mean of Z over independent replicas.
    - `thermodynamic`, `thermodynamic_error`: the same number by the temperature integral, and
      `disagreement`, its difference from `value` in standard errors of the paired difference:
      beyond 4 the ladder is too coarse or the draws did not mix.
    - `kl_to_reference`, `kl_error`: KL(law || `reference`) by the second identity.
    - `replicas` (R,): log Z of each; `ladder` (K,); for each rung but the first `effective`
      (K - 1,), the share of effective draws, and `acceptance` (K - 1,) of the Langevin steps.
    - `draws` (R, n, d): at the end, approximately from the law.
    """

    value: Scalar
    standard_error: Scalar
    thermodynamic: Scalar
    thermodynamic_error: Scalar
    disagreement: Scalar
    kl_to_reference: Scalar
    kl_error: Scalar
    replicas: Float[Array, " R"]
    ladder: Float[Array, " rungs"]
    effective: Float[Array, " climbs"]
    acceptance: Float[Array, " climbs"]
    draws: Float[Array, "R n d"]
    reference: Gaussian

    def __str__(self) -> str:
        return (
            f"log Z = {show(self.value)} ± {float(self.standard_error):.2g} from "
            f"{len(self.replicas)} replicas on {len(self.ladder)} rungs; by the temperature "
            f"integral {show(self.thermodynamic)} ± {float(self.thermodynamic_error):.2g}, "
            f"{abs(float(self.disagreement)):.2g} standard errors apart"
        )

    def expect(self, function) -> tuple[Any, Any]:
        """(E[f(x)], standard error) over the draws; the error is that between replicas."""
        values = jax.vmap(jax.vmap(function))(self.draws)
        means = jax.tree.map(lambda v: as_float(v).mean(axis=1), values)
        return jax.tree.map(lambda m: m.mean(axis=0), means), jax.tree.map(_error, means)


def log_normaliser(
    law: Any,
    *,
    key,
    particles: Any = 8192,
    replicas: Any = 16,
    ladder: Any = None,
    moves: Any = 6,
    reference: Any = None,
) -> LogNormaliser:
    """log of int exp(-U(x) / T) dx in any dimension, by annealed populations.

    **Arguments:** `law`, a `Gibbs` law; `particles` in all, in `replicas` independent groups, whose
    spread is the standard error; `ladder`: None lets a pilot run choose the rungs, a whole number K
    takes (k / K)^2, an increasing array from 0 to 1 is taken as it is; `moves`, Langevin steps per
    rung; `reference`, a Gaussian law that covers the Gibbs law, by default one fitted to a pilot.

    Nothing that the main run uses is chosen by its own draws, so exp(value) is unbiased. Cost:
    about (rungs + pilot) x moves gradients of U per particle. Errors grow where modes are far apart
    and are connected at small l only: then the replicas scatter, and more particles, a wider
    reference and a longer ladder help. A mode that the reference never reaches is missed silently.

    >>> law = Gibbs(lambda x: x @ x / 2, 1.0, 3)
    >>> found = log_normaliser(law, key=jax.random.key(0), particles=1024, replicas=8)
    >>> bool(abs(found.value - 1.5 * jnp.log(2 * jnp.pi)) < 4.5 * found.standard_error)
    True
    """
    count = _refuse_bad_numbers(law, particles, replicas, moves)
    scale_key, first_key, second_key, main_key = jax.random.split(as_key(key), 4)
    if reference is None:
        start = Gaussian(law.centre, first_scale(law, scale_key) ** 2)
        _, draws, *_ = pilot(law, factored(start), None, first_key, moves)
        spread = jnp.cov(draws.T).reshape(law.dimension, law.dimension)
        reference = Gaussian(draws.mean(axis=0), Dense(INFLATION * spread, check=False))
    elif not isinstance(reference, Gaussian):
        raise TypeError(f"reference must be a Gaussian law, got {type(reference).__name__}")
    elif reference.dimension != law.dimension:
        raise ValueError(
            f"the reference has dimension {reference.dimension}, the law {law.dimension}"
        )
    base = factored(reference)
    rungs, _, roots, sizes = pilot(law, base, _ladder(ladder), second_key, moves)
    keys = jax.random.split(main_key, replicas)
    logs, means, variances, effective, acceptance, draws = main_run(
        law, base, rungs, roots, sizes, keys, count, moves
    )
    # rungs beyond the first at l = 1 are there to make lengths equal and add nothing
    value = logsumexp(logs) - jnp.log(float(replicas))
    ratios = jnp.exp(logs - value)
    integrals, kls = (f(rungs, means, variances) for f in (ladder_integral, ladder_kl))
    gaps = integrals - logs
    last = int(jnp.argmax(rungs >= 1)) + 1
    return LogNormaliser(
        value=value,
        standard_error=_error(ratios),
        thermodynamic=integrals.mean(),
        thermodynamic_error=_error(integrals),
        disagreement=gaps.mean() / jnp.maximum(_error(gaps), jnp.finfo(gaps.dtype).tiny),
        kl_to_reference=kls.mean(),
        kl_error=_error(kls),
        replicas=logs,
        ladder=rungs[:last],
        effective=effective.mean(axis=0)[: last - 1],
        acceptance=acceptance.mean(axis=0)[: last - 1],
        draws=draws,
        reference=reference,
    )


def _error(values):
    return jnp.std(values, axis=0, ddof=1) / values.shape[0] ** 0.5


def _refuse_bad_numbers(law, particles, replicas, moves) -> int:
    """Particles per replica."""
    if not isinstance(law, Gibbs):
        raise TypeError(f"law must be an ou.Gibbs law, got {type(law).__name__}")
    as_count(moves, "moves")
    count = as_count(particles, "particles") // as_count(replicas, "replicas", 4)
    if count < 32:
        raise ValueError(
            f"particles={particles} in {replicas} replicas are {count} each: give at least "
            f"{32 * replicas}"
        )
    return count


def _ladder(ladder) -> np.ndarray | None:
    if ladder is None:
        return None
    if isinstance(ladder, Integral) and not isinstance(ladder, bool):
        ladder = (np.arange(ladder + 1) / max(ladder, 1)) ** 2
    rungs = np.asarray(ladder, float)
    if rungs.ndim != 1 or len(rungs) < 2 or rungs[0] != 0 or rungs[-1] != 1:
        raise ValueError("ladder must be a whole number of rungs, or rise from 0 to 1")
    if not (np.diff(rungs) > 0).all():
        raise ValueError("ladder must increase from rung to rung")
    return rungs
