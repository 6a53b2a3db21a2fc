"""Predicted expression that stays in its file; only the genes asked are read."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import RunError
from napari_stsr.results.expression import Expression, SelectedExpression

# One gene costs one column of chunks: small ones for HDF5, larger ones for zarr, where each
# chunk is a file.
_CHUNK_ROWS = 65_536
_CHUNK_VALUES = {"h5": 1 << 18, "zarr": 1 << 20}
_BLOCK_VALUES = 1 << 26


@dataclass(frozen=True, eq=False)
class FileExpression:
    """A dense matrix (targets × genes) in an HDF5 file or a zarr store.

    The file is opened for each reading, so it can be moved or replaced in between and read from
    any thread.

    Parameters
    ----------
    path : Path
    name : str
        Place of the matrix inside the file.
    shape : (int, int)
        Targets and genes.
    """

    path: Path
    name: str
    shape: tuple[int, int]

    def columns(self, genes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Values of the given gene columns, dense.

        Raises
        ------
        RunError
            When the file is gone or damaged.
        """
        out = np.empty((self.shape[0], len(genes)), dtype=np.float32, order="F")
        try:
            with opened(self.path) as file:
                matrix = file[self.name]
                for start, stop in _runs(genes):
                    first, last = int(genes[start]), int(genes[stop - 1])
                    out[:, start:stop] = matrix[:, first : last + 1]
        except (OSError, KeyError) as error:
            raise RunError(
                f"The result {str(self.path)!r} can no longer be read: {error}.",
                "Put the file back, or open it again.",
            ) from error
        return out

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> SelectedExpression:
        """Return some targets."""
        return SelectedExpression(self, np.arange(self.shape[0])[targets])


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file or a zarr store for reading."""
    if path.is_dir():
        import zarr

        yield zarr.open_group(str(path), mode="r")
        return
    import h5py

    with h5py.File(path, "r") as file:
        yield file


def _runs(genes: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Positions (start, stop) of runs of neighbouring columns, each read at once."""
    breaks = np.flatnonzero(np.diff(genes) != 1) + 1
    edges = [0, *breaks.tolist(), len(genes)]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


def chunks(shape: tuple[int, int], store: str) -> tuple[int, int]:
    """Chunk shape for reading gene by gene from a ``"h5"`` or ``"zarr"`` store."""
    rows = max(1, min(shape[0], _CHUNK_ROWS))
    return rows, max(1, min(shape[1], _CHUNK_VALUES[store] // rows))


def pour(
    expression: Expression, columns: NDArray[np.int64], matrix: Any
) -> Iterator[tuple[int, int]]:
    """Compute the given gene columns in blocks of bounded size and write them to a matrix.

    Yields
    ------
    (int, int)
        Columns done and to do, after each block.
    """
    wide = matrix.chunks[1]
    width = wide * max(1, _BLOCK_VALUES // (max(1, expression.shape[0]) * wide))
    for start in range(0, len(columns), width):
        block = columns[start : start + width]
        matrix[:, start : start + len(block)] = expression.columns(block)
        yield start + len(block), len(columns)
