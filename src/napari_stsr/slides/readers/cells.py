"""Single cells with coordinates in µm: a table of counts, or an h5ad."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.slides.counts import Counts
from napari_stsr.slides.genes import Genes
from napari_stsr.slides.lattice import Lattice
from napari_stsr.slides.readers.assemble import digest
from napari_stsr.slides.readers.matrix import open_text, smallest_dtype
from napari_stsr.slides.slide import Check, PixelScale, Slide, Source

_PLACES = [
    ("x_um", "y_um"), ("x_centroid", "y_centroid"), ("x", "y"), ("center_x", "center_y"),
    ("centroid_x", "centroid_y"), ("global_x", "global_y"), ("x_location", "y_location"),
]  # fmt: skip
_NAMES = ("", "unnamed: 0", "cell_id", "cell", "cellid", "barcode", "id")
# What instruments write beside the counts of a cell.
_NO_GENES = {
    "area", "cell_area", "nucleus_area", "volume", "z", "z_centroid", "center_z", "fov",
    "transcript_counts", "total_counts", "n_counts", "n_genes", "min_x", "max_x", "min_y", "max_y",
    "n_transcripts", "ncount", "ncount_rna", "nfeature", "nfeature_rna", "cluster", "leiden",
    "louvain", "seurat_clusters", "x_um", "y_um", "size", "perimeter",
}  # fmt: skip
_TOLERANCE = 0.02
_CSV_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")


@dataclass(frozen=True)
class CellColumns:
    """Names of the columns of a table that are not found by themselves.

    Attributes
    ----------
    x, y : str, optional
        Coordinates in µm.
    no_genes : tuple of str
        Columns of numbers that are no genes.
    """

    x: str | None = None
    y: str | None = None
    no_genes: tuple[str, ...] = ()


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
    if not path.is_file():
        raise InputError(f"There is no file of cells {str(path)!r}.", "Check the path.")
    if path.suffix == ".h5ad":
        cells = _of_h5ad(path, um_per_px)
    elif path.name.lower().endswith(_CSV_ENDINGS):
        cells = _of_table(path, columns or CellColumns(), um_per_px)
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


def _of_table(path: Path, columns: CellColumns, um_per_px: float) -> Slide:
    with open_text(path) as stream:
        first = stream.readline()
        stream.seek(0)
        table = pd.read_csv(stream, sep="\t" if first.count("\t") > first.count(",") else ",")
    if not len(table):
        raise InputError(f"{path.name!r} holds no cell.")
    x, y = _coordinate_columns(path, table, columns)
    places = table[[x, y]].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64) * um_per_px
    lost = int((~np.isfinite(places)).any(axis=1).sum())
    if lost:
        raise InputError(
            f"{lost:,} of the {len(table):,} cells in {path.name!r} have no coordinates.",
            "Remove them or fill them in.",
        )
    names = _cell_names(table)
    genes = _gene_columns(path, table.drop(columns=[x, y]), columns)
    notes = table.drop(columns=genes.columns)
    ids = genes.columns.astype(str).to_numpy(dtype=np.str_)
    values = genes.to_numpy()
    lattice = Lattice.none(places)
    return Slide(
        path.name.split(".")[0],
        "cells",
        Counts(sparse.csr_matrix(values.astype(smallest_dtype(values), copy=False))),
        Genes(ids, ids),
        places,
        names,
        lattice,
        lattice.pitch_um,
        PixelScale(1.0, "coordinates in µm"),
        np.ones(len(table), dtype=np.bool_),
        annotations=notes.reset_index(drop=True),
        source=Source(str(path), {path.name: digest(path)}),
    )


def _cell_names(table: pd.DataFrame) -> NDArray[np.str_]:
    """Names of the cells, or their numbers where no column names each."""
    for column in table.columns:
        if str(column).lower() in _NAMES and table[column].is_unique:
            return table[column].astype(str).to_numpy(dtype=np.str_)
    return np.arange(len(table)).astype(np.str_)


def _gene_columns(path: Path, rest: pd.DataFrame, columns: CellColumns) -> pd.DataFrame:
    """Columns of counts: numbers that are not known to be anything else."""
    missing = [c for c in columns.no_genes if c not in rest.columns]
    if missing:
        raise InputError(f"{path.name!r} has no column {missing[0]!r}.", "Check its spelling.")
    known = {*_NAMES, *_NO_GENES}
    other = [c for c in rest.columns if str(c).lower() in known or c in columns.no_genes]
    genes = rest.drop(columns=other).select_dtypes("number")
    if not genes.shape[1]:
        raise InputError(
            f"{path.name!r} has coordinates but no columns of counts.",
            "A table of cells has one column a gene.",
        )
    return genes


def _coordinate_columns(path: Path, table: pd.DataFrame, columns: CellColumns) -> tuple[str, str]:
    lowered = {str(name).lower(): str(name) for name in reversed(table.columns.tolist())}
    if columns.x is not None or columns.y is not None:
        for name in (columns.x, columns.y):
            if name not in table.columns:
                raise InputError(
                    f"{path.name!r} has no column {name!r} of coordinates.",
                    f"Its columns are {_some(table.columns.tolist())}.",
                )
        return str(columns.x), str(columns.y)
    for x, y in _PLACES:
        if x in lowered and y in lowered:
            return lowered[x], lowered[y]
    raise InputError(
        f"{path.name!r} has no columns of coordinates that are known, such as x_um and y_um.",
        f"Name them (--x, --y); its columns are {_some(table.columns.tolist())}.",
    )


def _some(names: list[str]) -> str:
    return ", ".join(map(str, names[:6])) + (" …" if len(names) > 6 else "")


def _counted(cells: Slide) -> Slide:
    """Cells with whole counts: as they are, or given back from volume-normalised values."""
    data = cells.counts.rows.data
    if not data.size or not data.any():
        raise InputError(f"{cells.name!r} holds no count at all.", "Give another table.")
    if (data < 0).any() or not np.isfinite(data).all():
        raise InputError(
            f"{cells.name!r} holds negative or missing values, which are no counts.",
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
        said = f"{len(lost)} columns hold no counts and were left out: {_some(lost)}."
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
