"""Where to predict: subspots of a lattice, a grid in µm, or any points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stsr.errors import InputError
from napari_stsr.slides.lattice import Lattice
from napari_stsr.slides.region import Region

Floats = NDArray[np.float64]
# No tissue is that large; beyond, distances lose their meaning.
_FARTHEST_UM = 1e9
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Targets:
    """Places to predict expression at.

    Parameters
    ----------
    kind : {"subspots", "grid", "points"}
    coordinates : (m, 2) float array
        Centres (x, y) in µm.
    parent : (m,) int array
        Measured location a subspot divides, -1 for every other target.
    part : (m,) int array
        Number of the subspot inside its parent (0 … k-1), -1 for every other target.
    cell : (v, 2) float array
        Corners in µm of one target's cell relative to its centre, for drawing.
    area_um2 : (m,) float array
        Area a target gathers its counts from, in the sense of the parent: k subspots of a
        location share its area.
    names : (m,) str array, optional
        Names given by the user; the default names are made on demand.
    per_location : int
        Parts per location (k), 1 for grids and points.
    location_names : (n,) array of str, optional
        Barcodes of the locations that `parent` numbers; a subspot is called ``barcode/part``.
    """

    kind: Literal["subspots", "grid", "points"]
    coordinates: Floats
    parent: Ints
    part: Ints
    cell: Floats
    area_um2: Floats
    names: NDArray[np.str_] | None = None
    per_location: int = 1
    location_names: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.coordinates)

    @cached_property
    def ids(self) -> NDArray[np.str_]:
        """Name of every target: the user's, or its number."""
        if self.names is not None:
            return self.names
        if self.location_names is not None:
            # Made on demand: millions of strings take seconds.
            owner = np.char.add(self.location_names[self.parent], "/")
            return np.char.add(owner, self.part.astype(np.str_))
        return np.arange(len(self)).astype(np.str_)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Targets:
        """Return some of the targets."""
        return Targets(
            self.kind,
            self.coordinates[rows],
            self.parent[rows],
            self.part[rows],
            self.cell,
            self.area_um2[rows],
            None if self.names is None else self.names[rows],
            self.per_location,
            self.location_names,
        )

    def owners(self, lattice: Lattice) -> Ints:
        """Location each subspot divides, by place: parents may be numbered on a larger slide.

        Parameters
        ----------
        lattice : Lattice
            Of the locations that are known.

        Returns
        -------
        (m,) int array

        Raises
        ------
        InputError
            When a subspot divides a location that is not among them.
        """
        offsets = lattice.division(self.per_location).offsets @ lattice.basis
        sites = lattice.nearest_site(self.coordinates - offsets[self.part])
        owner = lattice.location_at(sites)
        if (owner < 0).any():
            raise InputError(
                f"{int((owner < 0).sum()):,} subspots divide locations this fit has not seen.",
                "Predict them as points, or fit on a slide that holds them.",
            )
        return owner

    def within(self, region: Region) -> Targets:
        """Return the targets inside a region.

        Raises
        ------
        InputError
            When the region holds none.
        """
        inside = region.contains(self.coordinates)
        if not inside.any():
            raise InputError(
                f"The region {region.name!r} holds none of the {len(self):,} targets.",
                "Draw it over the tissue, or choose smaller targets.",
            )
        return self.take(inside)


def subspots(
    lattice: Lattice,
    coordinates: Floats,
    k: int | None = None,
    names: NDArray[np.str_] | None = None,
) -> Targets:
    """Split every measured location into k parts.

    Parameters
    ----------
    lattice : Lattice
    coordinates : (n, 2) float array
        Measured centres in µm; parts keep their parent's measured centre.
    k : int, optional
        7 or 6 on a hex lattice, 9, 4 or 16 on a square one; the default is the first.
    names : (n,) str array, optional
        Barcodes; a subspot is called ``barcode/part``.

    Raises
    ------
    InputError
        When the lattice cannot be split so.
    """
    chosen = lattice.division(k if k is not None else (lattice.divisions or (0,))[0])
    n, parts = len(coordinates), chosen.k
    centres = coordinates[:, None, :] + (chosen.offsets @ lattice.basis)[None]
    part = np.tile(np.arange(parts), n)
    steps = np.linalg.inv(chosen.coarse) @ lattice.basis
    cell = Lattice(lattice.kind, 1.0, lattice.sites[:0], np.zeros(2), steps).cell()
    area = abs(np.linalg.det(lattice.basis)) / parts
    return Targets(
        "subspots",
        centres.reshape(-1, 2),
        np.repeat(np.arange(n), parts),
        part,
        cell,
        np.full(n * parts, area),
        None,
        parts,
        names,
    )


