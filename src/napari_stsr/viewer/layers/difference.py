"""Measured counts brought to the targets of a result, and the difference to what was predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stsr.results import Enhancement
from napari_stsr.slides import Slide


@dataclass(frozen=True, eq=False)
class Bearing:
    """Which measured location stands under each target, and its share of that location's area.

    Attributes
    ----------
    location : (m,) int array
        -1 where none does.
    share : (m,) float array
        Area of the target over that of a location: of its cell, or of its disc for points.
    """

    location: NDArray[np.int64]
    share: NDArray[np.float64]

    @classmethod
    def of(cls, slide: Slide, result: Enhancement) -> Bearing:
        """Find the location under each target: the one it divides, else the nearest in reach."""
        cell = slide.diameter_um**2
        if result.targets.kind == "points":
            cell *= np.pi / 4
        elif slide.lattice.kind != "none":
            cell = abs(float(np.linalg.det(slide.lattice.basis)))
        away, near = cKDTree(slide.coordinates).query(result.targets.coordinates)
        location = np.where(away <= 0.75 * slide.lattice.pitch_um, near, -1)
        return cls(location.astype(np.int64), result.targets.area_um2 / cell)

    def measured(self, counts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Measured counts (n,) spread evenly over the targets (m,); NaN where none was measured."""
        spread = np.where(self.location >= 0, counts[self.location] * self.share, np.nan)
        return spread.astype(np.float32)

    @property
    def usual_share(self) -> float:
        """Median share: brings the contrast of locations and targets to one scale."""
        return float(np.median(self.share))
