"""Bootstrap intervals over locations, all genes and all draws as matrix products.

A draw gives every location a whole weight (how often it was drawn); a weighted correlation needs
five weighted sums per gene, so that 200 draws are one product of a (200, m) and an (m, 5 g) matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics.figures import Floats, compared, constant

_ROWS = 16_384


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval."""

    value: float
    low: float
    high: float


def location_weights(locations: int, draws: int = 200, seed: int = 0) -> NDArray[np.uint8]:
    """How often each location is drawn, (draws, locations); every row sums to `locations`.

    The same numbers give the same weights: that is what pairs two methods.

    Raises
    ------
    InputError
        When there is no location or no draw.
    """
    if locations < 1 or draws < 1:
        raise InputError(f"{draws} draws of {locations} locations cannot be made.")
    rng = np.random.default_rng(seed)
    weights = np.empty((draws, locations), dtype=np.uint8)
    for draw in range(draws):
        weights[draw] = np.bincount(
            rng.integers(0, locations, locations, dtype=np.int32), minlength=locations
        )
    return weights


def drawn_correlations(
    truth: ArrayLike,
    predicted: ArrayLike,
    weights: NDArray[np.uint8],
    scored: ArrayLike | None = None,
) -> NDArray[np.float32]:
    """Pearson correlation per gene of every draw.

    Parameters
    ----------
    truth, predicted, scored : (m, g) arrays
    weights : (draws, m) array
        From `location_weights`.

    Returns
    -------
    (draws, g) float32 array
        0 where a prediction does not vary among what was drawn, nan where the truth never varies.
    """
    t, p, mask = compared(truth, predicted, scored)
    if weights.shape[1] != len(t):
        raise InputError(f"Weights of {weights.shape[1]} locations, but there are {len(t)}.")
    flat_t, flat_p = constant(t, mask), constant(p, mask)
    g = t.shape[1]
    # Centred and scaled once, so that float32 sums are exact enough.
    standard_t, standard_p = _standard(t, mask), _standard(p, mask)
    sums = np.zeros((len(weights), 6 * g))
    for start in range(0, len(t), _ROWS):
        part = slice(start, start + _ROWS)
        x, y = standard_t[part], standard_p[part]
        counted = np.ones_like(x) if mask is None else mask[part].astype(np.float32)
        moments = np.concatenate([counted, x, y, x * x, y * y, x * y], axis=1)
        sums += weights[:, part].astype(np.float32) @ moments
    n, sx, sy, sxx, syy, sxy = np.moveaxis(sums.reshape(len(weights), 6, g), 1, 0)
    n = np.maximum(n, 1)
    spread = np.sqrt(np.maximum(sxx - sx * sx / n, 0) * np.maximum(syy - sy * sy / n, 0))
    draws = np.divide(sxy - sx * sy / n, spread, out=np.zeros_like(sxy), where=spread > 1e-6 * n)
    draws[:, flat_p] = 0
    draws[:, flat_t] = np.nan
    return np.asarray(np.clip(draws, -1, 1), dtype=np.float32)


def _standard(values: Floats, mask: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    counted = np.broadcast_to(True, values.shape) if mask is None else mask
    n = np.maximum(counted.sum(axis=0), 1)
    mean = np.where(counted, values, 0).sum(axis=0) / n
    centred = np.where(counted, values - mean, 0)
    spread = np.sqrt(np.einsum("ij,ij->j", centred, centred) / n)
    return (centred / np.where(spread > 0, spread, 1)).astype(np.float32)


def drawn_medians(draws: NDArray[np.float32]) -> Floats:
    """Median over genes of every draw, genes whose truth never varies left out.

    Raises
    ------
    InputError
        When no gene is left.
    """
    known = ~np.isnan(draws).any(axis=0)
    if not known.any():
        raise InputError("The truth is constant in all genes, so there is nothing to compare.")
    return np.asarray(np.median(draws[:, known], axis=1), dtype=np.float64)


def interval(value: float, drawn: ArrayLike, level: float = 0.95) -> Interval:
    """Interval of an estimate: the percentiles of its draws (draws,), moved to lie around it.

    A draw adds noise to the correlation of every gene. Where genes of a low correlation crowd, that
    lifts their median: the draws lie above the estimate. The mean of folds narrows the draws, but
    lifts them as before, until the interval begins where the estimate stands, so this is undone.
    """
    draws = np.asarray(drawn, dtype=np.float64)
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2]) + (value - draws.mean())
    return Interval(float(value), float(low), float(high))


def paired_difference(
    mine: NDArray[np.float32], other: NDArray[np.float32], level: float = 0.95
) -> Interval:
    """Median over genes of the difference between two methods, with its interval.

    Parameters
    ----------
    mine, other : (draws, g) arrays
        From `drawn_correlations` with the same weights. The estimate is the mean of the draws.
    """
    if mine.shape != other.shape:
        raise InputError(f"Draws of {mine.shape} and {other.shape} cannot be paired.")
    medians = drawn_medians(mine - other)
    return interval(float(medians.mean()), medians, level)
