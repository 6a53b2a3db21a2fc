"""Maps of an evaluation as pictures: what was hidden, what was predicted, and the error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_stsr.evaluation.joined import JoinedMap
from napari_stsr.slides import Targets
from napari_stsr.viewer.layers.frames import Frame, MapKind
from napari_stsr.viewer.layers.look import (
    ENHANCED_COLORMAP,
    MEASURED_COLORMAP,
    clear_low,
    clear_middle,
)
from napari_stsr.viewer.layers.places import MANY_SPOTS, Places, SpotPlaces, places_of_targets

if TYPE_CHECKING:
    from napari_stsr.evaluation import Evaluation


def mapped_genes(evaluation: Evaluation, task: str, method: str) -> frozenset[str]:
    """Ids of the genes a method's maps of a task hold in some fold."""
    return frozenset(gene for one in evaluation.maps(task, method) for gene in one.genes)


def map_frames(evaluation: Evaluation, task: str, method: str, gene: str) -> list[Frame]:
    """Pictures of one gene: measured where it was hidden, predicted, and the error; or none.

    Measured and predicted share one contrast, so that the same position in both colour bars is the
    same value.
    """
    found = JoinedMap.of(evaluation.maps(task, method), gene)
    if found is None:
        return []
    label = str(evaluation.genes(task).loc[gene, "symbol"])
    title = evaluation.plan.contender(method).title
    limits, even, places = found.limits(), found.error_limits(), _places(found)

    def frame(kind: MapKind, name: str, values: NDArray[np.float32]) -> Frame:
        colours: dict[MapKind, Colormap] = {
            "hidden": clear_low(MEASURED_COLORMAP),
            "error": clear_middle(),
        }
        return Frame(
            kind,
            name,
            places,
            values,
            places.painted(values),
            even if kind == "error" else limits,
            colours.get(kind, clear_low(ENHANCED_COLORMAP)),
        )

    return [
        frame("hidden", f"{label} · measured (hidden)", found.truth),
        frame("predicted", f"{label} · predicted by {title}", found.predicted),
        frame("error", f"{label} · error of {title}", found.error),
    ]


def _places(found: JoinedMap) -> Places:
    """Return how to show the targets: spots as the measured layer shows them, else cells."""
    m, cell = len(found.coordinates), found.cell
    if m <= MANY_SPOTS:
        return SpotPlaces(found.coordinates, float(np.ptp(cell[:, 0])))
    none, area = np.full(m, -1, dtype=np.int64), np.full(m, np.prod(np.ptp(cell, axis=0)))
    return places_of_targets(Targets("points", found.coordinates, none, none, cell, area))
