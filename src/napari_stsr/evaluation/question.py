"""What a prediction is compared with, and the prediction in the same order of targets and genes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.evaluation import metrics
from napari_stsr.evaluation.metrics import expected_log
from napari_stsr.evaluation.task import Task, halves
from napari_stsr.results import Enhancement, Expression
from napari_stsr.slides import Counts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK_VALUES = 8_000_000
_SAMPLED = 5_000
_SAMPLED_VALUES = 2_000_000


@dataclass(frozen=True, eq=False)
class Repeats:
    """Two independent measurements of the scored genes at the targets, with their totals."""

    first: Counts
    second: Counts
    first_totals: Floats
    second_totals: Floats
    halved: bool


@dataclass(frozen=True, eq=False)
class Question:
    """What a prediction is compared with, computed once for all forms of an answer.

    Attributes
    ----------
    task : Task
    enhancement : Enhancement
    columns : (s,) int array
        Genes scored, as columns of the task.
    places : (g,) int array
        Column of every gene of the task in the enhancement.
    rows : (m,) int array
        Targets at which something was measured.
    totals : (m,) float array
        Their measured totals.
    sample : int array
        Positions in `rows` of the targets looked at as a whole.
    drawn : (draws, m) uint8 array
        Bootstrap weights.
    weights : (m, m) sparse matrix, optional
        Neighbours, where maps are compared as maps.
    raster : (m, 2) int array, optional
    divided : bool
        Whether some parent holds several targets.
    repeats : Repeats, optional
    notes : list of str
    """

    task: Task
    enhancement: Enhancement
    columns: Ints
    places: Ints
    rows: Ints
    totals: Floats
    sample: Ints
    drawn: NDArray[np.uint8]
    weights: sparse.csr_matrix | None
    raster: Ints | None
    divided: bool
    repeats: Repeats | None
    notes: list[str]
    seed: int

    @classmethod
    def of(
        cls, task: Task, enhancement: Enhancement, columns: Ints, seed: int, draws: int
    ) -> Question:
        """Prepare the question; raises as `score` does."""
        places = _places(task, enhancement, columns)
        rows, totals, notes = _measured(task)
        rng = np.random.default_rng(seed)
        most = max(2, min(_SAMPLED, _SAMPLED_VALUES // len(places)))
        sample = np.sort(rng.choice(len(rows), min(most, len(rows)), replace=False))
        where = enhancement.targets.coordinates[rows]
        as_maps = task.scored is None and len(rows) > 1
        _, held = np.unique(task.parent[rows][task.parent[rows] >= 0], return_counts=True)
        repeats, why = _repeats(task, columns, rows, totals, seed)
        return cls(
            task,
            enhancement,
            columns,
            places,
            rows,
            totals,
            sample,
            metrics.location_weights(len(rows), draws, seed),
            metrics.neighbour_weights(metrics.nearest(where)) if as_maps else None,
            metrics.raster_place(where) if as_maps else None,
            bool((held >= 2).any()),
            repeats,
            [*notes, *why],
            seed,
        )

    @property
    def ceiling_by(self) -> str:
        """How the noise ceiling is known."""
        if self.repeats is None:
            return ""
        return "count splitting" if self.repeats.halved else "second measurement"

    def blocks(self) -> Iterator[slice]:
        """Go through the scored genes in blocks of bounded size."""
        return _blocks(len(self.columns), len(self.task))

    def entries(self, genes: Ints, positions: Ints | None = None) -> NDArray[np.bool_] | None:
        """Entries of genes that count, at some or all of the compared targets; None for all."""
        if self.task.scored is None:
            return None
        rows = self.rows if positions is None else self.rows[positions]
        return np.asarray(self.task.scored[rows][:, genes].toarray(), dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class Predicted:
    """A prediction's columns in the task's order of genes, as counts and as logs.

    `totals` are None where the method predicts logs itself.
    """

    source: Expression
    places: Ints
    rows: Ints
    totals: Floats | None

    @classmethod
    def of(cls, source: Expression, question: Question) -> Predicted:
        """Prepare a source; sums its totals over all genes unless it predicts logs."""
        if getattr(source, "logs", None) is not None:
            return cls(source, question.places, question.rows, None)
        totals = np.zeros(source.shape[0])
        for part in _blocks(len(question.places), source.shape[0]):
            columns = source.columns(question.places[part])
            totals += _finite(columns).sum(axis=1, dtype=np.float64)
        return cls(source, question.places, question.rows, totals[question.rows])

    def counts(self, genes: Ints) -> NDArray[np.float32]:
        """Expected counts of genes of the task at all targets, compared or not."""
        return _finite(self.source.columns(self.places[genes]))

    def logs(self, genes: Ints, counts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logs of the same genes at the compared targets; `counts` are those there."""
        if self.totals is not None:
            return expected_log(counts, self.totals)
        logs = self.source.logs(self.places[genes])[self.rows]  # type: ignore[attr-defined]
        return _finite(logs)

    def take(self, positions: Ints) -> Predicted:
        """Return some of the targets that are compared."""
        rows = np.arange(len(positions))
        totals = None if self.totals is None else self.totals[positions]
        return Predicted(self.source.take(self.rows[positions]), self.places, rows, totals)


