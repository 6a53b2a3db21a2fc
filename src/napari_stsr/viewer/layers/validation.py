"""Maps of an evaluation as pictures: what was hidden, what was predicted, and the error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_stsr.slides import Targets
from napari_stsr.viewer.layers.frames import Frame, MapKind
from napari_stsr.viewer.layers.look import (
    ENHANCED_COLORMAP,
    MEASURED_COLORMAP,
    Percentiles,
    clear_low,
    clear_middle,
)
from napari_stsr.viewer.layers.places import MANY_SPOTS, Places, SpotPlaces, places_of_targets

if TYPE_CHECKING:
    from napari_stsr.evaluation import Evaluation
    from napari_stsr.evaluation.outcome import Map


@dataclass(frozen=True, eq=False)
class GeneMap:
    """Truth and prediction of one gene over the targets, as log1p(counts per 10,000).

    Attributes
    ----------
    coordinates : (m, 2) float array
        Centres (x, y) in µm.
    cell : (v, 2) float array
        Corners in µm of one target relative to its centre.
    truth, predicted : (m,) float32 array
    """

    coordinates: NDArray[np.float64]
    cell: NDArray[np.float64]
    truth: NDArray[np.float32]
    predicted: NDArray[np.float32]

    @classmethod
    def of(cls, maps: Sequence[Map], gene: str) -> GeneMap | None:
        """Put the folds together where they are parts of one map; None where the gene is on none.

        Folds that ask the same places again are not mixed: the first that holds the gene counts.
        """
        held = [one for one in maps if gene in one.genes]
        if not held:
            return None
        used = held if held[0].hidden else held[:1]
        truth = [one.truth[:, one.genes.index(gene)] for one in used]
        predicted = [one.predicted[:, one.genes.index(gene)] for one in used]
        return cls(
            np.concatenate([one.coordinates for one in used]),
            used[0].cell,
            np.concatenate(truth).astype(np.float32),
            np.concatenate(predicted).astype(np.float32),
        )

    def places(self) -> Places:
        """Return how to show the targets: spots as the measured layer shows them, else cells."""
        if len(self.coordinates) <= MANY_SPOTS:
            return SpotPlaces(self.coordinates, float(np.ptp(self.cell[:, 0])))
        m = len(self.coordinates)
        none, area = np.full(m, -1, dtype=np.int64), np.full(m, np.prod(np.ptp(self.cell, axis=0)))
        return places_of_targets(Targets("points", self.coordinates, none, none, self.cell, area))


def mapped_genes(evaluation: Evaluation, task: str, method: str) -> frozenset[str]:
    """Ids of the genes a method's maps of a task hold in some fold."""
    return frozenset(gene for one in evaluation.maps(task, method) for gene in one.genes)


def map_frames(evaluation: Evaluation, task: str, method: str, gene: str) -> list[Frame]:
    """Pictures of one gene: measured where it was hidden, predicted, and the error; or none.

    Measured and predicted share one contrast, so that the same position in both colour bars is the
    same value.
    """
    found = GeneMap.of(evaluation.maps(task, method), gene)
    if found is None:
        return []
    label = str(evaluation.genes(task).loc[gene, "symbol"])
    title = evaluation.plan.contender(method).title
    both = np.concatenate([found.truth, found.predicted])
    limits, error = Percentiles().limits(both), found.predicted - found.truth
    even, places = Percentiles().symmetric(error), found.places()

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
        frame("error", f"{label} · error of {title}", error),
    ]
