"""Single cells with coordinates in µm, as whole counts: of a table, or of an h5ad."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.slides.counts import Counts
from napari_stsr.slides.readers.cell_table import CellColumns, read_cell_table, some
from napari_stsr.slides.slide import Check, Slide

_TOLERANCE = 0.02
_CSV_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")


def read_cells(
    path: str | Path, columns: CellColumns | None = None, um_per_px: float = 1.0
) -> Slide:
    """Read single cells as a slide without a lattice.

    Values that were divided by a cell's volume become whole counts again; genes that were measured
    as intensities, not counted, are left out and named in the slide's checks.

    Parameters
    ----------
    path : path
        A table (CSV or TSV, gzipped or not) of cells × genes with their coordinates, or an h5ad
        with ``obsm["spatial"]``.
    columns : CellColumns, optional
        For tables whose columns have other names than usual.
    um_per_px : float
        For coordinates that are not in µm.

    Raises
    ------
    InputError
        When the file holds no cells, no coordinates or no counts.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(
            f"{str(path)!r} is a folder.", "Name the table of cells in it (CSV or h5ad)."
        )
    if not path.is_file():
        raise InputError(f"There is no file of cells {str(path)!r}.", "Check the path.")
    if path.suffix == ".h5ad":
        cells = _of_h5ad(path, um_per_px)
    elif path.name.lower().endswith(_CSV_ENDINGS):
        cells = read_cell_table(path, columns or CellColumns(), um_per_px)
    else:
        raise InputError(
            f"{path.name!r} is no table of cells.", "Give a CSV, a TSV (also gzipped) or an h5ad."
        )
    return _counted(cells)


def open_slide_or_cells(
    path: str | Path,
    image: str | Path | None = None,
    bin_um: float | None = None,
    um_per_px: float | None = None,
) -> Slide:
    """Open a slide, or single cells where the path holds those; for the arguments see `open_slide`.

    An h5ad without a lattice counts as cells when its values are counts or can be given back.

    Raises
    ------
    InputError
        When the path holds neither.
    """
    from napari_stsr.slides.readers.opening import open_slide
    from napari_stsr.slides.readers.recognise import is_slide

    file = Path(path)
    if um_per_px is not None and not um_per_px > 0:
        raise InputError(f"A scale of {um_per_px:g} µm cannot be.", "Give a positive length.")
    table = file.is_file() and file.name.lower().endswith(_CSV_ENDINGS)
    if table and not is_slide(file):
        return read_cells(file, um_per_px=um_per_px or 1.0)
    slide = open_slide(path, image, bin_um, um_per_px)
    if slide.kind != "anndata" or slide.lattice.kind != "none":
        return slide
    try:
        return _counted(_cells_of(slide))
    except InputError:
        return slide


def _cells_of(slide: Slide) -> Slide:
    return replace(slide, kind="cells", diameter_um=slide.lattice.pitch_um, checks=())


def _of_h5ad(path: Path, um_per_px: float) -> Slide:
    from napari_stsr.slides.readers.opening import open_slide

    slide = open_slide(path, um_per_px=None if um_per_px == 1.0 else um_per_px)
    if slide.lattice.kind != "none":
        raise InputError(
            f"{path.name!r} holds spots or bins, not cells: they lie on a {slide.lattice}.",
            "Open it as a slide.",
        )
    return _cells_of(slide)


def _counted(cells: Slide) -> Slide:
    """Cells with whole counts: as they are, or given back from volume-normalised values."""
    data = cells.counts.rows.data
    if not data.size or not data.any():
        raise InputError(f"{cells.name!r} holds no count at all.", "Give another table.")
    bad = ~(np.isfinite(data) & (data >= 0))
    if bad.any():
        at = int(np.argmax(bad))
        row = int(np.searchsorted(cells.counts.rows.indptr, at, side="right")) - 1
        gene = cells.genes.symbols[cells.counts.rows.indices[at]]
        raise InputError(
            f"{cells.name!r} holds {bad.sum():,} values that are no counts, such as {data[at]:g} "
            f"of {gene} in cell {cells.barcodes[row]}.",
            "Give raw counts.",
        )
    return cells if cells.counts.whole else _given_back(cells)


def _given_back(cells: Slide) -> Slide:
    """Divide every cell's values by the smallest, which stands for one molecule.

    Raises
    ------
    InputError
        When that gives no whole numbers.
    """
    rows = cells.counts.rows.astype(np.float64).tocsr()
    counted = _share_whole(rows, _commonest(rows)) > 0.5
    columns = np.flatnonzero(counted)
    rows = rows[:, columns]
    unit = _smallest(rows)
    whole = np.rint(rows.data / np.repeat(unit, np.diff(rows.indptr)))
    measured = np.bincount(rows.indices, minlength=len(columns)) > 0
    if not measured.any() or (_share_whole(rows, unit)[measured] < 0.9).any():
        raise InputError(
            f"{cells.name!r} holds values that are no counts, nor counts divided by one number "
            "for each cell.",
            "Give raw counts; logs and scaled values cannot be turned back.",
        )
    made = sparse.csr_matrix((whole.astype(np.int32), rows.indices, rows.indptr), rows.shape)
    said = "The values are no whole numbers; each cell's smallest was taken for one molecule."
    found = [Check("notice", said, "Give raw counts if you have them.")]
    lost = cells.genes.symbols[~counted].tolist()
    if lost:
        said = f"{len(lost)} columns hold no counts and were left out: {some(lost)}."
        found.append(Check("notice", said))
    genes = cells.genes.take(columns)
    return replace(cells, counts=Counts(made), genes=genes, checks=tuple(found))


def _share_whole(rows: sparse.csr_matrix, unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each gene's values that are whole multiples of their cell's unit."""
    each = np.repeat(unit, np.diff(rows.indptr))
    known = np.isfinite(each)
    # The farther from one unit the larger the rounding error of a stored float.
    times = rows.data[known] / each[known]
    near = np.abs(times - np.rint(times)) <= _TOLERANCE * np.maximum(1, times / 100)
    whole = near & (times > 0.5)
    genes = rows.shape[1]
    of = rows.indices[known]
    many = np.bincount(of, minlength=genes)
    return np.asarray(np.bincount(of, whole, minlength=genes) / np.maximum(many, 1))


def _commonest(rows: sparse.csr_matrix) -> NDArray[np.float64]:
    """Value that occurs most often in each cell, the smaller of equals; NaN where none repeats.

    One molecule is what a cell has most often, also where some genes were not counted.
    """
    cell = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    order = np.lexsort((rows.data, cell))
    cell, value = cell[order], rows.data[order]
    fresh = np.ones(len(value), dtype=bool)
    fresh[1:] = (cell[1:] != cell[:-1]) | (value[1:] > value[:-1] * (1 + 1e-5))
    start = np.flatnonzero(fresh)
    run = np.diff(np.append(start, len(value)))
    best = np.lexsort((value[start], -run, cell[start]))
    cells, first = np.unique(cell[start][best], return_index=True)
    unit = np.full(rows.shape[0], np.nan)
    chosen = best[first]
    unit[cells] = np.where(run[chosen] > 1, value[start][chosen], np.nan)
    return unit


def _smallest(rows: sparse.csr_matrix) -> NDArray[np.float64]:
    """Smallest value of each cell, 1 for a cell without any."""
    unit = np.full(rows.shape[0], np.inf)
    np.minimum.at(unit, np.repeat(np.arange(len(unit)), np.diff(rows.indptr)), rows.data)
    return np.where(np.isfinite(unit), unit, 1.0)
