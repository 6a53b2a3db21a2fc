"""A table of single cells as instruments write it: one row a cell, one column a gene."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

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
from napari_stsr.slides.slide import PixelScale, Slide, Source

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
    "louvain", "seurat_clusters", "size", "perimeter", *(name for pair in _PLACES for name in pair),
}  # fmt: skip
# A column that reads as numbers up to this share of its cells holds mistakes, not words.
_MOSTLY = 0.5
# A column of whole numbers up to this share of its values holds counts, not measures.
_WHOLE = 0.9


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


def read_cell_table(path: Path, columns: CellColumns, um_per_px: float) -> Slide:
    """Read cells of a CSV or TSV; values may still be divided by a volume.

    Raises
    ------
    InputError
        For a table that cannot be read without guessing: two columns of one name, a gene with a
        value that is no count, several columns that could be the coordinates. It names column,
        line and value.
    """
    table = _read(path)
    if not len(table):
        raise InputError(f"{path.name!r} holds no cell.")
    x, y = _coordinate_columns(path, table, columns)
    places = _numbers(path, table[[x, y]], "a coordinate", "Remove the cell or fill it in.")
    genes = _gene_columns(path, table.drop(columns=[x, y]), columns)
    notes = table.drop(columns=genes.columns)
    ids = genes.columns.to_numpy(dtype=np.str_)
    values = genes.to_numpy()
    lattice = Lattice.none(places * um_per_px)
    return Slide(
        path.name.split(".")[0],
        "cells",
        Counts(sparse.csr_matrix(values.astype(smallest_dtype(values), copy=False))),
        Genes(ids, ids),
        places * um_per_px,
        _cell_names(table),
        lattice,
        lattice.pitch_um,
        PixelScale(1.0, "coordinates in µm"),
        np.ones(len(table), dtype=np.bool_),
        annotations=notes.reset_index(drop=True),
        source=Source(str(path), {path.name: digest(path)}),
    )


def _read(path: Path) -> pd.DataFrame:
    """Read the table as it is, under the names of its first line."""
    with open_text(path) as stream:
        first = stream.readline()
        stream.seek(0)
        separator = "\t" if first.count("\t") > first.count(",") else ","
        names = next(csv.reader([first], delimiter=separator), [])
        _check_names(path, names)
        # In one piece: read in several, a column may be of numbers here and of words there.
        table = pd.read_csv(stream, sep=separator, low_memory=False)
    table.columns = pd.Index([str(name) for name in table.columns])
    return table


def _check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse a line of names that leaves open which column is which."""
    at: dict[str, int] = {}
    for number, given in enumerate(names, 1):
        name = given.strip()
        if not name and number > 1:
            raise InputError(
                f"Column {number} of {path.name!r} has no name.", "Name it or remove it."
            )
        if name in at:
            raise InputError(
                f"{path.name!r} has two columns named {name!r}, the {at[name]}. and the "
                f"{number}. of {len(names)}.",
                "Rename one, or remove it or add it to the other if they are the same gene.",
            )
        at[name] = number


def _numbers(path: Path, part: pd.DataFrame, kind: str, remedy: str) -> NDArray[np.float64]:
    """Return columns as numbers, or name the first value that is none."""
    values = np.asarray(part.apply(pd.to_numeric, errors="coerce"), dtype=np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        _refuse(path, part, bad, kind, remedy)
    return values


def _refuse(
    path: Path, part: pd.DataFrame, bad: NDArray[np.bool_], kind: str, remedy: str
) -> NoReturn:
    """Name the first of the bad values by column and line."""
    row, column = (int(at[0]) for at in np.nonzero(bad))
    value = part.iloc[row, column]
    given = "nothing" if pd.isna(value) else repr(value.item() if hasattr(value, "item") else value)
    more = f" So do {bad.sum() - 1:,} more values." if bad.sum() > 1 else ""
    raise InputError(
        f"Column {part.columns[column]!r} of {path.name!r} holds {given} in line {row + 2}, which "
        f"is not {kind}.{more}",
        remedy,
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
    rest = rest.drop(columns=other)
    remedy = "Repair it (0 where nothing was counted), or name the column with --not-genes."
    for name in rest.select_dtypes(exclude=["number", "bool"]).columns:
        column = rest[[name]]
        read = pd.to_numeric(rest[name], errors="coerce")
        if read.notna().mean() > _MOSTLY:
            _numbers(path, column, "a count", remedy)
            # Numbers that were written as words, in quotes for instance.
            rest[name] = read
    genes = rest.select_dtypes("number")
    if not genes.shape[1]:
        raise InputError(
            f"{path.name!r} has coordinates but no columns of counts.",
            "A table of cells has one column a gene.",
        )
    values = _numbers(path, genes, "a count", remedy)
    if (values < 0).any():
        _refuse(path, genes, values < 0, "a count: it is negative", remedy)
    _check_whole(path, genes, values, remedy)
    return genes


def _check_whole(path: Path, genes: pd.DataFrame, values: NDArray[np.float64], remedy: str) -> None:
    """Refuse a fraction in a column of whole numbers, which would cost all of the column."""
    broken = values != np.rint(values)
    seen = np.maximum((values != 0).sum(axis=0), 1)
    strays = broken & (broken.sum(axis=0) / seen < 1 - _WHOLE)
    if strays.any():
        _refuse(path, genes, strays, "a whole number as the others are", remedy)


def _coordinate_columns(path: Path, table: pd.DataFrame, columns: CellColumns) -> tuple[str, str]:
    names = table.columns.tolist()
    if columns.x is not None or columns.y is not None:
        return _named_columns(path, names, columns)
    like: dict[str, list[str]] = {}
    for name in names:
        like.setdefault(name.lower(), []).append(name)
    pairs = [(a, b) for x, y in _PLACES for a in like.get(x, []) for b in like.get(y, [])]
    if not pairs:
        raise InputError(
            f"{path.name!r} has no columns of coordinates that are known, such as x_um and y_um.",
            f"Name them (--x, --y); its columns are {some(names)}.",
        )
    # Only these say their unit.
    if len(pairs) > 1 and pairs[0] != ("x_um", "y_um"):
        could = "; ".join(f"{x} and {y}" for x, y in pairs)
        raise InputError(
            f"{path.name!r} has several columns that could be the coordinates: {could}.",
            f"Name those in µm, as in `napari-stsr pool … --x {pairs[0][0]} --y {pairs[0][1]}`, or "
            "call them x_um and y_um.",
        )
    return pairs[0]


def _named_columns(path: Path, names: list[str], columns: CellColumns) -> tuple[str, str]:
    x, y = columns.x, columns.y
    if x is None or y is None or x == y:
        raise InputError(f"The coordinates cannot be {x!r} and {y!r}.", "Name both x and y.")
    for name in (x, y):
        if name not in names:
            raise InputError(
                f"{path.name!r} has no column {name!r} of coordinates.",
                f"Its columns are {some(names)}.",
            )
    return x, y


def some(names: Sequence[str]) -> str:
    """Return the first few names."""
    return ", ".join(map(str, names[:6])) + (" …" if len(names) > 6 else "")
