"""Pictures put aside: copies that stay as they are, to the right of the tissue."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
from napari.layers import Layer
from napari.types import LayerDataTuple

from napari_stsr.viewer.layers.look import OURS, WORLD, kind_of

# Room between pictures, as a share of their width.
_ROOM = 0.08


def keep_beside(layers: Any, layer: Layer, edge_um: float) -> Layer:
    """Add a copy of a layer, right of the tissue, the histology and what was kept before.

    Parameters
    ----------
    layers : LayerList
    layer : Layer
        An image or points, in µm.
    edge_um : float
        Largest x of the tissue.
    """
    others = [one for one in layers if kind_of(one) in ("histology", "kept")]
    made = Layer.create(*beside(layer, max([edge_um, *map(right_edge, others)])))
    active = layers.selection.active
    layers.append(made)
    layers.selection.active = active
    name_kept(layers)
    return made


def beside(layer: Layer, edge_um: float) -> LayerDataTuple:
    """Copy a layer and move it so that it begins right of an edge (x in µm)."""
    data, about, kind = layer.as_layer_data_tuple()
    low, high = layer.extent.world
    moved = np.eye(len(low) + 1)
    moved[-2, -1] = edge_um - low[-1] + _ROOM * (high[-1] - low[-1])
    about["affine"] = moved @ np.asarray(about["affine"])
    about["metadata"] = {OURS: {"kind": "kept", "words": layer.name}}
    about["name"] = f"{layer.name} · kept"
    about["visible"] = True
    return copy.deepcopy(data), about, kind


def name_kept(layers: Any) -> None:
    """Write above every picture put aside what it shows; again when one was taken off."""
    active, shown = layers.selection.active, True
    for old in [one for one in layers if kind_of(one) == "kept names"]:
        shown = old.visible
        layers.remove(old)
    if kept := [one for one in layers if kind_of(one) == "kept"]:
        layers.append(Layer.create(*_names(kept, shown)))
    if active in layers:
        layers.selection.active = active


def right_edge(layer: Layer) -> float:
    """Largest x of a layer in µm."""
    return float(layer.extent.world[1][-1])


def _names(kept: list[Layer], visible: bool) -> LayerDataTuple:
    """Gene, kind, method and contrast of every picture, a line each, above it."""
    said = []
    for layer in kept:
        words = layer.metadata[OURS]["words"]
        words = re.sub(r" \(([^,)]*)[^)]*\)", r"\n\1", words.replace(" · ", "\n"))
        limits = getattr(layer, "contrast_limits", None) or layer.face_contrast_limits
        said.append(words if limits is None else f"{words}\n{limits[0]:.2g} to {limits[1]:.2g}")
    about = {
        "visible": visible,
        "name": "Names of what was kept",
        "features": {"name": np.array(said, dtype=object)},
        "text": {"string": "{name}", "color": "white", "size": 9, "anchor": "upper_left"},
        "face_color": "transparent",
        "border_color": "transparent",
        "metadata": {OURS: {"kind": "kept names"}},
        **WORLD,
    }
    return np.array([layer.extent.world[0][-2:] for layer in kept]), about, "points"
