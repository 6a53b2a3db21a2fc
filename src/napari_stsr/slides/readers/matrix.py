"""Read a 10x count matrix, h5 or mtx, into one sparse copy by locations.

Values take the smallest dtype that holds them, in the order of the matrix's barcodes; nothing is
ever dense or float64.
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.slides.readers.chunks import parts_of

_DAMAGED = "The file is incomplete or damaged; copy or download it again."


@dataclass(frozen=True, eq=False)
class Matrix:
    """Counts as stored: locations × features, with their names.

    Attributes
    ----------
    rows : CSR matrix (n, g)
    barcodes : (n,) bytes or str array
    ids, symbols : (g,) str arrays
        Ids as stored; they may repeat in odd files.
    dropped : dict
        Number of features left out because they are no genes, by their type.
    """

    rows: sparse.csr_matrix
    barcodes: NDArray[np.bytes_]
    ids: NDArray[np.str_]
    symbols: NDArray[np.str_]
    dropped: dict[str, int]


def read_matrix(path: Path) -> Matrix:
    """Read ``*.h5`` or a folder (or prefix) with matrix, barcodes and features.

    Raises
    ------
    InputError
        When the file is truncated, is no 10x matrix, or its parts disagree.
    """
    return _read_mtx(path) if path.is_dir() or ".mtx" in path.name else _read_h5(path)


def is_10x_h5(path: Path) -> bool:
    """Whether a file is a 10x count matrix in h5."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return _group(file) is not None
    except OSError:
        return False


def stored_size(path: Path) -> tuple[int, int, int]:
    """Locations, features and stored values of an h5 matrix, without reading them."""
    import h5py

    with h5py.File(path, "r") as file:
        group = _group(file)
        if group is None:
            raise InputError(f"{str(path)!r} is no 10x count matrix.")
        features, locations = (int(size) for size in group["shape"][:])
        return locations, features, int(group["data"].shape[0])


def _group(file: Any) -> Any | None:
    """Return the group of the matrix: ``matrix``, or the genome's name before Cell Ranger 3."""
    for group in file.values():
        if hasattr(group, "keys") and {"barcodes", "data", "indices", "indptr"} <= set(group):
            return group
    return None


def _read_h5(path: Path) -> Matrix:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            group = _group(file)
            if group is None:
                raise InputError(
                    f"{str(path)!r} is an h5 file but no 10x count matrix.",
                    "Give Space Ranger's filtered_feature_bc_matrix.h5.",
                )
            names = group.get("features", group)
            ids = text(names["id" if "id" in names else "genes"][:])
            symbols = text(names["name" if "name" in names else "gene_names"][:])
            types = text(names["feature_type"][:]) if "feature_type" in names else None
            barcodes = np.asarray(group["barcodes"][:], dtype=np.bytes_)
            rows = read_compressed(group, (len(barcodes), int(group["shape"][0])), str(path))
    except (OSError, KeyError) as error:
        raise InputError(f"The matrix {str(path)!r} cannot be read: {error}.", _DAMAGED) from None
    _same(path, "features", len(ids), rows.shape[1])
    return _genes_only(rows, barcodes, ids, symbols, types)


def text(values: NDArray[Any]) -> NDArray[np.str_]:
    """Strings from UTF-8 bytes, fixed or variable length."""
    if values.dtype.kind == "S":
        try:
            # ASCII, as nearly all names are, converts ten times quicker.
            return values.astype(np.str_)
        except UnicodeDecodeError:
            return np.char.decode(values, "utf-8")
    return np.array(
        [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values], dtype=np.str_
    )


def read_compressed(group: Any, shape: tuple[int, int], name: str) -> sparse.csr_matrix:
    """Read ``data``, ``indices``, ``indptr`` of locations in chunks, as small as they fit.

    Raises
    ------
    InputError
        When the three do not describe a matrix of this shape.
    """
    indptr = group["indptr"][:].astype(np.int64)
    total = int(group["data"].shape[0])
    ordered = len(indptr) == shape[0] + 1 and indptr[0] == 0 and (np.diff(indptr) >= 0).all()
    if not ordered or indptr[-1] != total or group["indices"].shape[0] != total:
        raise InputError(f"The parts of the matrix {name!r} contradict each other.", _DAMAGED)
    indices = np.empty(total, dtype=np.int32)
    data: NDArray[Any] = np.empty(total, dtype=np.uint8)
    for part, columns in parts_of(group["indices"]):
        if not (columns.min() >= 0 and columns.max() < shape[1]):
            raise InputError(f"The matrix {name!r} names features it does not have.", _DAMAGED)
        indices[part] = columns
    for part, values in parts_of(group["data"]):
        data = _stored(data, part, values)
    pointers = indptr.astype(np.int32) if total < 2**31 else indptr
    return sparse.csr_matrix((data, indices, pointers), shape=shape)


def _stored(data: NDArray[Any], part: slice, values: NDArray[Any]) -> NDArray[Any]:
    """Put values into their place; give the array with a wider type where they need one."""
    dtype = np.promote_types(data.dtype, smallest_dtype(values))
    if dtype != data.dtype:
        # Mixing integers and float32 would promote to float64; float32 is enough.
        data = data.astype(np.float32 if dtype.kind == "f" else dtype)
    data[part] = values
    return data


