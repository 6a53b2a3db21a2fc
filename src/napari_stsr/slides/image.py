"""Histology as a lazy pyramid in µm, from any file that holds a picture.

The centre of pixel (row r, column c) of level 0 lies at (x, y) = (c, r) · um_per_px in the
slide's frame. A pixel of level l is the mean of a block of f × f pixels of level 0, so its centre
lies at f · c' + (f - 1) / 2 pixels of level 0. napari draws the levels of a multiscale image just
so (a coarse pixel covers the block it was made from): the viewer passes `levels` and
``scale=um_per_px`` and adds no shift of its own.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.files import cache_folder, written_aside

# The coarsest level fits into a screen; levels in between halve.
_COARSEST = 1024
# Pictures up to this many pixels are simply kept in memory.
_IN_MEMORY = 32_000_000
_CHUNK = 1024
_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_pillow = threading.Lock()
_building = threading.Lock()

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Pyramid:
    """Histology as lazy levels, finest first.

    Parameters
    ----------
    levels : tuple of lazy arrays
        Each (y, x, 3) uint8, finest first.
    um_per_px : float
        Size of a pixel of level 0 (square pixels).
    path : str
        File it came from, empty when it was made in memory.
    full_resolution : bool
        False when it is Space Ranger's small hires or lowres picture.
    greyscale : bool
        The file holds no colour.
    """

    levels: tuple[Any, ...]
    um_per_px: float
    path: str = ""
    full_resolution: bool = True
    greyscale: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of level 0 in pixels."""
        height, width = self.levels[0].shape[:2]
        return int(height), int(width)

    def read(self, region: tuple[float, float, float, float], um_per_px: float) -> Bytes:
        """Read a rectangle at a chosen pixel size.

        Parameters
        ----------
        region : (x0, y0, x1, y1)
            Edges in µm; what lies outside the picture is white.
        um_per_px : float
            Pixel size of the answer.

        Returns
        -------
        (h, w, 3) uint8 array
            Its pixel (i, j) is centred on (x0 + (j + ½) s, y0 + (i + ½) s) for s = `um_per_px`.
        """
        from scipy.ndimage import affine_transform

        x0, y0, x1, y1 = region
        shape = tuple(max(1, round((b - a) / um_per_px)) for a, b in ((y0, y1), (x0, x1)))
        factors = [self.shape[0] / level.shape[0] for level in self.levels]
        # The coarsest level that is not coarser than asked for (2 % slack for odd sizes).
        fine = [i for i, f in enumerate(factors) if f * self.um_per_px <= 1.02 * um_per_px]
        chosen = max(fine, default=0)
        factor, level = factors[chosen], self.levels[chosen]
        step = um_per_px / (self.um_per_px * factor)
        # Level pixels of the answer's first pixel centre.
        start = [
            ((edge + um_per_px / 2) / self.um_per_px - (factor - 1) / 2) / factor
            for edge in (y0, x0)
        ]
        low = [max(0, int(np.floor(s)) - 1) for s in start]
        high = [
            max(lo, min(n, int(np.ceil(s + step * (k - 1))) + 2))
            for lo, s, k, n in zip(low, start, shape, level.shape[:2])
        ]
        answer = np.full((*shape, 3), 255, dtype=np.uint8)
        crop = np.asarray(level[low[0] : high[0], low[1] : high[1]])
        if not crop.size:
            return answer
        shift = [s - lo for s, lo in zip(start, low)]
        for band in range(3):
            affine_transform(
                crop[..., band], [step, step], shift, shape, answer[..., band], order=1, cval=255
            )
        return answer


def pyramid_from_array(
    array: Any,
    um_per_px: float,
    path: str = "",
    *,
    full_resolution: bool = True,
    greyscale: bool | None = None,
) -> Pyramid:
    """Build a pyramid in memory from a picture of any usual layout and depth.

    Parameters
    ----------
    array : (y, x), (y, x, 1 | 3 | 4) or (3 | 4, y, x) array
    um_per_px : float
    """
    picture = as_rgb(np.asarray(array))
    levels = [picture]
    while max(levels[-1].shape[:2]) > _COARSEST:
        levels.append(halved(levels[-1]))
    lazy = tuple(lazy_array(level, (_CHUNK, _CHUNK, 3)) for level in levels)
    grey = is_grey(levels[-1]) if greyscale is None else greyscale
    return Pyramid(lazy, um_per_px, path, full_resolution, grey)


