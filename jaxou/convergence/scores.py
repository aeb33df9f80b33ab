"""Normal scores: draws of a law that is not Gaussian become standard normals if the claim is right.

Rosenblatt's transform turns x ~ exp(-U / T) / Z into independent uniforms, and the normal quantile
turns those into z ~ N(0, I), exactly:

    z_1 = Phi^-1(F(x_1)),    z_2 = Phi^-1(F(x_2 | x_1))

Every statistic of whitened draws then applies unchanged, with the same null law. Tails are kept as
logarithms of whichever of F and 1 - F is smaller, so both are accurate.
Source: Rosenblatt 1952, doi:10.1214/aoms/1177729394.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import log_ndtr, ndtri
from jaxtyping import Array, Float

from .._check import as_float, is_concrete, require_finite
from ..laws import Gaussian, Gibbs, MaxwellBoltzmann
from ..laws.quadrature import Table
from .log_quadrature import log_cells
from .whitening import whiten

LOWEST = -1e5
"""Log densities below this, where a potential may have overflowed, count as this."""

STENCIL = 6
"""Rows of the table that a conditional score is interpolated from."""

BATCH = 2**16
"""Draws that are transformed together."""


def normal_scores(draws: Any, law: Any) -> Float[np.ndarray, "n r"] | Float[Array, "n r"]:
    """Draws (n, d) as independent standard normals (n, r) if they come from `law`.

    - `Gibbs` in one and two dimensions: Rosenblatt's transform by quadrature; r = d.
      For smooth potentials the error of a score is near 1e-12 in one dimension and 1e-9 in two (in
      float64), far below what draws can see. Outside the table, where the density is exp(-50) of
      its largest value (beyond nine standard deviations), scores go on in a straight line.
    - `Gaussian` of any rank: whitening; r is the number of directions that the draws resolve.
    - `MaxwellBoltzmann`: `draws` is the pair (x, v); the scores of x, then v / T^1/2.

    Cost: the law's table, once per call, and 24 look-ups per draw in two dimensions: 10^6 draws
    take about a second on one core.

    >>> well = Gibbs(lambda x: (x[0] ** 2 - 1) ** 2 / 4, temperature=0.1)
    >>> [round(float(z), 4) for z in normal_scores([[1.0], [-1.0]], well)[:, 0]]
    [0.8566, -0.8566]
    """
    if isinstance(law, MaxwellBoltzmann):
        if not (isinstance(draws, tuple | list) and len(draws) == 2):
            raise ValueError(
                "a MaxwellBoltzmann law has positions and velocities: give the pair (x, v), for "
                "example (run.final, run.velocity)"
            )
        x, v = normal_scores(draws[0], law.position), _points(draws[1], law.dimension)
        if len(v) != len(x):
            raise ValueError(f"there are {len(x)} positions but {len(v)} velocities")
        return jnp.concatenate([jnp.asarray(x), v / jnp.sqrt(law.temperature)], axis=1)
    if isinstance(law, Gaussian):
        points = np.asarray(draws)
        rounding = float(np.finfo(points.dtype if points.dtype.kind == "f" else float).eps)
        return whiten(np.asarray(_points(draws, law.dimension)), law, rounding).draws
    if not isinstance(law, Gibbs):
        raise TypeError(
            f"law must be Gibbs, Gaussian or MaxwellBoltzmann, got {type(law).__name__}"
        )
    if law.table is None:
        raise ValueError(
            "normal scores need conditional distribution functions, which are computed in one and "
            f"two dimensions; this law has {law.dimension}. Test pairs of coordinates whose "
            "marginal law you know, or compare E[f] with ou.convergence.log_normaliser's particles"
        )
    points = _points(draws, law.dimension)
    return (_scores_1d if law.dimension == 1 else _scores_2d)(law, points)


def _points(draws, d):
    points = as_float(draws, "draws")
    if points.ndim != 2 or points.shape[1] != d:
        raise ValueError(f"draws of this law have shape (n, {d}), got {points.shape}")
    if is_concrete(points):
        require_finite(points, "draws")
    return points


def score_of_tails(log_lower: Array, log_upper: Array) -> Array:
    """z with Phi(z) = exp(log_lower) and Phi(-z) = exp(log_upper), from the smaller of the two.

    Right to rounding for tails far below the smallest floating-point number.

    >>> float(score_of_tails(jnp.log(0.5), jnp.log(0.5)))
    0.0
    >>> round(float(score_of_tails(jnp.asarray(-5000.0), jnp.asarray(0.0))), 3)
    -99.945
    """
    log_tail = jnp.minimum(log_lower, log_upper)
    deep = log_tail < -30
    far = jnp.maximum(-2 * log_tail - jnp.log(2 * jnp.pi), 1.0)
    start = -jnp.sqrt(jnp.where(deep, far - jnp.log(far), 1.0))
    z = jnp.where(deep, start, ndtri(jnp.exp(jnp.where(deep, -1.0, log_tail))))

    def newton(_, z):
        value = log_ndtr(z)
        hazard = jnp.exp(-(z**2) / 2 - jnp.log(2 * jnp.pi) / 2 - value)
        return jnp.where(deep, z - (value - log_tail) / hazard, z)

    z = lax.fori_loop(0, 4, newton, z)
    return jnp.where(log_lower <= log_upper, z, -z)


def _line(axis, log_density, slope):
    """(z, dz/dx, log of the mass) at the nodes of one line, from log density and its slope."""
    cells = log_cells(axis, log_density, slope)
    least = 1 / (axis[-1] - axis[0])
    # beyond the table the density decays as at its end
    before = log_density[0] - jnp.log(jnp.maximum(slope[0], least))
    after = log_density[-1] - jnp.log(jnp.maximum(-slope[-1], least))
    lower = lax.cumlogsumexp(jnp.concatenate([before[None], cells]))
    upper = lax.cumlogsumexp(jnp.concatenate([cells, after[None]]), reverse=True)
    mass = jnp.logaddexp(lower[-1], after)
    z = score_of_tails(lower - mass, upper - mass)
    speed = jnp.exp(log_density - mass + z**2 / 2 + jnp.log(2 * jnp.pi) / 2)
    return z, speed, mass


def _hermite(x, axis, values, slopes, rows=...):
    """Piecewise cubic at one point, straight outside; `rows` picks some of (rows, points)."""
    h = axis[1] - axis[0]
    inside = jnp.clip(x, axis[0], axis[-1])
    cell = jnp.clip(jnp.floor((inside - axis[0]) / h).astype(jnp.int32), 0, axis.shape[0] - 2)
    t = (inside - axis[cell]) / h
    left, right = values[rows, cell], values[rows, cell + 1]
    start, end = slopes[rows, cell], slopes[rows, cell + 1]
    down, up = h * start, h * end
    rest = down * (1 - t) - up * t + (right - left) * (2 * t - 1)
    value = (1 - t) * left + t * right + t * (1 - t) * rest
    return value + (x - inside) * jnp.where(x > inside, end, start)


def _fields(law: Gibbs, table: Table):
    """Log density (up to a constant) and its gradient on the table's nodes, finite everywhere."""
    shape = table.log_weights.shape
    log_density = jnp.maximum(jnp.nan_to_num(table.log_weights, nan=LOWEST), LOWEST)
    pull = jax.vmap(jax.grad(law._log_density))(table.nodes)
    pull = jnp.nan_to_num(pull, nan=0.0, posinf=0.0, neginf=0.0)
    return log_density, pull.reshape(*shape, len(shape))