def _finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    bad = ~np.isfinite(values)
    if bad.any():
        raise InputError(
            f"The prediction holds {int(bad.sum())} values that are no numbers, at "
            f"{int(bad.any(axis=1).sum())} of {len(values)} targets.",
            "Leave these targets out, or repair the method.",
        )
    return np.asarray(values, dtype=np.float32)


def _blocks(genes: int, locations: int) -> Iterator[slice]:
    width = max(1, _BLOCK_VALUES // max(1, locations))
    return (slice(at, min(at + width, genes)) for at in range(0, genes, width))


def _places(task: Task, enhancement: Enhancement, columns: Ints) -> Ints:
    """Column of every gene of the task in the enhancement, once all is seen to fit."""
    if len(enhancement) != len(task):
        raise InputError(
            f"The task has {len(task):,} targets, the prediction {len(enhancement):,}.",
            "Predict at the task's own targets.",
        )
    ids = task.slide.genes.ids
    place = {gene: column for column, gene in enumerate(enhancement.genes.ids.tolist())}
    missing = [gene for gene in ids.tolist() if gene not in place]
    if missing:
        raise InputError(
            f"The prediction lacks {len(missing)} of {len(ids)} genes, the first is "
            f"{missing[0]!r}.",
            "Predict all genes of the task.",
        )
    if not len(columns) or columns.min() < 0 or columns.max() >= len(ids):
        raise InputError(
            f"{len(columns)} genes to score, of {len(ids)}.", "Name columns of the task's genes."
        )
    return np.array([place[gene] for gene in ids.tolist()], dtype=np.int64)


def _measured(task: Task) -> tuple[Ints, Floats, list[str]]:
    """Targets at which something was measured, their totals, and a note about the others."""
    if not np.isfinite(task.truth.rows.data).all():
        raise InputError("The truth holds values that are no numbers.", "Repair the slide.")
    totals = task.truth.totals
    rows = np.flatnonzero(totals > 0)
    if len(rows) < 2:
        raise InputError(
            f"Something was measured at {len(rows)} of {len(task):,} targets.",
            "Choose more targets or more genes.",
        )
    lost = len(task) - len(rows)
    notes = [f"{lost:,} of {len(task):,} targets hold no molecule and are left out."]
    return rows, totals[rows], notes if lost else []


def _repeats(
    task: Task, columns: Ints, rows: Ints, totals: Floats, seed: int
) -> tuple[Repeats | None, list[str]]:
    """Two independent measurements of the targets, or the reason why there are none."""
    chosen = Counts(task.truth.genes(columns)[rows])
    if task.second is not None:
        second, again = Counts(task.second.genes(columns)[rows]), task.second.totals[rows]
        depth = again.sum() / totals.sum()
        uneven = f"The second measurement is {depth:.2g} times as deep; the ceiling assumes 1."
        return Repeats(chosen, second, totals, again, False), (
            [] if 0.8 < depth < 1.25 else [uneven]
        )
    if not task.truth.whole:
        return None, ["The truth holds no whole counts, so the noise ceiling is not known."]
    first, second = halves(chosen, [seed, 17])
    # The molecules of all other genes are split as well; only their numbers matter.
    others = np.rint(totals - chosen.totals).astype(np.int64)
    drawn = np.random.default_rng([seed, 18]).binomial(others, 0.5)
    return Repeats(first, second, first.totals + drawn, second.totals + (others - drawn), True), []
