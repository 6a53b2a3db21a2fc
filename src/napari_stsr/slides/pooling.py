"""Coarser slides made of finer ones: blocks of locations, or single cells under spots and bins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from napari_stsr.errors import InputError
from napari_stsr.slides.counts import Counts
from napari_stsr.slides.lattice import Lattice
from napari_stsr.slides.slide import PixelScale, Slide
from napari_stsr.slides.targets import Targets

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SPOT_UM, PITCH_UM, BIN_UM = 55.0, 100.0, 16.0
_MOST_LOCATIONS = 20_000_000
_FEWEST, _FEWEST_ACROSS = 16, 3


@dataclass(frozen=True, eq=False)
class Pooled:
    """A coarser slide, and where the finer locations went.

    Attributes
    ----------
    slide : Slide
    owner : (n,) int array
        Row of `slide` that each fine location was pooled into, -1 where none.
    """

    slide: Slide
    owner: Ints


def pooled_counts(counts: Counts, owner: Ints, many: int) -> Counts:
    """Sum the counts of the locations that share an owner.

    Parameters
    ----------
    counts : Counts
        (n, g)
    owner : (n,) int array
        Row of the result, -1 to leave a location out.
    many : int
        Rows of the result.

    Returns
    -------
    Counts
        (many, g), int32 for whole numbers.
    """
    kept = np.flatnonzero(owner >= 0)
    # The ones decide the type of the sums: bytes would overflow.
    ones = np.ones(len(kept), dtype=np.int32 if counts.whole else np.float32)
    pooling = sparse.csr_matrix((ones, (owner[kept], kept)), shape=(many, len(owner)))
    rows = counts.rows if not counts.whole else counts.rows.astype(np.int32, copy=False)
    summed = (pooling @ rows).tocsr()
    summed.sort_indices()
    return Counts(summed)


def complete_blocks(lattice: Lattice, k: int, phase: int = 0) -> tuple[Ints, Ints]:
    """Blocks of k neighbouring locations that tile the lattice and were measured completely.

    Parameters
    ----------
    lattice : Lattice
    k : int
        4, 9 or 16 on a square lattice, 7 on a hexagonal one.
    phase : int
        Where the blocks lie, 0 … k-1: each phase shifts them by whole locations.

    Returns
    -------
    members : (b, k) int array
        Locations of each block, in the order of the division's cells.
    sites : (b, 2) int array
        Site of each block on the lattice of blocks.

    Raises
    ------
    InputError
        When the lattice has no such blocks.
    """
    division = lattice.division(k)
    if len(division.cells) != k:
        raise InputError(f"Blocks of {k} do not tile a {lattice.kind} lattice.", "Choose 7.")
    steps = (lattice.sites - division.cells[phase]) @ np.linalg.inv(division.coarse)
    coarse = np.rint(steps).astype(np.int64)
    anchored = np.abs(steps - coarse).max(axis=1) < 0.5 / k
    members = lattice.location_at(lattice.sites[anchored][:, None] + division.cells[None])
    complete = np.asarray((members >= 0).all(axis=1))
    return members[complete], coarse[anchored][complete]


def pool_blocks(slide: Slide, k: int, phase: int = 0) -> tuple[Slide, Ints]:
    """Pool complete blocks of k locations into one: 2 × 2, 3 × 3 or flowers of 7.

    Parameters
    ----------
    slide : Slide
        On a lattice.
    k : int
        4, 9 or 16 on a square lattice, 7 on a hexagonal one.
    phase : int
        Where the blocks lie, 0 … k-1: each phase shifts them by whole locations.

    Returns
    -------
    pooled : Slide
        On the lattice of blocks. The places of ``pooled.subspots(k)`` are those of the pooled
        locations.
    members : (b, k) int array
        Rows of `slide` in each block, in the order of the subspots.

    Raises
    ------
    InputError
        When the lattice has no such blocks, or no block is complete.
    """
    lattice, division = slide.lattice, slide.lattice.division(k)
    members, sites = complete_blocks(lattice, k, phase)
    if not len(members):
        raise InputError(
            f"None of the blocks of {k} {slide.location_word}s is complete.",
            "Take smaller blocks, or a slide with fewer holes.",
        )
    middle = division.cells[phase] + division.cells.mean(axis=0)
    blocks = Lattice(
        lattice.kind,
        lattice.pitch_um * float(np.sqrt(k)),
        sites,
        lattice.position(middle),
        division.coarse @ lattice.basis,
        lattice.residual / float(np.sqrt(k)),
    )
    owner = np.full(len(slide), -1, dtype=np.int64)
    owner[members] = np.arange(len(members))[:, None]
    made = replace(
        slide,
        name=f"{slide.name}, pooled by {k}",
        counts=pooled_counts(slide.counts, owner, len(members)),
        coordinates=slide.coordinates[members].mean(axis=1),
        barcodes=np.char.add(slide.barcodes[members[:, 0]], f"+{k - 1}"),
        lattice=blocks,
        diameter_um=slide.diameter_um * float(np.sqrt(k)),
        in_tissue=np.asarray(slide.in_tissue[members].all(axis=1)),
        annotations=pd.DataFrame(),
        checks=(),
    )
    return made, members


def pool_cells(
    cells: Slide,
    kind: Literal["visium", "bins"] = "visium",
    um: float | None = None,
    seed: int = 0,
) -> Pooled:
    """Measure single cells again, as spots or bins would.

    A cell counts where its centre lies: under a spot, in a bin, or (between the spots) nowhere.
    Locations without a count are kept where there is tissue.

    Parameters
    ----------
    cells : Slide
        Single cells, from `napari_stsr.read_cells`.
    kind : {"visium", "bins"}
        Discs of 55 µm on a hexagonal lattice of 100 µm, or squares without gaps.
    um : float, optional
        Side of a bin (16), or pitch of the spots (100; their width follows).
    seed : int
        Where the lattice starts.

    Raises
    ------
    InputError
        When the slide already lies on a lattice, or so few cells make no slide.
    """
    step = _step(cells, kind, um)
    _check_span(cells.coordinates, kind, step)
    shift = np.random.default_rng([seed, 11]).random(2)
    array = (_spots if kind == "visium" else _bins)(cells.coordinates, step, shift)
    owner = array.lattice.location_at(array.lattice.nearest_site(cells.coordinates))
    if kind == "visium":
        away = np.linalg.norm(cells.coordinates - array.centres[owner], axis=1)
        owner = np.where((owner >= 0) & (away <= array.wide_um / 2), owner, -1)
    kept = _on_tissue(array.centres, cells, array.lattice.pitch_um)
    kept[owner[owner >= 0]] = True
    filled = len(np.unique(owner[owner >= 0]))
    if filled < _FEWEST:
        raise InputError(
            f"{len(cells):,} cells fill only {filled} {_sized(kind, step)}; a slide needs "
            f"{_FEWEST}.",
            "Give more cells, or take smaller bins."
            if kind == "bins" and len(cells) >= _FEWEST
            else "Give more cells.",
        )
    number = np.full(len(kept) + 1, -1, dtype=np.int64)
    number[:-1][kept] = np.arange(kept.sum())
    owner = number[owner]
    rows, columns = array.rows[kept], array.columns[kept]
    slide = replace(
        cells,
        name=f"{cells.name}, pooled as {kind}",
        kind="visium" if kind == "visium" else "visium-hd",
        counts=pooled_counts(cells.counts, owner, len(rows)),
        coordinates=array.centres[kept],
        barcodes=_names(kind, step, rows, columns),
        lattice=array.lattice.take(kept),
        diameter_um=array.wide_um,
        scale=PixelScale(1.0, "coordinates in µm"),
        in_tissue=np.ones(len(rows), dtype=np.bool_),
        annotations=pd.DataFrame({"array_row": rows, "array_col": columns}),
        checks=(),
    )
    return Pooled(slide, owner)


def _step(cells: Slide, kind: str, um: float | None) -> float:
    """Size asked for, once cells can be pooled so."""
    if cells.lattice.kind != "none":
        raise InputError(
            f"{cells.name!r} is no table of single cells: it lies on a {cells.lattice}.",
            "Give the coordinates of cells.",
        )
    if kind not in ("visium", "bins"):
        raise InputError(f"Cells cannot be pooled as {kind!r}.", "Choose visium or bins.")
    step = um if um is not None else {"visium": PITCH_UM, "bins": BIN_UM}[kind]
    if not (np.isfinite(step) and step > 0):
        raise InputError(f"A size of {step} µm cannot be.", "Give a positive length.")
    return step


def _check_span(coordinates: Floats, kind: str, step: float) -> None:
    """Refuse locations of which too few lie side by side over the cells."""
    wide, tall = np.ptp(coordinates, axis=0)
    # None of the spots reaches beyond the cells.
    least = step * (
        _FEWEST_ACROSS - 1 if kind == "bins" else _FEWEST_ACROSS - 1 + SPOT_UM / PITCH_UM
    )
    if min(wide, tall) >= least:
        return
    fits = int(min(wide, tall) / _FEWEST_ACROSS)
    raise InputError(
        f"The cells span {wide:,.4g} × {tall:,.4g} µm, too little for {_sized(kind, step)}.",
        f"Take bins of at most {fits} µm."
        if kind == "bins" and fits >= 1
        else "Give cells of a wider area; coordinates must be in µm.",
    )


def _sized(kind: str, step: float) -> str:
    return f"bins of {step:g} µm" if kind == "bins" else f"spots {step:g} µm apart"


def spot_parts(pooled: Pooled, cells: Slide) -> tuple[Ints, Floats]:
    """Give the cells under each spot to seven equal parts of it.

    A spot measures only its disc, so its parts are parts of the disc: a hexagon in the middle and
    six around it, in the order of ``pooled.slide.subspots(7)`` but drawn together.

    Returns
    -------
    owner : (n,) int array
        Row of the subspots for every cell, -1 for cells between the spots.
    centres : (7 m, 2) float array
        Centres of the parts in µm.
    """
    slide = pooled.slide
    targets = slide.subspots(7)
    # The middle hexagon has a seventh of the disc when its sides lie 0.36 radii away.
    apart = slide.diameter_um * np.sqrt(np.pi / (14 * np.sqrt(3)))
    middle = slide.coordinates[targets.parent]
    drawn = apart / (slide.lattice.pitch_um / np.sqrt(7))
    centres = middle + drawn * (targets.coordinates - middle)
    under = np.flatnonzero(pooled.owner >= 0)
    spot = pooled.owner[under]
    away = cells.coordinates[under][:, None] - centres.reshape(-1, 7, 2)[spot]
    owner = np.full(len(cells), -1, dtype=np.int64)
    owner[under] = 7 * spot + np.argmin((away**2).sum(axis=2), axis=1)
    return owner, centres


def cell_bins(pooled: Pooled, cells: Slide, side_um: float) -> tuple[Targets, Ints]:
    """Give the cells to square bins over the tissue, under the spots and between them.

    Parameters
    ----------
    pooled : Pooled
        Bins lie within 0.6 pitch of its locations.
    cells : Slide
    side_um : float

    Returns
    -------
    targets : Targets
        Points with the area of a bin: a point gathers as much as it covers, as a disc does.
    owner : (n,) int array
        Row of the targets for every cell, -1 for cells farther out.
    """
    slide = pooled.slide
    grid = slide.grid(side_um)
    low = grid.coordinates.min(axis=0)
    sites = np.rint((grid.coordinates - low) / side_um).astype(np.int64)
    none = np.full(len(grid), -1, dtype=np.int64)
    area = np.full(len(grid), side_um**2)
    targets = Targets("points", grid.coordinates, none, none, grid.cell, area)
    bins = Lattice("square", side_um, sites, low, side_um * np.eye(2))
    return targets, bins.location_at(bins.nearest_site(cells.coordinates))


@dataclass(frozen=True, eq=False)
class _Array:
    """Places of a made-up array over the cells."""

    rows: Ints
    columns: Ints
    centres: Floats
    lattice: Lattice
    wide_um: float

    @classmethod
    def of(cls, rows: Ints, columns: Ints, centres: Floats, wide_um: float) -> _Array:
        lattice = Lattice.from_array(rows, columns, centres)
        return cls(rows, columns, centres, lattice, wide_um)


def _spots(coordinates: Floats, pitch: float, shift: Floats) -> _Array:
    """Spots over the cells, none of which reaches beyond them: a cut tissue ends sharply."""
    wide = pitch * SPOT_UM / PITCH_UM
    step = pitch * np.array([0.5, np.sqrt(0.75)])
    low, high = coordinates.min(axis=0) + wide / 2, coordinates.max(axis=0) - wide / 2
    start = low - shift * 2 * step
    size = _checked(np.ptp(coordinates, axis=0) / step + 3)
    rows, columns = (axis.ravel() for axis in np.mgrid[: size[1], : size[0]])
    centres = start + np.column_stack([columns, rows]) * step
    kept = (rows + columns) % 2 == 0
    kept &= ((centres >= low) & (centres <= high)).all(axis=1)
    return _Array.of(rows[kept], columns[kept], centres[kept], wide)


def _bins(coordinates: Floats, side: float, shift: Floats) -> _Array:
    """Bins over the cells, without gaps."""
    start = coordinates.min(axis=0) + side * (0.5 - shift)
    size = _checked(np.ptp(coordinates, axis=0) / side + 2)
    rows, columns = (axis.ravel() for axis in np.mgrid[: size[1], : size[0]])
    return _Array.of(rows, columns, start + side * np.column_stack([columns, rows]), side)


def _checked(size: Floats) -> Ints:
    """Whole numbers of columns and rows, refused when they are beyond all slides."""
    if not np.isfinite(size).all() or size.prod() > _MOST_LOCATIONS:
        raise InputError(
            f"A slide of {size.prod():.3g} locations is too large.",
            "Take larger bins; coordinates must be in µm.",
        )
    return np.maximum(np.floor(size), 2).astype(np.int64)


def _on_tissue(centres: Floats, cells: Slide, pitch: float) -> NDArray[np.bool_]:
    """Locations with a cell within their own reach or a few cells' distance."""
    reach = max(0.6 * pitch, 3 * cells.lattice.pitch_um)
    away, _ = cKDTree(cells.coordinates).query(centres, distance_upper_bound=reach)
    return np.asarray(np.isfinite(away))


def _names(kind: str, step: float, rows: Ints, columns: Ints) -> NDArray[np.str_]:
    """Barcodes that tell the place, those of bins as Space Ranger writes them."""
    before, pattern = "SPOT", "{}-{:03d}x{:03d}-1"
    if kind == "bins":
        before, pattern = f"s_{round(step):03d}um", "{}_{:05d}_{:05d}-1"
    places = zip(rows.tolist(), columns.tolist())
    return np.array([pattern.format(before, row, column) for row, column in places])
