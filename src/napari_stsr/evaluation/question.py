"""What predictions are compared with, and a prediction in the same order of targets and genes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.evaluation import metrics
from napari_stsr.evaluation.metrics import Figures, expected_log, measured_log
from napari_stsr.evaluation.metrics.composition import Measure
from napari_stsr.evaluation.metrics.logs import PER
from napari_stsr.evaluation.task import Task, halves
from napari_stsr.results import Enhancement, Expression
from napari_stsr.slides import Counts, Slide

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Called at times; may raise to stop.
Checked = Callable[[], None]

# So few that a block of genes takes less than a second: a run can be stopped between two.
_BLOCK_VALUES = 500_000
_SAMPLED = 5_000
_SAMPLED_VALUES = 2_000_000
_TOP_IN_LOCATION = 30
_SHARED = "No noise ceiling is told: it does not bound what hands its input, noise included, on."


@dataclass(frozen=True, eq=False)
class Repeats:
    """Two independent measurements of the scored genes at the targets, with their totals."""

    first: Counts
    second: Counts
    first_totals: Floats
    second_totals: Floats
    halved: bool


@dataclass(frozen=True, eq=False)
class Sampled:
    """Truth of a sample of targets, all genes of each: what a profile is compared with.

    Parameters
    ----------
    counts, logs : (r, g) float32 arrays
    gene_mean : (g,) float array
        Mean log of every gene over the training locations.
    seed : int
        Of ties.
    """

    counts: NDArray[np.float32]
    logs: NDArray[np.float32]
    gene_mean: Floats
    seed: int

    @cached_property
    def correlation_of_gene_mean(self) -> Figures:
        """What the mean of every gene scores in each location."""
        return metrics.location_correlation(self.logs, self.gene_mean)

    @cached_property
    def spearman_distance(self) -> Measure:
        """Distance of predicted counts by ranks."""
        return metrics.spearman_distance_to(self.counts)

    @cached_property
    def distance_of_top(self) -> Measure | None:
        """Distance of predicted counts by the highest genes; None where there are too few."""
        if self.counts.shape[1] <= _TOP_IN_LOCATION:
            return None
        return metrics.jaccard_distance_of_top_to(self.counts, _TOP_IN_LOCATION, self.seed)


@dataclass(frozen=True, eq=False)
class Question:
    """What predictions are compared with, computed once for all methods and forms of an answer.

    Attributes
    ----------
    task : Task
    columns : (s,) int array
        Genes scored, as columns of the task.
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
    seed : int
        Of whatever is drawn.
    """

    task: Task
    columns: Ints
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
    _of_truth: dict[int, dict[str, Figures]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, task: Task, columns: Ints, seed: int, draws: int) -> Question:
        """Prepare the question; raises as `score` does."""
        genes = len(task.slide.genes)
        if not len(columns) or columns.min() < 0 or columns.max() >= genes:
            raise InputError(
                f"{len(columns)} genes to score, of {genes}.", "Name columns of the task's genes."
            )
        rows, totals, notes = _measured(task)
        rng = np.random.default_rng(seed)
        most = max(2, min(_SAMPLED, _SAMPLED_VALUES // genes))
        sample = np.sort(rng.choice(len(rows), min(most, len(rows)), replace=False))
        where = task.targets.coordinates[rows]
        as_maps = task.scored is None and len(rows) > 1
        _, held = np.unique(task.parent[rows][task.parent[rows] >= 0], return_counts=True)
        repeats, why = _repeats(task, columns, rows, totals, seed)
        return cls(
            task,
            columns,
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

    def of_truth(self, part: slice) -> dict[str, Figures]:
        """Figures of a block of genes in which no prediction has a part, computed once."""
        if part.start not in self._of_truth:
            found = self._ceilings(part)
            if self.weights is not None:
                measured = self.task.truth.dense(self.columns[part])[self.rows]
                logs = measured_log(measured, self.totals).astype(np.float64)
                found["moran_truth"] = metrics.morans_i(logs, self.weights)
            self._of_truth[part.start] = found
        return self._of_truth[part.start]

    def _ceilings(self, part: slice) -> dict[str, Figures]:
        """Noise ceilings of a block in logs and in counts."""
        repeats = self.repeats
        if repeats is None:
            return {}
        places = np.arange(part.start, part.stop)
        totals = repeats.first_totals, repeats.second_totals
        # Where one of the two holds no molecule, its logs say nothing.
        both = (totals[0] > 0) & (totals[1] > 0)
        if both.sum() < 2:
            return {}
        first, second = (counts.dense(places)[both] for counts in (repeats.first, repeats.second))
        scored = self.entries(self.columns[part])
        scored = None if scored is None else scored[both]
        ceiling = metrics.ceiling_from_halves if repeats.halved else metrics.ceiling_from_repeats
        logs = measured_log(first, totals[0][both]), measured_log(second, totals[1][both])
        return {"ceiling": ceiling(*logs, scored), "ceiling_raw": ceiling(first, second, scored)}

    @cached_property
    def sampled(self) -> Sampled:
        """The sample of targets with all genes."""
        truth = self.task.truth.rows[self.rows[self.sample]]
        counts = np.asarray(truth.toarray(), dtype=np.float32)
        logs = measured_log(counts, self.totals[self.sample])
        return Sampled(counts, logs, _gene_mean(self.task.slide), self.seed)

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

    `totals` are None where the method predicts logs itself; `places` are the columns of the task's
    genes in the source, and in `uncertainty`, where it states one.
    """

    source: Expression
    places: Ints
    rows: Ints
    totals: Floats | None
    uncertainty: Expression | None = None

    @classmethod
    def of(
        cls, source: Expression, answer: Enhancement, question: Question, checked: Checked
    ) -> Predicted:
        """Prepare a form of an answer; sums totals over all genes unless it predicts logs."""
        places, rows = _places(question.task, answer), question.rows
        if getattr(source, "logs", None) is not None:
            return cls(source, places, rows, None, answer.uncertainty)
        totals = np.zeros(source.shape[0])
        for part in _blocks(len(places), source.shape[0]):
            checked()
            columns = source.columns(places[part])
            totals += _finite(columns).sum(axis=1, dtype=np.float64)
        return cls(source, places, rows, totals[rows], answer.uncertainty)

    def counts(self, genes: Ints) -> NDArray[np.float32]:
        """Expected counts of genes of the task at all targets, compared or not."""
        return _finite(self.source.columns(self.places[genes]))

    def logs(self, genes: Ints, counts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logs of the same genes at the compared targets; `counts` are those there."""
        if self.totals is not None:
            return expected_log(counts, self.totals)
        logs = self.source.logs(self.places[genes])[self.rows]  # type: ignore[attr-defined]
        return _finite(logs)

    def profiles(
        self, question: Question, checked: Checked
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Counts and logs of all genes at the sampled targets."""
        part = self.take(question.sample)
        counts = np.empty((len(part.rows), len(part.places)), dtype=np.float32)
        logs = np.empty_like(counts) if part.totals is None else None
        for block in _blocks(len(part.places), len(question.task)):
            checked()
            genes = np.arange(block.start, block.stop)
            counts[:, block] = part.counts(genes)
            if logs is not None:
                logs[:, block] = part.logs(genes, counts[:, block])
        if logs is None:
            logs = part.logs(np.arange(len(part.places)), counts)
        return counts, logs

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


@lru_cache(maxsize=1)
def _gene_mean(slide: Slide) -> Floats:
    """Mean log of every gene over the training locations; all tasks of a slide share it."""
    rows, totals = slide.counts.rows, slide.counts.totals
    per_total = np.divide(PER, totals, out=np.zeros_like(totals), where=totals > 0)
    sums = np.zeros(rows.shape[1])
    for start in range(0, len(totals), 65_536):
        block = rows[start : start + 65_536].astype(np.float32)
        times = np.repeat(per_total[start : start + 65_536], np.diff(block.indptr))
        sums += np.bincount(block.indices, np.log1p(block.data * times), minlength=len(sums))
    return sums / max(1, int((totals > 0).sum()))


def _places(task: Task, enhancement: Enhancement) -> Ints:
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
    if task.shares_noise:
        return None, [_SHARED]
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
