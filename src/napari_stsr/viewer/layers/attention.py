"""Attention as arrows of one target and as maps over the tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from napari.types import LayerDataTuple
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.results import Enhancement
from napari_stsr.viewer.layers.look import OURS, WORLD

_MOST_SOURCES = 500
_CYAN = (0.0, 0.90, 1.0)


@dataclass(frozen=True, eq=False)
class SourceTable:
    """What one target drew on, strongest first.

    Attributes
    ----------
    barcodes : (s,) array of str
    distance_um, weight : (s,) float arrays
    start : (s, 2) float array
        Centres (x, y) of the sources in µm.
    end : (2,) float array
        Centre of the target.
    own : (s,) bool array
        The source is the location the target divides.
    """

    barcodes: NDArray[np.str_]
    distance_um: NDArray[np.float64]
    weight: NDArray[np.float64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    own: NDArray[np.bool_]


def sources_of(
    result: Enhancement, target: int, layer: int | None = None, head: int | None = None
) -> SourceTable:
    """Return what a target drew on.

    Raises
    ------
    InputError
        When the result keeps no attention.
    """
    if result.attention is None or result.source_coordinates is None:
        raise InputError("This result keeps no attention.", "Enhance with Square to see it.")
    rows, weight = result.attention.sources(target, layer, head)
    rows, weight = rows[:_MOST_SOURCES], weight[:_MOST_SOURCES]
    start, end = result.source_coordinates[rows], result.targets.coordinates[target]
    names = rows.astype(np.str_) if result.sources is None else result.sources[rows]
    away = np.linalg.norm(start - end, axis=1)
    own = (names == result.parents[target]) & (result.parents[target] != "")
    return SourceTable(names, away, weight, start, end, own)


def arrows_layer(table: SourceTable, unit_um: float) -> LayerDataTuple:
    """Arrows from the sources to the target: the more weight, the wider and the stronger.

    Parameters
    ----------
    table : SourceTable
    unit_um : float
        Pitch of the slide; the strongest arrow is a third of it wide at its source.
    """
    away = table.end - table.start
    length = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
    strength = table.weight / max(float(table.weight.max(initial=0.0)), 1e-12)
    half = (unit_um / 6) * strength[:, None] * np.column_stack([-away[:, 1], away[:, 0]]) / length
    tips = np.broadcast_to(table.end, table.start.shape)
    corners = np.stack([table.start + half, tips, table.start - half], axis=1)
    shown = {
        "name": "Attention · sources of the picked subspot",
        "shape_type": "polygon",
        "features": {"barcode": table.barcodes, "weight": table.weight},
        "face_color": [(*_CYAN, alpha) for alpha in 0.35 + 0.65 * strength],
        "edge_color": "#00333a",
        "edge_width": unit_um / 60,
        "opacity": 0.95,
        "metadata": {OURS: {"kind": "arrows"}},
        **WORLD,
    }
    return list(corners[:, :, ::-1]), shown, "shapes"


def own_share(
    result: Enhancement, layer: int | None = None, head: int | None = None
) -> NDArray[np.float32]:
    """Share of each target's attention that stays on the location it divides, (m,), 0 … 1."""
    weights, sources = _weights(result, layer, head)
    order = np.argsort(sources)
    at = np.searchsorted(sources, result.parents, sorter=order).clip(max=len(sources) - 1)
    column = order[at]
    known = sources[column] == result.parents
    rows = np.flatnonzero(known)
    share = np.full(len(result), np.nan, dtype=np.float32)
    share[rows] = np.asarray(weights[rows, column[rows]]).ravel()
    return share


def pull(
    result: Enhancement, layer: int | None = None, head: int | None = None
) -> NDArray[np.float32]:
    """How one-sided attention is: length of its mean direction over its mean distance, 0 … 1.

    ``|Σ w (s − t)| / Σ w |s − t|`` over the sources s of target t: 0 when sources lie evenly
    around the target, 1 when all lie in one direction.
    """
    weights, _ = _weights(result, layer, head)
    assert result.source_coordinates is not None
    edges = weights.tocoo()
    away = result.source_coordinates[edges.col] - result.targets.coordinates[edges.row]
    m = len(result)
    mean = np.stack([np.bincount(edges.row, edges.data * away[:, a], m) for a in (0, 1)])
    spread = np.bincount(edges.row, edges.data * np.linalg.norm(away, axis=1), m)
    out = np.full(m, np.nan)
    np.divide(np.linalg.norm(mean, axis=0), spread, out=out, where=spread > 0)
    return out.astype(np.float32)


def _weights(
    result: Enhancement, layer: int | None, head: int | None
) -> tuple[sparse.csr_matrix, NDArray[np.str_]]:
    if result.attention is None or result.sources is None or result.source_coordinates is None:
        raise InputError("This result keeps no attention.", "Enhance with Square to see it.")
    return result.attention.matrix(layer, head), result.sources