def open_pyramid(path: str | Path, um_per_px: float, *, full_resolution: bool = True) -> Pyramid:
    """Open TIFF, BTF, OME-TIFF, SVS, JPEG or PNG as a lazy pyramid.

    A big file without a pyramid gets one in the cache folder, once.

    Raises
    ------
    InputError
        When the file is missing, truncated, or holds no picture.
    """
    path = Path(path)
    if not (np.isfinite(um_per_px) and um_per_px > 0):
        raise InputError(f"A pixel of {um_per_px} µm cannot be.", "Give a positive length.")
    if not path.is_file():
        raise InputError(f"There is no image {str(path)!r}.")
    with path.open("rb") as stream:
        mark = stream.read(4)
    if mark in _TIFF_MARKS:
        from napari_stsr.slides.tiff import open_tiff

        levels, grey = open_tiff(path)
        return Pyramid(levels, um_per_px, str(path), full_resolution, grey)
    height, width = _size_of_picture(path)
    if height * width <= _IN_MEMORY:
        return pyramid_from_array(
            _decoded(path), um_per_px, str(path), full_resolution=full_resolution
        )
    levels = cached_levels(path, lambda: as_rgb(_decoded(path)))
    return Pyramid(levels, um_per_px, str(path), full_resolution, is_grey(levels[-1]))


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a picture in pixels, without decoding it.

    Raises
    ------
    InputError
        When the file holds no picture.
    """
    path = Path(path)
    with path.open("rb") as stream:
        mark = stream.read(4)
    if mark in _TIFF_MARKS:
        from napari_stsr.slides.tiff import tiff_size

        return tiff_size(path)
    return _size_of_picture(path)


def metadata_um_per_px(path: str | Path) -> float | None:
    """Size of a pixel by the metadata of a TIFF, OME-TIFF or SVS; None where it says nothing."""
    path = Path(path)
    with path.open("rb") as stream:
        if stream.read(4) not in _TIFF_MARKS:
            return None
    from napari_stsr.slides.tiff import tiff_um_per_px

    return tiff_um_per_px(path)


def _picture(path: Path, use: Callable[[Any], Any]) -> Any:
    """Open a JPEG or PNG of any size; slides are larger than Pillow's guard against bombs."""
    from PIL import Image, UnidentifiedImageError

    with _pillow:
        guard, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with Image.open(path) as picture:
                return use(picture)
        except UnidentifiedImageError:
            raise InputError(
                f"{str(path)!r} holds no picture.", "Give a TIFF, SVS, JPEG or PNG."
            ) from None
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(
                f"The picture {str(path)!r} is damaged or incomplete: {error}.",
                "Copy or download it again.",
            ) from None
        finally:
            Image.MAX_IMAGE_PIXELS = guard


def _size_of_picture(path: Path) -> tuple[int, int]:
    size: tuple[int, int] = _picture(path, lambda picture: (picture.height, picture.width))
    return size


def _decoded(path: Path) -> NDArray[Any]:
    def pixels(picture: Any) -> NDArray[Any]:
        # Palettes, CMYK and the like become RGB; 16-bit grey stays for `as_rgb` to reduce.
        plain = picture.mode in ("RGB", "RGBA", "L") or picture.mode.startswith("I")
        return np.asarray(picture if plain else picture.convert("RGB"))

    decoded: NDArray[Any] = _picture(path, pixels)
    return decoded