def smallest_dtype(values: NDArray[Any]) -> np.dtype[Any]:
    """Smallest of uint8, uint16, int32 and float32 that holds the values exactly enough."""
    if not values.size:
        return np.dtype(np.uint8)
    if values.dtype.kind == "f":
        # Whole numbers are often stored as float; anything else stays a real number.
        if not np.isfinite(values).all() or (values != np.rint(values)).any():
            return np.dtype(np.float32)
    elif values.dtype.kind == "b":
        return np.dtype(np.uint8)
    low, high = values.min(), values.max()
    if low >= 0 and high <= 255:
        return np.dtype(np.uint8)
    if low >= 0 and high <= 65535:
        return np.dtype(np.uint16)
    return np.dtype(np.int32 if low >= -(2**31) and high < 2**31 else np.float32)


def _genes_only(
    rows: sparse.csr_matrix,
    barcodes: NDArray[np.bytes_],
    ids: NDArray[np.str_],
    symbols: NDArray[np.str_],
    types: NDArray[np.str_] | None,
) -> Matrix:
    """Leave out antibodies, probes of other kinds and the like."""
    kept = np.ones(len(ids), dtype=np.bool_)
    if types is not None and (types == "Gene Expression").any():
        kept = types == "Gene Expression"
    if kept.all() or types is None:
        return Matrix(rows, barcodes, ids, symbols, {})
    kinds, many = np.unique(types[~kept], return_counts=True)
    dropped = dict(zip(kinds.tolist(), many.tolist()))
    return Matrix(rows[:, np.flatnonzero(kept)], barcodes, ids[kept], symbols[kept], dropped)


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open a text file, gzipped or plain; its content tells, not its name.

    Raises
    ------
    InputError
        Also for what goes wrong while it is read: a truncated archive, lines that do not fit.
    """
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt") if packed else path.open("rt", encoding="utf-8") as text:
            yield text
    except InputError:
        raise
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{str(path)!r} cannot be read: {reason}.", _DAMAGED) from None


def _read_mtx(path: Path) -> Matrix:
    """Read a folder of three files; `path` may also be the matrix file of a prefixed trio."""
    folder = path if path.is_dir() else path.parent
    prefix = "" if path.is_dir() else path.name.split("matrix.mtx")[0]
    files = {}
    for part, known in (
        ("matrix", ("matrix.mtx",)),
        ("barcodes", ("barcodes.tsv",)),
        ("features", ("features.tsv", "genes.tsv")),
    ):
        options = [folder / f"{prefix}{name}{end}" for name in known for end in ("", ".gz")]
        found = [option for option in options if option.is_file()]
        if not found:
            raise InputError(f"The folder {str(folder)!r} lacks {prefix + known[0]!r}.", _DAMAGED)
        files[part] = found[0]
    names = _table(files["features"])
    barcodes = _table(files["barcodes"])[0].to_numpy(dtype=np.str_).astype(np.bytes_)
    rows = _read_market(files["matrix"])
    _same(folder, "barcodes", len(barcodes), rows.shape[0])
    _same(folder, "features", len(names), rows.shape[1])
    ids = names[0].to_numpy(dtype=np.str_)
    symbols = names[min(1, names.shape[1] - 1)].to_numpy(dtype=np.str_)
    types = names[2].to_numpy(dtype=np.str_) if names.shape[1] > 2 else None
    return _genes_only(rows, barcodes, ids, symbols, types)


def _table(path: Path) -> pd.DataFrame:
    with open_text(path) as stream:
        return pd.read_csv(stream, sep="\t", header=None, dtype=str, keep_default_na=False)


def _read_market(path: Path) -> sparse.csr_matrix:
    """Matrix Market, features × locations, in chunks."""
    with open_text(path) as stream:
        head = stream.readline()
        if not head.startswith("%%MatrixMarket matrix coordinate"):
            raise InputError(f"{str(path)!r} is no sparse Matrix Market file.", _DAMAGED)
        line = stream.readline()
        while line.startswith("%"):
            line = stream.readline()
        features, locations, total = (int(word) for word in line.split())
        columns = np.empty(total, dtype=np.int32)
        where = np.empty(total, dtype=np.int32)
        data: NDArray[Any] = np.empty(total, dtype=np.uint8)
        filled = 0
        for feature, location, values in _entries(stream, "pattern" in head):
            part = slice(filled, filled + len(values))
            filled += len(values)
            if filled > total:
                break
            columns[part], where[part] = feature - 1, location - 1
            data = _stored(data, part, values)
    if filled != total:
        raise InputError(
            f"The matrix {str(path)!r} announces {total:,} values but holds {filled:,}.", _DAMAGED
        )
    if total and not (
        min(columns.min(), where.min()) >= 0
        and columns.max() < features
        and where.max() < locations
    ):
        raise InputError(f"The matrix {str(path)!r} names rows it does not have.", _DAMAGED)
    return sparse.coo_matrix((data, (where, columns)), shape=(locations, features)).tocsr()


def _entries(stream: IO[str], pattern: bool) -> Iterator[tuple[Any, Any, NDArray[Any]]]:
    """Chunks of (feature, location, value), numbered from one."""
    try:
        for table in pd.read_csv(stream, sep=r"\s+", header=None, chunksize=2_000_000):
            values = np.ones(len(table), np.uint8) if pattern else table[2].to_numpy()
            yield table[0].to_numpy(), table[1].to_numpy(), values
    except pd.errors.EmptyDataError:
        return
    except KeyError:
        raise InputError("The matrix has lines of fewer than three numbers.", _DAMAGED) from None


def _same(path: Path, what: str, named: int, stored: int) -> None:
    if named != stored:
        raise InputError(
            f"The matrix {str(path)!r} has {stored:,} {what} but {named:,} names for them.",
            _DAMAGED,
        )
