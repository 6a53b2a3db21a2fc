"""Pictures of every kind become lazy RGB levels that lie where their pixels were."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_stsr.errors import InputError
from napari_stsr.slides import image as image_module
from napari_stsr.slides import tiff as tiff_module
from napari_stsr.slides.checks import histology_refusal
from napari_stsr.slides.image import (
    halved,
    image_size,
    metadata_um_per_px,
    open_pyramid,
    pyramid_from_array,
)

Pixels = np.ndarray


def ramp(height: int = 1300, width: int = 1700) -> Pixels:
    """Red grows with the row, green with the column."""
    row, column = np.mgrid[:height, :width]
    return np.stack([row // 8, column // 8, (row + column) // 16], axis=-1).astype(np.uint8)


def tiled(path: Path, rgb: Pixels) -> Pixels:
    tifffile.imwrite(path, rgb, tile=(256, 256), photometric="rgb", compression="zlib")
    return rgb


def planar(path: Path, rgb: Pixels) -> Pixels:
    planes = np.moveaxis(rgb, 2, 0)
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", compression="lzw")
    return rgb


def deep(path: Path, rgb: Pixels) -> Pixels:
    tifffile.imwrite(path, rgb.astype(np.uint16) * 257, photometric="rgb", tile=(256, 256))
    return rgb


def twelve_bit_grey(path: Path, rgb: Pixels) -> Pixels:
    grey = rgb[..., 0].astype(np.uint16) * 16
    grey[0, 0] = 4095
    tifffile.imwrite(path, grey, photometric="minisblack", compression="zstd")
    return np.repeat(np.rint(grey * (255 / 4095)).astype(np.uint8)[..., None], 3, axis=2)


def transparent(path: Path, rgb: Pixels) -> Pixels:
    opacity = np.full((*rgb.shape[:2], 1), 255, np.uint8)
    opacity[:100] = 0
    tifffile.imwrite(
        path, np.concatenate([rgb, opacity], -1), photometric="rgb", extrasamples=["unassalpha"]
    )
    shown = rgb.copy()
    shown[:100] = 255
    return shown


def palette(path: Path, rgb: Pixels) -> Pixels:
    colours = np.zeros((3, 256), np.uint16)
    colours[1] = np.arange(256)[::-1] * 257
    tifffile.imwrite(path, rgb[..., 0], photometric="palette", colormap=colours)
    shown = np.zeros_like(rgb)
    shown[..., 1] = 255 - rgb[..., 0]
    return shown


def inverted(path: Path, rgb: Pixels) -> Pixels:
    tifffile.imwrite(path, rgb[..., 0], photometric="miniswhite")
    return np.repeat((255 - rgb[..., 0])[..., None], 3, axis=2)


def contiguous(path: Path, rgb: Pixels) -> Pixels:
    tifffile.imwrite(path, rgb, photometric="rgb", byteorder=">")
    return rgb


def png(path: Path, rgb: Pixels) -> Pixels:
    Image.fromarray(rgb).save(path.with_suffix(".png"))
    path.with_suffix(".png").rename(path)
    return rgb


def sixteen_bit_png(path: Path, rgb: Pixels) -> Pixels:
    Image.fromarray(rgb[..., 0].astype(np.uint16) * 257).save(path.with_suffix(".png"))
    path.with_suffix(".png").rename(path)
    return np.repeat(rgb[..., :1], 3, axis=2)


KINDS = [tiled, planar, deep, twelve_bit_grey, transparent, palette, inverted, contiguous, png,
         sixteen_bit_png]  # fmt: skip


@pytest.mark.parametrize("write", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("large", [False, True], ids=["in memory", "cached"])
def test_every_picture_becomes_rgb_levels(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path, Pixels], Pixels],
    large: bool,
) -> None:
    if large:
        monkeypatch.setattr(image_module, "_IN_MEMORY", 1)
        monkeypatch.setattr(tiff_module, "_IN_MEMORY", 1)
    path = tmp_path / "histology.tif"
    shown = write(path, ramp())
    assert image_size(path) == (1300, 1700)
    for _ in range(2):
        pyramid = open_pyramid(path, 0.5)
        assert [level.shape for level in pyramid.levels] == [(1300, 1700, 3), (650, 850, 3)]
        assert all(level.dtype == np.uint8 for level in pyramid.levels)
        finest, coarse = (np.asarray(level) for level in pyramid.levels)
        np.testing.assert_array_equal(finest, shown)
        np.testing.assert_array_equal(coarse, halved(shown))
    assert pyramid.greyscale == bool((shown == shown[..., :1]).all())


def test_a_stored_pyramid_is_read_lazily_and_closed_at_the_end(tmp_path: Path) -> None:
    path, level = tmp_path / "pyramid.ome.tif", ramp()
    with tifffile.TiffWriter(path) as out:
        about = {"axes": "YXS", "PhysicalSizeX": 0.325, "PhysicalSizeXUnit": "µm"}
        out.write(level, subifds=2, tile=(256, 256), photometric="rgb", metadata=about)
        for _ in range(2):
            level = halved(level)
            out.write(level, subfiletype=1, tile=(256, 256), photometric="rgb")
    assert metadata_um_per_px(path) == pytest.approx(0.325)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pyramid = open_pyramid(path, 0.325)
        shapes = [found.shape[:2] for found in pyramid.levels]
        assert shapes == [(1300, 1700), (650, 850), (325, 425)]
        np.testing.assert_array_equal(np.asarray(pyramid.levels[0][500:510]), ramp()[500:510])
        del pyramid, out
        gc.collect()


@settings(max_examples=20, deadline=None)
@given(st.floats(0.4, 6), st.floats(100, 500), st.floats(100, 400))
def test_reading_puts_every_pixel_where_it_belongs(size: float, x: float, y: float) -> None:
    """On a linear ramp the value tells the place, whatever level was read."""
    row, column = np.mgrid[:1200, :1500]
    plane = (row + column) / 12
    pyramid = pyramid_from_array(plane.astype(np.uint8), 0.5)
    crop = pyramid.read((x, y, x + 60, y + 30), size)[..., 0].astype(float)
    i, j = np.mgrid[: crop.shape[0], : crop.shape[1]]
    wanted = ((x + (j + 0.5) * size) + (y + (i + 0.5) * size)) / 0.5 / 12
    assert np.abs(crop - wanted).max() < 1.6
    assert crop.shape == (max(1, round(30 / size)), max(1, round(60 / size)))


def test_outside_the_picture_is_white() -> None:
    pyramid = pyramid_from_array(np.zeros((50, 60, 3), np.uint8), 2.0)
    away = pyramid.read((500, 500, 540, 520), 2.0)
    assert away.shape == (10, 20, 3)
    assert (away == 255).all()
    edge = pyramid.read((-21, -21, 19, 19), 2.0)
    assert (edge[:10, :10] == 255).all()
    assert (edge[10:, 10:] == 0).all()


@pytest.mark.parametrize("name", ["cut.tif", "cut.jpg", "cut.png"])
def test_a_truncated_picture_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), dtype=np.uint8)
    if name.endswith("tif"):
        tifffile.imwrite(path, noise, tile=(256, 256), photometric="rgb", compression="zlib")
    else:
        Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"damaged|incomplete|cannot be read|ends after"):
        open_pyramid(path, 0.5)


def test_what_is_no_histology_is_refused(tmp_path: Path) -> None:
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, np.zeros((5, 64, 64), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match="stack"):
        open_pyramid(stack, 0.5)
    with pytest.raises(InputError, match="There is no image"):
        open_pyramid(tmp_path / "none.tif", 0.5)
    with pytest.raises(InputError, match="cannot be"):
        open_pyramid(stack, 0.0)
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(InputError, match="holds no picture"):
        open_pyramid(tmp_path / "empty.png", 0.5)
    with pytest.raises(InputError, match="no colour picture"):
        pyramid_from_array(np.zeros((8, 8, 5)), 1.0)


def test_a_picture_beyond_pillows_guard_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "big.png"
    Image.fromarray(ramp()).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert open_pyramid(path, 0.5).shape == (1300, 1700)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_a_changed_file_gets_a_new_pyramid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_module, "_IN_MEMORY", 1)
    path = tmp_path / "histology.png"
    for value in (10, 200):
        Image.new("RGB", (1100, 1100 + value), (value, 0, 0)).save(path)
        assert np.asarray(open_pyramid(path, 0.5).levels[-1])[..., 0].max() == value


@pytest.mark.parametrize(
    ("options", "um"),
    [
        ({"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}, 0.25),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({"description": "Aperio|AppMag = 20|MPP = 0.4990"}, 0.499),
    ],
)
def test_the_size_of_a_pixel_is_read_from_the_file(
    tmp_path: Path, options: dict[str, object], um: float | None
) -> None:
    path = tmp_path / "histology.tif"
    tifffile.imwrite(path, ramp(64, 64), photometric="rgb", metadata=None, **options)
    assert metadata_um_per_px(path) == (um if um is None else pytest.approx(um))


def test_histology_is_refused_with_a_reason() -> None:
    colour = ramp(64, 64)
    assert histology_refusal(pyramid_from_array(colour, 0.5)) is None
    assert "CytAssist" in str(histology_refusal(pyramid_from_array(colour, 4.7)))
    small = pyramid_from_array(colour, 4.7, full_resolution=False)
    assert "hires or lowres" in str(histology_refusal(small))
    assert "no colour" in str(histology_refusal(pyramid_from_array(colour[..., 0], 0.5)))
    assert "no image" in str(histology_refusal(None))
