"""What needs all genes of a target at once: its profile, its domain, its uncertainty."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from napari_stsr.evaluation import metrics
from napari_stsr.evaluation.metrics import Figures, measured_log
from napari_stsr.evaluation.metrics.logs import PER
from napari_stsr.evaluation.question import Predicted, Question
from napari_stsr.slides import Slide

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TOP_IN_LOCATION = 30


def look_at_targets(
    question: Question, predicted: Predicted, summary: dict[str, float], notes: list[str]
) -> None:
    """Add what a random sample of targets says to the summary."""
    part = predicted.take(question.sample)
    truth = question.task.truth.rows[question.rows[question.sample]]
    y = np.asarray(truth.toarray(), dtype=np.float32)
    every = np.arange(y.shape[1])
    p = part.counts(every)
    y_log = measured_log(y, question.totals[question.sample])
    p_log = part.logs(every, p)
    if question.task.scored is None:
        _profiles(question, (y, p), (y_log, p_log), summary)
    if question.task.labels is not None:
        _domains(question, p_log[:, question.columns], summary, notes)
    if question.enhancement.uncertainty is not None:
        genes = question.columns
        per_total = PER / np.maximum(p.sum(axis=1, dtype=np.float64), 1e-9)
        error = (y_log - p_log)[:, genes]
        _uncertainty(question, y[:, genes], p[:, genes], error, per_total, summary)


def _profiles(
    question: Question,
    counts: tuple[NDArray[np.float32], NDArray[np.float32]],
    logs: tuple[NDArray[np.float32], NDArray[np.float32]],
    summary: dict[str, float],
) -> None:
    found = metrics.location_correlation(*logs, _gene_mean(question.task.slide))
    summary["location_r"] = _median(found.predicted)
    summary["location_r_of_gene_mean"] = _median(found.gene_mean)
    summary["scd"] = _mean(metrics.spearman_distance(*counts))
    summary["jd_above_mean"] = _mean(metrics.jaccard_distance_above_mean(*counts))
    if counts[0].shape[1] > _TOP_IN_LOCATION:
        top = metrics.jaccard_distance_of_top(*counts, _TOP_IN_LOCATION, question.seed)
        summary["jd_30"] = _mean(top)


@lru_cache(maxsize=1)
def _gene_mean(slide: Slide) -> Floats:
    """Mean log of every gene over the training locations; all methods of a task share it."""
    rows, totals = slide.counts.rows, slide.counts.totals
    per_total = np.divide(PER, totals, out=np.zeros_like(totals), where=totals > 0)
    sums = np.zeros(rows.shape[1])
    for start in range(0, len(totals), 65_536):
        block = rows[start : start + 65_536].astype(np.float32)
        times = np.repeat(per_total[start : start + 65_536], np.diff(block.indptr))
        sums += np.bincount(block.indices, np.log1p(block.data * times), minlength=len(sums))
    return sums / max(1, int((totals > 0).sum()))


def _domains(
    question: Question, logs: NDArray[np.float32], summary: dict[str, float], notes: list[str]
) -> None:
    """Domains of the predicted maps by one fixed recipe, against known labels."""
    labels = np.asarray(question.task.labels)[question.rows]
    known = labels != ""
    place = question.enhancement.targets.coordinates[question.rows]
    kinds = len(np.unique(labels[known]))
    use = known[question.sample]
    if kinds < 2 or use.sum() <= 2 * kinds:
        notes.append(f"{int(use.sum())} targets with {kinds} known labels: no domains compared.")
        return
    border = np.zeros(len(labels), dtype=np.bool_)
    border[known] = metrics.boundary(labels[known], metrics.nearest(place[known]))
    truth, at = labels[question.sample][use], border[question.sample][use]
    components = metrics.principal_components(logs[use], seed=question.seed)
    found = metrics.partition(components, kinds, question.seed)
    summary["ari"] = metrics.adjusted_rand(truth, found)
    summary["nmi"] = metrics.mutual_information(truth, found)
    summary["ca"] = metrics.clustering_accuracy(truth, found)
    if at.any():
        summary["boundary_ca"] = metrics.clustering_accuracy(truth, found, at)
    summary["silhouette"] = metrics.silhouette(components, truth, seed=question.seed)


def _uncertainty(
    question: Question,
    truth: NDArray[np.float32],
    expected: NDArray[np.float32],
    log_error: NDArray[np.float32],
    per_total: Floats,
    summary: dict[str, float],
) -> None:
    """Coverage of the stated uncertainty with counting noise, and risk against coverage."""
    rows = question.rows[question.sample]
    source = question.enhancement.uncertainty
    assert source is not None
    deviation = source.take(rows).columns(question.places[question.columns])
    counted = question.entries(question.columns, question.sample)
    counted = np.ones(truth.shape, dtype=np.bool_) if counted is None else counted
    transformed = metrics.probability_transform(
        truth[counted], expected[counted], deviation[counted], question.seed
    )
    for level, share in metrics.transformed_coverage(transformed).items():
        summary[f"coverage_{level * 100:g}"] = share
    spread = np.sqrt(expected + deviation**2)
    summary["width_90"] = float(2 * 1.6449 * spread[counted].mean())
    log_deviation = per_total[:, None] * deviation / (1 + per_total[:, None] * expected)
    many = np.maximum(counted.sum(axis=1), 1)
    curve = metrics.risk_coverage(
        np.where(counted, log_error**2, 0).sum(axis=1) / many,
        np.where(counted, log_deviation, 0).sum(axis=1) / many,
    )
    summary["risk_area"] = curve.area
    summary["risk_area_best"] = curve.best_area
    summary["risk_area_random"] = curve.random_area


def _median(found: Figures) -> float:
    return found.median if len(found.counted) else np.nan


def _mean(found: Figures) -> float:
    return found.mean if len(found.counted) else np.nan
