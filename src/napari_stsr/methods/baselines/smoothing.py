"""Gaussian sums over the locations of a slide, at any places, at any number of them.

``sums[i] = Σ_j exp(−d_ij² / 2h²) · values[j]``, over the locations j within three bandwidths h. In
a gap, where the nearest location is farther than two bandwidths, h is half that distance: a place
in a hole is told by its rim, and not by the mean of the slide.

Few places are summed directly. Many go over a raster: values are shared out to its four nearest
nodes, the raster is smoothed along its two axes, and places read it off between the nodes. Sharing
out and reading off each smooth a little, by a sixth of a step squared; the raster is smoothed by so
much less. Either way all weights are positive, so a ratio of sums stays a weighted mean.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from napari_stsr.methods.measured import Measured
from napari_stsr.results.expression import Floats32

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
REACH = 3.0
# Sums over more pairs than this go over a raster.
_MOST_PAIRS = 8_000_000
# The least bandwidth as a share of the distance to the nearest location.
_LEAST_SHARE = 0.5
# A place in a gap draws on so many locations at most.
_MOST_NEAR = 256
# Values of locations that are smoothed at once.
_MOST_VALUES = 40_000_000
# What one smoother keeps: 8 bytes an entry.
_MOST_KEPT = 100_000_000


class _Sums(Protocol):
    size: int

    def of(self, values: Floats32) -> Floats32: ...


def gaussian_weights(places: Floats, sources: Floats, bandwidth: float) -> sparse.csr_matrix:
    """Weights of all sources within reach of each place, (m, n) float32."""
    reach = REACH * bandwidth
    tree = cKDTree(sources)
    pairs = cKDTree(places).sparse_distance_matrix(tree, reach, output_type="ndarray")
    weights = np.exp(-0.5 * (pairs["v"] / bandwidth) ** 2).astype(np.float32)
    shape = (len(places), len(sources))
    return sparse.csr_matrix((weights, (pairs["i"], pairs["j"])), shape=shape)


class _Direct:
    def __init__(
        self, places: Floats, sources: Floats, bandwidth: float, without: Ints | None
    ) -> None:
        self.weights = gaussian_weights(places, sources, bandwidth)
        if without is not None:
            row = np.repeat(np.arange(len(places)), np.diff(self.weights.indptr))
            self.weights.data[self.weights.indices == without[row]] = 0
        self.size = self.weights.nnz

    def of(self, values: Floats32) -> Floats32:
        return np.asarray(self.weights @ values)


class _Raster:
    def __init__(self, places: Floats, sources: Floats, bandwidth: float, pitch: float) -> None:
        step = max(bandwidth / 3, pitch / 2)
        low = sources.min(axis=0) - REACH * bandwidth - step
        high = sources.max(axis=0) + REACH * bandwidth + 2 * step
        self.shape = tuple(np.ceil((high - low) / step).astype(int) + 1)
        self.spread = _between(sources, low, step, self.shape).T.tocsr()
        self.read = _between(places, low, step, self.shape)
        self.sigma = np.sqrt((bandwidth / step) ** 2 - 1 / 3)
        self.gain = 2 * np.pi * (bandwidth / step) ** 2
        self.size = self.spread.nnz + self.read.nnz

    def of(self, values: Floats32) -> Floats32:
        from scipy.ndimage import gaussian_filter

        sums = np.empty((self.read.shape[0], values.shape[1]), dtype=np.float32)
        for column in range(values.shape[1]):
            nodes = (self.spread @ values[:, column]).reshape(self.shape)
            smooth = gaussian_filter(nodes, self.sigma, mode="constant", truncate=REACH)
            sums[:, column] = self.read @ smooth.ravel()
        sums *= self.gain
        return sums


class _Widened:
    """Sums of which some rows, those in gaps, have bandwidths of their own."""

    def __init__(self, inner: _Sums, rows: Ints, weights: sparse.csr_matrix) -> None:
        self.inner, self.rows, self.weights = inner, rows, weights
        self.size = inner.size + weights.nnz

    def of(self, values: Floats32) -> Floats32:
        sums = self.inner.of(values)
        sums[self.rows] = self.weights @ values
        return sums


def _between(points: Floats, low: Floats, step: float, shape: tuple[int, ...]) -> sparse.csr_matrix:
    """Bilinear weights (points × nodes) of the four nodes around each point."""
    at = (points - low) / step
    base = np.floor(at).astype(np.int64)
    inside = np.all((base >= 0) & (base < np.array(shape) - 1), axis=1)
    base[~inside] = 0
    part = np.where(inside[:, None], at - base, 0.0)
    columns = np.empty((len(points), 4), dtype=np.int32)
    weights = np.empty((len(points), 4), dtype=np.float32)
    for corner, (i, j) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        columns[:, corner] = (base[:, 0] + i) * shape[1] + base[:, 1] + j
        share = (part[:, 0] if i else 1 - part[:, 0]) * (part[:, 1] if j else 1 - part[:, 1])
        weights[:, corner] = np.where(inside, share, 0.0)
    ends = np.arange(0, 4 * len(points) + 1, 4)
    nodes = int(np.prod(shape))
    return sparse.csr_matrix((weights.ravel(), columns.ravel(), ends), (len(points), nodes))


class Smoother:
    """Gaussian sums from the locations of a slide to some places.

    Parameters
    ----------
    sources : (n, 2) float array
        Locations in µm.
    places : (m, 2) float array
    pitch : float
        Distance between neighbouring locations in µm.
    without : (m,) int array, optional
        A location each place must not draw on: a location that is told by all others.
    """

    def __init__(
        self, sources: Floats, places: Floats, pitch: float, without: Ints | None = None
    ) -> None:
        self.sources, self.places, self.pitch = sources, places, pitch
        self.without = without
        self._kept: OrderedDict[float, _Sums] = OrderedDict()

    @classmethod
    def of(cls, measured: Measured, places: Floats) -> Smoother:
        """Sums from the locations of a slide to any places (m, 2) in µm."""
        return cls(measured.coordinates, places, measured.spacing_um)

    @classmethod
    def left_out(cls, measured: Measured, locations: Ints) -> Smoother:
        """Sums at some of the locations themselves, each told by all others."""
        places = measured.coordinates
        return cls(places, places[locations], measured.spacing_um, locations)

    def __len__(self) -> int:
        return len(self.places)

    def sums(self, values: Floats32, bandwidth: float) -> Floats32:
        """Sums of values (n, k) at every place, shape (m, k); the bandwidth is in µm."""
        if bandwidth not in self._kept:
            self._kept[bandwidth] = self._made(bandwidth)
            while len(self._kept) > 1 and sum(s.size for s in self._kept.values()) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return self._kept[bandwidth].of(np.asarray(values, dtype=np.float32))

    @cached_property
    def _away(self) -> Floats:
        """Distance of every place to the nearest location it may draw on, (m,) in µm."""
        if self.without is None:
            return np.asarray(cKDTree(self.sources).query(self.places)[0])
        near = min(2, len(self.sources))
        away, which = cKDTree(self.sources).query(self.places, k=[*range(1, near + 1)])
        away[which == self.without[:, None]] = np.inf
        return np.asarray(away.min(axis=1))

    def _made(self, bandwidth: float) -> _Sums:
        sums = self._plain(bandwidth)
        wide = np.isfinite(self._away) & (_LEAST_SHARE * self._away > bandwidth)
        if not wide.any():
            return sums
        rows = np.flatnonzero(wide)
        return _Widened(sums, rows, self._of_gaps(rows))

    def _of_gaps(self, rows: Ints) -> sparse.csr_matrix:
        """Weights of the locations around places in gaps, (len(rows), n)."""
        k = min(_MOST_NEAR, len(self.sources))
        away, near = cKDTree(self.sources).query(self.places[rows], k=[*range(1, k + 1)])
        width = _LEAST_SHARE * self._away[rows][:, None]
        weights = np.exp(-0.5 * (away / width) ** 2).astype(np.float32)
        if self.without is not None:
            weights[near == self.without[rows][:, None]] = 0
        ends = np.arange(0, weights.size + 1, k)
        shape = (len(rows), len(self.sources))
        return sparse.csr_matrix((weights.ravel(), near.ravel(), ends), shape=shape)

    def _plain(self, bandwidth: float) -> _Sums:
        near = np.pi * (REACH * bandwidth / self.pitch) ** 2 * 2 / np.sqrt(3)
        few = len(self.places) * min(near, len(self.sources)) <= _MOST_PAIRS
        if few or self.without is not None:
            return _Direct(self.places, self.sources, bandwidth, self.without)
        return _Raster(self.places, self.sources, bandwidth, self.pitch)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Smoother:
        """Return the same for some of the places."""
        without = None if self.without is None else self.without[rows]
        return Smoother(self.sources, self.places[rows], self.pitch, without)


class Values(Protocol):
    """Numbers at the locations of a slide, gene by gene."""

    @property
    def shape(self) -> tuple[int, int]:
        """Locations and genes."""
        ...

    def dense(self, genes: NDArray[np.int64]) -> Floats32:
        """Values of the given gene columns, (n, len(genes))."""
        ...


@dataclass(frozen=True, eq=False)
class SmoothedExpression:
    """Weighted means over neighbours, each gene with its own bandwidth.

    ``expected[i, g] = (Σ_j w_ij values[j, g] + prior · mean[g]) / (Σ_j w_ij mass[j] + prior)``

    Parameters
    ----------
    smoother : Smoother
    values : Values
        (n, g); already times the mass.
    mass : (n,) float array
    bandwidth : (g,) float array
        In µm; infinite for the mean.
    mean : (g,) float array
        What the prior pulls towards.
    prior : float
        In units of the mass.
    """

    smoother: Smoother
    values: Values
    mass: NDArray[np.floating]
    bandwidth: Floats
    mean: Floats
    prior: float

    @property
    def shape(self) -> tuple[int, int]:
        """Places and genes."""
        return len(self.smoother), len(self.mean)

    def columns(self, genes: NDArray[np.int64]) -> Floats32:
        """Means of the given gene columns."""
        out = np.empty((len(self.smoother), len(genes)), dtype=np.float32)
        widths = self.bandwidth[genes]
        out[:] = self.mean[genes]
        for width in np.unique(widths[np.isfinite(widths)]):
            same, block = np.flatnonzero(widths == width), max(1, _MOST_VALUES // len(self.mass))
            for start in range(0, len(same), block):
                at = same[start : start + block]
                both = np.column_stack([self.values.dense(genes[at]), self.mass])
                sums = self.smoother.sums(both, float(width))
                over = sums[:, :-1] + (self.prior * self.mean[genes[at]]).astype(np.float32)
                out[:, at] = over / (sums[:, -1:] + np.float32(self.prior))
        return out

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> SmoothedExpression:
        """Return some places."""
        return SmoothedExpression(
            self.smoother.take(targets),
            self.values,
            self.mass,
            self.bandwidth,
            self.mean,
            self.prior,
        )
