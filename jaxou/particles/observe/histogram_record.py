"""Counts of particles in bins at every save point, and what they say about the law."""

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int

from ..._check import as_float, refuse_unless, show_value


class HistogramRecord(eqx.Module):
    """How many particles lay in each bin, at each of K save points.

    Shapes start with (K,) for one direction and with (K, d) where every coordinate has its own
    histogram; `*lead` stands for either.

    - `counts` (*lead, bins): particles in [edge_i, edge_i+1); `below` and `above` (*lead): those
      outside all bins (NaN counts as above). Together they are all particles.
    - `edges`: the bins' edges, (bins + 1,) where they were given, else (*lead, bins + 1).
    - `quantile(q)`, `cdf(x)`: linear inside a bin, with `standard_error_quantile(q)` and
      `standard_error_cdf(x)`; `density` with `standard_error_density`.

    Without given edges a bin is 2^-7 wide relative to the distance from the stage's centre, so
    `quantile` is within 2^-7 of that distance of the sample's own quantile in any case; where the
    density is smooth the error is of the order of 2^-14.
    """

    counts: Int[Array, "*lead bins"]
    below: Int[Array, "*lead"]
    above: Int[Array, "*lead"]
    breaks: Float[Array, " edges"]
    origin: Float[Array, "*lead"] | None
    particles: int = eqx.field(static=True)

    @property
    def edges(self) -> Float[Array, "*shape edges"]:
        if self.origin is None:
            return self.breaks
        return as_float(np.asarray(self.origin)[..., None] + np.asarray(self.breaks))

    @property
    def density(self) -> Float[Array, "*lead bins"]:
        """Share of the particles per unit length."""
        return as_float(np.asarray(self.counts) / (self.particles * self._widths))

    @property
    def standard_error_density(self) -> Float[Array, "*lead bins"]:
        """sqrt(p (1 - p) / n) / width, p the share of particles in a bin."""
        share = np.asarray(self.counts) / self.particles
        return as_float(np.sqrt(share * (1 - share) / self.particles) / self._widths)

    @property
    def _widths(self) -> np.ndarray:
        return np.diff(np.asarray(self.breaks, np.float64))

    def quantile(self, q) -> Float[Array, "*shape"]:
        """x with share q of the particles below it: (*lead, *shape of q), q in [0, 1].

        -inf or inf where that point lies outside the bins. This and what follows is computed on
        the host, outside `jit`.
        """
        q = share_of_particles(q)
        return as_float(self._place(self._quantiles(q)))

    def standard_error_quantile(self, q) -> Float[Array, "*shape"]:
        """(Q(q + s) - Q(q - s)) / 2 with s = sqrt(q (1 - q) / n): the sample's own estimate.

        inf where n is too small for one. Source: Woodruff 1952,
        doi:10.1080/01621459.1952.10483443.
        """
        q = share_of_particles(q)
        step = np.sqrt(q * (1 - q) / self.particles)
        known = (q - step > 0) & (q + step < 1)
        low = self._quantiles(np.where(known, q - step, 0.0))
        high = self._quantiles(np.where(known, q + step, 1.0))
        fine = known & np.isfinite(low) & np.isfinite(high)
        low, high = np.where(fine, low, 0.0), np.where(fine, high, np.inf)
        return as_float((high - low) / 2)

    def cdf(self, x) -> Float[Array, "*shape"]:
        """The share of particles below x: (*lead, *shape of x).

        NaN for an x outside the bins where particles lie outside too: how many is not known there.
        """
        return as_float(self._shares(np.asarray(as_float(x, "x"), np.float64)))

    def standard_error_cdf(self, x) -> Float[Array, "*shape"]:
        """sqrt(F (1 - F) / n)."""
        share = self._shares(np.asarray(as_float(x, "x"), np.float64))
        return as_float(np.sqrt(share * (1 - share) / self.particles))

    def _series(self):
        """Counts, one row per save point and coordinate, with those outside at both ends."""
        ends = [np.asarray(x)[..., None] for x in (self.below, self.above)]
        whole = np.concatenate([ends[0], np.asarray(self.counts), ends[1]], axis=-1)
        return whole.reshape(-1, whole.shape[-1])

    def _place(self, deviations, sign=1):
        if self.origin is None:
            return deviations
        origin = np.asarray(self.origin, np.float64)
        extra = deviations.ndim - origin.ndim
        return deviations + sign * origin.reshape(origin.shape + (1,) * extra)

    def _quantiles(self, q: np.ndarray) -> np.ndarray:
        breaks = np.asarray(self.breaks, np.float64)
        out = np.empty((self.below.size, q.size))
        for row, counts in zip(out, self._series(), strict=True):
            upto = np.cumsum(counts)
            # the lowest particle is the least that a quantile can mean
            rank = q.reshape(-1) * upto[-1]
            j = np.searchsorted(upto, np.clip(rank, 1, upto[-1]), side="left")
            inner = np.clip(j, 1, len(breaks) - 1)
            part = (rank - upto[inner - 1]) / np.maximum(counts[inner], 1)
            left, right = breaks[inner - 1], breaks[inner]
            row[:] = left + np.clip(part, 0.0, 1.0) * (right - left)
            row[j == 0], row[j == len(breaks)] = -np.inf, np.inf
        return out.reshape(self.below.shape + q.shape)

    def _shares(self, x: np.ndarray) -> np.ndarray:
        breaks = np.asarray(self.breaks, np.float64)
        lead = self.below.shape
        points = np.broadcast_to(x, lead + x.shape)
        points = self._place(points, sign=-1).reshape(self.below.size, x.size)
        out = np.empty(points.shape)
        for row, at, counts in zip(out, points, self._series(), strict=True):
            upto = np.cumsum(counts)
            row[:] = np.interp(at, breaks, upto[:-1]) / self.particles
            row[(at < breaks[0]) & (counts[0] > 0)] = np.nan
            row[(at > breaks[-1]) & (counts[-1] > 0)] = np.nan
            row[np.isnan(at)] = np.nan
        return out.reshape(lead + x.shape)


def share_of_particles(q) -> np.ndarray:
    """`q` as float64, refused outside [0, 1]."""
    q = np.asarray(as_float(q, "q"), np.float64)
    refuse_unless(
        (q >= 0) & (q <= 1), f"q={show_value(q)} must lie in [0, 1]: a share of particles"
    )
    return q
