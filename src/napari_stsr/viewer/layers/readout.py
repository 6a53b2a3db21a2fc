"""What stands under a point: the measured location, the target, and their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stsr.results import Enhancement
from napari_stsr.session import TASKS
from napari_stsr.slides import Slide
from napari_stsr.viewer.layers.frames import Frame, Once, View, task_of

_location_tree = Once(lambda slide: cKDTree(slide.coordinates))
_target_tree = Once(lambda result: cKDTree(result.targets.coordinates))


@dataclass(frozen=True, eq=False)
class Readout:
    """Finds places by point; the trees are built once per slide and result.

    napari's own look-up takes 68 ms at 500,000 points, a tree less than 0.1 ms.
    """

    slide: Slide
    result: Enhancement | None
    label: str
    kernel: Enhancement | None = None

    @classmethod
    def of(cls, view: View) -> Readout:
        """Build what finding needs; safe in any thread."""
        _location_tree(view.slide)
        for predicted in (view.result, view.kernel):
            if predicted is not None:
                _target_tree(predicted)
        return cls(view.slide, view.result, view.label, view.kernel)

    def location_at(self, point: NDArray[np.float64]) -> int:
        """Measured location whose cell holds (x, y) in µm, -1 for none."""
        reach = 0.75 * max(self.slide.lattice.pitch_um, self.slide.diameter_um)
        away, near = _location_tree(self.slide).query(point)
        return int(near) if away <= reach else -1

    def target_at(self, point: NDArray[np.float64]) -> int:
        """Target of the result whose cell holds (x, y) in µm, -1 for none."""
        return _target_at(self.result, point)

    def sentence(self, point: NDArray[np.float64], frames: Mapping[str, Frame]) -> str:
        """Say barcode, measured and enhanced values at (x, y) in µm; empty off the tissue."""
        said = []
        location, target = self.location_at(point), self.target_at(point)
        if location >= 0 and "measured" in frames:
            value = frames["measured"].values[location]
            said.append(f"{self.slide.barcodes[location]} · {self.label} measured {value:.4g}")
        at = _target_at(self.kernel, point) if "kernel" in frames else -1
        if at >= 0:
            said.append(f"preview {frames['kernel'].values[at]:.3g}")
        if target >= 0 and self.result is not None:
            if "enhanced" in frames:
                word = TASKS[task_of(self.result)].word
                said.append(f"{word} {frames['enhanced'].values[target]:.3g}")
            if "denoised" in frames:
                said.append(f"denoised {frames['denoised'].values[target]:.3g}")
            if "uncertainty" in frames:
                said.append(f"sd {frames['uncertainty'].values[target]:.2g}")
            if "attention" in frames:
                said.append(f"attention {frames['attention'].values[target]:.2f}")
            if not self.result.supported[target]:
                said.append("farther than one pitch from any measurement")
            elif not self.result.in_tissue[target]:
                said.append("outside the tissue")
        return " · ".join(said)


def _target_at(predicted: Enhancement | None, point: NDArray[np.float64]) -> int:
    if predicted is None:
        return -1
    away, near = _target_tree(predicted).query(point)
    reach = float(np.linalg.norm(predicted.targets.cell, axis=1).max())
    return int(near) if away <= reach else -1
