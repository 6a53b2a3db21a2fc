"""TIFF, BTF, OME-TIFF and SVS as lazy levels of RGB bytes."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.slides.image import (
    _CHUNK,
    _COARSEST,
    _IN_MEMORY,
    as_rgb,
    cached_levels,
    is_grey,
    lazy_array,
    pyramid_from_array,
)

_LARGEST_CHUNK = 8_000_000
# Sizes of a pixel outside these are a printer's dots per inch, not a microscope's.
_PLAUSIBLE_UM = (0.05, 10.0)
_UNITS = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4}
_DAMAGED = "The file is incomplete or damaged; copy or download it again."


def open_tiff(path: Path) -> tuple[tuple[Any, ...], bool]:
    """Levels, finest first, each a lazy (y, x, 3) uint8 array, and whether they hold no colour.

    Raises
    ------
    InputError
        When the file is truncated or holds no single picture.
    """
    tiff = _opened(path)
    try:
        series = _largest(tiff)
        _check_complete(path, series)
        stored = [_lazy(tiff, series, number) for number in range(len(series.levels))]
    except InputError:
        tiff.close()
        raise
    peak = _peak(stored[-1])
    paint = _painter(series, peak)
    levels = tuple(_rgb(level, paint) for level in stored)
    height, width = levels[0].shape[:2]
    if len(levels) == 1 and height * width <= _IN_MEMORY:
        levels = pyramid_from_array(levels[0].compute(scheduler="threads"), 1.0).levels
    elif len(levels) == 1:
        levels = _with_pyramid(path, levels[0], series)
    elif max(levels[-1].shape[:2]) > 4 * _COARSEST:
        levels = (*levels, *cached_levels(path, lambda: levels[-1], start=1))
    if _mapped(series):
        tiff.close()
    return levels, is_grey(levels[-1])


def _mapped(series: Any) -> bool:
    """Whether the picture is one uncompressed block: its only "tile" would be all of it."""
    whole = series.keyframe.is_memmappable and series.dataoffset is not None
    return bool(whole and len(series.levels) == 1)


def tiff_size(path: Path) -> tuple[int, int]:
    """Height and width of the largest picture of a file."""
    with _opened(path) as tiff:
        series = _largest(tiff)
        sizes = dict(zip(series.axes, series.shape))
        return int(sizes["Y"]), int(sizes["X"])


def tiff_um_per_px(path: Path) -> float | None:
    """Size of a pixel: OME's physical size, Aperio's MPP, or the resolution tags."""
    with _opened(path) as tiff:
        page = _largest(tiff).keyframe
        said = [
            _ome_size(tiff.ome_metadata or ""),
            _aperio_size(str(page.description)),
            _tag_size(tiff, page),
        ]
    low, high = _PLAUSIBLE_UM
    return next((size for size in said if size is not None and low <= size <= high), None)


def _opened(path: Path) -> Any:
    import tifffile

    try:
        return tifffile.TiffFile(path)
    except (tifffile.TiffFileError, OSError, ValueError, IndexError) as error:
        raise InputError(f"The image {str(path)!r} cannot be read: {error}.", _DAMAGED) from None


def _largest(tiff: Any) -> Any:
    """Return the series of the slide itself, not its label or thumbnail."""
    pictures = [s for s in tiff.series if "Y" in s.axes and "X" in s.axes]
    if not pictures:
        raise InputError(f"The image {tiff.filename!r} holds no picture.", _DAMAGED)
    series = max(pictures, key=lambda s: s.size)
    sizes = dict(zip(series.axes, series.shape))
    stack = [axis for axis in series.axes if axis not in "YXSC" and sizes[axis] > 1]
    if stack or sizes.get("C", sizes.get("S", 1)) not in (1, 3, 4):
        raise InputError(
            f"The image {tiff.filename!r} is a stack ({series.axes}, {series.shape}).",
            "Histology is one grey or RGB picture; export the plane or channel to show.",
        )
    return series


def _check_complete(path: Path, series: Any) -> None:
    """A truncated file opens, and would fail later in the middle of a drawing."""
    size = path.stat().st_size
    for level in series.levels:
        for page in level.pages:
            if page is None or not page.dataoffsets:
                raise InputError(f"The image {str(path)!r} lacks a part.", _DAMAGED)
            ends = np.array(page.dataoffsets) + np.array(page.databytecounts)
            if ends.max() > size:
                raise InputError(
                    f"The image {str(path)!r} ends after {size:,} of {ends.max():,} bytes.",
                    _DAMAGED,
                )


def _lazy(tiff: Any, series: Any, number: int) -> Any:
    """One level as a lazy (y, x) or (y, x, c) array of the stored type."""
    import zarr

    axes = series.levels[number].axes
    if _mapped(series):
        level = tiff.filehandle.memmap_array(
            f"{tiff.byteorder}{series.dtype.char}", series.shape, series.dataoffset
        )
        parts = tuple(1 if axis in "YX" else size for axis, size in zip(axes, level.shape))
    else:
        store = series.aszarr(level=number)
        level = zarr.open_array(store, mode="r")
        parts = level.chunks
        # The file stays open as long as a level lives, and not longer.
        weakref.finalize(level, _closed, store, tiff)
    chunks = tuple(
        max(1, _CHUNK // chunk) * chunk if axis in "YX" else size
        for axis, chunk, size in zip(axes, parts, level.shape)
    )
    array = lazy_array(level, chunks)
    kept = tuple(slice(None) if axis in "YXSC" else 0 for axis in axes)
    named = [axis for axis in axes if axis in "YXSC"]
    order = [named.index("Y"), named.index("X"), *(i for i, a in enumerate(named) if a in "SC")]
    return array[kept].transpose(order)


def _closed(store: Any, tiff: Any) -> None:
    store.close()
    tiff.close()


def _peak(level: Any) -> float | None:
    return None if level.dtype == np.uint8 else float(level.max().compute(scheduler="threads"))


def _painter(series: Any, peak: float | None) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
    """Conversion of a block of stored values to RGB bytes."""
    page = series.keyframe
    photometric = getattr(page.photometric, "name", "")
    if photometric == "PALETTE" and page.colormap is not None:
        colours = (np.asarray(page.colormap) >> 8).astype(np.uint8).T
        return lambda block: colours[block[..., 0] if block.ndim == 3 else block]
    if photometric == "MINISWHITE":
        return lambda block: np.uint8(255) - as_rgb(block, peak)
    return lambda block: as_rgb(block, peak)


def _rgb(level: Any, paint: Callable[[NDArray[Any]], NDArray[np.uint8]]) -> Any:
    chunks = (*level.chunks[:2], (3,))
    if level.ndim == 2:
        return level.map_blocks(paint, dtype=np.uint8, chunks=chunks, new_axis=2)
    return level.map_blocks(paint, dtype=np.uint8, chunks=chunks)


def _with_pyramid(path: Path, level: Any, series: Any) -> tuple[Any, ...]:
    """Add the coarser levels from the cache; level 0 too when the file gives no small parts."""
    part = int(np.prod([c for c in series.keyframe.chunks if c > 4] or [1]))
    if part <= _LARGEST_CHUNK or _mapped(series):
        return (level, *cached_levels(path, lambda: level, start=1))
    return cached_levels(path, lambda: level.compute(scheduler="threads"))


def _ome_size(text: str) -> float | None:
    size = re.search(r'PhysicalSizeX="([\d.eE+-]+)"', text)
    unit = re.search(r'PhysicalSizeXUnit="([^"]+)"', text)
    factor = _UNITS.get(unit[1].replace("\u03bc", "µ") if unit else "µm")
    return float(size[1]) * factor if size and factor else None


def _aperio_size(text: str) -> float | None:
    size = re.search(r"\bMPP\s*=\s*([\d.]+)", text)
    return float(size[1]) if size else None


def _tag_size(tiff: Any, page: Any) -> float | None:
    tag = page.tags.get("XResolution")
    if tag is None or not tag.value[0]:
        return None
    per_px = tag.value[1] / tag.value[0]
    if tiff.is_imagej:
        unit = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
        factor = _UNITS.get("µm" if unit in ("micron", "microns") else unit)
        return per_px * factor if factor else None
    unit = page.tags.get("ResolutionUnit")
    factors = {2: 25_400.0, 3: 10_000.0}
    factor = factors.get(int(unit.value)) if unit is not None else None
    return per_px * factor if factor else None
