"""Ways to show one value per place: as points, or as an image through an index raster.

Which one is a matter of speed (`Points` take 650 ms of the GUI thread at 500,000 places, an image
13 ms). `painted` may run in any thread; `create` and `put` belong to the GUI thread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from napari.layers import Image, Layer, Points
from napari.types import LayerDataTuple
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stsr.slides import Slide, Targets
from napari_stsr.viewer.layers.look import OURS, WORLD, row_column_affine

MANY_SPOTS = 5_000
_SLACK = 1.7
# Discs farther apart than this, in diameters, are drawn as discs, so many pixels wide.
_APART, _PIXELS_A_DISC, _ENOUGH = 1.2, 9, 2_000
Values = NDArray[np.float32]
# One value a place or pixel, or the colours (h, w, 4) of a picture that fades.
Painted = NDArray[Any]
Limits = tuple[float, float]


class Places(Protocol):
    """A way to show one value per place."""

    def painted(self, values: Values) -> Values:
        """Turn values (n,) into what the layer holds; safe in any thread."""
        ...

    def layer_data(
        self, painted: Painted, limits: Limits, colormap: Colormap, **attributes: Any
    ) -> LayerDataTuple:
        """Describe a new layer."""
        ...

    def put(self, layer: Layer, painted: Painted, limits: Limits) -> None:
        """Swap the values of a layer made from `layer_data`."""
        ...


@dataclass(frozen=True, eq=False)
class SpotPlaces:
    """Few round spots: `Points`.

    Parameters
    ----------
    coordinates : (n, 2) float array
        Centres (x, y) in µm.
    diameter_um : float
    """

    coordinates: NDArray[np.float64]
    diameter_um: float

    def painted(self, values: Values) -> Values:
        """Return the values as they are."""
        return values

    def layer_data(
        self, painted: Painted, limits: Limits, colormap: Colormap, **attributes: Any
    ) -> LayerDataTuple:
        """Describe a Points layer coloured by its feature ``value``."""
        # The border takes the face's colours: small markers show its grey even at width 0.
        colours = {
            f"{part}_{what}": value
            for part in ("face", "border")
            for what, value in (
                ("color", "value"),
                ("colormap", colormap),
                ("contrast_limits", limits),
            )
        }
        shown = {
            "features": {"value": painted},
            "size": self.diameter_um,
            "border_width": 0.0,
            "blending": "translucent",
            **colours,
            **WORLD,
            **attributes,
        }
        return self.coordinates[:, ::-1], shown, "points"

    def put(self, layer: Layer, painted: Painted, limits: Limits) -> None:
        """Swap values and contrast."""
        assert isinstance(layer, Points)
        layer.features = {"value": painted}
        layer.face_contrast_limits = layer.border_contrast_limits = limits
        layer.refresh_colors()


@dataclass(frozen=True, eq=False)
class ImagePlaces:
    """Many bins or subspots: an `Image` painted through an index raster.

    A layer holds one opacity for all its pixels, so a picture that fades is painted in colours.

    Parameters
    ----------
    index : (h, w) int32 array
        Place shown by each pixel, -1 for none.
    affine : (3, 3) float array
        From (row, column) to (y, x) in µm.
    """

    index: NDArray[np.int32]
    affine: NDArray[np.float64]

    @classmethod
    def of_picture(cls, affine: NDArray[np.float64]) -> ImagePlaces:
        """Return the place of a picture that is painted already."""
        return cls(np.empty((0, 0), dtype=np.int32), affine)

    def painted(self, values: Values) -> Values:
        """Paint every pixel with the value of its place, NaN where there is none."""
        # -1 takes the last entry: one gather instead of a gather and a mask.
        return np.append(values, np.float32(np.nan)).astype(np.float32, copy=False)[self.index]

    def faded(
        self, values: Values, limits: Limits, colormap: Colormap, opacity: Values
    ) -> NDArray[np.uint8]:
        """Paint every pixel in the colour of its place, as opaque as told: (h, w, 4)."""
        low, high = limits
        colours = colormap.map((values - low) / (high - low))
        colours[:, 3] *= opacity
        painted = np.zeros((len(values) + 1, 4), dtype=np.uint8)
        painted[:-1] = np.rint(255 * colours)
        return painted[self.index]

    def layer_data(
        self, painted: Painted, limits: Limits, colormap: Colormap, **attributes: Any
    ) -> LayerDataTuple:
        """Describe an Image layer."""
        # Limits would be applied to the colours once more.
        scaled = {} if painted.ndim == 3 else {"contrast_limits": limits, "colormap": colormap}
        shown = {
            "rgb": painted.ndim == 3,
            "affine": self.affine,
            **scaled,
            "blending": "translucent",
            "interpolation2d": "nearest",
            **WORLD,
            **attributes,
        }
        return painted, shown, "image"

    def put(self, layer: Layer, painted: Painted, limits: Limits) -> None:
        """Swap values and contrast."""
        assert isinstance(layer, Image)
        layer.data = painted
        if not layer.rgb:
            layer.contrast_limits = limits


def place_layer(place: NDArray[np.float64]) -> LayerDataTuple:
    """Mark one place (x, y) in µm, at any zoom of the same size on screen."""
    shown = {
        "name": "Place of the profile",
        "symbol": "cross",
        "size": 1.0,
        "canvas_size_limits": (14, 14),
        # Small markers show the colour of their border all over.
        "face_color": "#00e5ff",
        "border_color": "#00e5ff",
        "metadata": {OURS: {"kind": "place"}},
        **WORLD,
    }
    return place[None, ::-1], shown, "points"


def places_of_slide(slide: Slide) -> Places:
    """Return how to show the measured locations of a slide."""
    if slide.lattice.kind == "square" and (len(slide) > MANY_SPOTS or slide.location_word == "bin"):
        return _bins(slide)
    if len(slide) > MANY_SPOTS and slide.lattice.kind == "hex":
        return places_of_targets(_cells(slide))
    return SpotPlaces(slide.coordinates, slide.diameter_um)


def _bins(slide: Slide) -> ImagePlaces:
    """Pixels are lattice sites: nothing is resampled."""
    sites, lattice = slide.lattice.sites, slide.lattice
    low = sites.min(axis=0)
    column, row = (sites - low).T
    index = np.full((row.max() + 1, column.max() + 1), -1, dtype=np.int32)
    index[row, column] = np.arange(len(sites))
    return ImagePlaces(index, row_column_affine(lattice.basis, lattice.position(low)))


def _cells(slide: Slide) -> Targets:
    none = np.full(len(slide), -1, dtype=np.int64)
    area = np.full(len(slide), abs(np.linalg.det(slide.lattice.basis)))
    cell = slide.lattice.cell()
    return Targets("points", slide.coordinates, none, none, cell, area, slide.barcodes)


def places_of_targets(targets: Targets) -> ImagePlaces:
    """Return how to show the targets of an enhancement; built once per result."""
    from napari_stsr.results.raster import CellRaster

    if _lie_apart(targets):
        fine = float(np.ptp(targets.cell, axis=0).max()) / _PIXELS_A_DISC
        raster = CellRaster.of(targets, fine)
    else:
        # Measured centres stray from their lattice: a little slack closes the gaps between cells.
        raster = CellRaster.of(replace(targets, cell=_SLACK * targets.cell))
    step = raster.um_per_px * np.eye(2)
    return ImagePlaces(raster.index, row_column_affine(step, raster.origin_um))


def _lie_apart(targets: Targets) -> bool:
    """Whether the usual target is a disc with room around it, as a spot is, and has no neighbour.

    Cells that tile the plane have one at their own width.
    """
    if targets.kind != "points" or len(targets) < 2:
        return False
    some = targets.coordinates[:_ENOUGH]
    away, _ = cKDTree(targets.coordinates).query(some, k=2)
    return float(np.median(away[:, 1])) > _APART * float(np.ptp(targets.cell, axis=0).max())
