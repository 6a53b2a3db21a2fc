"""Put a slide together from its matrix, positions, scale and pictures, the same for all formats."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.slides import checks as look
from napari_stsr.slides.counts import Counts
from napari_stsr.slides.genes import Genes
from napari_stsr.slides.image import Pyramid
from napari_stsr.slides.lattice import Lattice
from napari_stsr.slides.readers.matrix import Matrix, text
from napari_stsr.slides.readers.positions import Positions
from napari_stsr.slides.slide import Check, PixelScale, Slide, SlideKind, Source

_HASH_WHOLE = 64_000_000
_DIAMETER = {"visium": 55.0, "st": 100.0}


@dataclass(frozen=True, eq=False)
class Placed:
    """Counts that have a place: what is left after matching barcodes with positions."""

    matrix: Matrix
    coordinates_px: NDArray[np.float64]
    array: NDArray[np.int64] | None
    in_tissue: NDArray[np.bool_]
    rows: NDArray[np.int64]
    checks: list[Check] = field(default_factory=list)


def place(matrix: Matrix, positions: Positions, word: str) -> Placed:
    """Match barcodes with positions, in the order of the matrix; drop what has no place.

    Raises
    ------
    InputError
        When no barcode has a position.
    """
    where = positions.of(matrix.barcodes)
    found = where >= 0
    total = len(where)
    if not found.any():
        first = matrix.barcodes[0].decode() if total else "none"
        other = positions.barcodes[0].as_py()
        raise InputError(
            f"None of the {total:,} barcodes of the matrix ({first!r} …) has a position "
            f"({other!r} …).",
            "Matrix and positions belong to different slides, or to different bin sizes.",
        )
    numbered = np.asarray(np.isfinite(positions.px).all(axis=1))
    kept = found & numbered[where]
    seen = np.zeros(len(positions), dtype=np.bool_)
    seen[where[found]] = True
    missing = int((positions.in_tissue & ~seen).sum())
    findings = look.check_positions(
        total, int((~found).sum()), int((found & ~kept).sum()), missing, word
    )
    if not kept.any():
        raise InputError(f"None of the {total:,} {word}s has coordinates; all are NaN.")
    if not kept.all():
        rows = keep_rows(matrix.rows, kept)
        matrix = Matrix(rows, matrix.barcodes[kept], matrix.ids, matrix.symbols, matrix.dropped)
        where = where[kept]
    array = None if positions.array is None else positions.array[where]
    return Placed(
        matrix, positions.px[where], array, positions.in_tissue[where],
        np.flatnonzero(kept), findings,
    )  # fmt: skip


def keep_rows(
    rows: sparse.csr_matrix, kept: NDArray[np.bool_], chunk: int = 65_536
) -> sparse.csr_matrix:
    """Drop rows within the matrix's own memory: a second copy may not fit."""
    many = np.diff(rows.indptr)
    filled = 0
    for start in range(0, len(kept), chunk):
        stop = min(start + chunk, len(kept))
        low, high = int(rows.indptr[start]), int(rows.indptr[stop])
        stay = np.repeat(kept[start:stop], many[start:stop])
        end = filled + int(stay.sum())
        rows.data[filled:end] = rows.data[low:high][stay]
        rows.indices[filled:end] = rows.indices[low:high][stay]
        filled = end
    indptr = np.zeros(int(kept.sum()) + 1, dtype=rows.indptr.dtype)
    np.cumsum(many[kept], out=indptr[1:])
    return sparse.csr_matrix(
        (rows.data[:filled], rows.indices[:filled], indptr), shape=(len(indptr) - 1, rows.shape[1])
    )


def genes_of(matrix: Matrix) -> tuple[Genes, list[Check]]:
    """Genes with unique ids; a repeated id gets a number."""
    ids, findings = matrix.ids, []
    if np.unique(ids).size != ids.size:
        repeats = pd.Series(ids).groupby(ids).cumcount().to_numpy()
        findings.append(
            Check("notice", f"{int((repeats > 0).sum())} gene ids repeat and were numbered.")
        )
        ids = np.where(repeats > 0, np.char.add(np.char.add(ids, "-"), repeats.astype(str)), ids)
    if matrix.dropped:
        kinds = ", ".join(f"{many:,} {kind}" for kind, many in matrix.dropped.items())
        findings.append(Check("notice", f"Features that are no genes were left out: {kinds}."))
    return Genes(ids.astype(np.str_), matrix.symbols), findings


def assemble(
    name: str,
    kind: SlideKind,
    placed: Placed,
    scale: PixelScale,
    image: Pyramid | None,
    *,
    counted: Sequence[Path],
    files: Sequence[Path],
    path: Path,
    findings: Sequence[Check],
    image_given: bool = False,
    bin_um: float | None = None,
    diameter_um: float | None = None,
    annotations: pd.DataFrame | None = None,
) -> Slide:
    """Build the slide and look it over.

    Parameters
    ----------
    counted, files : sequence of Path
        Files that the locations and counts come from, and all others.
    findings : sequence of Check
        What the reader has found already.
    image_given : bool
        The user chose the image as the full-resolution one.
    """
    genes, gene_findings = genes_of(placed.matrix)
    coordinates = placed.coordinates_px * scale.um_per_px
    if placed.array is None:
        lattice = Lattice.from_coordinates(coordinates)
    else:
        lattice = Lattice.from_array(placed.array[:, 1], placed.array[:, 0], coordinates)
    hashes = {file.name: digest(file) for file in (*counted, *files)}
    counts = Counts(placed.matrix.rows, key=_key(counted, placed.matrix.rows))
    table = pd.DataFrame(annotations) if annotations is not None else pd.DataFrame()
    if placed.array is not None:
        table["array_row"], table["array_col"] = placed.array[:, 1], placed.array[:, 0]
    word = "bin" if kind == "visium-hd" else "spot"
    found = [
        *findings,
        *placed.checks,
        *look.check_counts(counts),
        *gene_findings,
        *look.check_genes(genes),
        *look.check_lattice(lattice, kind, bin_um, len(coordinates)),
        *(look.check_parity(placed.array) if kind == "visium" and placed.array is not None else ()),
        *look.check_size(len(coordinates), word),
        *look.check_image(image, placed.coordinates_px, scale.um_per_px, given=image_given),
    ]
    return Slide(
        name,
        kind,
        counts,
        genes,
        coordinates,
        text(placed.matrix.barcodes),
        lattice,
        diameter_um or bin_um or _DIAMETER.get(kind) or 0.55 * lattice.pitch_um,
        scale,
        placed.in_tissue,
        image,
        table,
        Source(str(path), hashes),
        look.worst_first(found),
    )


def digest(path: Path) -> str:
    """sha256 of a small file; of a large one a digest of its size and date, named so."""
    stat = path.stat()
    if stat.st_size > _HASH_WHOLE:
        text = f"{stat.st_size}|{stat.st_mtime_ns}"
        return "size+mtime:" + hashlib.sha256(text.encode()).hexdigest()
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def _key(files: Sequence[Path], rows: sparse.csr_matrix) -> str:
    """Identity of the counts: their files, and how much of them was kept."""
    parts = [f"{rows.shape}|{rows.nnz}"]
    for file in files:
        stat = file.stat()
        parts.append(f"{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def given(scalefactors: Mapping[str, object], name: str) -> float | None:
    """Return a positive number of the scale factors, or None."""
    value = scalefactors.get(name)
    return float(value) if isinstance(value, int | float) and value > 0 else None
