"""What needs all genes of a target at once: its profile, its domain, its uncertainty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_stsr.evaluation import metrics
from napari_stsr.evaluation.metrics import Figures
from napari_stsr.evaluation.metrics.logs import PER
from napari_stsr.evaluation.question import Checked, Predicted, Question, Sampled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def look_at_targets(
    question: Question,
    predicted: Predicted,
    summary: dict[str, float],
    notes: list[str],
    checked: Checked,
) -> None:
    """Add what a random sample of targets says to the summary."""
    truth = question.sampled
    p, p_log = predicted.profiles(question, checked)
    checked()
    if question.task.scored is None:
        _profiles(truth, p, p_log, summary, checked)
    checked()
    if question.task.labels is not None:
        _domains(question, p_log[:, question.columns], summary, notes)
    checked()
    if predicted.uncertainty is not None:
        genes = question.columns
        doubt = predicted.uncertainty.take(question.rows[question.sample])
        deviation = doubt.columns(predicted.places[genes])
        checked()
        per_total = PER / np.maximum(p.sum(axis=1, dtype=np.float64), 1e-9)
        error = (truth.logs - p_log)[:, genes]
        compared = truth.counts[:, genes], p[:, genes], deviation
        _uncertainty(question, *compared, error, per_total, summary)


def _profiles(
    truth: Sampled,
    counts: NDArray[np.float32],
    logs: NDArray[np.float32],
    summary: dict[str, float],
    checked: Checked,
) -> None:
    summary["location_r"] = _median(metrics.location_correlation(truth.logs, logs))
    summary["location_r_of_gene_mean"] = _median(truth.correlation_of_gene_mean)
    checked()
    summary["scd"] = _mean(truth.spearman_distance(counts))
    checked()
    summary["jd_above_mean"] = _mean(metrics.jaccard_distance_above_mean(truth.counts, counts))
    checked()
    if truth.distance_of_top is not None:
        summary["jd_30"] = _mean(truth.distance_of_top(counts))


def _domains(
    question: Question, logs: NDArray[np.float32], summary: dict[str, float], notes: list[str]
) -> None:
    """Domains of the predicted maps by one fixed recipe, against known labels."""
    labels = np.asarray(question.task.labels)[question.rows]
    known = labels != ""
    place = question.task.targets.coordinates[question.rows]
    use = known[question.sample]
    # A rare label may not be among the targets that are compared.
    kinds = len(np.unique(labels[question.sample][use]))
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
    deviation: NDArray[np.float32],
    log_error: NDArray[np.float32],
    per_total: Floats,
    summary: dict[str, float],
) -> None:
    """Coverage of the stated uncertainty with counting noise, and risk against coverage."""
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
