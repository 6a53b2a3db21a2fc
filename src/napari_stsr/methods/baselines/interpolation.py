"""Linear and cubic interpolation of logs over the triangles between locations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.methods.baselines.clough_tocher import cubic_weights, gradient_system, gradients
from napari_stsr.methods.baselines.measured_logs import deep_enough, measured_logs
from napari_stsr.methods.baselines.triangulation import Triangulation
from napari_stsr.methods.baselines.values import LogValues
from napari_stsr.methods.baselines.weighted import WeightedExpression
from napari_stsr.methods.field import FieldFitted, FieldMethod, Floats
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.parameters import Params
from napari_stsr.results.expression import Expression, Floats32, LoggedExpression
from napari_stsr.slides import Slide, Targets
from napari_stsr.training.progress import Progress, Run

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CubicLogs:
    """Logs predicted from the values at triangles' corners and the slopes there.

    Parameters
    ----------
    weights : CSR matrix (m, n)
        Of the values.
    slopes : CSR matrix (m, 2u)
        Of the gradients at the u corners.
    system : pair of CSR matrices
        Of `gradient_system`, after `merge`.
    merge : CSR matrix (u, n)
        Mean of the locations at each corner.
    values : LogValues
    """

    weights: sparse.csr_matrix
    slopes: sparse.csr_matrix
    system: tuple[sparse.csr_matrix, sparse.csr_matrix]
    merge: sparse.csr_matrix
    values: LogValues

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.weights.shape[0], self.values.shape[1]

    def columns(self, genes: Ints) -> Floats32:
        """Logs of the given gene columns."""
        logs = self.values.dense(genes)
        return np.asarray(
            self.weights @ logs + self.slopes @ gradients(self.system, self.merge @ logs)
        )

    def take(self, targets: Ints | NDArray[np.bool_]) -> CubicLogs:
        """Return some targets."""
        return CubicLogs(
            self.weights[targets], self.slopes[targets], self.system, self.merge, self.values
        )


class InterpolationFitted(FieldFitted):
    """A slide whose locations are joined by triangles."""

    def field(self, coordinates: Floats, run: Run) -> tuple[Expression, None]:
        """Interpolate at places inside the hull, take the nearest location outside."""
        values, usable = measured_logs(self.measured)
        run.cancel.check()
        triangles = Triangulation.of(self.measured.coordinates, usable)
        run.cancel.check()
        logs = self.logs(triangles, coordinates, values)
        depth = triangles.linear(coordinates) @ self.measured.totals.astype(np.float32)
        return LoggedExpression(logs, np.asarray(depth)), None

    @abstractmethod
    def logs(self, triangles: Triangulation, places: Floats, values: LogValues) -> Expression:
        """Predict logs at places."""


class LinearFitted(InterpolationFitted):
    """Linear inside each triangle."""

    def logs(self, triangles: Triangulation, places: Floats, values: LogValues) -> Expression:
        """Weigh the corners by barycentric coordinates."""
        return WeightedExpression(triangles.linear(places), values)


class CubicFitted(InterpolationFitted):
    """Cubic inside each triangle, smooth across its sides (Clough–Tocher)."""

    def logs(self, triangles: Triangulation, places: Floats, values: LogValues) -> Expression:
        """Weigh values and slopes at the corners."""
        weights, slopes = cubic_weights(triangles, places)
        system = gradient_system(triangles.delaunay)
        return CubicLogs(weights, slopes, system, triangles.merge, values)


class _Interpolation(FieldMethod):
    fewest = 4

    def check(self, slide: Slide, targets: Targets, params: Params) -> None:
        """Refuse, beside what any baseline refuses, locations on one line."""
        super().check(slide, targets, params)
        refuse_line(slide, self.title)

    def learn(
        self, slide: Slide, measured: Measured, params: Any, run: Run
    ) -> Generator[Progress, None, dict[str, NDArray[Any]]]:
        """Nothing is learned beside the slide itself."""
        yield Progress("joining locations", 1, 1, 1.0)
        return {}


class Linear(_Interpolation):
    """Piecewise linear."""

    name = "linear"
    title = "Linear"
    summary = "Joins locations by triangles and draws a plane through each; takes noise for signal."
    fitted = LinearFitted


class Cubic(_Interpolation):
    """Piecewise cubic, C1."""

    name = "cubic"
    title = "Cubic"
    summary = "Joins locations by smooth curved triangles; overshoots where counts are noisy."
    paper = "Alfeld: A trivariate Clough–Tocher scheme, Computer Aided Geometric Design 1984"
    fitted = CubicFitted


def refuse_line(slide: Slide, title: str) -> None:
    """Refuse locations with counts that all lie on one line.

    Raises
    ------
    InputError
        Naming the method, with a remedy.
    """
    places = slide.coordinates[deep_enough(slide.counts.totals)]
    # Differences at the size of a turn's rounding make no surface.
    spread = np.linalg.svd(places - places.mean(axis=0), compute_uv=False)
    if len(np.unique(places, axis=0)) < 3 or spread[1] <= 1e-6 * spread[0]:
        raise InputError(
            f"All {len(places):,} {slide.location_word}s with enough counts lie on one line, and "
            f"{title} needs a surface.",
            "Use Nearest or Kriging, or open the whole slide.",
        )
