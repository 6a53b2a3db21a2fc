"""Named regions in µm, drawn by the user or read from GeoJSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import MultiPolygon, Polygon, mapping, shape

from napari_stsr.errors import InputError
from napari_stsr.files import written_aside


@dataclass(frozen=True, eq=False)
class Region:
    """One or more polygons (µm, x and y), with a name.

    Raises
    ------
    InputError
        When the region encloses no area.
    """

    name: str
    outline: Polygon | MultiPolygon

    def __post_init__(self) -> None:
        if not self.outline.area > 0:
            raise InputError(
                f"The region {self.name!r} encloses no area.", "Draw a polygon or a rectangle."
            )

    @classmethod
    def from_polygons(cls, name: str, polygons: Sequence[ArrayLike]) -> Region:
        """Unite rings of (x, y) in µm; crossing outlines are mended, overlaps counted once."""
        rings = [np.asarray(ring, dtype=np.float64) for ring in polygons]
        if not rings or any(ring.ndim != 2 or len(ring) < 3 for ring in rings):
            raise InputError(
                f"The region {name!r} has an outline of fewer than three corners.",
                "Draw a polygon or a rectangle.",
            )
        if not all(np.isfinite(ring).all() for ring in rings):
            raise InputError(f"The region {name!r} has corners that are not numbers.")
        return cls(name, _areas(shapely.union_all([shapely.make_valid(Polygon(r)) for r in rings])))

    @property
    def area_um2(self) -> float:
        """Enclosed area in µm²."""
        return float(self.outline.area)

    def contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the points (n, 2) in µm lie inside or on the outline."""
        shapely.prepare(self.outline)
        return np.asarray(shapely.intersects_xy(self.outline, points[:, 0], points[:, 1]))

    def grown(self, margin_um: float) -> Region:
        """Return the region with a margin around it."""
        return Region(self.name, _areas(self.outline.buffer(margin_um)))

    def bounds(self) -> tuple[float, float, float, float]:
        """Smallest x, smallest y, largest x, largest y in µm."""
        low_x, low_y, high_x, high_y = self.outline.bounds
        return low_x, low_y, high_x, high_y

    def rings(self) -> list[NDArray[np.float64]]:
        """Outer outlines as (v, 2) arrays of (x, y) in µm, open (first corner not repeated)."""
        parts = getattr(self.outline, "geoms", [self.outline])
        return [np.asarray(part.exterior.coords)[:-1] for part in parts]


def _areas(geometry: shapely.Geometry) -> Polygon | MultiPolygon:
    """Keep only the polygons of a geometry: mending may leave lines and points behind."""
    if isinstance(geometry, (Polygon, MultiPolygon)):
        return geometry
    parts = [part for part in getattr(geometry, "geoms", []) if isinstance(part, Polygon)]
    return MultiPolygon(parts)


def read_regions(path: str | Path, um_per_px: float = 1.0) -> list[Region]:
    """Read the polygons of a GeoJSON file, coordinates (x, y) in full-res px.

    Parameters
    ----------
    path : path
        A FeatureCollection, a Feature or a bare geometry. A file written by `write_regions` says
        itself that its unit is µm; any other is taken as full-res px (QuPath's habit).
    um_per_px : float
        Scale of the slide.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"There is no region file {str(path)!r}.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"The region file {str(path)!r} is not readable JSON: {error}.") from None
    if not isinstance(document, dict):
        raise InputError(f"{str(path)!r} holds no GeoJSON object.", "Export the ROI as GeoJSON.")
    scale = 1.0 if document.get("napari_stsr_unit") == "um" else um_per_px
    features = document.get("features", [document])
    regions = [_region(feature, number, scale, path) for number, feature in enumerate(features, 1)]
    if not regions:
        raise InputError(f"The region file {str(path)!r} holds no region.", "Draw one and export.")
    return regions


def _region(feature: object, number: int, scale: float, path: Path) -> Region:
    if not isinstance(feature, dict):
        raise InputError(f"Feature {number} of {str(path)!r} is not a GeoJSON object.")
    properties = feature.get("properties") or {}
    name = str(properties.get("name") or f"ROI {number}")
    try:
        with np.errstate(invalid="ignore"):  # said below, in words
            drawn = shape(feature.get("geometry") or feature)
        if not np.isfinite(shapely.get_coordinates(drawn)).all():
            raise ValueError("some corners are not numbers")
        outline = shapely.make_valid(drawn)
    except Exception as error:  # shapely raises a dozen kinds, all "this is no geometry"
        raise InputError(f"Feature {number} of {str(path)!r} is no polygon: {error}.") from None
    return Region(name, _areas(shapely.transform(outline, lambda xy: xy * scale)))


def write_regions(path: str | Path, regions: Sequence[Region]) -> None:
    """Write regions as GeoJSON in µm, complete or not at all."""
    features = [
        {"type": "Feature", "geometry": mapping(r.outline), "properties": {"name": r.name}}
        for r in regions
    ]
    document = {"type": "FeatureCollection", "napari_stsr_unit": "um", "features": features}
    with written_aside(Path(path)) as aside:
        aside.write_text(json.dumps(document), encoding="utf-8")
