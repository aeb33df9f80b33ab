"""How long a particle stays in a well: Kramers' rates, and the exact mean passage time on a line.

overdamped    dx = -grad U ds + (2 T)^(1/2) dW
underdamped   dx = v ds,  dv = -grad U ds - friction v ds + (2 friction T)^(1/2) dW
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from .._check import as_float, as_number, refuse_unless, require_finite, show_value
from .._typing import Scalar, ScalarLike
from ..laws import Gibbs
from ..linalg import eigh
from .log_quadrature import log_cells

MONITORED = 0.5825971579390107
"""-zeta(1/2) / (2 pi)^(1/2): what looking at discrete times adds to a boundary."""

POINTS = 8193
NEWTON = 30


class Kramers(eqx.Module):
    """The rate of escape over a saddle in the limit of low temperature, and its ingredients.

    `rate` per unit of time; `barrier` = U(saddle) - U(minimum); both points after polishing.
    """

    rate: Scalar
    barrier: Scalar
    minimum: Float[Array, " d"]
    saddle: Float[Array, " d"]

    def __str__(self) -> str:
        return (
            f"rate {show_value(self.rate)} from {show_value(self.minimum)} over the saddle "
            f"{show_value(self.saddle)}, a barrier of {show_value(self.barrier)}"
        )


def kramers_rate(
    potential: Callable,
    temperature: ScalarLike,
    *,
    minimum: Any,
    saddle: Any,
    friction: ScalarLike | None = None,
) -> Kramers:
    """Kramers' rate from a minimum over one saddle, in any dimension.

        rate = k l^(1/2) (prod h_a / prod |h_b|)^(1/2) exp(-barrier / T) / (2 pi)

    h_a and h_b are the Hessian's eigenvalues at minimum and saddle. Overdamped (`friction=None`)
    k = l^(1/2), with l = |the negative h_b|, which in one dimension is
    (U''(a) |U''(b)|)^(1/2) / (2 pi) exp(-barrier / T). With friction g (spatial diffusion)
    k = ((g^2 / 4 + l)^(1/2) - g / 2) / l^(1/2).

    Right for barrier / T well above one, with a relative error of about T / barrier; with friction
    also only if a particle loses more than T per oscillation. Both points are polished by Newton's
    method and refused if they are no minimum and no saddle of index one. Sources: Kramers 1940,
    doi:10.1016/S0031-8914(40)90098-2; Langer 1969, doi:10.1016/0003-4916(69)90153-5.

    >>> well = lambda x: (x[0] ** 2 - 1) ** 2 / 4
    >>> found = kramers_rate(well, 0.05, minimum=[-0.9], saddle=[0.1])
    >>> round(float(found.barrier), 6), round(float(found.rate), 6)
    (0.25, 0.001517)
    """
    temperature = as_number(temperature, "temperature")
    refuse_unless(temperature > 0, f"temperature={show_value(temperature)} must be positive")
    bottom, low, curvatures = _stationary(potential, minimum, "minimum", 0)
    top, high, slopes = _stationary(potential, saddle, "saddle", 1)
    refuse_unless(high > low, "the saddle is not above the minimum: were they exchanged?")
    fall = jnp.abs(slopes[0])
    speed = jnp.sqrt(fall)
    if friction is not None:
        friction = as_number(friction, "friction")
        refuse_unless(friction > 0, f"friction={show_value(friction)} must be positive")
        # (g^2/4 + l)^(1/2) - g/2 without cancellation
        speed = jnp.sqrt(fall) / (jnp.sqrt(friction**2 / 4 + fall) + friction / 2)
    shape = (jnp.sum(jnp.log(curvatures)) - jnp.sum(jnp.log(jnp.abs(slopes)))) / 2
    barrier = high - low
    rate = speed * jnp.sqrt(fall) * jnp.exp(shape - barrier / temperature) / (2 * jnp.pi)
    return Kramers(rate, barrier, bottom, top)


def _stationary(potential, point, name, index):
    """(polished point, U, eigenvalues of the Hessian), refused unless `index` are negative."""
    point = jnp.atleast_1d(as_float(point, name))
    require_finite(point, name)
    x, height, values, slope = _polished(potential, point)
    size = jnp.max(jnp.abs(values))
    fine = jnp.isfinite(slope) & (slope <= 1e-6 * size * (1 + jnp.linalg.norm(x)))
    refuse_unless(
        fine, f"{name}={show_value(point)} is near no stationary point of U: give a better guess"
    )
    refuse_unless(
        jnp.sum(values <= 0) == index,
        f"{name}={show_value(x)} has {show_value(jnp.sum(values <= 0))} directions in which U does "
        f"not rise, where a {name} has {index}",
    )
    return x, height, values


@eqx.filter_jit
def _polished(potential, point):
    """(stationary point by Newton's method, U, Hessian's eigenvalues, length of the gradient)."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        value = lambda x: as_float(potential(x))
        gradient, hessian = jax.grad(value), jax.hessian(value)

        def newton(_, x):
            values, vectors = eigh(hessian(x))
            return x - vectors @ ((vectors.T @ gradient(x)) / values)

        x = lax.fori_loop(0, NEWTON, newton, point)
        return x, value(x), eigh(hessian(x))[0], jnp.linalg.norm(gradient(x))


