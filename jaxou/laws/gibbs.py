"""The Gibbs law of any potential: up to its constant, and normalised in one or two dimensions."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .._check import (
    as_count,
    as_float,
    as_key,
    as_number,
    as_point,
    as_shape,
    holds_numbers,
    is_concrete,
    refuse_unless,
    show,
    show_value,
)
from .._status import Status, poison, status_if
from .._typing import ScalarLike
from .quadrature import Table, cumulative, hermite, tabulate

POINTS = {1: 4097, 2: 385}
"""Nodes per axis that the quadrature uses by default."""

BISECTIONS = 60


class Gibbs(eqx.Module):
    """The law with density exp(-U(x) / T) / Z on R^d: where noise of temperature T leads.

    **Arguments:** `potential`, U: x (d,) -> a number; `temperature`, T > 0; `dimension`, d;
    `centre`, a point (d,) near which the law is searched for (the origin), `points`, nodes per axis
    (odd; 4,097 in one dimension, 385 in two).

    `log_density(x)` = -U(x) / T exists in any dimension. In one and two dimensions Z is computed on
    a grid: `log_prob`, `expect`, `mean`, `variance`, `covariance`, `moment`, `entropy`; in one
    dimension also `cdf`, `quantile` and `sample`. All are differentiable in the temperature and in
    the potential's fields. Cost: about 30,000 and 10^6 values of U, once.

    Refused: U that does not rise by 50 T within four million of the centre (no steady law), and
    laws with parts too narrow for the grid. A very narrow well far from the centre beside a wide
    one can be missed.

    >>> well = Gibbs(lambda x: (x[0] ** 2 - 1) ** 2 / 4, temperature=0.1)
    >>> round(float(well.variance[0]), 4), round(float(well.cdf(0.0)), 6)
    (0.8714, 0.5)
    """

    potential: Callable
    temperature: Float[Array, ""]
    centre: Float[Array, " d"]
    table: Table | None
    status: Status

    def __init__(
        self,
        potential: Any,
        temperature: ScalarLike,
        dimension: Any = 1,
        *,
        centre: Any = None,
        points: Any = None,
    ):
        dimension = as_count(dimension, "dimension")
        self.centre = as_point(0.0 if centre is None else centre, dimension, "centre")
        refuse_bad_potential(potential, self.centre)
        self.potential = potential
        self.temperature = as_number(temperature, "temperature")
        refuse_unless(
            self.temperature > 0,
            f"temperature={show_value(self.temperature)} must be positive: at zero the Gibbs law "
            "is a point at the minimum of U",
        )
        self.table, self.status = None, Status.ok
        if self.dimension in POINTS:
            count = as_count(POINTS[self.dimension] if points is None else points, "points", 5)
            if count % 2 == 0:
                raise ValueError(f"points={points!r} must be an odd whole number of at least 5")
            self.table = _table(self, count)
            self.status = status_if(~self.table.confined, Status.no_steady_law)
            _refuse_bad_table(self.table, self.temperature, count)

    def __str__(self) -> str:
        if not holds_numbers((self.centre, self.temperature)) or self.centre.ndim != 1:
            return repr(self)
        words = f"Gibbs law exp(-U / T) at T={show(self.temperature)}, "
        words += f"{self.dimension} dimension{'s' * (self.dimension > 1)}"
        if self.table is None:
            return f"{words}, known up to its constant"
        deviations = jnp.sqrt(self.variance)
        return f"{words}: mean {show(self.mean)}, standard deviations {show(deviations)}"

    @property
    def dimension(self) -> int:
        """d."""
        return self.centre.shape[0]

    @property
    def log_normaliser(self) -> Float[Array, ""]:
        """log Z, Z = integral of exp(-U / T)."""
        return poison(self._known().log_mass, self.status)

    def log_density(self, x: Float[Array, "*batch d"] | Any) -> Float[Array, "*batch"]:
        """-U(x) / T at points (..., d): the log density up to a constant, in any dimension."""
        return self._each(x, self._log_density)

    def log_prob(self, x: Float[Array, "*batch d"] | Any) -> Float[Array, "*batch"]:
        """Log density at points (..., d)."""
        return self.log_density(x) - self.log_normaliser

    def expect(self, function: Callable) -> Any:
        """E[f(x)] of a function x (d,) -> a number, an array, or a pytree of them."""
        table = self._known()
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            values = jax.vmap(function)(table.nodes)
        total = lambda v: jnp.tensordot(table.weights, as_float(v), axes=1)
        return jax.tree.map(lambda v: poison(total(v), self.status), values)

    @property
    def mean(self) -> Float[Array, " d"]:
        """E[x]."""
        return self.moment(1)

    @property
    def variance(self) -> Float[Array, " d"]:
        """The variance of every coordinate."""
        return jnp.diagonal(self.covariance)

    @property
    def covariance(self) -> Float[Array, "d d"]:
        """Cov[x]."""
        return poison(_covariance(self._known()), self.status)

    def moment(self, order: ScalarLike) -> Float[Array, " d"]:
        """E[x_i^order] of every coordinate, about the origin; `order` a whole number >= 0."""
        table, order = self._known(), as_count(order, "order", 0)
        return poison(table.weights @ table.nodes**order, self.status)

    def entropy(self) -> Float[Array, ""]:
        """Differential entropy in nats, E[U] / T + log Z."""
        return self.log_normaliser - self.expect(self._log_density)

    def cdf(self, x: Float[Array, "*shape"] | ScalarLike) -> Float[Array, "*shape"]:
        """P(X <= x) in one dimension, x of any shape; relative accuracy near 1e-12."""
        x = as_float(x, "x")
        return poison(_cdf(self, self._line(), x.reshape(-1)).reshape(x.shape), self.status)

    def quantile(self, p: Float[Array, "*shape"] | ScalarLike) -> Float[Array, "*shape"]:
        """The x with P(X <= x) = p in one dimension; p of any shape in [0, 1].

        p = 0 and 1 give the ends of the grid, where the density is exp(-50) of its largest value.
        A traced p outside [0, 1] gives NaN.
        """
        p = as_float(p, "p")
        inside = (p >= 0) & (p <= 1)
        refuse_unless(inside, f"p={show_value(p)}: quantile takes p in [0, 1]")
        x = _quantile(self, self._line(), p.reshape(-1)).reshape(p.shape)
        return poison(jnp.where(inside, x, jnp.nan), self.status)

    def sample(self, key, shape: int | tuple[int, ...] = ()) -> Float[Array, "... 1"]:
        """Independent draws (*shape, 1) in one dimension, by the quantile function."""
        shape = (*as_shape(shape), 1)
        return self.quantile(jax.random.uniform(as_key(key), shape, dtype=self.centre.dtype))

    def _log_density(self, x):
        # a user's function mixes Python numbers, arrays and precisions as it likes
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            value = self.potential(x)
        return -jnp.asarray(value, self.temperature.dtype) / self.temperature

    def _each(self, x, function):
        x = as_float(x, "x")
        if x.shape[-1:] != self.centre.shape:
            raise ValueError(
                f"a point of this law has shape (..., {self.dimension}), got {x.shape}"
            )
        return jax.vmap(function)(x.reshape(-1, self.dimension)).reshape(x.shape[:-1])

    def _known(self) -> Table:
        if self.table is None:
            raise ValueError(
                "the constant of exp(-U / T) is computed in one and two dimensions, this law has "
                f"{self.dimension}: use log_density (up to the constant), follow particles with "
                "ou.simulate(..., method=ou.BAOAB(friction)), or take the Gaussian law of the "
                "quadratic loss at the minimum, ou.Stage(...).gibbs()"
            )
        return self.table

    def _line(self) -> Table:
        if self.dimension != 1:
            raise ValueError(
                f"cdf, quantile and sample need one dimension, this law has {self.dimension}: use "
                "expect(lambda x: ...) or particles"
            )
        return self._known()


def refuse_bad_potential(potential: Any, centre: Float[Array, " d"]) -> None:
    """Refuse a U that is no function of x (d,), or one that does not return one number."""
    if not callable(potential):
        raise TypeError(f"potential must be a function of x (d,), got {potential!r}")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        shape = getattr(jax.eval_shape(potential, centre), "shape", None)
    if shape != ():
        raise ValueError(
            f"potential must return one number for x of shape {centre.shape}, it returns shape "
            f"{shape}; end it with jnp.sum"
        )


def _refuse_bad_table(table, temperature, count):
    if not is_concrete(table):
        return
    if not bool(table.confined):
        raise ValueError(
            f"exp(-U / T) at T={show(temperature)} has no end within four million of the centre, "
            "so it has no finite mass that can be computed: U must rise to both sides; add weight "
            "decay, or pass centre="
        )
    limit = 1e3 * float(jnp.finfo(table.error.dtype).eps) ** 0.5
    if not float(table.error) < limit:
        raise ValueError(
            f"{count} nodes per axis are too few for this law: every second node alone changes its "
            f"mass by {float(table.error):.1e}; pass points={4 * count - 3}"
        )


@eqx.filter_jit
def _table(law: Gibbs, count: int) -> Table:
    return tabulate(law._log_density, law.centre, count)


@jax.jit
def _covariance(table: Table):
    weights, nodes = table.weights, table.nodes
    gaps = nodes - (weights @ nodes)[None, :]
    return gaps.T @ (weights[:, None] * gaps)


def _curves(law: Gibbs, table: Table):
    (axis,) = table.axes
    density = jnp.exp(table.log_weights) / (axis[1] - axis[0])
    pull = jax.vmap(jax.grad(law._log_density))(axis[:, None])[:, 0]
    return axis, cumulative(axis, density, pull * density), density


@eqx.filter_jit
def _cdf(law: Gibbs, table: Table, x):
    return hermite(x, *_curves(law, table))


@eqx.filter_jit
def _quantile(law: Gibbs, table: Table, p):
    axis, values, density = _curves(law, table)
    fixed = lax.stop_gradient((axis, values, density))

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        below = hermite(middle, *fixed) < p
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    ends = (jnp.full_like(p, axis[0]), jnp.full_like(p, axis[-1]))
    low, high = lax.fori_loop(0, BISECTIONS, halve, lax.stop_gradient(ends))
    x = (low + high) / 2
    # one Newton step has the derivative of the inverse function
    slope = jnp.maximum(hermite(x, axis, fixed[2], jnp.gradient(fixed[2]) / (axis[1] - axis[0])), 0)
    slope = lax.stop_gradient(slope)
    gap = p - hermite(lax.stop_gradient(x), axis, values, density)
    return x + jnp.where(slope > 0, gap / jnp.where(slope > 0, slope, 1.0), 0.0)