@eqx.filter_jit
def _scores_1d(law, points):
    (axis,) = law.table.axes
    log_density, pull = _fields(law, law.table)
    z, speed, _ = _line(axis, log_density, pull[:, 0])
    return lax.map(lambda x: _hermite(x, axis, z, speed), points, batch_size=BATCH)


@eqx.filter_jit
def _scores_2d(law, points):
    first, second = law.table.axes
    log_density, pull = _fields(law, law.table)
    rows, speeds, marginal = jax.vmap(_line, in_axes=(None, 0, 0))(
        second, log_density, pull[:, :, 1]
    )
    share = jax.nn.softmax(log_density, axis=1)
    z, speed, _ = _line(first, marginal, jnp.sum(share * pull[:, :, 0], axis=1))
    h, last = first[1] - first[0], first.shape[0] - STENCIL

    def one(point):
        place = (jnp.clip(point[0], first[0], first[-1]) - first[0]) / h
        start = jnp.clip(jnp.floor(place).astype(jnp.int32) - STENCIL // 2 + 1, 0, last)
        near = start + jnp.arange(STENCIL, dtype=start.dtype)
        weights = _lagrange(place - start.astype(place.dtype))
        conditional = weights @ _hermite(point[1], second, rows, speeds, near)
        return jnp.stack([_hermite(point[0], first, z, speed), conditional])

    return lax.map(one, points, batch_size=BATCH)


def _lagrange(place):
    """Weights of the nodes 0, 1, ..., STENCIL - 1 for the value at `place`."""
    nodes = np.arange(STENCIL)
    parts = []
    for k in nodes:
        others = nodes[nodes != k]
        gaps = place - jnp.asarray(others, place.dtype)
        parts.append(jnp.prod(gaps) / float(np.prod(k - others)))
    return jnp.stack(parts)
