"""Enhancements as OME-TIFF, one channel a gene, with physical size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import RunError
from napari_stsr.files import written_aside
from napari_stsr.results.enhancement import Enhancement
from napari_stsr.results.raster import CellRaster

_LONGEST = 4000
_PYRAMID_FROM = 1024
_TILE = 256


def write_ome_tiff(enhancement: Enhancement, path: Path, columns: NDArray[np.int64]) -> None:
    """Write the given gene columns as channels; nan where there is no target.

    The pixel is a third of a target's cell, larger where a side would pass 4,000 pixels. Levels
    of a pyramid hold every second, fourth, … pixel.
    """
    import tifffile

    raster = CellRaster.of(enhancement.targets, longest=_LONGEST)
    values = enhancement.expression_source.columns(columns)
    levels = _levels(raster)
    options: dict[str, Any] = {
        "dtype": np.float32,
        "photometric": "minisblack",
        "compression": "zlib",
        "tile": (_TILE, _TILE),
        "resolutionunit": "CENTIMETER",
    }
    with written_aside(path) as aside:
        try:
            with tifffile.TiffWriter(aside, bigtiff=True, ome=True) as writer:
                for number, level in enumerate(levels):
                    step = level.um_per_px
                    first = number == 0
                    writer.write(
                        _painted(level, values),
                        shape=(len(columns), *level.index.shape),
                        subifds=len(levels) - 1 if first else None,
                        subfiletype=0 if first else 1,
                        metadata=_metadata(enhancement, columns, raster) if first else None,
                        resolution=(1e4 / step, 1e4 / step),
                        **options,
                    )
        except (ValueError, RuntimeError) as error:
            # A short write surfaces as a codec or a size error inside tifffile.
            raise RunError(f"Could not write {str(path)!r}: {error}.") from error


def _levels(raster: CellRaster) -> list[CellRaster]:
    levels = [raster]
    while max(levels[-1].index.shape) > _PYRAMID_FROM:
        last = levels[-1]
        levels.append(CellRaster(last.index[::2, ::2], last.origin_um, 2 * last.um_per_px))
    return levels


def _painted(level: CellRaster, values: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Tiles of every page, in the order of the file."""
    for column in values.T:
        page = level.paint(column)
        short = [-side % _TILE for side in page.shape]
        page = np.pad(page, [(0, short[0]), (0, short[1])], constant_values=np.nan)
        for top in range(0, page.shape[0], _TILE):
            for left in range(0, page.shape[1], _TILE):
                yield page[top : top + _TILE, left : left + _TILE]


def _metadata(
    enhancement: Enhancement, columns: NDArray[np.int64], raster: CellRaster
) -> dict[str, Any]:
    labels = [f"{enhancement.kind} {enhancement.genes.label(int(column))}" for column in columns]
    x, y = raster.origin_um.tolist()
    record = {**enhancement.provenance, "kind": enhancement.kind}
    return {
        "axes": "CYX",
        "Name": f"{enhancement.name} ({enhancement.kind})",
        "Description": json.dumps(record),
        "PhysicalSizeX": raster.um_per_px,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": raster.um_per_px,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": labels},
        "Plane": {
            "PositionX": [x] * len(labels),
            "PositionXUnit": ["µm"] * len(labels),
            "PositionY": [y] * len(labels),
            "PositionYUnit": ["µm"] * len(labels),
        },
    }
