"""The H&E image and the outline of the tissue as layers."""

from __future__ import annotations

import numpy as np
from napari.types import LayerDataTuple
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.measure import approximate_polygon, find_contours

from napari_stsr.slides import Slide
from napari_stsr.slides.image import Pyramid
from napari_stsr.viewer.layers.look import OURS, OUTLINE_COLOR, WORLD

_OUTLINE_STEPS = 500


def histology_layer(pyramid: Pyramid) -> LayerDataTuple:
    """Multiscale image, lazy, in µm."""
    levels = list(pyramid.levels)
    grey = levels[0].ndim == 2
    step = pyramid.um_per_px
    shown = {
        "name": "H&E",
        "multiscale": len(levels) > 1,
        "rgb": not grey,
        "scale": (step, step),
        "metadata": {OURS: {"kind": "histology"}},
        **WORLD,
    }
    return (levels if len(levels) > 1 else levels[0]), shown, "image"


def outline_rings(slide: Slide) -> list[NDArray[np.float64]]:
    """Outline of the in-tissue locations as closed rings (v, 2) of (x, y) in µm.

    The level line at 0.75 pitch of the distance to the nearest in-tissue location, which closes
    the corners between the cells of either lattice; holes are rings of their own.
    """
    inside = slide.coordinates[slide.in_tissue]
    if not len(inside):
        return []
    pitch = slide.lattice.pitch_um or slide.diameter_um
    low, high = inside.min(axis=0) - 2 * pitch, inside.max(axis=0) + 2 * pitch
    step = max(pitch / 4, float((high - low).max()) / _OUTLINE_STEPS)
    x, y = (np.arange(a, b + step, step) for a, b in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    away, _ = cKDTree(inside).query(grid.reshape(-1, 2), distance_upper_bound=2 * pitch)
    away = np.minimum(away, 2 * pitch).reshape(grid.shape[:2])
    reach = max(0.75 * pitch, 1.1 * step)
    rings = (approximate_polygon(ring, 0.3) for ring in find_contours(away, reach))
    return [low + step * ring[:, ::-1] for ring in rings if len(ring) > 3]


def outline_layer(slide: Slide) -> LayerDataTuple | None:
    """Return outline of the tissue as paths; None for a slide without tissue."""
    rings = outline_rings(slide)
    if not rings:
        return None
    shown = {
        "name": "Tissue outline",
        "shape_type": "path",
        "edge_color": OUTLINE_COLOR,
        "edge_width": max(slide.lattice.pitch_um, 20.0) / 12,
        "face_color": "transparent",
        "metadata": {OURS: {"kind": "outline"}},
        **WORLD,
    }
    return [ring[:, ::-1] for ring in rings], shown, "shapes"
