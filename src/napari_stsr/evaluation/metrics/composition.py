"""Agreement across the genes of each location: flattering figures, shown with what beats them.

Genes differ so much in their means that a location's profile is easy to hit: the mean of every gene
scores .5 to .7 without looking at the tissue. All arrays are locations × genes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics.agreement import pearson, spearman
from napari_stsr.evaluation.metrics.figures import Figures, compared

_CELLS = 4_000_000


@dataclass(frozen=True, eq=False)
class LocationCorrelation:
    """Correlation across genes per location, of a method and of the mean of every gene."""

    predicted: Figures
    gene_mean: Figures


def location_correlation(
    truth: ArrayLike, predicted: ArrayLike, gene_mean: ArrayLike
) -> LocationCorrelation:
    """Pearson correlation across genes per location, beside that of the gene mean.

    Parameters
    ----------
    truth, predicted : (m, g) arrays
    gene_mean : (g,) array
        Mean of every gene over the training locations, in the same unit.
    """
    t, p, _ = compared(truth, predicted)
    mean = np.broadcast_to(np.asarray(gene_mean, dtype=np.float64), t.shape)
    return LocationCorrelation(_across(pearson(t.T, p.T)), _across(pearson(t.T, mean.T)))


def spearman_distance(truth: ArrayLike, predicted: ArrayLike) -> Figures:
    """Square's SCD per location: 1 − Spearman correlation across genes. Smaller is better."""
    t, p, _ = compared(truth, predicted)
    rows = max(1, _CELLS // t.shape[1])
    blocks = [
        spearman(t[start : start + rows].T, p[start : start + rows].T)
        for start in range(0, len(t), rows)
    ]
    found = _across(Figures.joined(blocks))
    return Figures(1 - found.values, found.constant_truth, found.constant_prediction, "location")


def jaccard_distance_above_mean(truth: ArrayLike, predicted: ArrayLike) -> Figures:
    """Square's JD_{>μ} per location: Jaccard distance of the genes above the location's mean."""
    t, p, _ = compared(truth, predicted)
    above = [values > values.mean(axis=1, keepdims=True) for values in (t, p)]
    return _jaccard_distance(*above)


def jaccard_distance_of_top(
    truth: ArrayLike, predicted: ArrayLike, many: int = 30, seed: int = 0
) -> Figures:
    """Square's JD_30 per location: Jaccard distance of the `many` highest genes, ties at random.

    Counts tie so often at the top that chance alone gives about .81 on the slides' simulations.

    Raises
    ------
    InputError
        When there are not more than `many` genes.
    """
    t, p, _ = compared(truth, predicted)
    if t.shape[1] <= many:
        raise InputError(
            f"The {many} highest of {t.shape[1]} genes say nothing.", "Use more genes."
        )
    rng = np.random.default_rng(seed)
    return _jaccard_distance(_highest(t, many, rng), _highest(p, many, rng))


def _highest(values: NDArray[np.float64], many: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Whether each entry is among its row's highest; a random choice among ties at the edge."""
    edge = -np.partition(-values, many - 1, axis=1)[:, many - 1 : many]
    key = np.where(values > edge, 2.0, np.where(values == edge, rng.random(values.shape), -1.0))
    chosen = np.argpartition(-key, many - 1, axis=1)[:, :many]
    out = np.zeros(values.shape, dtype=np.bool_)
    np.put_along_axis(out, chosen, True, axis=1)
    return out


def _jaccard_distance(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Figures:
    either = (first | second).sum(axis=1)
    both = (first & second).sum(axis=1)
    share = np.divide(both, either, out=np.full(len(first), np.nan), where=either > 0)
    empty: NDArray[np.bool_] = np.logical_not(first.any(axis=1))
    return Figures(
        np.where(empty, np.nan, 1 - share), empty, np.zeros(len(first), dtype=np.bool_), "location"
    )


def _across(found: Figures) -> Figures:
    return Figures(found.values, found.constant_truth, found.constant_prediction, "location")