def as_rgb(array: NDArray[Any], peak: float | None = None) -> Bytes:
    """Reduce a picture to (y, x, 3) uint8: depth, planes, grey, transparency.

    Parameters
    ----------
    array : (y, x), (y, x, c) or (c, y, x) array
        With 1, 3 or 4 channels; the fourth is opacity over white.
    peak : float, optional
        Brightest value of the whole picture, when `array` is a part of it.

    Raises
    ------
    InputError
        When the array is no picture.
    """
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise InputError(
            f"An array of shape {array.shape} is no colour picture.",
            "Histology is grey, RGB or RGBA; export the channel to show as its own file.",
        )
    array = _eight_bit(array, peak)
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    if array.shape[2] == 4:
        opacity = array[..., 3:].astype(np.uint16)
        if opacity.size and opacity.min() == 255:
            return np.ascontiguousarray(array[..., :3])
        blend = array[..., :3] * opacity + 255 * (255 - opacity)
        return (blend // 255).astype(np.uint8)
    return array


def _eight_bit(array: NDArray[Any], peak: float | None) -> Bytes:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    top = float(array.max(initial=0)) if peak is None else peak
    if array.dtype.kind in "ui":
        # 12-bit cameras write 16-bit files: the brightest value tells the depth.
        full = next((f for f in (255, 4095, 65535) if top <= f), max(top, 1.0))
    else:
        full = 1.0 if top <= 1 else next((f for f in (255.0, 65535.0) if top <= f), top)
    scaled = np.clip(array.astype(np.float32) * np.float32(255 / full), 0, 255)
    return np.asarray(np.rint(scaled), dtype=np.uint8)


def halved(picture: Bytes) -> Bytes:
    """Mean of blocks of 2 × 2 pixels; an odd last row or column is repeated."""
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rows = picture[0::2].astype(np.uint16)
    rows += picture[1::2]
    mean = np.empty((rows.shape[0], rows.shape[1] // 2, 3), dtype=np.uint8)
    # A band at a time: numpy is slow where the innermost axis has three elements.
    for band in range(3):
        mean[..., band] = (rows[:, 0::2, band] + rows[:, 1::2, band] + 2) >> 2
    return mean


def is_grey(level: Any) -> bool:
    """Whether the three channels of a picture agree (to within JPEG's rounding)."""
    step = max(1, max(level.shape[:2]) // _COARSEST)
    sample = np.asarray(level[::step, ::step]).astype(np.int16)
    return bool(sample.size) and bool(np.ptp(sample, axis=2).mean() < 1.5)


def cached_levels(path: Path, finest: Callable[[], Any], start: int = 0) -> tuple[Any, ...]:
    """Levels of a file kept as zarr in the cache; built by the first call.

    Parameters
    ----------
    path : Path
        The file; a change of its size or date builds the levels anew.
    finest : callable
        Gives level 0, an array to read in bands of rows.
    start : int
        Finest level to store: 1 when level 0 is read from the file itself.
    """
    import zarr

    stat = path.stat()
    identity = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{start}"
    folder = cache_folder() / "pyramids" / hashlib.sha256(identity.encode()).hexdigest()[:24]
    with _building:
        # One at a time: a second builder would replace levels that are already being read.
        if not folder.is_dir():
            with written_aside(folder) as aside:
                _write_levels(aside, finest(), start)
    group = zarr.open_group(str(folder), mode="r")
    stored = dict(group.arrays())
    return tuple(lazy_array(stored[name], stored[name].chunks) for name in sorted(stored, key=int))


def _write_levels(folder: Path, level: Any, start: int) -> None:
    """Write level 0 (when `start` is 0) and its halvings, a band of rows at a time."""
    import zarr

    group = zarr.open_group(str(folder), mode="w")

    def write(number: int, source: Any, step: Callable[[Bytes], Bytes], factor: int) -> Any:
        height, width = (-(-size // factor) for size in source.shape[:2])
        target = group.create_array(
            str(number), shape=(height, width, 3), chunks=(_CHUNK, _CHUNK, 3), dtype="uint8"
        )
        for top in range(0, height, _CHUNK):
            band = source[factor * top : factor * (top + _CHUNK)]
            target[top : top + _CHUNK] = step(np.asarray(band))
        return target

    number = start
    if start == 0:
        level = write(0, level, lambda band: band, 1)
        number = 1
    while max(level.shape[:2]) > _COARSEST:
        level = write(number, level, halved, 2)
        number += 1


def lazy_array(array: Any, chunks: tuple[int, ...]) -> Any:
    """Wrap an array that reads on demand for dask, without hashing it."""
    import dask.array as da

    return da.from_array(array, chunks=chunks, name=False)
