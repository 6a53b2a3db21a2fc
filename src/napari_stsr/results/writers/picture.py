"""Measured and predicted maps of genes over the histology, as a PNG made without a window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.files import written_aside
from napari_stsr.results.enhancement import Enhancement
from napari_stsr.results.raster import CellRaster
from napari_stsr.slides import Slide, Targets, points

if TYPE_CHECKING:
    from PIL.Image import Image

_GAP, _HEAD, _FOOT = 12, 24, 30
_OPACITY = 0.75
# Viridis at nine places, the lowest first.
_VIRIDIS = np.array(
    [(68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141),
     (39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37)]
)  # fmt: skip

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Ground:
    """What lies below every map: the frame in µm and the histology in it."""

    region: tuple[float, float, float, float]
    um_per_px: float
    picture: Bytes


def write_picture(
    path: str | Path, slide: Slide, result: Enhancement, genes: list[str], width: int = 520
) -> None:
    """Write a PNG: one row a gene, measured on the left, predicted on the right.

    Parameters
    ----------
    path : path
        Ends in ``.png``.
    slide : Slide
    result : Enhancement
    genes : list of str
    width : int
        Pixels of one map.

    Raises
    ------
    InputError
        When the path does not end in ``.png`` or a gene is unknown.
    RunError
        When the place cannot be written.
    """
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"{str(path)!r} is no PNG.", "End the name in .png.")
    ground = _ground(slide, result, width)
    measured = _frame(ground, points(slide.coordinates, slide.diameter_um))
    predicted = _frame(ground, result.targets)
    rows = []
    for gene in genes:
        column, label = slide.genes.column(gene), slide.genes.label(slide.genes.column(gene))
        values = slide.counts.column(column)
        values[~slide.in_tissue] = np.nan
        left = _panel(ground, measured.paint(values), f"{label}, measured")
        right_values = result.expression([gene])[:, 0]
        right = _panel(ground, predicted.paint(right_values), f"{label}, predicted")
        rows.append(np.hstack([left, right]))
    with written_aside(path) as aside:
        Image.fromarray(np.vstack(rows)).save(aside)


def _ground(slide: Slide, result: Enhancement, width: int) -> _Ground:
    low = result.targets.coordinates.min(axis=0) - slide.lattice.pitch_um
    high = result.targets.coordinates.max(axis=0) + slide.lattice.pitch_um
    step = float(high[0] - low[0]) / width
    region = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    if slide.image is not None:
        picture = slide.image.read(region, step)
    else:
        height = max(1, round((region[3] - region[1]) / step))
        picture = np.full((height, width, 3), 255, dtype=np.uint8)
    return _Ground(region, step, picture)


def _frame(ground: _Ground, targets: Targets) -> CellRaster:
    """Raster of targets in the pixels of the ground."""
    fine = CellRaster.of(targets, ground.um_per_px)
    height, width = ground.picture.shape[:2]
    x = ground.region[0] + ground.um_per_px * (np.arange(width) + 0.5)
    y = ground.region[1] + ground.um_per_px * (np.arange(height) + 0.5)
    places = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1).reshape(-1, 2)
    index = fine.target_at(places).reshape(height, width).astype(np.int32)
    return CellRaster(index, np.array([x[0], y[0]]), ground.um_per_px)


def _panel(ground: _Ground, values: Floats, title: str) -> Bytes:
    """One map with its title, colour bar and scale bar on white."""
    from PIL import Image

    known = values[np.isfinite(values)]
    top = float(np.percentile(known, 99.5)) if known.size else 1.0
    top = top if top > 0 else 1.0
    drawn = _blended(ground.picture, values / np.float32(top))
    height, width = drawn.shape[:2]
    panel = Image.new("RGB", (width + 2 * _GAP, height + _HEAD + _FOOT), "white")
    panel.paste(Image.fromarray(drawn), (_GAP, _HEAD))
    _annotate(panel, title, f"0 to {_number(top)} counts", ground.um_per_px, height)
    return np.asarray(panel, dtype=np.uint8)


def _blended(picture: Bytes, level: Floats) -> Bytes:
    """Colour over the histology; the lowest values are clear, so that the tissue shows."""
    shown = np.nan_to_num(np.clip(level, 0, 1))
    colour = _colours(shown)
    cover = (_OPACITY * np.clip(4 * shown, 0, 1))[..., None]
    mixed: Bytes = np.rint(picture * (1 - cover) + colour * cover).astype(np.uint8)
    return mixed


def _colours(level: Floats) -> NDArray[np.float64]:
    places = np.linspace(0, 1, len(_VIRIDIS))
    return np.stack([np.interp(level, places, band) for band in _VIRIDIS.T], axis=-1)


def _annotate(panel: Image, title: str, span: str, um_per_px: float, height: int) -> None:
    from PIL import Image, ImageDraw, ImageFont

    draw: Any = ImageDraw.Draw(panel)
    font = ImageFont.load_default(14)
    draw.text((_GAP, 4), title, fill="black", font=font)
    bar = _colours(np.tile(np.linspace(0, 1, 90, dtype=np.float32), (10, 1))).astype(np.uint8)
    base = _HEAD + height + 8
    panel.paste(Image.fromarray(bar), (_GAP, base + 3))
    draw.text((_GAP + 98, base), span, fill="black", font=font)
    length = _round_length(0.2 * um_per_px * panel.width)
    right = panel.width - _GAP
    left = right - round(length / um_per_px)
    draw.rectangle((left, base + 5, right, base + 9), fill="black")
    # Pillow's own font has no micro sign.
    words = f"{length / 1000:g} mm"
    draw.text((left - 8 - draw.textlength(words, font=font), base), words, fill="black", font=font)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _round_length(um: float) -> float:
    """Largest of 1, 2, 5 × 10ⁿ µm that is not longer."""
    power = 10.0 ** np.floor(np.log10(um))
    return float(max(f for f in (1, 2, 5) if f * power <= um) * power)
