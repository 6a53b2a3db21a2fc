"""Regions of interest: a Shapes layer on one side, named `Region`s in µm on the other."""

from __future__ import annotations

import numpy as np
from napari.layers import Shapes
from napari.types import LayerDataTuple

from napari_stsr.errors import InputError
from napari_stsr.slides import Region
from napari_stsr.viewer.layers.look import OURS, ROI_COLOR, WORLD

_LINES = ("line", "path")
_CIRCLE = np.linspace(0.0, 2 * np.pi, 64, endpoint=False)


def roi_layer(edge_um: float) -> LayerDataTuple:
    """Empty layer to draw regions in; each shape carries a name that may be changed."""
    shown = {
        "name": "ROIs",
        "ndim": 2,
        "features": {"name": np.empty(0, dtype=object)},
        "feature_defaults": {"name": ""},
        "text": {
            "string": "{name}",
            "color": ROI_COLOR,
            "size": 12,
            "anchor": "upper_left",
            # Above the outline, not on it.
            "translation": (-4 * edge_um, 0),
        },
        "face_color": "transparent",
        "edge_color": ROI_COLOR,
        "edge_width": edge_um,
        "metadata": {OURS: {"kind": "rois"}},
        **WORLD,
    }
    return [], shown, "shapes"


def name_shapes(layer: Shapes) -> None:
    """Give every unnamed shape the next free ``ROI n``."""
    names = [str(name or "") for name in layer.features["name"]]
    if all(names):
        return
    number = 0
    for place, name in enumerate(names):
        while not name:
            number += 1
            name = "" if f"ROI {number}" in names else f"ROI {number}"
        names[place] = name
    layer.features = {"name": np.array(names, dtype=object)}
    layer.feature_defaults = {"name": ""}


def regions_of(layer: Shapes) -> list[Region]:
    """Return the regions drawn: shapes of one name are united, lines and slips left out."""
    rings: dict[str, list[np.ndarray]] = {}
    names = [str(n or "") for n in layer.features.get("name", [""] * len(layer.data))]
    for number, (corners, kind) in enumerate(zip(layer.data, layer.shape_type, strict=True)):
        if kind in _LINES:
            continue
        name = names[number] or f"ROI {number + 1}"
        rings.setdefault(name, []).append(_ring(layer, corners, kind))
    regions = []
    for name, outlines in rings.items():
        try:
            regions.append(Region.from_polygons(name, outlines))
        except InputError:  # a click without a drag encloses nothing: it is no region yet
            continue
    return regions


def _ring(layer: Shapes, corners: np.ndarray, kind: str) -> np.ndarray:
    """Ring (x, y) in µm; an ellipse is held as the corners of its box."""
    if kind == "ellipse":
        middle = corners.mean(axis=0)
        across, down = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
        corners = middle + np.outer(np.cos(_CIRCLE), across) + np.outer(np.sin(_CIRCLE), down)
    world = np.array([layer.data_to_world(corner)[-2:] for corner in corners])
    return world[:, ::-1]
