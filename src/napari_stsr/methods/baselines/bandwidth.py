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
# Above this share of neighbours a dense product is faster than a sparse one.
_DENSE_SHARE = 0.04


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
    weights : tuple of CSR or dense (r, n) float32 matrices
        One a bandwidth, zero for a location itself.
    """

    locations: Ints
    grid: tuple[float, ...]
    weights: tuple[sparse.csr_matrix | Floats32, ...]

    @classmethod
    def of(cls, coordinates: Floats, usable: NDArray[np.bool_], pitch: float, seed: int) -> LeftOut:
        """Leave out each of a sample of the usable locations, at the shared grid of bandwidths."""
        able = np.flatnonzero(usable)
        most = _SAMPLE if len(coordinates) <= _DENSE_LOCATIONS else _LARGE_SAMPLE
        if len(able) > most:
            able = np.sort(np.random.default_rng(seed).choice(able, most, replace=False))
        grid = tuple(pitch * width for width in GRID_PITCHES)
        return cls(able, grid, tuple(_without_own(coordinates, able, width) for width in grid))

    def rates(
        self, width: int, values: Floats32, mass: Floats32, mean: Floats, prior: float
    ) -> Floats32:
        """Weighted means without the location itself, (r, k), of dense values (n, k)."""
        weights = self.weights[width]
        return _rates(weights @ values, weights @ mass, mean, prior)

    def blocks(
        self, values: RowValues, mass: Floats32, mean: Floats, prior: float
    ) -> Iterator[tuple[Ints, slice, Floats32, list[Floats32]]]:
        """Go through the locations and genes in blocks of bounded size.

        Yields
        ------
        at : int array
            Rows of `locations`.
        genes : slice
        own : (len(at), b) float32 array
            Values of the locations left out.
        rates : list of (len(at), b) float32 arrays
            Their prediction at every bandwidth.
        """
        n, g = values.shape
        if n <= _DENSE_LOCATIONS:
            every, width = np.arange(len(self.locations)), max(1, _BLOCK_VALUES // n)
            for start in range(0, g, width):
                part = slice(start, min(start + width, g))
                block = values.dense(np.arange(part.start, part.stop))
                grid = range(len(self.grid))
                rates = [self.rates(w, block, mass, mean[part], prior) for w in grid]
                yield every, part, block[self.locations], rates
            return
        rows = max(1, _BLOCK_VALUES // (g * (len(self.grid) + 1)))
        for start in range(0, len(self.locations), rows):
            at = np.arange(start, min(start + rows, len(self.locations)))
            rates = []
            for weights in self.weights:
                some = sparse.csr_matrix(weights[at])
                near = np.unique(some.indices)
                sums = (some[:, near] @ values.some(near)).toarray()
                rates.append(_rates(sums, some @ mass, mean, prior))
            yield at, slice(0, g), values.some(self.locations[at]).toarray(), rates


def _without_own(
    coordinates: Floats, locations: Ints, bandwidth: float
) -> sparse.csr_matrix | Floats32:
    weights = gaussian_weights(coordinates[locations], coordinates, bandwidth).tocoo()
    weights.data[weights.col == locations[weights.row]] = 0
    if weights.nnz > _DENSE_SHARE * len(locations) * len(coordinates):
        return np.asarray(weights.toarray())
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
        return 2e-10 * min(locations, _SAMPLE) * locations * genes
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
