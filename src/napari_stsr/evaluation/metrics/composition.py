"""Agreement across the genes of each location: flattering figures, shown with what beats them.

Genes differ so much in their means that a location's profile is easy to hit: the mean of every gene
scores .5 to .7 without looking at the tissue. All arrays are locations × genes.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics.agreement import Ranked, pearson
from napari_stsr.evaluation.metrics.figures import Figures, compared, finite

Measure = Callable[[ArrayLike], Figures]


def location_correlation(truth: ArrayLike, predicted: ArrayLike) -> Figures:
    """Pearson correlation across genes per location.

    Parameters
    ----------
    truth : (m, g) array
    predicted : (m, g) or (g,) array
        A method's, or the mean of every gene over the training locations, in the same unit.
    """
    t = np.asarray(truth)
    return _across(pearson(t.T, np.broadcast_to(predicted, t.shape).T))


def spearman_distance(truth: ArrayLike, predicted: ArrayLike) -> Figures:
    """Square's SCD per location: 1 − Spearman correlation across genes. Smaller is better."""
    return spearman_distance_to(truth)(predicted)


def spearman_distance_to(truth: ArrayLike) -> Measure:
    """Return `spearman_distance` to one truth, which is ranked once for all predictions."""
    t = finite("truth", truth)
    ranked = Ranked.of(t.T)

    def distance(predicted: ArrayLike) -> Figures:
        _, p, _ = compared(t, predicted)
        found = ranked.correlation(Ranked.of(p.T))
        return Figures(
            1 - found.values, found.constant_truth, found.constant_prediction, "location"
        )

    return distance


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
    return jaccard_distance_of_top_to(truth, many, seed)(predicted)


def jaccard_distance_of_top_to(truth: ArrayLike, many: int = 30, seed: int = 0) -> Measure:
    """Return `jaccard_distance_of_top` to one truth, whose highest genes are found once."""
    t = finite("truth", truth)
    if t.shape[1] <= many:
        raise InputError(
            f"The {many} highest of {t.shape[1]} genes say nothing.", "Use more genes."
        )
    rng = np.random.default_rng(seed)
    highest = _highest(t, many, rng)

    def distance(predicted: ArrayLike) -> Figures:
        _, p, _ = compared(t, predicted)
        return _jaccard_distance(highest, _highest(p, many, deepcopy(rng)))

    return distance


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
