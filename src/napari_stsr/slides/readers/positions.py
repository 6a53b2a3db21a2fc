"""Read the positions of spots or bins: csv or txt, with or without header, or parquet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.slides.readers.matrix import open_text

# Always in this order, whatever the header says: y (row) before x (column).
_COLUMNS = [
    "barcode",
    "in_tissue",
    "array_row",
    "array_col",
    "pxl_row_in_fullres",
    "pxl_col_in_fullres",
]


@dataclass(frozen=True, eq=False)
class Positions:
    """Where the barcodes lie.

    Attributes
    ----------
    barcodes : arrow array of str
    in_tissue : (n,) bool array
    array : (n, 2) int array, optional
        Array column and row (x and y).
    px : (n, 2) float array
        Centre (x, y) in full-resolution pixels; may hold NaN.
    """

    barcodes: Any
    in_tissue: NDArray[np.bool_]
    array: NDArray[np.int64] | None
    px: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.px)

    def of(self, barcodes: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Row of every given barcode, -1 where it has no position."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(barcodes).cast(pa.string())
        found = pc.index_in(wanted, value_set=self.barcodes)
        return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), dtype=np.int64)


def read_positions(path: Path) -> Positions:
    """Read Space Ranger's tissue positions, recognised by content.

    Raises
    ------
    InputError
        When the file is missing, damaged, or has other columns.
    """
    with path.open("rb") as stream:
        parquet = stream.read(4) == b"PAR1"
    return _read_parquet(path) if parquet else _read_text(path)


def _read_parquet(path: Path) -> Positions:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        names = _COLUMNS if set(_COLUMNS) <= set(table.column_names) else table.column_names[:6]
        columns = [table[name].combine_chunks() for name in names]
        numbers = [c.to_numpy(zero_copy_only=False).astype(np.float64) for c in columns[1:]]
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise InputError(
            f"The positions {str(path)!r} cannot be read: {error}.",
            f"Their columns are {', '.join(_COLUMNS)}.",
        ) from None
    return _positions(path, columns[0].cast(pa.string()), *numbers)


def _read_text(path: Path) -> Positions:
    import pyarrow as pa

    with open_text(path) as stream:
        first = stream.readline()
        stream.seek(0)
        separator = "\t" if first.count("\t") > first.count(",") else ","
        header = "barcode" in first.split(separator)[0].lower()
        table = pd.read_csv(
            stream, sep=separator, header=None, skiprows=int(header), dtype={0: str}
        )
        if table.shape[1] < len(_COLUMNS):
            raise InputError(
                f"The positions {str(path)!r} have {table.shape[1]} columns.",
                f"There are six: {', '.join(_COLUMNS)}.",
            )
        columns = [table[number].to_numpy(dtype=np.float64) for number in range(1, 6)]
    return _positions(path, pa.array(table[0].astype(str)), *columns)


def _positions(path: Path, barcodes: Any, *columns: NDArray[np.float64]) -> Positions:
    in_tissue, row, column, px_row, px_column = columns
    if not len(row):
        raise InputError(f"The positions {str(path)!r} hold no line.")
    if not (np.isfinite(row).all() and np.isfinite(column).all()):
        raise InputError(f"The positions {str(path)!r} have array places that are not numbers.")
    array = np.column_stack([column, row]).astype(np.int64)
    return Positions(barcodes, in_tissue == 1, array, np.column_stack([px_column, px_row]))
