"""The lattice the measured locations sit on: detected, located on, and divided.

Coordinates are (x, y) in µm. A site is a pair of integers (i, j); its position is
``origin + i * basis[0] + j * basis[1]``. Mirrored and turned slides need nothing special: the
basis carries it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from napari_stsr.errors import InputError

Kind = Literal["hex", "square", "none"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS: dict[str, list[tuple[int, int]]] = {
    "hex": [(1, 0), (0, 1), (-1, 1), (-1, 0), (0, -1), (1, -1)],
    "square": [(1, 0), (0, 1), (-1, 0), (0, -1)],
    "none": [],
}
# Corners of the cell around a site, in steps: between a site's neighbours, counter-clockwise.
_CORNERS: dict[str, list[tuple[float, float]]] = {
    "hex": [(1 / 3, 1 / 3), (-1 / 3, 2 / 3), (-2 / 3, 1 / 3),
            (-1 / 3, -1 / 3), (1 / 3, -2 / 3), (2 / 3, -1 / 3)],
    "square": [(0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5)],
}  # fmt: skip
_MAX_RESIDUAL = 0.2


@dataclass(frozen=True)
class Division:
    """How a location is split into parts, and which block of locations teaches it.

    Attributes
    ----------
    k : int
        Parts per location.
    coarse : (2, 2) int array
        Steps of the lattice of blocks, in steps of the fine lattice (rows).
    cells : (k, 2) int array
        Sites of one block, relative to its anchor. Blocks at all ``anchor + integers @ coarse``
        tile the lattice without overlap.
    offsets : (k, 2) float array
        Centres of the parts relative to the location, in steps of its own lattice.
    """

    k: int
    coarse: Ints
    cells: Ints
    offsets: Floats


def _division(coarse: ArrayLike, cells: ArrayLike, offsets: ArrayLike | None = None) -> Division:
    steps, sites = np.asarray(coarse, dtype=np.int64), np.asarray(cells, dtype=np.int64)
    if offsets is None:
        offsets = (sites - sites.mean(axis=0)) @ np.linalg.inv(steps)
    parts = np.asarray(offsets, dtype=np.float64)
    return Division(len(parts), steps, sites, parts)


def _blocks(width: int) -> Division:
    i, j = np.mgrid[:width, :width]
    return _division(width * np.eye(2, dtype=np.int64), np.column_stack([i.ravel(), j.ravel()]))


_FLOWER = [(0, 0), *_STEPS["hex"]]
_SQRT7 = [(2, 1), (-1, 3)]
_DIVISIONS: dict[str, dict[int, Division]] = {
    "hex": {
        7: _division(_SQRT7, _FLOWER),
        # Six triangles of a hexagon; taught by the flower, asked at the triangles' centroids.
        6: _division(_SQRT7, _FLOWER, np.array(_STEPS["hex"]) / 3),
    },
    "square": {4: _blocks(2), 9: _blocks(3), 16: _blocks(4)},
    "none": {},
}


@dataclass(frozen=True, eq=False)
class Lattice:
    """The regular lattice of a slide, or the statement that there is none.

    Parameters
    ----------
    kind : {"hex", "square", "none"}
    pitch_um : float
        Distance between nearest sites; for "none" the median nearest-neighbour distance.
    sites : (n, 2) int array
        Site of every measured location; empty (0, 2) for "none".
    origin : (2,) float array
        Position of site (0, 0) in µm.
    basis : (2, 2) float array
        Steps of the lattice in µm, one a row.
    residual : float
        Root mean square distance between locations and their sites, in pitches.
    """

    kind: Kind
    pitch_um: float
    sites: Ints
    origin: Floats
    basis: Floats
    residual: float = 0.0

    @property
    def steps(self) -> Ints:
        """Steps to the nearest neighbours (6 hex, 4 square), shape (s, 2)."""
        return np.array(_STEPS[self.kind], dtype=np.int64).reshape(-1, 2)

    @property
    def turned_degrees(self) -> float:
        """Angle of the first step to the x axis, folded into the lattice's own symmetry."""
        fold = {"hex": 60.0, "square": 90.0, "none": 360.0}[self.kind]
        return float(np.degrees(np.arctan2(self.basis[0, 1], self.basis[0, 0])) % fold)

    def __str__(self) -> str:
        if self.kind == "none":
            return f"no lattice (nearest neighbours {self.pitch_um:.3g} µm apart)"
        turned = self.turned_degrees
        note = " turned by 45°" if self.kind == "square" and abs(turned - 45) < 10 else ""
        return f"{self.kind} lattice{note}, pitch {self.pitch_um:.4g} µm"

    @property
    def divisions(self) -> tuple[int, ...]:
        """Numbers of parts this lattice can be split into, the default first."""
        return tuple(sorted(_DIVISIONS[self.kind], key=lambda k: (k not in (7, 9), k)))

    def division(self, k: int) -> Division:
        """Return the division into k parts.

        Raises
        ------
        InputError
            When this lattice cannot be split into k parts.
        """
        try:
            return _DIVISIONS[self.kind][k]
        except KeyError:
            if self.kind == "none":
                raise InputError(
                    "This slide has no lattice, so its locations cannot be split into subspots.",
                    "Choose a grid in µm or points as targets.",
                ) from None
            able = " or ".join(map(str, self.divisions))
            raise InputError(
                f"A {self.kind} lattice cannot be split into {k} subspots.", f"Choose {able}."
            ) from None

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Lattice:
        """Return the same lattice with only the given locations on it."""
        return self if self.kind == "none" else replace(self, sites=self.sites[rows])

    def position(self, sites: ArrayLike) -> Floats:
        """Position in µm of sites or fractions of sites, shape (..., 2)."""
        return self.origin + np.asarray(sites, dtype=np.float64) @ self.basis

    def fractional(self, points: ArrayLike) -> Floats:
        """Return points (µm) in steps of the lattice, shape (..., 2); inverse of `position`."""
        return (np.asarray(points, dtype=np.float64) - self.origin) @ np.linalg.inv(self.basis)

    def nearest_site(self, points: ArrayLike) -> Ints:
        """Site whose cell holds each point, shape (n, 2)."""
        exact = self.fractional(points)
        base = np.floor(exact).astype(np.int64)
        corners = base[..., None, :] + np.array([(0, 0), (1, 0), (0, 1), (1, 1)])
        away = np.sum(((exact[..., None, :] - corners) @ self.basis) ** 2, axis=-1)
        best = np.argmin(away, axis=-1)
        return np.asarray(np.take_along_axis(corners, best[..., None, None], axis=-2)[..., 0, :])

    @cached_property
    def _table(self) -> tuple[Ints, Ints]:
        """Smallest site, and a table from (site - smallest) to location (-1 where none)."""
        low = self.sites.min(axis=0)
        shape = self.sites.max(axis=0) - low + 1
        table = np.full(shape, -1, dtype=np.int64)
        table[tuple((self.sites - low).T)] = np.arange(len(self.sites))
        return low, table

    def location_at(self, sites: ArrayLike) -> Ints:
        """Index of the measured location on each site, -1 where none was measured."""
        low, table = self._table
        where = np.asarray(sites, dtype=np.int64) - low
        inside = np.all((where >= 0) & (where < table.shape), axis=-1)
        where = np.where(inside[..., None], where, 0)
        return np.where(inside, table[where[..., 0], where[..., 1]], -1)

    def neighbours(self) -> Ints:
        """Nearest measured neighbours of every location, shape (n, 6 or 4), -1 where none."""
        return self.location_at(self.sites[:, None, :] + self.steps[None])

    def cell(self) -> Floats:
        """Corners (µm) of the cell around a site, relative to it, shape (6 or 4, 2)."""
        corners = _CORNERS["square" if self.kind == "none" else self.kind]
        return np.array(corners) @ self.basis

    @classmethod
    def none(cls, coordinates: Floats) -> Lattice:
        """Describe locations that follow no lattice, such as single cells."""
        pitch = _nearest_distance(coordinates)
        empty = np.empty((0, 2), dtype=np.int64)
        return cls("none", pitch, empty, np.zeros(2), pitch * np.eye(2))

    @classmethod
    def from_array(cls, rows: Ints, columns: Ints, coordinates: Floats) -> Lattice:
        """Detect the lattice from array rows and columns (any platform) and µm coordinates.

        The affine (column, row) → (x, y), reflection included, is fitted by least squares; the
        kind follows from its shape: doubled hexagonal indices, a square, or a square lattice
        whose indices run along the diagonals.
        """
        index = np.column_stack([columns, rows]).astype(np.float64)
        if len(index) < 4 or np.linalg.matrix_rank(index - index.mean(axis=0)) < 2:
            return cls.from_coordinates(coordinates)
        design = np.column_stack([index, np.ones(len(index))])
        affine = np.linalg.lstsq(design, coordinates, rcond=None)[0]
        doubled = np.ptp((rows + columns) % 2) == 0
        ratio = np.linalg.norm(affine[1]) / np.linalg.norm(affine[0])
        # A doubled lattice of parity p: (column, row) = (2i + j + p, j).
        parity = int((rows + columns)[0] % 2)
        if doubled and ratio > 1.4:
            kind: Kind = "hex"
            sites = np.column_stack([(columns - rows - parity) // 2, rows])
        elif doubled:
            kind = "square"
            sites = np.column_stack(
                [(columns - rows - parity) // 2, (columns + rows - parity) // 2]
            )
        elif 0.7 < ratio < 1.4:
            kind = "square"
            sites = np.column_stack([columns, rows])
        else:
            # No array looks so: its places are wrong, the coordinates may still be right.
            return cls.from_coordinates(coordinates)
        return _fitted(kind, sites.astype(np.int64), coordinates)

    @classmethod
    def from_coordinates(cls, coordinates: Floats) -> Lattice:
        """Detect the lattice from µm coordinates alone, by the symmetry of nearest neighbours."""
        if len(coordinates) < 4:
            return cls.none(coordinates)
        pitch = _nearest_distance(coordinates)
        if pitch <= 0:
            return cls.none(coordinates)
        tree = cKDTree(coordinates)
        sample = coordinates[:: max(1, len(coordinates) // 5000)]
        _, near = tree.query(sample, k=min(9, len(coordinates)))
        steps = (coordinates[near[:, 1:]] - sample[:, None, :]).reshape(-1, 2)
        length = np.linalg.norm(steps, axis=1)
        steps = steps[(length > 0.5 * pitch) & (length < 1.2 * pitch)]
        angle = np.arctan2(steps[:, 1], steps[:, 0])
        order = {fold: np.mean(np.exp(1j * fold * angle)) for fold in (4, 6)}
        fold = max(order, key=lambda f: abs(order[f]))
        if abs(order[fold]) < 0.8:
            return cls.none(coordinates)
        turn = np.angle(order[fold]) / fold
        spread = np.pi / 2 if fold == 4 else np.pi / 3
        basis = pitch * np.array(
            [[np.cos(turn), np.sin(turn)], [np.cos(turn + spread), np.sin(turn + spread)]]
        )
        sites = _walk(coordinates, basis, tree)
        if sites is None:
            return cls.none(coordinates)
        return _fitted("square" if fold == 4 else "hex", sites, coordinates)


def _nearest_distance(coordinates: Floats) -> float:
    if len(coordinates) < 2:
        return 0.0
    distance, _ = cKDTree(coordinates).query(coordinates, k=2)
    return float(np.median(distance[:, 1]))


def _fitted(kind: Kind, sites: Ints, coordinates: Floats) -> Lattice:
    """Lattice of known sites: fit origin and basis, refuse what does not lie on it."""
    # One number per site: at HD size this is far quicker than unique rows.
    low = sites.min(axis=0)
    width = int(sites[:, 1].max() - low[1]) + 1
    keys = np.sort((sites - low) @ np.array([width, 1]))
    if (keys[1:] == keys[:-1]).any():
        return Lattice.none(coordinates)
    design = np.column_stack([sites, np.ones(len(sites))])
    fit = np.asarray(np.linalg.lstsq(design, coordinates, rcond=None)[0], dtype=np.float64)
    basis, origin = fit[:2], fit[2]
    pitch = float(np.sqrt(np.linalg.norm(basis[0]) * np.linalg.norm(basis[1])))
    away = np.linalg.norm(coordinates - design @ fit, axis=1)
    residual = float(np.sqrt(np.mean(away**2)) / pitch) if pitch > 0 else np.inf
    if not residual < _MAX_RESIDUAL:
        return Lattice.none(coordinates)
    return Lattice(kind, pitch, sites, origin, basis, residual)


def _walk(coordinates: Floats, basis: Floats, tree: cKDTree) -> Ints | None:
    """Sites of all locations, refined from the middle outwards.

    A basis taken from neighbour angles drifts over a long slide; rounding within a growing
    radius and refitting keeps the error below half a step everywhere.
    """
    centre = coordinates[tree.query(coordinates.mean(axis=0))[1]]
    away = np.linalg.norm(coordinates - centre, axis=1)
    pitch = float(np.linalg.norm(basis[0]))
    radius, origin = 6 * pitch, centre
    while True:
        near = away <= radius
        sites = np.rint((coordinates[near] - origin) @ np.linalg.inv(basis))
        design = np.column_stack([sites, np.ones(len(sites))])
        if np.linalg.matrix_rank(design) < 3:
            return None
        fit = np.linalg.lstsq(design, coordinates[near], rcond=None)[0]
        basis, origin = fit[:2], fit[2]
        if near.all():
            return np.asarray(sites, dtype=np.int64)
        radius *= 1.6
