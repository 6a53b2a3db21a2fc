"""Counts of a slide: one sparse copy by rows, and a column order for display.

Methods read rows, the screen reads columns. A small slide keeps both in memory; a large one keeps
rows in memory and columns on disk, mapped, so that a gene costs a few milliseconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.files import cache_folder, written_aside

# Above this many non-zeros the column order goes to disk (12 bytes each in memory otherwise).
LARGE = 30_000_000
# Entries in one block of rows: what is computed of them takes several times their memory.
_MOST_ENTRIES = 8_000_000


@dataclass(eq=False)
class Counts:
    """Sparse counts, locations × genes.

    Parameters
    ----------
    rows : CSR matrix (n, g)
        Whole numbers ≥ 0 in any numeric dtype; normalised data is allowed and flagged elsewhere.
    key : str, optional
        Identifies the content (a hash of the source), so that the column order of a large slide is
        built on disk once. Without a key the columns stay in memory.
    """

    rows: sparse.csr_matrix
    key: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __reduce__(self) -> tuple[type[Counts], tuple[sparse.csr_matrix, str | None]]:
        # A copy in another process needs a lock of its own.
        return Counts, (self.rows, self.key)

    @property
    def shape(self) -> tuple[int, int]:
        """Locations and genes."""
        n, g = self.rows.shape
        return n, g

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return int(self.rows.nnz)

    @cached_property
    def totals(self) -> NDArray[np.float64]:
        """Sum of counts per location, shape (n,)."""
        out = np.zeros(self.shape[0])
        for part, data, indices, indptr in self.chunks(8192):
            ones = np.ones(self.shape[1])
            block = sparse.csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, len(ones)))
            out[part] = block @ ones
        return out

    @cached_property
    def gene_totals(self) -> NDArray[np.float64]:
        """Sum of counts per gene, shape (g,)."""
        out = np.zeros(self.shape[1])
        for _, data, indices, _ in self.chunks():
            out += np.bincount(indices, data, minlength=self.shape[1])
        return out

    @cached_property
    def whole(self) -> bool:
        """Whether all counts are whole numbers ≥ 0, so that there are molecules to speak of."""
        data = self.rows.data
        if data.dtype.kind in "ub":
            return True
        parts = (data[start : start + 8_000_000] for start in range(0, len(data), 8_000_000))
        return all(bool((part >= 0).all() and (part == np.rint(part)).all()) for part in parts)

    def chunks(self, size: int = 65_536) -> Iterator[tuple[slice, Any, Any, Any]]:
        """Blocks of rows with their values, columns and pointers, viewed, not copied.

        Sums over a whole HD slide at once would make float64 copies of everything.
        """
        rows, start = self.rows, 0
        while start < self.shape[0]:
            full = (
                np.searchsorted(rows.indptr, int(rows.indptr[start]) + _MOST_ENTRIES, "right") - 1
            )
            part = slice(start, min(start + size, self.shape[0], max(start + 1, int(full))))
            indptr = rows.indptr[part.start : part.stop + 1]
            values = slice(int(indptr[0]), int(indptr[-1]))
            yield part, rows.data[values], rows.indices[values], indptr - indptr[0]
            start = part.stop

    def column(self, gene: int) -> NDArray[np.float32]:
        """One gene at all locations, dense, shape (n,)."""
        start, stop = self.columns.indptr[gene : gene + 2]
        values = np.zeros(self.shape[0], dtype=np.float32)
        values[self.columns.indices[start:stop]] = self.columns.data[start:stop]
        return values

    def dense(self, genes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Several genes at all locations, dense, shape (n, len(genes))."""
        out = np.empty((self.shape[0], len(genes)), dtype=np.float32, order="F")
        for position, gene in enumerate(genes):
            out[:, position] = self.column(int(gene))
        return out

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Counts:
        """Return the counts of some locations."""
        return Counts(self.rows[rows])

    def genes(self, columns: NDArray[np.int64]) -> sparse.csr_matrix:
        """Counts of some genes by rows, float32 CSR (n, len(columns))."""
        # Scanning rows with a look-up beats scipy's fancy column indexing at HD size.
        place = np.full(self.shape[1], -1, dtype=np.int32)
        place[columns] = np.arange(len(columns), dtype=np.int32)
        if (place[columns] != np.arange(len(columns))).any():
            raise InputError("A gene is named twice in one list.", "Name each gene once.")
        pieces = []
        for _, data, indices, indptr in self.chunks():
            where = place[indices]
            kept = where >= 0
            ends = np.concatenate([[0], np.cumsum(kept)])[indptr]
            shape = (len(indptr) - 1, len(columns))
            values = data[kept].astype(np.float32)
            pieces.append(sparse.csr_matrix((values, where[kept], ends), shape=shape))
        if not pieces:
            return sparse.csr_matrix((0, len(columns)), dtype=np.float32)
        chosen = sparse.vstack(pieces, format="csr")
        chosen.sort_indices()
        return chosen

    @property
    def columns(self) -> sparse.csc_matrix:
        """Counts by columns: in memory when small, mapped from the disk cache when large."""
        with self._lock:
            return self._columns

    @cached_property
    def _columns(self) -> sparse.csc_matrix:
        if self.nnz <= LARGE or self.key is None:
            return self.rows.tocsc()
        folder = cache_folder() / "columns" / self.key
        if not (folder / "indptr.npy").is_file():
            write_columns(self.rows, folder)
        return read_columns(folder, self.shape)

    def prepare_columns(self, done: Callable[[], None] | None = None) -> threading.Thread:
        """Build the column order in the background, so that the first gene does not wait."""

        def build() -> None:
            _ = self.columns
            if done is not None:
                done()

        thread = threading.Thread(target=build, name="stsr-columns", daemon=True)
        thread.start()
        return thread


def write_columns(rows: sparse.csr_matrix, folder: Path, chunk: int = 65_536) -> None:
    """Transpose CSR to CSC on disk in bounded memory.

    Each chunk of rows is transposed alone and its runs are scattered to the places its genes have
    in the mapped output.
    """
    g = rows.shape[1]
    many = np.zeros(g, dtype=np.int64)
    for start in range(0, rows.nnz, _MOST_ENTRIES):
        many += np.bincount(rows.indices[start : start + _MOST_ENTRIES], minlength=g)
    indptr = np.concatenate([[0], np.cumsum(many)])
    with written_aside(folder) as aside:
        aside.mkdir(parents=True)
        indices = _mapped(aside / "indices.npy", np.dtype(np.int32), rows.nnz)
        data = _mapped(aside / "data.npy", rows.data.dtype, rows.nnz)
        filled = indptr[:-1].copy()
        for some, *_ in Counts(rows).chunks(chunk):
            part = rows[some].tocsc()
            run = np.diff(part.indptr)
            place = np.repeat(filled - part.indptr[:-1], run) + np.arange(part.nnz)
            indices[place] = part.indices + some.start
            data[place] = part.data
            filled += run
        indices.flush()
        data.flush()
        np.save(aside / "indptr.npy", indptr)


def _mapped(path: Path, dtype: np.dtype[np.generic], length: int) -> np.memmap:
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(length,))


def read_columns(folder: Path, shape: tuple[int, int]) -> sparse.csc_matrix:
    """Map a column order written by `write_columns`."""
    parts = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("data", "indices")]
    columns = sparse.csc_matrix(shape, dtype=parts[0].dtype)
    # Set the arrays directly: the constructor would scan, and may copy, the mapped file.
    columns.data, columns.indices = parts
    columns.indptr = np.load(folder / "indptr.npy")
    return columns
