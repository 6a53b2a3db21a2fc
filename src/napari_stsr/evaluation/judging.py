"""Judging a prediction: one pass over blocks of genes, and a look at a sample of whole targets.

Memory is bounded whatever the slide: a block of genes is as wide as the number of targets allows,
and what needs all genes of a target at once is computed on a random sample of targets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_stsr.evaluation import metrics
from napari_stsr.evaluation.metrics import Figures, measured_log
from napari_stsr.evaluation.question import Checked, Predicted, Question
from napari_stsr.evaluation.sampled import look_at_targets
from napari_stsr.results import Enhancement, Expression

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAPS = 50
_TOP_GENES = 50


@dataclass(eq=False)
class Answer:
    """What a prediction comes to: figures by gene, figures for all, draws, and notes."""

    genes: dict[str, Figures]
    summary: dict[str, float] = field(default_factory=dict)
    draws: dict[str, Floats] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def judge(
    question: Question, answered: Enhancement, source: Expression, checked: Checked
) -> Answer:
    """Compare one form of an answer with the truth; raises as `score` does."""
    predicted = Predicted.of(source, answered, question, checked)
    blocks = []
    for part in question.blocks():
        checked()
        blocks.append(_by_gene(question, predicted, part))
    checked()
    figures = {
        name: Figures.joined([block.genes[name] for block in blocks]) for name in blocks[0].genes
    }
    answer = Answer(figures)
    _summarise(answer, blocks)
    _compare_maps(answer)
    answer.notes += figures["r_log"].notes
    answer.summary |= {
        "genes": float(len(question.columns)),
        "targets": float(len(question.rows)),
        "targets_left_out": float(len(question.task) - len(question.rows)),
    }
    look_at_targets(question, predicted, answer.summary, answer.notes, checked)
    return answer


@dataclass(eq=False)
class _Block:
    """Figures of one block of genes."""

    genes: dict[str, Figures]
    drawn: dict[str, NDArray[np.float32]]
    nonzero: dict[str, metrics.Pooled]
    conserved: metrics.ConservationError | None


def _by_gene(question: Question, predicted: Predicted, part: slice) -> _Block:
    rows, columns = question.rows, question.columns[part]
    whole = predicted.counts(columns)
    counts = whole if len(rows) == len(whole) else whole[rows]
    logs = predicted.logs(columns, counts)
    measured = question.task.truth.dense(columns)[rows]
    y, p = measured.astype(np.float64), counts.astype(np.float64)
    y_log, p_log = (
        values.astype(np.float64) for values in (measured_log(measured, question.totals), logs)
    )
    scored = question.entries(columns)
    genes = _agreement(y_log, p_log, scored, "") | _agreement(y, p, scored, "_raw")
    genes["r_log"] = genes.pop("r")
    if question.divided:
        parent = question.task.parent[rows]
        genes["within_r"] = metrics.within_parents(y_log, p_log, parent, scored)
        genes["within_r_raw"] = metrics.within_parents(y, p, parent, scored)
    if question.weights is not None:
        genes["moran_predicted"] = metrics.morans_i(p_log, question.weights)
    if question.raster is not None:
        genes["ssim"] = _similarity(y_log, p_log, question.raster, _MAPS - part.start)
    genes |= question.of_truth(part)
    drawn = {
        "r_log": metrics.drawn_correlations(y_log, p_log, question.drawn, scored),
        "r_raw": metrics.drawn_correlations(y, p, question.drawn, scored),
    }
    nonzero = {"": metrics.pooled(y_log, p_log, scored), "_raw": metrics.pooled(y, p, scored)}
    return _Block(genes, drawn, nonzero, _conservation(question, whole, columns))


def _agreement(
    truth: Floats, predicted: Floats, scored: NDArray[np.bool_] | None, unit: str
) -> dict[str, Figures]:
    """Figures that are defined in any unit."""
    functions = {
        "r": metrics.pearson,
        "spearman": metrics.spearman,
        "rmse_sd": metrics.relative_error,
        "mae": metrics.mean_absolute_error,
        "mse": metrics.mean_squared_error,
        "cosine": metrics.cosine,
        "variance_ratio": metrics.variance_ratio,
    }
    return {f"{name}{unit}": found(truth, predicted, scored) for name, found in functions.items()}


def _similarity(truth: Floats, predicted: Floats, raster: Ints, most: int) -> Figures:
    """SSIM of the first `most` genes of a block; the others have none."""
    many = min(max(most, 0), truth.shape[1])
    rest = np.ones(truth.shape[1] - many, dtype=np.bool_)
    # A gene that is not compared is neither right nor wrong: as if its truth did not vary.
    unknown = Figures(np.full(len(rest), np.nan), rest, ~rest)
    if not many:
        return unknown
    found = metrics.structural_similarity(truth[:, :many], predicted[:, :many], raster)
    return Figures.joined([found, unknown])


def _conservation(
    question: Question, predicted: NDArray[np.float32], columns: Ints
) -> metrics.ConservationError | None:
    """Conservation over the locations all of whose parts are among the targets."""
    targets = question.task.targets
    if targets.kind != "subspots":
        return None
    owned = np.where(targets.parent >= 0, targets.parent, 0)
    complete = np.bincount(owned, minlength=len(question.task.slide)) == targets.per_location
    parent = np.where((targets.parent >= 0) & complete[owned], targets.parent, -1)
    if (parent < 0).all():
        return None
    return metrics.conservation_error(predicted, parent, question.task.slide.counts.dense(columns))


def _summarise(answer: Answer, blocks: list[_Block]) -> None:
    """Medians over genes with their intervals, and what is pooled over genes."""
    for name, found in answer.genes.items():
        answer.summary[name] = found.median if len(found.counted) else np.nan
    # Raises where there is no gene to compare.
    _ = answer.genes["r_log"].median
    for name in blocks[0].drawn:
        drawn = metrics.drawn_medians(np.hstack([block.drawn[name] for block in blocks]))
        bounds = metrics.interval(answer.summary[name], drawn)
        answer.draws[name] = drawn
        answer.summary |= {f"{name}_low": bounds.low, f"{name}_high": bounds.high}
    for unit in blocks[0].nonzero:
        pooled = sum((block.nonzero[unit] for block in blocks), metrics.Pooled())
        answer.summary |= {
            f"nonzero_mae{unit}": pooled.mae,
            f"nonzero_mse{unit}": pooled.mse,
            f"nonzero_cosine{unit}": pooled.cosine,
        }
    for ceiling, figure in (("ceiling", "r_log"), ("ceiling_raw", "r_raw")):
        known = answer.summary.get(ceiling, 0.0)
        if known > 0:
            answer.summary[f"{figure}_of_ceiling"] = answer.summary[figure] / known
    conserved = [block.conserved for block in blocks if block.conserved is not None]
    if conserved:
        total = sum(conserved[1:], conserved[0])
        answer.summary |= {"conservation_max": total.largest, "conservation_mean": total.mean}


def _compare_maps(answer: Answer) -> None:
    """What compares the structure of the predicted maps with that of the measured ones."""
    if "moran_truth" not in answer.genes:
        return
    truth, predicted = answer.genes["moran_truth"], answer.genes["moran_predicted"]
    share = metrics.ratio(predicted, truth)
    answer.genes["moran_ratio"] = Figures(share, np.isnan(share), np.zeros(len(share), bool))
    if np.isfinite(share).any():
        answer.summary["moran_ratio"] = float(np.nanmedian(share))
    many = min(_TOP_GENES, len(truth) // 2)
    if many and not np.isnan(truth.values).all():
        answer.summary["top_jaccard"] = metrics.jaccard_of_top(truth.values, predicted.values, many)
