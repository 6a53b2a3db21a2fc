"""Smoothed thin-plate spline of logs, every gene with its own smoothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_stsr.methods.baselines.interpolation import refuse_line
from napari_stsr.methods.baselines.kriging_system import Covariance
from napari_stsr.methods.baselines.neighbour_field import NeighbourFitted, NeighbourMethod
from napari_stsr.methods.parameters import Params
from napari_stsr.slides import Slide, Targets

_SMOOTHING = tuple(0.2 * 5.0**power for power in range(9))


class ThinPlate(NeighbourMethod):
    """Smoothed thin-plate spline."""

    name = "thin_plate"
    title = "Thin-plate spline"
    summary = (
        "Bends a thin plate through the logs. Each gene takes the smoothing that predicts left-out "
        "locations best."
    )
    paper = "Wahba: Spline Models for Observational Data, SIAM 1990"
    fitted = NeighbourFitted

    def grid(self, params: Any) -> list[Covariance]:
        """Amounts of smoothing."""
        return [Covariance(np.inf, 1.0, smoothing) for smoothing in _SMOOTHING]

    def check(self, slide: Slide, targets: Targets, params: Params) -> None:
        """Refuse, beside what any baseline refuses, locations on one line."""
        super().check(slide, targets, params)
        refuse_line(slide, self.title)
