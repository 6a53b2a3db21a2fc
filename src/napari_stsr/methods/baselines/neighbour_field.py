"""Fields of logs predicted from nearest locations, each gene with a covariance of its own.

Kriging and smoothed thin-plate splines differ in nothing but the covariances to choose from.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from napari_stsr.methods.base import Estimate
from napari_stsr.methods.baselines.kriging_system import Covariance, LeaveOneOut, patches
from napari_stsr.methods.baselines.measured_logs import measured_logs
from napari_stsr.methods.baselines.neighbourhoods import (
    MOST_SYSTEMS,
    Surroundings,
    Weights,
    surroundings,
)
from napari_stsr.methods.baselines.values import LogValues
from napari_stsr.methods.field import FieldFitted, FieldMethod, FieldParams, Floats
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.parameters import Params, parameter
from napari_stsr.results.expression import Expression, Floats32, LoggedExpression
from napari_stsr.slides import Slide, Targets
from napari_stsr.training.progress import Pace, Progress, Run

Ints = NDArray[np.int64]
# Distances between locations beyond which a place is told as one nearer by.
_REACH = 5.0
# Locations of one patch in which left-out errors are computed, and of all patches together.
_PATCH = 512
_LOCATIONS = 4096
# Entries of weight matrices one expression keeps; 4 bytes each.
_MOST_KEPT = 150_000_000


@dataclass(frozen=True)
class NeighbourParams(FieldParams):
    """What the user can set."""

    neighbours: int = parameter(
        100,
        "Neighbours",
        "Nearest locations that predict a target. A slide with no more is used whole; more cost "
        "time and change little.",
        low=8,
        high=4000,
        advanced=True,
    )


@dataclass(frozen=True, eq=False)
class KrigedLogs:
    """Logs predicted by weights that every gene shares with the others of its covariance.

    Parameters
    ----------
    around : Surroundings
    values : LogValues
    grid : sequence of Covariance
    choice : (g,) int array
        Member of the grid, per gene.
    targets : int
    """

    around: Surroundings
    values: LogValues
    grid: Sequence[Covariance]
    choice: Ints
    targets: int
    _kept: OrderedDict[int, tuple[Weights, Floats32]] = field(
        default_factory=OrderedDict, repr=False
    )

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.targets, len(self.choice)

    def solved(self, members: Ints) -> Iterator[tuple[int, Weights, Floats32]]:
        """Weights (m, n) and variance (m,) under members of the grid; the latest are kept."""
        for member in members[np.isin(members, list(self._kept))].tolist():
            yield member, *self._kept[member]
        fresh = members[~np.isin(members, list(self._kept))].tolist()
        together = 1
        while fresh:
            some, fresh = fresh[:together], fresh[together:]
            solved = self.around.weights([self.grid[member] for member in some])
            self._kept.update(zip(some, solved, strict=True))
            for member, (weights, variance) in zip(some, solved, strict=True):
                yield member, weights, variance
            size = _size(solved[0][0])
            together = max(1, _MOST_KEPT // (2 * size))
            while len(self._kept) > max(1, _MOST_KEPT // size):
                self._kept.popitem(last=False)

    def columns(self, genes: Ints) -> Floats32:
        """Logs of the given gene columns."""
        out = np.empty((self.targets, len(genes)), dtype=np.float32)
        choice = self.choice[genes]
        for member, weights, _ in self.solved(np.unique(choice)):
            at = np.flatnonzero(choice == member)
            out[:, at] = weights @ self.values.dense(genes[at])
        return out

    def variance(self, genes: Ints) -> Floats32:
        """Variance of the logs in units of each gene's sill."""
        out = np.empty((self.targets, len(genes)), dtype=np.float32)
        choice = self.choice[genes]
        for member, _, variance in self.solved(np.unique(choice)):
            out[:, choice == member] = variance[:, None]
        return out

    def take(self, targets: Ints | NDArray[np.bool_]) -> KrigedLogs:
        """Return some targets."""
        some = len(np.arange(self.targets)[targets])
        # What is solved stays solved.
        kept = OrderedDict((m, (w[targets], v[targets])) for m, (w, v) in self._kept.items())
        around = self.around.take(targets)
        return KrigedLogs(around, self.values, self.grid, self.choice, some, kept)


def _size(weights: Weights) -> int:
    return int(weights.size if isinstance(weights, np.ndarray) else weights.nnz)


