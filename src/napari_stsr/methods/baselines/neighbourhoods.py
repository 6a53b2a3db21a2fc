"""Which locations predict each target, and which targets can share their weights.

On a lattice the same arrangement of neighbours comes again and again: a target's neighbourhood is
known by where it lies in its cell (to 1/64 of a pitch) and by which sites around it were measured.
One system is solved for each arrangement. Without a lattice every target has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from napari_stsr.methods.baselines.kriging_system import (
    Covariance,
    distances,
    saddles,
    weights_and_variance,
)
from napari_stsr.results.expression import Floats32
from napari_stsr.slides import Lattice

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Weights: TypeAlias = Floats32 | sparse.csr_matrix

_PER_PITCH = 64
# Targets are placed on ideal sites only where the slide itself lies on them.
_MOST_RESIDUAL = 0.03
MOST_SYSTEMS = 10_000
_AT_ONCE = 65_536
# So few that their matrices stay in the cache.
_SYSTEMS_AT_ONCE = 16


class Surroundings(Protocol):
    """Locations around targets."""

    def weights(self, grid: Sequence[Covariance]) -> list[tuple[Weights, Floats32]]:
        """Weights (m, n) and variance of the field (m,) under every member of a grid."""
        ...

    def take(self, targets: Ints | Bools) -> Surroundings:
        """Return the same for some targets."""
        ...


def surroundings(
    lattice: Lattice,
    coordinates: Floats,
    usable: Bools,
    targets: Floats,
    neighbours: int,
    checked: Callable[[], None] = lambda: None,
) -> Surroundings:
    """Find the locations that predict each target.

    Parameters
    ----------
    lattice : Lattice
    coordinates : (n, 2) float array
        Measured locations in µm.
    usable : (n,) bool array
        Locations that may predict.
    targets : (m, 2) float array
        In µm.
    neighbours : int
        Locations per target; all are used together when there are no more.
    checked : callable
        Called at times; may raise to stop.
    """
    pitch = lattice.pitch_um or 1.0
    if usable.sum() <= neighbours:
        return Whole(coordinates / pitch, np.flatnonzero(usable), targets / pitch)
    if lattice.kind == "none" or lattice.residual > _MOST_RESIDUAL:
        return _nearest(coordinates, usable, targets, neighbours, pitch)
    near, scarce = _on_sites(lattice, usable, targets, neighbours, checked)
    if scarce.any():
        # At corners and far outside: the nearest, wherever they are.
        some = _nearest(coordinates, usable, targets[scarce], neighbours, pitch)
        near.index[scarce] = some.index
        near.system[scarce] = some.system + len(near.offsets)
        near = Neighbourhoods(
            near.index,
            near.system,
            np.concatenate([near.offsets, some.offsets]),
            np.concatenate([near.there, some.there]),
            len(coordinates),
        )
    return near


@dataclass(frozen=True, eq=False)
class Whole:
    """All locations predict every target: one system, one factorisation.

    Parameters
    ----------
    places : (n, 2) float array
        Measured locations, in pitches.
    used : int array
        Rows of `places` that predict.
    targets : (m, 2) float array
        In pitches.
    """

    places: Floats
    used: Ints
    targets: Floats

    def weights(self, grid: Sequence[Covariance]) -> list[tuple[Weights, Floats32]]:
        """Weights of all locations and variance of the field, under every member of a grid."""
        middle = self.places[self.used].mean(axis=0)
        places, targets = self.places[self.used] - middle, self.targets - middle
        away = distances(places, targets)
        answers: list[tuple[Weights, Floats32]] = []
        for covariance, matrix in zip(grid, saddles(grid, places), strict=True):
            some, variance = weights_and_variance(covariance, matrix, away, targets)
            weights = np.zeros((len(targets), len(self.places)), dtype=np.float32)
            weights[:, self.used] = some.T
            answers.append((weights, variance.astype(np.float32)))
        return answers

    def take(self, targets: Ints | Bools) -> Whole:
        """Return the same for some targets."""
        return Whole(self.places, self.used, self.targets[targets])


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """The nearest locations predict each target.

    Parameters
    ----------
    index : (m, k) int32 array
        Locations, -1 for a site without one.
    system : (m,) int array
        Row of `offsets` that describes the target's neighbourhood.
    offsets : (u, k, 2) float32 array
        Where the neighbours lie from the target, in pitches.
    there : (u, k) bool array
        Which of them exist. A target may lack more than its system says; then the weights of those
        it has are scaled to sum to one.
    locations : int
    """

    index: NDArray[np.int32]
    system: Ints
    offsets: Floats32
    there: Bools
    locations: int

    def weights(self, grid: Sequence[Covariance]) -> list[tuple[Weights, Floats32]]:
        """Weights of all locations and variance of the field, under every member of a grid."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        # Threads that share systems of a hundred unknowns wait for each other most of the time.
        with threadpool_limits(1, user_api="blas"):
            return self._solved(grid)

    def _solved(self, grid: Sequence[Covariance]) -> list[tuple[Weights, Floats32]]:
        needed, system = np.unique(self.system, return_inverse=True)
        solved = np.zeros((len(grid), len(needed), self.offsets.shape[1]), dtype=np.float32)
        variance = np.empty((len(grid), len(needed)), dtype=np.float32)
        # Like sizes together, so that few equations are of neighbours that are not there.
        size = self.there[needed].sum(axis=1)
        by_size = np.argsort(size, kind="stable")
        for start in range(0, len(needed), _SYSTEMS_AT_ONCE):
            part = by_size[start : start + _SYSTEMS_AT_ONCE]
            there = self.there[needed[part]]
            first = np.argsort(~there, axis=1, kind="stable")[:, : size[part].max()]
            there = np.take_along_axis(there, first, axis=1)
            offsets = self.offsets[needed[part][:, None], first].astype(np.float64)
            away = np.linalg.norm(offsets, axis=-1)[..., None]
            here = np.zeros((len(offsets), 1, 2))
            for member, matrix in enumerate(saddles(grid, offsets, there)):
                w, v = weights_and_variance(grid[member], matrix, away, here, there)
                solved[member, part[:, None], first], variance[member, part] = w[..., 0], v[:, 0]
        return [self._assembled(w, v, system) for w, v in zip(solved, variance, strict=True)]

    def _assembled(
        self, solved: Floats32, variance: Floats32, system: Ints
    ) -> tuple[sparse.csr_matrix, Floats32]:
        """Give every target the weights of its system."""
        values = solved[system]
        values *= self.index >= 0
        # Weights below zero could make a share of next to nothing where much is missing.
        share = np.maximum(values.sum(axis=1), 0.1)
        values /= share[:, None]
        shape = (len(self.index), self.locations)
        matrix = sparse.csr_matrix((values.ravel(), *self._pattern), shape=shape)
        return matrix, variance[system] / np.minimum(share, 1)

    @cached_property
    def _pattern(self) -> tuple[NDArray[np.int32], Ints]:
        """Columns and row ends of the weights, shared by all covariances."""
        m, k = self.index.shape
        ends = np.arange(0, m * k + 1, k, dtype=np.int32 if m * k < 2**31 else np.int64)
        return np.maximum(self.index, 0).ravel(), ends

    def take(self, targets: Ints | Bools) -> Neighbourhoods:
        """Return the same for some targets."""
        return Neighbourhoods(
            self.index[targets], self.system[targets], self.offsets, self.there, self.locations
        )