def grid(coordinates: Floats, step_um: float, reach_um: float) -> Targets:
    """Square grid of the given step over the measured locations.

    Parameters
    ----------
    coordinates : (n, 2) float array
        Measured centres in µm.
    step_um : float
        Distance between grid points.
    reach_um : float
        Grid points farther than this from every measured location are left out.

    Raises
    ------
    InputError
        When the step is not positive or would make more than 50 million points.
    """
    if not (np.isfinite(step_um) and step_um > 0):
        raise InputError(f"A grid step of {step_um} µm cannot be.", "Give a positive length.")
    low, high = coordinates.min(axis=0) - reach_um, coordinates.max(axis=0) + reach_um
    size = np.floor((high - low) / step_um).astype(np.int64) + 1
    if size.prod() > 50_000_000:
        raise InputError(
            f"A grid of {step_um} µm would hold {size.prod():,} points.", "Choose a larger step."
        )
    y, x = np.mgrid[: size[1], : size[0]]
    points = low + step_um * np.column_stack([x.ravel(), y.ravel()])
    away, _ = cKDTree(coordinates).query(points, distance_upper_bound=reach_um)
    points = points[np.isfinite(away)]
    if not len(points):
        raise InputError(
            f"A grid of {step_um:g} µm has no point on the tissue.", "Choose a smaller step."
        )
    half = step_um / 2
    cell = np.array([(half, half), (-half, half), (-half, -half), (half, -half)])
    none = np.full(len(points), -1, dtype=np.int64)
    return Targets("grid", points, none, none, cell, np.full(len(points), step_um**2))


def points(
    coordinates: Floats, diameter_um: float | Floats, names: NDArray[np.str_] | None = None
) -> Targets:
    """Use any points as targets, each gathering counts from a disc of the given diameter (µm)."""
    centres = np.asarray(coordinates, dtype=np.float64)
    if centres.ndim != 2 or centres.shape[1] != 2 or not len(centres):
        raise InputError("Targets must be a table of at least one (x, y) pair.")
    if not np.isfinite(centres).all():
        lacking = np.flatnonzero((~np.isfinite(centres)).any(axis=1))
        first = lacking[0] if names is None else names[lacking[0]]
        raise InputError(
            f"{len(lacking)} targets have no coordinates, the first is {str(first)!r}.",
            "Remove them or fill them in.",
        )
    if np.abs(centres).max() > _FARTHEST_UM:
        raise InputError(
            f"A coordinate of {centres.flat[np.abs(centres).argmax()]:.3g} µm cannot be.",
            f"Keep targets within {_FARTHEST_UM / 1e6:g} m of the origin.",
        )
    wide = np.broadcast_to(np.asarray(diameter_um, dtype=np.float64), len(centres))
    if not (np.isfinite(wide) & (wide > 0)).all():
        raise InputError("Target diameters must be positive.")
    turn = np.arange(12) * np.pi / 6
    cell = float(np.median(wide)) / 2 * np.column_stack([np.cos(turn), np.sin(turn)])
    none = np.full(len(centres), -1, dtype=np.int64)
    return Targets("points", centres, none, none, cell, np.pi * wide**2 / 4, names)


def read_targets(path: str | Path, um_per_px: float, diameter_um: float) -> Targets:
    """Read ``target_id,x,y[,diameter]`` in full-res px, or ``target_id,x_um,y_um[,diameter_um]``.

    Raises
    ------
    InputError
        When the file is missing, lacks a column, or holds something other than numbers.
    """
    path = Path(path)
    try:
        table = pd.read_csv(path, dtype={"target_id": str})
    except FileNotFoundError:
        raise InputError(f"There is no target file {str(path)!r}.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"The target file {str(path)!r} cannot be read: {error}.") from None
    unit = "_um" if {"x_um", "y_um"} <= set(table.columns) else ""
    missing = [c for c in ("target_id", f"x{unit}", f"y{unit}") if c not in table.columns]
    if missing:
        raise InputError(
            f"The target file {str(path)!r} lacks the column {missing[0]!r}.",
            "Its header is target_id,x,y[,diameter] (px) or target_id,x_um,y_um (µm).",
        )
    if table["target_id"].isna().any():
        row = int(np.flatnonzero(table["target_id"].isna())[0])
        raise InputError(f"Target {row + 1} has no id.", "Give every target its own id.")
    if table["target_id"].duplicated().any():
        twice = table.loc[table["target_id"].duplicated(), "target_id"].iloc[0]
        raise InputError(f"The target id {twice!r} occurs twice.", "Give every target its own id.")
    scale = 1.0 if unit else um_per_px
    columns = [f"x{unit}", f"y{unit}"]
    wide: float | Floats = diameter_um
    try:
        centres = table[columns].to_numpy(dtype=np.float64) * scale
        for name, factor in (("diameter_um", 1.0), ("diameter", scale)):
            if name in table.columns:
                wide = table[name].to_numpy(dtype=np.float64) * factor
                break
    except ValueError as error:
        raise InputError(f"The target file {str(path)!r} holds no numbers: {error}.") from None
    return points(centres, wide, table["target_id"].to_numpy(dtype=np.str_))
