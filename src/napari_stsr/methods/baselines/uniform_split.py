"""Uniform split: every part of a location gets the same share of what was measured there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from napari_stsr.errors import InputError
from napari_stsr.methods.baselines.values import CountValues
from napari_stsr.methods.baselines.weighted import WeightedExpression
from napari_stsr.methods.field import FieldFitted, FieldMethod, Floats
from napari_stsr.methods.parameters import Params
from napari_stsr.results.expression import Expression
from napari_stsr.slides import Lattice, Slide, Targets
from napari_stsr.training.progress import Run

Ints = NDArray[np.int64]


def holders(lattice: Lattice, coordinates: Floats, diameter_um: float, places: Floats) -> Ints:
    """Measured location whose cell holds each place, -1 where none does.

    Locations on no lattice have no cell; they hold what lies within their diameter.
    """
    if lattice.kind != "none":
        return lattice.location_at(lattice.nearest_site(places))
    away, near = cKDTree(coordinates).query(places)
    return np.where(away <= diameter_um / 2, near, -1).astype(np.int64)


def _refuse_outside(owner: Ints, word: str) -> None:
    outside = int((owner < 0).sum())
    if outside:
        raise InputError(
            f"{outside:,} of {len(owner):,} targets lie outside every measured {word}, where the "
            "uniform split has nothing to share out.",
            "Choose subspots, or another method.",
        )


class UniformSplitFitted(FieldFitted):
    """Shares out what was measured."""

    def field(self, coordinates: Floats, run: Run) -> tuple[Expression, None]:
        """Give every place the counts of the location that holds it."""
        measured = self.measured
        owner = holders(measured.lattice, measured.coordinates, measured.diameter_um, coordinates)
        _refuse_outside(owner, "location")
        m, n = len(owner), len(measured)
        ones = np.ones(m, dtype=np.float32)
        copied = sparse.csr_matrix((ones, owner, np.arange(m + 1)), (m, n))
        return WeightedExpression(copied, CountValues(measured.counts)), None


class UniformSplit(FieldMethod):
    """Every part of a location gets the same share of its counts."""

    name = "uniform_split"
    title = "Uniform split"
    summary = (
        "Shares the counts of every location evenly among its parts: what a finer map is worth "
        "that knows nothing new. Only inside measured locations."
    )
    fewest = 1
    fitted = UniformSplitFitted

    def check(self, slide: Slide, targets: Targets, params: Params) -> None:
        """Refuse, besides broken slides, targets outside the measured locations."""
        super().check(slide, targets, params)
        if targets.kind != "subspots":
            owner = holders(
                slide.lattice, slide.coordinates, slide.diameter_um, targets.coordinates
            )
            _refuse_outside(owner, slide.location_word)
