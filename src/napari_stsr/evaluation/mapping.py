"""Maps of a task kept for pictures: all scored genes where they are small, else a choice."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_stsr.evaluation.metrics import expected_log, measured_log
from napari_stsr.evaluation.outcome import Map
from napari_stsr.evaluation.question import Checked
from napari_stsr.evaluation.scores import Scores
from napari_stsr.evaluation.task import Task
from napari_stsr.results import Enhancement, Expression

Ints = NDArray[np.int64]

# Two maps of half floats: 8 MB before compression.
_MOST_VALUES = 2_000_000
_BLOCK_VALUES = 1_000_000


def mapped(
    task: Task,
    answer: Enhancement,
    scores: Scores,
    genes: Ints,
    named: Ints,
    checked: Checked = lambda: None,
) -> Map:
    """Truth and prediction of scored genes, in the form people are shown first.

    Parameters
    ----------
    task : Task
    answer : Enhancement
    scores : Scores
    genes : int array
        Columns of the task that were scored.
    named : int array
        Columns that the user asked for.
    checked : callable
        Called at times; may raise to stop.
    """
    chosen = genes
    if len(task) * len(genes) > _MOST_VALUES:
        table = scores.table()
        picked = [task.slide.genes.column(gene) for gene in telling(table["r_log"])]
        chosen = np.union1d(np.asarray(picked, dtype=np.int64), named)
    source, totals = answer.expression_source, task.truth.totals
    place = {gene: column for column, gene in enumerate(answer.genes.ids.tolist())}
    places = np.array([place[gene] for gene in task.slide.genes.ids.tolist()], dtype=np.int64)
    return Map(
        scores.protocol,
        scores.fold,
        bool((task.parent < 0).all()),
        task.targets.coordinates,
        task.targets.cell,
        tuple(task.slide.genes.ids[chosen].tolist()),
        measured_log(task.truth.dense(chosen), totals).astype(np.float16),
        _logs(source, places, chosen, checked).astype(np.float16),
    )


def telling(r: pd.Series, each: int = 2) -> list[str]:
    """Genes predicted best, in the middle and worst, best first; those without a figure are out."""
    known = r.dropna().sort_values(ascending=False, kind="stable")
    middle = (len(known) - each) // 2
    picked = [*known.index[:each], *known.index[max(0, middle) :][:each], *known.index[-each:]]
    return list(dict.fromkeys(map(str, picked)))


def _logs(source: Expression, places: Ints, chosen: Ints, checked: Checked) -> NDArray[np.float32]:
    predicted = getattr(source, "logs", None)
    if predicted is not None:
        return np.asarray(predicted(places[chosen]), dtype=np.float32)
    totals = np.zeros(source.shape[0])
    width = max(1, _BLOCK_VALUES // max(1, source.shape[0]))
    for start in range(0, len(places), width):
        checked()
        totals += source.columns(places[start : start + width]).sum(axis=1, dtype=np.float64)
    return expected_log(source.columns(places[chosen]), totals)
