"""The bandwidth of every gene, by predicting locations from all others (leave-one-out).

Leaving a location out of a weighted mean is leaving its own weight away: the diagonal of the weight
matrix is set to zero, and nothing is fitted again. On large slides a random sample of locations is
predicted, each from all its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial.distance import cdist

from napari_stsr.methods.baselines.smoothing import REACH, Values, gaussian_weights
from napari_stsr.results.expression import Floats32

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Loss = Callable[[Ints, Floats32, Floats32], Floats]
GRID_PITCHES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)
# Up to this many locations the values of a block of genes are held dense.
_DENSE_LOCATIONS = 20_000
_BLOCK_VALUES = 6_000_000
_SAMPLE, _LARGE_SAMPLE = 1000, 5000
# Left-out locations of one strip.
_STRIP = 64


class RowValues(Values, Protocol):
    """Values that can be had by locations as well as by genes."""

    def some(self, locations: Ints) -> sparse.csr_matrix:
        """Values of some locations, float32 CSR (len(locations), g)."""
        ...


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Weights of all other locations at some locations, for a grid of bandwidths.

    Parameters
    ----------
    locations : (r,) int array
        Those predicted.
    grid : tuple of float
        Bandwidths in µm.
    weights : tuple of Strips or (r, n) CSR float32 matrices
        One a bandwidth, zero for a location itself.
    order : (n,) int array
        The order of the locations that `weights` are to be multiplied with.
    """

    locations: Ints
    grid: tuple[float, ...]
    weights: tuple[sparse.csr_matrix | Strips, ...]
    order: Ints

    @classmethod
    def of(cls, coordinates: Floats, usable: NDArray[np.bool_], pitch: float, seed: int) -> LeftOut:
        """Leave out each of a sample of the usable locations, at the shared grid of bandwidths."""
        able = np.flatnonzero(usable)
        small = len(coordinates) <= _DENSE_LOCATIONS
        most = _SAMPLE if small else _LARGE_SAMPLE
        if len(able) > most:
            able = np.sort(np.random.default_rng(seed).choice(able, most, replace=False))
        grid = tuple(pitch * width for width in GRID_PITCHES)
        if not small:
            weights = tuple(_without_own(coordinates, able, width) for width in grid)
            return cls(able, grid, weights, np.arange(len(coordinates)))
        axis = int(np.argmax(np.ptp(coordinates, axis=0)))
        order = np.argsort(coordinates[:, axis], kind="stable")
        chosen = np.flatnonzero(np.isin(order, able))
        places = coordinates[order]
        return cls(
            order[chosen],
            grid,
            tuple(Strips.of(places, chosen, axis, width) for width in grid),
            order,
        )

    def rates(
        self, values: Floats32, mass: Floats32, mean: Floats, prior: float
    ) -> Iterator[Floats32]:
        """Weighted means (r, k) without the location itself, at every bandwidth; values (n, k)."""
        values, mass = np.ascontiguousarray(values[self.order]), mass[self.order]
        return (_rates(w @ values, w @ mass, mean, prior) for w in self.weights)

    def blocks(
        self, values: RowValues, mass: Floats32, mean: Floats, prior: float
    ) -> Iterator[tuple[Ints, slice, Floats32, Iterator[Floats32]]]:
        """Go through the locations and genes in blocks of bounded size.

        Yields
        ------
        at : int array
            Rows of `locations`.
        genes : slice
        own : (len(at), b) float32 array
            Values of the locations left out.
        rates : iterator of (len(at), b) float32 arrays
            Their prediction at every bandwidth.
        """
        n, g = values.shape
        if n <= _DENSE_LOCATIONS:
            every, width = np.arange(len(self.locations)), max(1, _BLOCK_VALUES // n)
            for start in range(0, g, width):
                part = slice(start, min(start + width, g))
                block = values.dense(np.arange(part.start, part.stop))
                yield every, part, block[self.locations], self.rates(block, mass, mean[part], prior)
            return
        rows = max(1, _BLOCK_VALUES // (g * (len(self.grid) + 1)))
        for start in range(0, len(self.locations), rows):
            at = np.arange(start, min(start + rows, len(self.locations)))
            own = values.some(self.locations[at]).toarray()
            yield at, slice(0, g), own, self._sparse_rates(at, values, mass, mean, prior)

    def _sparse_rates(
        self, at: Ints, values: RowValues, mass: Floats32, mean: Floats, prior: float
    ) -> Iterator[Floats32]:
        """Rates of some locations from the values around them alone."""
        for weights in self.weights:
            assert isinstance(weights, sparse.csr_matrix)
            some = weights[at]
            near = np.unique(some.indices)
            sums = (some[:, near] @ values.some(near)).toarray()
            yield _rates(sums, some @ mass, mean, prior)


@dataclass(frozen=True, eq=False)
class Strips:
    """Weights (r, n) of locations in the order of their place along an axis, strip by strip.

    What lies within reach of a strip is one run of locations, so that the product with dense values
    is a few dense products that leave out most of the zeros.

    Parameters
    ----------
    strips : list of (run, weights)
        The locations that a strip draws on, and a dense float32 array.
    """

    strips: list[tuple[slice, Floats32]]

    @classmethod
    def of(cls, places: Floats, chosen: Ints, axis: int, bandwidth: float) -> Strips:
        """Weigh all others at the chosen rows of `places`, which are sorted along the axis."""
        reach, along, strips = REACH * bandwidth, places[:, axis], []
        for start in range(0, len(chosen), _STRIP):
            own = chosen[start : start + _STRIP]
            first = int(np.searchsorted(along, along[own[0]] - reach))
            run = slice(first, int(np.searchsorted(along, along[own[-1]] + reach, "right")))
            away = cdist(places[own], places[run])
            weights = np.exp(-0.5 * (away / bandwidth) ** 2).astype(np.float32)
            weights[away > reach] = 0
            weights[np.arange(len(own)), own - first] = 0
            strips.append((run, weights))
        return cls(strips)

    def __matmul__(self, values: Floats32) -> Floats32:
        """Sums (r, k) of values (n, k), or (r,) of values (n,)."""
        return np.concatenate([weights @ values[run] for run, weights in self.strips])


def _without_own(coordinates: Floats, locations: Ints, bandwidth: float) -> sparse.csr_matrix:
    weights = gaussian_weights(coordinates[locations], coordinates, bandwidth).tocoo()
    weights.data[weights.col == locations[weights.row]] = 0
    weights = weights.tocsr()
    weights.eliminate_zeros()
    return weights


def _rates(sums: Floats32, mass: Floats32, mean: Floats, prior: float) -> Floats32:
    sums += (prior * mean).astype(np.float32)
    sums /= (mass + np.float32(prior))[:, None]
    return sums


def best_bandwidths(
    left_out: LeftOut,
    values: RowValues,
    mass: Floats32,
    mean: Floats,
    prior: float,
    loss: Loss,
) -> Generator[int, None, Floats]:
    """Bandwidth of every gene in µm; infinite where the mean predicts best.

    Yields the number of values predicted so far, of ``len(left_out.locations) · g``.

    Parameters
    ----------
    left_out : LeftOut
    values : RowValues
        (n, g); already times the mass.
    mass : (n,) float32 array
    mean : (g,) float array
        Weighted mean over all locations.
    prior : float
        Mass that pulls every prediction to the mean.
    loss : callable
        ``loss(locations, own, rate)`` gives the loss of every gene, summed over locations.
    """
    total, done = np.zeros((len(left_out.grid) + 1, values.shape[1])), 0
    for at, genes, own, rates in left_out.blocks(values, mass, mean, prior):
        where = left_out.locations[at]
        for width, rate in enumerate(rates):
            total[width, genes] += loss(where, own, rate)
        flat = np.broadcast_to(mean[genes].astype(np.float32), own.shape)
        total[-1, genes] += loss(where, own, flat)
        done += own.size
        yield done
    return np.asarray(np.array([*left_out.grid, np.inf])[np.argmin(total, axis=0)])


def left_out_seconds(locations: int, genes: int, stored: int) -> float:
    """Time of `best_bandwidths` on one processor core, from measured constants.

    Parameters
    ----------
    locations, genes : int
    stored : int
        Non-zero values.
    """
    if locations <= _DENSE_LOCATIONS:
        return 1e-10 * min(locations, _SAMPLE) * locations * genes
    # Neighbours of one location at all bandwidths, on either lattice.
    around = 3.3 * sum((REACH * width) ** 2 for width in GRID_PITCHES)
    return 1e-8 * _LARGE_SAMPLE * around * stored / locations


def poisson_loss(totals: Floats) -> Loss:
    """Poisson: ``Σ_i T_i ρ_i − y_i log(T_i ρ_i)``, for a location's own total T."""
    depth = totals.astype(np.float32)

    def loss(locations: Ints, own: Floats32, rate: Floats32) -> Floats:
        rate = np.maximum(rate, np.float32(1e-20))
        expected = depth[locations] @ rate
        return np.asarray(expected - np.einsum("ig,ig->g", own, np.log(rate)), dtype=np.float64)

    return loss


def squared_loss(mass: Floats) -> Loss:
    """Squared error of means, weighted by mass; `own` comes times the mass."""
    weight = np.maximum(mass, 1e-12).astype(np.float32)

    def loss(locations: Ints, own: Floats32, rate: Floats32) -> Floats:
        mine = weight[locations][:, None]
        return np.asarray((mine * (own / mine - rate) ** 2).sum(axis=0), dtype=np.float64)

    return loss