def mean_first_passage(
    law: Any, start: ScalarLike, target: ScalarLike, *, gap: ScalarLike = 0.0
) -> Scalar:
    """The exact mean time from `start` to `target` on a line, overdamped, by quadrature.

        tau = (1 / T) int_start^target e^{U(y) / T} int_{-inf}^y e^{-U(z) / T} dz dy

    (mirrored for a target to the left). `law` is the one-dimensional Gibbs law, which says U and T.
    With `gap` > 0 the particle is looked at after every `gap` of time only: the target moves away
    by 0.5826 (2 T gap)^(1/2), right to first order in gap^(1/2). Relative accuracy about 1e-8.
    Sources: Gardiner 2009, "Stochastic Methods", section 5.5; Broadie, Glasserman and Kou 1997,
    doi:10.1111/1467-9965.00035.

    >>> bowl = Gibbs(lambda x: x[0] ** 2 / 2, 1.0)
    >>> round(float(mean_first_passage(bowl, 0.0, 1.0)), 6)
    2.093407
    """
    if not isinstance(law, Gibbs):
        raise TypeError(f"law must be an ou.Gibbs law on a line, got {type(law).__name__}")
    if law.dimension != 1:
        raise ValueError(
            f"the mean passage time is computed on a line, this law has dimension {law.dimension}: "
            "use kramers_rate, or particles and escape_times"
        )
    start, target = as_number(start, "start"), as_number(target, "target")
    gap = as_number(gap, "gap")
    refuse_unless(gap >= 0, f"gap={show_value(gap)} must be >= 0")
    refuse_unless(start != target, "start and target are the same point")
    return _passage(law, start, target, gap)


@eqx.filter_jit
def _passage(law, start, target, gap):
    side = jnp.sign(target - start)
    target = target + side * MONITORED * jnp.sqrt(2 * law.temperature * gap)
    (axis,) = law.table.axes
    # u = side x rises towards the target
    far = jnp.minimum(jnp.min(side * axis), side * start)
    density = jax.vmap(lambda u: law._log_density(side * u[None]))
    slope = jax.vmap(jax.grad(lambda u: law._log_density(side * u[None])))

    def grid(low, high):
        line = jnp.linspace(low, high, POINTS)
        return line, density(line), slope(line)

    mass = logsumexp(log_cells(*grid(far, side * start)))
    line, log_density, pull = grid(side * start, side * target)
    cells = log_cells(line, log_density, pull)
    mass = lax.cumlogsumexp(jnp.concatenate([mass[None], cells]))
    integrand = mass - log_density
    steep = jnp.exp(log_density - mass) - pull
    return jnp.exp(logsumexp(log_cells(line, integrand, steep)) - jnp.log(law.temperature))
