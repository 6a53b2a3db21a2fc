"""Ordinary kriging of logs: every gene with the length and noise that predict best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.methods.baselines.kriging_system import Covariance
from napari_stsr.methods.baselines.neighbour_field import (
    KrigedLogs,
    NeighbourFitted,
    NeighbourMethod,
    NeighbourParams,
)
from napari_stsr.methods.field import Floats
from napari_stsr.methods.parameters import parameter
from napari_stsr.results.expression import Expression, Floats32
from napari_stsr.training.progress import Run

Ints = NDArray[np.int64]
_LENGTHS = (1.5, 3.0, 6.0, 12.0, 24.0)
_NOISES = (0.1, 0.4, 1.5, 6.0, 25.0, 100.0)
_SMOOTHNESS = {"1/2": 0.5, "3/2": 1.5, "5/2": 2.5}


@dataclass(frozen=True)
class KrigingParams(NeighbourParams):
    """What the user can set."""

    smoothness: str = parameter(
        "3/2",
        "Smoothness",
        "Of the Matérn covariance: 1/2 is rough, 5/2 smooth.",
        choices=("1/2", "3/2", "5/2"),
        advanced=True,
    )


@dataclass(frozen=True, eq=False)
class KrigedSpread:
    """Standard deviation of expected counts, from the kriging variance of their logs.

    By the delta method, ``sd = depth / 10,000 · exp(max(log, 0)) · √(sill · variance)``. It speaks
    of the field alone: the depth is taken as known, and the noise of a new measurement is left
    out.

    Parameters
    ----------
    logs : KrigedLogs
    depth : (m,) float array
        Expected totals.
    sill : (g,) float array
    """

    logs: KrigedLogs
    depth: NDArray[np.floating[Any]]
    sill: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.logs.shape

    def columns(self, genes: Ints) -> Floats32:
        """Standard deviations of the given gene columns."""
        slope = np.exp(np.maximum(self.logs.columns(genes), 0))
        slope *= np.sqrt(self.logs.variance(genes) * self.sill[genes].astype(np.float32))
        return np.asarray(slope * (self.depth[:, None] / 1e4), dtype=np.float32)

    def take(self, targets: Ints | NDArray[np.bool_]) -> KrigedSpread:
        """Return some targets."""
        return KrigedSpread(self.logs.take(targets), self.depth[targets], self.sill)


class KrigingFitted(NeighbourFitted):
    """A slide, and every gene's covariance and sill."""

    def field(self, coordinates: Floats, run: Run) -> tuple[Expression, Expression]:
        """Krige at places; see `KrigedSpread` for the standard deviation."""
        expected, logs = self.logged(coordinates, run)
        return expected, KrigedSpread(logs, expected.depth, self.learned["sill"])


class Kriging(NeighbourMethod):
    """Ordinary kriging, Matérn, length and noise per gene."""

    name = "kriging"
    title = "Kriging"
    summary = (
        "Ordinary kriging of logs with a Matérn covariance. Each gene takes the length and noise "
        "that predict left-out locations best; tells how sure it is."
    )
    paper = "Cressie: Statistics for Spatial Data, Wiley 1993"
    gives = ("expression", "uncertainty")
    params = KrigingParams
    fitted = KrigingFitted

    def grid(self, params: Any) -> list[Covariance]:
        """Lengths × noises."""
        smoothness = _SMOOTHNESS[params.smoothness]
        return [Covariance(smoothness, length, noise) for length in _LENGTHS for noise in _NOISES]
