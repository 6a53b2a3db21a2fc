"""Files an enhancement is kept in: h5ad, SpatialData zarr, CSV, OME-TIFF."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.results.enhancement import Enhancement
from napari_stsr.slides import Slide

_SUFFIXES = {
    ".h5ad": "h5ad",
    ".zarr": "zarr",
    ".csv": "csv",
    ".ome.tif": "ome-tiff",
    ".ome.tiff": "ome-tiff",
}
# CSV and OME-TIFF hold their genes at once: 500 million values are 2 GB.
_MOST_VALUES = 500_000_000

__all__ = ["check_export", "export", "format_of", "read_enhancement"]


def format_of(path: str | Path, format: str | None = None) -> str:  # noqa: A002 - users' word
    """Format of a result file: the one named, or the one its name ends in.

    Raises
    ------
    InputError
        When there is no such format.
    """
    if format is None:
        name = Path(path).name.lower()
        format = next((f for s, f in _SUFFIXES.items() if name.endswith(s)), "")  # noqa: A001
    if format not in _SUFFIXES.values():
        raise InputError(
            f"{str(path)!r} names no format that results are kept in.",
            f"End its name in {', '.join(_SUFFIXES)}.",
        )
    return format


def check_export(
    path: str | Path,
    targets: int,
    genes: int,
    format: str | None = None,  # noqa: A002 - users' word
) -> str:
    """Refuse at the door what `export` could not write; return the format.

    Parameters
    ----------
    path : path
    targets, genes : int
        Size of the result.
    format : str, optional

    Raises
    ------
    InputError
        When the format is unknown or not installed, the result too large for it, or a folder of
        something else in the way.
    """
    chosen = format_of(path, format)
    place = Path(path)
    if place.is_dir():
        store = (place / "zarr.json").exists() or (place / ".zgroup").exists()
        if chosen != "zarr" or not (store or not any(place.iterdir())):
            raise InputError(f"{str(place)!r} is a folder.", "Choose another name for the result.")
    if chosen == "zarr" and find_spec("spatialdata") is None:
        raise InputError(
            "Writing zarr needs the package spatialdata, which is not installed.",
            "Run: pip install 'napari-stsr[spatialdata]'; or export as h5ad.",
        )
    if chosen in ("csv", "ome-tiff") and targets * genes > _MOST_VALUES:
        raise InputError(
            f"{targets:,} targets × {genes:,} genes are too many for {chosen}.",
            "Name some genes, or choose h5ad or zarr.",
        )
    return chosen


def export(
    enhancement: Enhancement,
    path: str | Path,
    genes: Iterable[str] | None = None,
    format: str | None = None,  # noqa: A002 - users' word
    *,
    slide: Slide | None = None,
) -> None:
    """Write an enhancement to a file, complete or not at all.

    Parameters
    ----------
    enhancement : Enhancement
    path : path
        Ends in ``.h5ad``, ``.zarr``, ``.csv`` or ``.ome.tif``.
    genes : iterable of str, optional
        Ids or symbols to write, in this order; all by default.
    format : {"h5ad", "zarr", "csv", "ome-tiff"}, optional
        Where the name does not tell.
    slide : Slide, optional
        Adds the measured locations and the histology image to a zarr store.

    Raises
    ------
    InputError
        For an unknown format or gene, a folder in the way, or too many values for the format.
    RunError
        When the place cannot be written or the disk is full; nothing is left behind.
    """
    columns = np.arange(len(enhancement.genes), dtype=np.int64)
    if genes is not None:
        columns = _named_once(enhancement.genes.columns(genes))
    chosen, path = check_export(path, len(enhancement), len(columns), format), Path(path)
    if chosen == "h5ad":
        from napari_stsr.results.writers.h5ad import write_h5ad

        write_h5ad(enhancement, path, columns)
    elif chosen == "zarr":
        from napari_stsr.results.writers.spatialdata_store import write_spatialdata

        write_spatialdata(enhancement, path, columns, slide)
    elif chosen == "csv":
        from napari_stsr.results.writers.table import write_csv

        write_csv(enhancement, path, columns)
    else:
        from napari_stsr.results.writers.ome_tiff import write_ome_tiff

        write_ome_tiff(enhancement, path, columns)


def _named_once(columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop genes named before, by symbol and id for instance."""
    _, first = np.unique(columns, return_index=True)
    if not len(first):
        raise InputError("No gene was named.", "Name at least one.")
    return columns[np.sort(first)]


def read_enhancement(path: str | Path) -> Enhancement:
    """Read an enhancement from h5ad or zarr; its expression stays in the file until asked.

    Raises
    ------
    InputError
        When the file is missing, damaged, or holds no enhancement.
    """
    from napari_stsr.results.writers.annotated import read_annotated

    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no result {str(path)!r}.")
    table = ""
    if path.is_dir():
        from napari_stsr.results.writers.spatialdata_store import TABLE

        table = TABLE
    try:
        return read_annotated(path, table)
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{str(path)!r} cannot be read as a result: {error}.",
            "It must be an h5ad or zarr that was exported from here; it may be incomplete.",
        ) from error
