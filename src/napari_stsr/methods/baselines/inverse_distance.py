"""Inverse distance weighting, and its simplest case, the nearest location."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from napari_stsr.methods.baselines.values import log_mass
from napari_stsr.methods.baselines.weighted import weighted_logs
from napari_stsr.methods.field import FieldFitted, FieldMethod, FieldParams, Floats
from napari_stsr.methods.parameters import parameter
from napari_stsr.results.expression import Expression
from napari_stsr.training.progress import Run


@dataclass(frozen=True)
class InverseDistanceParams(FieldParams):
    """Parameters of inverse distance weighting."""

    power: float = parameter(
        2.0, "Power", "How fast the weight falls with distance.", low=0.1, high=20.0
    )
    neighbours: int = parameter(
        12, "Neighbours", "Nearest locations that are averaged.", low=1, high=500
    )


def inverse_distance_weights(
    places: Floats, sources: Floats, mass: Floats, power: float, neighbours: int
) -> sparse.csr_matrix:
    """Weights ``mass / distanceᵖ`` of the nearest sources, rows summing to 1; (m, n).

    A place on a source takes that source alone.
    """
    able = np.flatnonzero(mass > 0)
    count = min(neighbours, len(able))
    away, near = cKDTree(sources[able]).query(places, k=count)
    away, near = away.reshape(-1, count), able[near.reshape(-1, count)]
    # Distances in units of the nearest, so that no power of them leaves the range of floats.
    nearest = away[:, :1]
    on = nearest[:, 0] <= 1e-9 * max(float(np.median(away)), 1e-300)
    ratio = np.divide(nearest, away, out=np.ones_like(away), where=away > 0)
    weights = mass[near] * ratio**power
    weights[on] = 0
    weights[on, 0] = 1
    weights /= weights.sum(axis=1, keepdims=True)
    ends = np.arange(0, weights.size + 1, count)
    return sparse.csr_matrix((weights.ravel(), near.ravel(), ends), (len(places), len(sources)))


class InverseDistanceFitted(FieldFitted):
    """Logs of the nearest locations, weighted by inverse distance."""

    def field(self, coordinates: Floats, run: Run) -> tuple[Expression, None]:
        """Weight the nearest locations' logs and totals."""
        p = cast(InverseDistanceParams, self.params)
        totals = self.measured.totals
        weights = inverse_distance_weights(
            coordinates, self.measured.coordinates, log_mass(totals), p.power, p.neighbours
        )
        return weighted_logs(weights, self.measured), None


class InverseDistance(FieldMethod):
    """The nearest locations' logs, weighted by a power of their inverse distance."""

    name = "inverse_distance"
    title = "Inverse distance"
    summary = "Averages the logs of the nearest locations, weighted by their inverse distance."
    paper = "Shepard: A two-dimensional interpolation function, ACM 1968"
    params = InverseDistanceParams
    fewest = 1
    fitted = InverseDistanceFitted


class NearestFitted(FieldFitted):
    """The nearest location that holds any count."""

    def field(self, coordinates: Floats, run: Run) -> tuple[Expression, None]:
        """Copy the nearest location."""
        measured = self.measured
        full = (measured.totals > 0).astype(np.float64)
        weights = inverse_distance_weights(coordinates, measured.coordinates, full, 1.0, 1)
        return weighted_logs(weights, measured), None


class Nearest(FieldMethod):
    """Every place copies the nearest location."""

    name = "nearest"
    title = "Nearest"
    summary = "Copies the nearest measured location, its noise included."
    fewest = 1
    fitted = NearestFitted