def _nearest(
    coordinates: Floats, usable: Bools, targets: Floats, neighbours: int, pitch: float
) -> Neighbourhoods:
    """Find the nearest locations, wherever they lie."""
    rows = np.flatnonzero(usable)
    _, near = cKDTree(coordinates[rows]).query(targets, k=neighbours)
    index = rows[near]
    offsets = ((coordinates[index] - targets[:, None]) / pitch).astype(np.float32)
    there = np.ones(index.shape, dtype=bool)
    own = np.arange(len(targets))
    return Neighbourhoods(index.astype(np.int32), own, offsets, there, len(coordinates))


def _on_sites(
    lattice: Lattice,
    usable: Bools,
    targets: Floats,
    neighbours: int,
    checked: Callable[[], None],
) -> tuple[Neighbourhoods, Bools]:
    """Take the nearest sites of the lattice; tell which targets have fewer than half measured."""
    sites = lattice.nearest_site(targets)
    steps = np.rint((lattice.fractional(targets) - sites) * _PER_PITCH).astype(np.int64)
    fractions, place = np.unique(steps, axis=0, return_inverse=True)
    place = place.ravel()
    stencil, offsets = _stencils(lattice, fractions / _PER_PITCH, neighbours)
    index = np.empty((len(targets), neighbours), dtype=np.int32)
    key = np.empty(len(targets), dtype=np.uint64)
    # A sum of random numbers names a set of neighbours: equal sets, equal sums.
    names = np.random.default_rng(0).integers(0, 2**63, neighbours + 1, dtype=np.uint64)
    for start in range(0, len(targets), _AT_ONCE):
        checked()
        part = slice(start, start + _AT_ONCE)
        found = lattice.location_at(sites[part, None] + stencil[place[part]])
        found = np.where(usable[found] & (found >= 0), found, -1)
        index[part] = found
        key[part] = (found >= 0).astype(np.uint64) @ names[:-1]
        key[part] += place[part].astype(np.uint64) * names[-1]
    present = (index >= 0).sum(axis=1)
    scarce = present < max(1, neighbours // 2)
    _, first, system = np.unique(key, return_index=True, return_inverse=True)
    # Beyond a bound, those that lack most are solved; others share the weights of full ones.
    lacking = np.where(scarce[first], neighbours, present[first])
    own = np.argsort(lacking, kind="stable")[:MOST_SYSTEMS]
    number = np.full(len(first), -1, dtype=np.int64)
    number[own] = np.arange(len(own))
    shared = number[system] < 0
    system = np.where(shared, len(own) + place, number[system])
    solved = first[own]
    there = [index[solved] >= 0]
    placed = [offsets[place[solved]]]
    if shared.any():
        there.append(np.ones((len(fractions), neighbours), dtype=bool))
        placed.append(offsets)
    answer = Neighbourhoods(
        index, system, np.concatenate(placed), np.concatenate(there), len(usable)
    )
    return answer, scarce


def _stencils(lattice: Lattice, fractions: Floats, neighbours: int) -> tuple[Ints, Floats32]:
    """Nearest sites (f, k, 2) to places in the cell, and their offsets (f, k, 2) in pitches."""
    reach = int(np.ceil(np.sqrt(neighbours))) + 2
    i, j = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    candidates = np.column_stack([i.ravel(), j.ravel()])
    unit = lattice.basis / lattice.pitch_um
    stencil = np.empty((len(fractions), neighbours, 2), dtype=np.int64)
    offsets = np.empty((len(fractions), neighbours, 2), dtype=np.float32)
    for start in range(0, len(fractions), 256):
        part = slice(start, start + 256)
        away = (candidates[None] - fractions[part, None]) @ unit
        # Rounded, so that ties fall the same way everywhere.
        order = np.argsort(np.round((away**2).sum(axis=-1), 9), axis=1, kind="stable")
        order = order[:, :neighbours]
        stencil[part] = candidates[order]
        offsets[part] = np.take_along_axis(away, order[..., None], axis=1)
    return stencil, offsets