def _within_reach(coordinates: Floats, measured: Measured) -> Floats:
    """Places, those far off the tissue moved towards their nearest location, (m, 2).

    A plate rises and falls without end beyond its pins, and its systems cannot be solved there.
    """
    away, nearest = KDTree(measured.coordinates).query(coordinates)
    reach = _REACH * max(measured.spacing_um, 1e-9)
    share = np.minimum(1.0, reach / np.maximum(away, 1e-9))[:, None]
    rim = measured.coordinates[nearest]
    return np.where(share < 1, rim + share * (coordinates - rim), coordinates)


class NeighbourFitted(FieldFitted):
    """A slide and the covariance chosen for every gene."""

    def logged(self, coordinates: Floats, run: Run) -> tuple[LoggedExpression, KrigedLogs]:
        """Counts and logs predicted at places, lazy in genes."""
        measured, params = self.measured, cast(NeighbourParams, self.params)
        run.cancel.check()
        values, usable = measured_logs(measured)
        around = surroundings(
            measured.lattice,
            measured.coordinates,
            usable,
            _within_reach(coordinates, measured),
            params.neighbours,
            run.cancel.check,
        )
        grid = [Covariance(*map(float, row)) for row in self.learned["grid"]]
        logs = KrigedLogs(around, values, grid, self.learned["choice"], len(coordinates))
        run.cancel.check()
        _, weights, _ = next(logs.solved(self.learned["depth_choice"]))
        depth = np.maximum(weights @ measured.totals.astype(np.float32), 0)
        return LoggedExpression(logs, depth), logs

    def field(self, coordinates: Floats, run: Run) -> tuple[Expression, Expression | None]:
        """Predict at places."""
        return self.logged(coordinates, run)[0], None


class NeighbourMethod(FieldMethod):
    """A method whose weights follow from a covariance chosen by leave-one-out."""

    params = NeighbourParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "auto": {},
        "fast": {"neighbours": 48},
        "paper": {},
    }
    fewest = 4

    @abstractmethod
    def grid(self, params: Any) -> list[Covariance]:
        """Covariances to choose from."""

    def estimate(self, slide: Slide, targets: Targets, params: Params) -> Estimate:
        """Memory and time from the sizes of slide and targets."""
        k = min(cast(NeighbourParams, params).neighbours, len(slide))
        used, grid = min(len(slide), _LOCATIONS), len(self.grid(params))
        shared = slide.lattice.kind != "none"
        systems = min(len(targets), MOST_SYSTEMS) if shared else len(targets)
        seconds = 0.3 + 2e-8 * slide.counts.nnz + 1e-5 * len(targets)
        seconds += grid * used * (2e-5 + 2.5e-11 * min(used, _PATCH) * len(slide.genes))
        seconds += 3e-4 * systems * (k / 100) ** 3
        memory = 300e6 + 12.0 * slide.counts.nnz + 12.0 * _PATCH * len(slide.genes)
        memory += (16.0 if shared else 28.0) * k * len(targets)
        return Estimate(int(memory), float(seconds))

    def learn(
        self, slide: Slide, measured: Measured, params: Any, run: Run
    ) -> Generator[Progress, None, dict[str, NDArray[Any]]]:
        """Choose every gene's covariance, and that of the depth."""
        values, usable = measured_logs(measured)
        rows = np.flatnonzero(usable)
        places = measured.coordinates[rows] / (measured.lattice.pitch_um or 1.0)
        drawn = patches(places, _PATCH, _LOCATIONS, run.seed)
        grid = self.grid(params)
        errors = LeaveOneOut(grid, len(measured.genes) + 1)
        typical = float(np.median(measured.totals[rows]))
        pace, total = Pace(), len(drawn) * len(grid)
        for number, patch in enumerate(drawn):
            depth = (measured.totals[rows[patch]] / typical).astype(np.float32)
            logs = np.column_stack([values.some(rows[patch]).toarray(), depth])
            for member in errors.add(places[patch], logs):
                run.cancel.check()
                step = number * len(grid) + member + 1
                if pace.due():
                    done = step / total
                    eta = pace.eta_s(done)
                    yield Progress("leaving locations out", step, total, done, eta_s=eta)
        choice, sill = errors.best()
        return {
            "grid": np.array([(c.smoothness, c.length, c.noise) for c in grid]),
            "choice": choice[:-1],
            "depth_choice": choice[-1:],
            "sill": sill[:-1],
        }
