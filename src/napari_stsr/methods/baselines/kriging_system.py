"""Kriging as linear algebra: covariances, left-out errors, weights.

A covariance ``C(r) + noise·1(r = 0)`` and a drift (a constant, or a plane) lead to the system

    [ K + noise·I   P ] [ w ]   [ k ]
    [ Pᵀ            0 ] [ ν ] = [ p ]

whose solution are the weights ``w`` of the best linear unbiased prediction. Ordinary kriging has a
Matérn covariance and a constant drift; a smoothed thin-plate spline is the same with the
generalised covariance ``r² log r`` and a plane. All lengths are in pitches.

References
----------
Cressie (1993), Statistics for Spatial Data, sections 3.2 and 3.4; Dubrule (1983), Cross validation
of kriging in a unique neighborhood.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.spatial.distance import cdist

from napari_stsr.results.expression import Floats32

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Covariance:
    """Covariance of a field between two places, in units of its sill.

    Parameters
    ----------
    smoothness : float
        0.5, 1.5 or 2.5 for Matérn; infinity for the generalised covariance of thin plates.
    length : float
        Of Matérn, in pitches.
    noise : float
        Variance of the measured values' own noise (the nugget).
    """

    smoothness: float
    length: float
    noise: float

    def __call__(self, distance: Floats) -> Floats:
        """Covariance at distances (any shape), the noise left out."""
        r = distance
        if np.isinf(self.smoothness):
            return np.asarray(r * r * np.log(np.where(r > 0, r, 1.0)))
        a = np.sqrt(2 * self.smoothness) * r / self.length
        polynomial = {0.5: 1.0, 1.5: 1 + a, 2.5: 1 + a + a * a / 3}[self.smoothness]
        return np.asarray(polynomial * np.exp(-a))

    def drift(self, places: Floats) -> Floats:
        """Functions of place whose amounts are unknown, (…, 1) or (…, 3)."""
        one = np.ones((*places.shape[:-1], 1))
        return np.concatenate([one, places], axis=-1) if np.isinf(self.smoothness) else one


def saddles(
    grid: Sequence[Covariance], places: Floats, there: Bools | None = None
) -> Iterator[Floats]:
    """Matrix of the system under every member of a grid, (…, k + d, k + d).

    Neighbours in the grid that differ in noise alone share all but the diagonal, so the matrix
    given is the same array each time, changed.

    Parameters
    ----------
    grid : sequence of Covariance
    places : (…, k, 2) float array
        In pitches; of one or many neighbourhoods.
    there : (…, k) bool array, optional
        Places that are not there get weight zero.
    """
    distance = np.sqrt(_squares(places[..., 0]) + _squares(places[..., 1]))
    diagonal = np.arange(places.shape[-2])
    last, matrix, bare = None, np.empty(0), np.empty(0)
    for covariance in grid:
        if last is None or replace(last, noise=covariance.noise) != covariance:
            matrix = _saddle(covariance, places, distance, there)
            bare = matrix[..., diagonal, diagonal]
        noise = covariance.noise if there is None else covariance.noise * there
        matrix[..., diagonal, diagonal] = bare + noise
        last = covariance
        yield matrix


def _squares(along: Floats) -> Floats:
    """Squared differences between all pairs of numbers (…, k), shape (…, k, k)."""
    along = np.ascontiguousarray(along)
    difference = along[..., :, None] - along[..., None, :]
    difference *= difference
    return difference


def _saddle(
    covariance: Covariance, places: Floats, distance: Floats, there: Bools | None
) -> Floats:
    """Matrix of the system, the noise left out."""
    k = places.shape[-2]
    drift = covariance.drift(places)
    d = drift.shape[-1]
    whole = np.zeros((*places.shape[:-2], k + d, k + d))
    inner = whole[..., :k, :k]
    inner[...] = covariance(distance)
    if there is not None:
        inner *= there[..., :, None] & there[..., None, :]
        inner[..., np.arange(k), np.arange(k)] += ~there
        drift *= there[..., None]
    whole[..., :k, k:] = drift
    whole[..., k:, :k] = np.swapaxes(drift, -1, -2)
    # Neighbours on one line leave a slope across it undetermined: it is drawn to zero.
    slope = np.arange(k + 1, k + d)
    whole[..., slope, slope] = -1e-9
    return whole


def weights_and_variance(
    covariance: Covariance, matrix: Floats, away: Floats, place: Floats, there: Bools | None = None
) -> tuple[Floats, Floats]:
    """Weights of the neighbours of a target and the variance of its field.

    Parameters
    ----------
    covariance : Covariance
    matrix : (…, k + d, k + d) float array
        Of `saddles`.
    away : (…, k, t) float array
        Distances of the neighbours from the target (or from t targets).
    place : (…, t, 2) float array
        The targets, in the frame `matrix` was made in.
    there : (…, k) bool array, optional

    Returns
    -------
    weights : (…, k, t) float array
    variance : (…, t) float array
        Of the field without the noise of a measurement, in units of the sill; meaningless for
        thin plates.
    """
    k = away.shape[-2]
    near = covariance(away)
    if there is not None:
        near = near * there[..., None]
    right = np.concatenate([near, np.swapaxes(covariance.drift(place), -1, -2)], axis=-2)
    solution = np.linalg.solve(matrix, right)
    variance = 1.0 - np.einsum("...kt,...kt->...t", solution, right)
    return solution[..., :k, :], np.maximum(variance, 0.0)


def left_out(matrix: Floats, values: Floats32) -> tuple[Floats32, Floats]:
    """Errors at every place predicted from all others, and their variances, in closed form.

    Parameters
    ----------
    matrix : (n + d, n + d) float array
        Of `saddles`.
    values : (n, g) float array

    Returns
    -------
    errors : (n, g) float array
        Measured minus predicted.
    variance : (n,) float array
        Of the errors (noise included), in units of the sill.
    """
    n = len(values)
    inverse = _inverse(matrix)[:n, :n]
    variance = 1.0 / np.diag(inverse)
    operator = (inverse * variance[:, None]).astype(values.dtype)
    return operator @ values, variance


def _inverse(matrix: Floats) -> Floats:
    """Inverse of a symmetric matrix, in half the time of one that knows no symmetry."""
    factors, pivots, wrong = lapack.dsytrf(matrix, lower=1, lwork=64 * len(matrix))
    inverse, singular = lapack.dsytri(factors, pivots, lower=1)
    if wrong or singular:
        raise np.linalg.LinAlgError("Singular matrix")
    return np.asarray(np.tril(inverse) + np.tril(inverse, -1).T)


def patches(places: Floats, most: int, limit: int, seed: int) -> list[Ints]:
    """Split places into patches of neighbours of at most `most`, and keep some by chance.

    The wider side is halved until the patches are small enough; then as many are drawn as hold
    about `limit` places.
    """
    waiting, small = [np.arange(len(places))], []
    while waiting:
        patch = waiting.pop()
        if len(patch) <= most:
            small.append(patch)
            continue
        axis = int(np.argmax(np.ptp(places[patch], axis=0)))
        half = len(patch) // 2
        order = np.argpartition(places[patch, axis], half)
        waiting += [patch[np.sort(order[:half])], patch[np.sort(order[half:])]]
    kept = max(1, limit // max(1, len(small[0])))
    if len(small) <= kept:
        return small
    drawn = np.random.default_rng(seed).choice(len(small), kept, replace=False)
    return [small[i] for i in np.sort(drawn)]


@dataclass(eq=False)
class LeaveOneOut:
    """Gathers, patch by patch, how well every covariance of a grid predicts every gene.

    Parameters
    ----------
    grid : sequence of Covariance
    genes : int
    """

    grid: Sequence[Covariance]
    genes: int

    def __post_init__(self) -> None:
        self.squares = np.zeros((len(self.grid), self.genes))
        self.scaled = np.zeros((len(self.grid), self.genes))
        self.count = 0

    def add(self, places: Floats, values: Floats32) -> Iterator[int]:
        """Add a patch, giving the number of each member of the grid that was added."""
        self.count += len(places)
        for member, matrix in enumerate(saddles(self.grid, places)):
            errors, variance = left_out(matrix, values)
            np.square(errors, out=errors)
            sums = np.stack([np.ones_like(variance), 1 / variance]).astype(errors.dtype) @ errors
            self.squares[member] += sums[0]
            self.scaled[member] += sums[1]
            yield member

    def best(self) -> tuple[Ints, Floats]:
        """Member of the grid with the least squared error, and the sill it implies, per gene."""
        best = np.argmin(self.squares, axis=0)
        return best, self.scaled[best, np.arange(self.genes)] / max(1, self.count)


def distances(places: Floats, targets: Floats) -> Floats:
    """Distances (n, m) between places (n, 2) and targets (m, 2)."""
    return np.asarray(cdist(places, targets))
